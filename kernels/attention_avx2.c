#include "kernels/attention_step.h"
void attention_step_avx2(const struct attention_step *step) {
    attention_step_generic(step);
}
