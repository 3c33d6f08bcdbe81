#include "kernels/cpu.h"

#include "kernels/cpu_tiles.h"
#include <cpuid.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[ISA_COUNT] = {"generic", "avx2", "avx512", "avx512_bf16", "amx"};

/* Bits of the words, by word (Intel SDM volume 2A, CPUID; volume 1, 13.3 for XCR0). */
#define BIT(n) (UINT32_C(1) << (n))
#define LEAF1_ECX_AVX2 (BIT(12) | BIT(27) | BIT(28) | BIT(29)) /* FMA, OSXSAVE, AVX, F16C */
#define LEAF7_EBX_AVX2 BIT(5)
#define LEAF7_EBX_AVX512 (BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)) /* F DQ CD BW VL */
#define LEAF7_ECX_VNNI BIT(11)
#define LEAF7_EDX_AMX (BIT(22) | BIT(24)) /* AMX-BF16, AMX-TILE */
#define LEAF7_1_EAX_BF16 BIT(5)
#define XCR0_YMM (BIT(1) | BIT(2))
#define XCR0_ZMM (XCR0_YMM | BIT(5) | BIT(6) | BIT(7)) /* masks, both halves */
#define XCR0_TILES (BIT(17) | BIT(18))                 /* configuration, data */

static bool has(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

enum isa isa_of(const struct cpu_words *w) {
    if (!has(w->leaf1_ecx, LEAF1_ECX_AVX2) || !has(w->leaf7_ebx, LEAF7_EBX_AVX2) ||
        !has(w->xcr0, XCR0_YMM))
        return ISA_GENERIC;
    if (!has(w->leaf7_ebx, LEAF7_EBX_AVX512) || !has(w->xcr0, XCR0_ZMM))
        return ISA_AVX2;
    if (!has(w->leaf7_1_eax, LEAF7_1_EAX_BF16))
        return ISA_AVX512;
    if (!has(w->leaf7_edx, LEAF7_EDX_AMX) || !has(w->xcr0, XCR0_TILES) || !w->tiles)
        return ISA_AVX512_BF16;
    return ISA_AMX;
}

static struct cpu_words words;
static enum isa available;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The first extended control register. The instruction is there where OSXSAVE says so. */
static uint64_t xcr0_read(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void words_read(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        words.leaf1_ecx = c;
    if (has(words.leaf1_ecx, LEAF1_ECX_AVX2))
        words.xcr0 = xcr0_read();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        words.leaf7_ebx = b;
        words.leaf7_ecx = c;
        words.leaf7_edx = d;
        /* a is the highest subleaf; beyond it the words mean nothing. */
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            words.leaf7_1_eax = a;
    }
    words.tiles = true;
    if (isa_of(&words) == ISA_AMX)
        words.tiles = tiles_granted() && tiles_kept();
    available = isa_of(&words);
}

enum isa isa_available(void) {
    pthread_once(&once, words_read);
    return available;
}

bool cpu_has_vnni(void) {
    return isa_available() >= ISA_AVX512 && has(words.leaf7_ecx, LEAF7_ECX_VNNI);
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
