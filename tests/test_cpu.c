/* The choice of the instruction level: from CPUID's words, the registers that the operating system
 * saves and its permission for the tiles; and from the environment. */
#include "kernels/cpu.h"
#include "kernels/cpu_tiles.h"
#include "tests/testing.h"
#include "tests/tile_model.h"
#include "tests/tile_trap.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

/* Words with the features of well-known processors, and the levels that these have. */
static const struct {
    const char *name;
    struct cpu_words words;
    enum isa isa;
} processors[] = {
    {"Nehalem", {.leaf1_ecx = 0x009ce3bd, .xcr0 = 0}, ISA_GENERIC},
    {"Sandy Bridge", {.leaf1_ecx = 0x1fbae3ff, .xcr0 = 0x7}, ISA_GENERIC},
    {"Haswell", {.leaf1_ecx = 0x7ffafbff, .leaf7_ebx = 0x000027ab, .xcr0 = 0x7}, ISA_AVX2},
    {"Zen 2",
     {.leaf1_ecx = 0x7ed8320b, .leaf7_ebx = 0x219c91a9, .leaf7_ecx = 0x00400004, .xcr0 = 0x207},
     ISA_AVX2},
    {"Skylake server",
     {.leaf1_ecx = 0x7ffefbff, .leaf7_ebx = 0xd39ffffb, .leaf7_ecx = 0x8, .xcr0 = 0x2ff},
     ISA_AVX512},
    {"Zen 4",
     {.leaf1_ecx = 0x7efa320b,
      .leaf7_ebx = 0xf1bf97a9,
      .leaf7_ecx = 0x00405fce,
      .leaf7_edx = 0x10000010,
      .leaf7_1_eax = 0x20,
      .xcr0 = 0x2e7},
     ISA_AVX512_BF16},
    {"Sapphire Rapids",
     {.leaf1_ecx = 0x7ffefbff,
      .leaf7_ebx = 0xf3bfbffb,
      .leaf7_ecx = 0xfb417fee,
      .leaf7_edx = 0xffdd4432,
      .leaf7_1_eax = 0x1c30,
      .xcr0 = 0x602e7,
      .tiles = true},
     ISA_AMX},
};

static const struct cpu_words *amx_words(void) {
    const size_t last = sizeof processors / sizeof *processors - 1;
    ck_assert_int_eq(processors[last].isa, ISA_AMX);
    return &processors[last].words;
}

START_TEST(known_processors) {
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++)
        ck_assert_msg(isa_of(&processors[i].words) == processors[i].isa, "%s is %s, not %s",
                      processors[i].name, isa_name(isa_of(&processors[i].words)),
                      isa_name(processors[i].isa));
}
END_TEST

/* One feature taken from a processor that has all leaves what lies below the feature's level. */
START_TEST(every_feature_counts) {
    static const struct {
        size_t word;
        int bit;
        enum isa left;
    } features[] = {
        {offsetof(struct cpu_words, leaf1_ecx), 12, ISA_GENERIC},     /* FMA */
        {offsetof(struct cpu_words, leaf1_ecx), 27, ISA_GENERIC},     /* OSXSAVE */
        {offsetof(struct cpu_words, leaf1_ecx), 28, ISA_GENERIC},     /* AVX */
        {offsetof(struct cpu_words, leaf1_ecx), 29, ISA_GENERIC},     /* F16C */
        {offsetof(struct cpu_words, leaf7_ebx), 5, ISA_GENERIC},      /* AVX2 */
        {offsetof(struct cpu_words, leaf7_ebx), 16, ISA_AVX2},        /* AVX512F */
        {offsetof(struct cpu_words, leaf7_ebx), 17, ISA_AVX2},        /* AVX512DQ */
        {offsetof(struct cpu_words, leaf7_ebx), 28, ISA_AVX2},        /* AVX512CD */
        {offsetof(struct cpu_words, leaf7_ebx), 30, ISA_AVX2},        /* AVX512BW */
        {offsetof(struct cpu_words, leaf7_ebx), 31, ISA_AVX2},        /* AVX512VL */
        {offsetof(struct cpu_words, leaf7_1_eax), 5, ISA_AVX512},     /* AVX512_BF16 */
        {offsetof(struct cpu_words, leaf7_edx), 22, ISA_AVX512_BF16}, /* AMX-BF16 */
        {offsetof(struct cpu_words, leaf7_edx), 24, ISA_AVX512_BF16}, /* AMX-TILE */
        {offsetof(struct cpu_words, xcr0), 1, ISA_GENERIC},           /* xmm */
        {offsetof(struct cpu_words, xcr0), 2, ISA_GENERIC},           /* ymm */
        {offsetof(struct cpu_words, xcr0), 5, ISA_AVX2},              /* masks */
        {offsetof(struct cpu_words, xcr0), 6, ISA_AVX2},              /* upper halves of zmm0-15 */
        {offsetof(struct cpu_words, xcr0), 7, ISA_AVX2},              /* zmm16-31 */
        {offsetof(struct cpu_words, xcr0), 17, ISA_AVX512_BF16},      /* tile configuration */
        {offsetof(struct cpu_words, xcr0), 18, ISA_AVX512_BF16},      /* tile data */
        {offsetof(struct cpu_words, leaf7_ecx), 11, ISA_AMX},         /* VNNI is no level's */
    };
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        struct cpu_words words = *amx_words();
        uint32_t *word = (uint32_t *)((char *)&words + features[i].word); /* xcr0's low half */
        ck_assert_uint_ne(*word >> features[i].bit & 1, 0);
        *word &= ~(UINT32_C(1) << features[i].bit);
        ck_assert_msg(isa_of(&words) == features[i].left, "feature %zu: %s", i,
                      isa_name(isa_of(&words)));
    }
}
END_TEST

