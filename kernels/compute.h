/* Type of the arithmetic: what --compute names. */
#ifndef QUIRE_KERNELS_COMPUTE_H
#define QUIRE_KERNELS_COMPUTE_H

#include "kernels/cpu.h"
#include "kernels/matrix.h"
#include <stdbool.h>

enum compute {
    COMPUTE_F32, /* exact: weights widened to f32, products in f32 */
    COMPUTE_BF16, /* weights held in bf16, activations rounded to it, products summed in f32 */
    COMPUTE_AUTO  /* as asked only: bf16 where the processors have it, else f32 */
};

static inline const char *compute_name(enum compute compute) {
    static const char *const names[] = {"f32", "bf16", "auto"};
    return names[compute];
}

/* bf16 needs the processor's own bf16 products: without, it would be slower than f32. */
static inline bool compute_has(enum compute compute, enum isa isa) {
    return compute != COMPUTE_BF16 || isa >= ISA_AVX512_BF16;
}

/* What was asked for on a run whose lowest instruction level is `isa`. */
static inline enum compute compute_choose(enum compute asked, enum isa isa) {
    if (asked != COMPUTE_AUTO)
        return asked;
    return compute_has(COMPUTE_BF16, isa) ? COMPUTE_BF16 : COMPUTE_F32;
}

/* The type that weight matrices are held in. */
static inline enum matrix_type compute_weights(enum compute compute) {
    return compute == COMPUTE_BF16 ? MATRIX_BF16 : MATRIX_F32;
}

#endif
