/* What the processor and the operating system offer, and which instruction level the kernels take.
 * Chosen once; QUIRE_ISA=generic|avx2|avx512|avx512_bf16|amx forces a lower one. */
#ifndef QUIRE_KERNELS_CPU_H
#define QUIRE_KERNELS_CPU_H

#include <stdbool.h>
#include <stdint.h>

enum isa {
    ISA_GENERIC,     /* plain C, x86-64 baseline */
    ISA_AVX2,        /* AVX2, FMA, F16C */
    ISA_AVX512,      /* AVX-512 F, BW, CD, DQ, VL */
    ISA_AVX512_BF16, /* and AVX512-BF16 */
    ISA_AMX,         /* and AMX tiles with bf16 */
    ISA_COUNT
};

/* What the choice depends on: the words of CPUID that name the features (Intel SDM volume 2A,
 * CPUID), the registers that the operating system saves, and whether it lets this process use the
 * tiles. */
struct cpu_words {
    uint32_t leaf1_ecx;
    uint32_t leaf7_ebx, leaf7_ecx, leaf7_edx; /* subleaf 0 */
    uint32_t leaf7_1_eax;                     /* subleaf 1 */
    uint64_t xcr0;                            /* 0 without OSXSAVE */
    bool tiles;                               /* asked for only where the rest has AMX */
};

/* The level that these words give. Each level needs all that is below it. */
enum isa isa_of(const struct cpu_words *words);

/* Highest level that the processor has and the operating system saves the registers of. The first
 * call asks Linux to let this process use the tiles, where there are any: main makes it before MPI
 * and OpenMP start threads. Local; later calls may come from any thread. */
enum isa isa_available(void);

/* AVX512-VNNI: products of 8-bit integers, of use to the kernels of ISA_AVX512 and above. */
bool cpu_has_vnni(void);

/* "generic", "avx2", "avx512", "avx512_bf16", "amx". */
const char *isa_name(enum isa isa);

/* The level to use: isa_available, or what QUIRE_ISA names. False when QUIRE_ISA names no level or
 * one above what is available; `isa` is then isa_available. */
bool isa_chosen(enum isa *isa);

#endif