START_TEST(permission_counts) {
    struct cpu_words words = *amx_words();
    words.tiles = false;
    ck_assert_int_eq(isa_of(&words), ISA_AVX512_BF16);
    struct cpu_words none = {.tiles = true};
    ck_assert_int_eq(isa_of(&none), ISA_GENERIC);
}
END_TEST

/* Against the compiler's own detection, which knows nothing of permissions. */
START_TEST(this_processor) {
    __builtin_cpu_init();
    enum isa isa = isa_available();
    ck_assert_int_eq(isa >= ISA_AVX2, __builtin_cpu_supports("avx2") != 0 &&
                                          __builtin_cpu_supports("fma") != 0 &&
                                          __builtin_cpu_supports("f16c") != 0);
    ck_assert_int_eq(isa >= ISA_AVX512, isa >= ISA_AVX2 && __builtin_cpu_supports("avx512f") != 0 &&
                                            __builtin_cpu_supports("avx512bw") != 0 &&
                                            __builtin_cpu_supports("avx512cd") != 0 &&
                                            __builtin_cpu_supports("avx512dq") != 0 &&
                                            __builtin_cpu_supports("avx512vl") != 0);
    ck_assert_int_eq(isa >= ISA_AVX512_BF16,
                     isa >= ISA_AVX512 && __builtin_cpu_supports("avx512bf16") != 0);
    ck_assert_int_eq(cpu_has_vnni(),
                     isa >= ISA_AVX512 && __builtin_cpu_supports("avx512vnni") != 0);
}
END_TEST

START_TEST(level_from_environment) {
    enum isa isa;
    const char *kept = getenv("QUIRE_ISA");
    char *saved = kept ? strdup(kept) : NULL;
    unsetenv("QUIRE_ISA");
    REQUIRE(isa_chosen(&isa) && isa == isa_available());
    for (enum isa level = ISA_GENERIC; level < ISA_COUNT; level++) {
        setenv("QUIRE_ISA", isa_name(level), 1);
        REQUIRE(isa_chosen(&isa) == (level <= isa_available()));
        ck_assert_int_eq(isa, level <= isa_available() ? level : isa_available());
    }
    static const char *const wrong[] = {"sse", "AVX2", "avx2 ", "avx5"};
    for (int i = 0; i < 4; i++) {
        setenv("QUIRE_ISA", wrong[i], 1);
        REQUIRE(!isa_chosen(&isa) && isa == isa_available());
    }
    ck_assert_str_eq(isa_name(ISA_GENERIC), "generic");
    ck_assert_str_eq(isa_name(ISA_AVX2), "avx2");
    ck_assert_str_eq(isa_name(ISA_AVX512), "avx512");
    ck_assert_str_eq(isa_name(ISA_AVX512_BF16), "avx512_bf16");
    ck_assert_str_eq(isa_name(ISA_AMX), "amx");
    unsetenv("QUIRE_ISA");
    if (saved)
        setenv("QUIRE_ISA", saved, 1);
    free(saved);
}
END_TEST

/* What a machine that does not keep the tiles does to them, while the thread sleeps. */
static void tiles_lose(int number) {
    static const char zeros[TILE_ROW_BYTES];
    (void)number;
    if (tile_configured())
        tile_load(3, zeros, 0);
}

/* On tiles that are the model's, and then on some that are lost after a while. */
START_TEST(tiles_are_watched) {
    if (isa_available() < ISA_AMX)
        tiles_trap();
    ck_assert(tiles_kept());
    ck_assert(!tile_configured());
    if (isa_available() >= ISA_AMX) {
        printf("SKIP: lost tiles (this processor has its own, which nothing here can lose)\n");
        return;
    }
    const struct itimerval later = {.it_value = {0, 200}}, never = {.it_value = {0, 0}};
    for (int attempt = 0; attempt < 100; attempt++) {
        signal(SIGALRM, tiles_lose);
        setitimer(ITIMER_REAL, &later, NULL);
        bool kept = tiles_kept();
        setitimer(ITIMER_REAL, &never, NULL);
        if (!kept)
            return; /* else the signal came while they held nothing yet */
    }
    ck_abort_msg("lost tiles are not noticed");
}
END_TEST

int main(void) {
    const TTest *const tests[] = {known_processors,
                                  every_feature_counts,
                                  permission_counts,
                                  this_processor,
                                  level_from_environment,
                                  tiles_are_watched,
                                  NULL};
    Suite *suite = suite_create("cpu");
    suite_add(suite, "cpu", tests);
    return suite_run(suite);
}
