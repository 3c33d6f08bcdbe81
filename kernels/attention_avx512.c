#include "kernels/vector_avx512.h"

#define soft_cap_level soft_cap_avx512
#include "kernels/attention_vector.h"

const struct attention_kernel attention_avx512 = {
    .run = step_run, .rows = STEP_ROWS, .keys = STEP_KEYS, .q8_0 = &kv_widen_avx512};
