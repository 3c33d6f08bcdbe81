/* The type in which activations travel between ranks: --wire. */
#ifndef QUIRE_DIST_WIRE_H
#define QUIRE_DIST_WIRE_H

#include "kernels/elementwise.h"
#include <mpi.h>
#include <stdint.h>
#include <string.h>

enum wire { WIRE_F32, WIRE_BF16, WIRE_COUNT };

static inline const char *wire_name(enum wire wire) {
    return wire == WIRE_BF16 ? "bf16" : "f32";
}

static inline int64_t wire_bytes(enum wire wire) {
    return wire == WIRE_BF16 ? 2 : 4;
}

/* bf16 travels as 16-bit words: MPI never calculates with it. */
static inline MPI_Datatype wire_datatype(enum wire wire) {
    return wire == WIRE_BF16 ? MPI_UINT16_T : MPI_FLOAT;
}

/* Puts x [n] into an array that travels, from its element `at` on. */
static inline void wire_put(enum wire wire, const float *x, int64_t n, void *array, int64_t at) {
    if (wire == WIRE_BF16)
        bf16_round(x, n, (uint16_t *)array + at);
    else
        memcpy((float *)array + at, x, (size_t)n * sizeof *x);
}

/* Takes it out again. */
static inline void wire_get(enum wire wire, const void *array, int64_t at, int64_t n, float *x) {
    if (wire == WIRE_BF16)
        bf16_widen((const uint16_t *)array + at, n, x);
    else
        memcpy(x, (const float *)array + at, (size_t)n * sizeof *x);
}

#endif
