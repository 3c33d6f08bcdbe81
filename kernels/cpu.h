/* What the processor and the operating system offer, and which instruction level the kernels take.
 * Chosen once; QUIRE_ISA=generic|avx2|avx512|avx512_bf16|amx forces a lower one. */
#ifndef QUIRE_KERNELS_CPU_H
#define QUIRE_KERNELS_CPU_H

#include <stdbool.h>

enum isa {
    ISA_GENERIC,     /* plain C, x86-64 baseline */
    ISA_AVX2,        /* AVX2, FMA, F16C */
    ISA_AVX512,      /* AVX-512 F, BW, CD, DQ, VL */
    ISA_AVX512_BF16, /* and AVX512-BF16 */
    ISA_AMX,         /* and AMX tiles with bf16 */
    ISA_COUNT
};

/* Highest level that the processor has and the operating system saves the registers of. */
enum isa isa_available(void);

/* "generic", "avx2", "avx512", "avx512_bf16", "amx". */
const char *isa_name(enum isa isa);

/* The level to use: isa_available, or what QUIRE_ISA names. False when QUIRE_ISA names no level or
 * one above what is available; `isa` is then isa_available. */
bool isa_chosen(enum isa *isa);

#endif
