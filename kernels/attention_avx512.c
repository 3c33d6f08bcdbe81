#include "kernels/vector_avx512.h"

#include "kernels/attention_vector.h"

void attention_step_avx512(const struct attention_step *step) {
    step_run(step);
}
