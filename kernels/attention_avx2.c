#include "kernels/vector_avx2.h"

#include "kernels/attention_vector.h"

const struct attention_kernel attention_avx2 = {
    .run = step_run, .rows = STEP_ROWS, .keys = STEP_KEYS};
