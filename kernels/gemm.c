#include "kernels/gemm.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

void gemm_init(void) {
    openblas_set_num_threads(1);
}

const char *gemm_core(void) {
    return openblas_get_corename();
}

const char *gemm_library(void) {
    return openblas_get_config();
}

/* Cores of OpenBLAS 0.3.21 by the instructions that their kernels use. Those with AVX alone belong
 * to no level: there is a better choice for each. */
static bool core_is_of(const char *core, enum isa isa) {
    static const char *const generic[] = {"Prescott", "Core2",   "Penryn",    "Dunnington",
                                          "Nehalem",  "Opteron", "Barcelona", "Opteron_SSE3",
                                          "Atom",     "Bobcat",  "Nano",      NULL};
    static const char *const avx2[] = {"Haswell", "Zen", "Excavator", NULL};
    static const char *const avx512[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
    static const char *const *const levels[ISA_COUNT] = {generic, avx2, avx512};
    for (const char *const *name = levels[isa]; *name; name++)
        if (strcmp(core, *name) == 0)
            return true;
    return false;
}

const char *gemm_core_choose(enum isa isa, const char *core, const char *set_by_user) {
    /* The lowest of each level, which every processor of the level runs. */
    static const char *const lowest[ISA_COUNT] = {"Prescott", "Haswell", "SkylakeX"};
    return set_by_user || core_is_of(core, isa) ? NULL : lowest[isa];
}

const char *gemm_core_wanted(void) {
    enum isa isa;
    isa_chosen(&isa);
    return gemm_core_choose(isa, gemm_core(), getenv("OPENBLAS_CORETYPE"));
}

static int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Rows of a weight that stay in a core's cache while a few tokens pass over them. */
#define CACHED_BYTES (256 * 1024)

/* y for the weight's rows [n, n + rows) and a few tokens: each row is read from memory once. */
static void few_tokens(int64_t T, int64_t N, int64_t K, int64_t n, int64_t rows, const float *x,
                       const float *w, float *y) {
    int64_t step = CACHED_BYTES / (K * (int64_t)sizeof *w) + 1;
    for (int64_t at = n; at < n + rows; at += step)
        for (int64_t t = 0; t < T; t++)
            cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)min_of(step, n + rows - at),
                        (blasint)K, 1, w + at * K, (blasint)K, x + t * K, 1, 0, y + t * N + at, 1);
}

/* Tokens up to which the products are made one token at a time. */
#define FEW_TOKENS 4

void gemm_xwt(int64_t T, int64_t N, int64_t K, const float *x, const float *w, float *y) {
    if (T <= 0 || N <= 0)
        return;
    if (K <= 0) {
        memset(y, 0, (size_t)(T * N) * sizeof *y);
        return;
    }
    int64_t threads = omp_get_max_threads();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < threads; i++) {
        int64_t n = N * i / threads, rows = N * (i + 1) / threads - n;
        if (rows == 0)
            continue;
        if (T <= FEW_TOKENS)
            few_tokens(T, N, K, n, rows, x, w, y);
        else
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)T, (blasint)rows,
                        (blasint)K, 1, x, (blasint)K, w + n * K, (blasint)K, 0, y + n, (blasint)N);
    }
}
