/* Types of the arithmetic and of the weights: what --compute and --weights name. */
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

/* The type of weight matrices that are in no blocks. */
static inline enum matrix_type compute_weights(enum compute compute) {
    return compute == COMPUTE_BF16 ? MATRIX_BF16 : MATRIX_F32;
}

/* What --weights names: how matrices of products are held whose rows the type's blocks divide. */
enum weights_type { WEIGHTS_AUTO, /* as computed with */ WEIGHTS_Q8_0, WEIGHTS_Q4_0 };

static inline const char *weights_type_name(enum weights_type type) {
    static const char *const names[] = {"auto", "q8_0", "q4_0"};
    return names[type];
}

static inline enum matrix_type weights_matrix(enum weights_type type, enum compute compute) {
    static const enum matrix_type types[] = {
        [WEIGHTS_Q8_0] = MATRIX_Q8_0, [WEIGHTS_Q4_0] = MATRIX_Q4_0};
    return type == WEIGHTS_AUTO ? compute_weights(compute) : types[type];
}

#endif
