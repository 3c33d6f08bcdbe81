#include "kernels/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[ISA_COUNT] = {"generic", "avx2", "avx512", "avx512_bf16", "amx"};

/* __builtin_cpu_supports (libgcc, common/config/i386/cpuinfo.h) reports the AVX family only when
 * xgetbv says that the operating system saves the ymm (AVX, AVX2, FMA, F16C) or the zmm and mask
 * registers (AVX-512), so nothing else is to be asked here. */
enum isa isa_available(void) {
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("f16c")))
        return ISA_GENERIC;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")))
        return ISA_AVX2;
    return __builtin_cpu_supports("avx512bf16") ? ISA_AVX512_BF16 : ISA_AVX512;
}

const char *isa_name(enum isa isa) {
    return names[isa];
}

bool isa_chosen(enum isa *isa) {
    const char *wanted = getenv("QUIRE_ISA");
    *isa = isa_available();
    if (!wanted || !*wanted)
        return true;
    for (enum isa level = ISA_GENERIC; level <= *isa; level++) {
        if (strcmp(wanted, names[level]) == 0) {
            *isa = level;
            return true;
        }
    }
    return false;
}
