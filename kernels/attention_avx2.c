#include "kernels/vector_avx2.h"

#include "kernels/attention_vector.h"

void attention_step_avx2(const struct attention_step *step) {
    step_run(step);
}
