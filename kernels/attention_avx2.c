#include "kernels/vector_avx2.h"

#define soft_cap_level soft_cap_avx2
#include "kernels/attention_vector.h"

const struct attention_kernel attention_avx2 = {
    .run = step_run, .rows = STEP_ROWS, .keys = STEP_KEYS, .q8_0 = &kv_widen_avx2};
