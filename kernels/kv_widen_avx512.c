#include "kernels/vector_avx512.h"

#include "kernels/kv_widen_vector.h"

const struct kv_widener kv_widen_avx512 = {KV_F32, keys_widen, values_widen};
