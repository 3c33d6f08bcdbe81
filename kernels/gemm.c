#include "kernels/gemm.h"

#include "kernels/gemm_bf16.h"
#include "kernels/pulse.h"
#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

void gemm_init(void) {
    enum isa isa;
    isa_chosen(&isa);
    openblas_set_num_threads(1);
    gemm_many_init(isa);
}

void gemm_close(void) {
    gemm_many_close();
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
    static const char *const *const levels[] = {generic, avx2, avx512};
    for (const char *const *name = levels[isa]; *name; name++)
        if (strcmp(core, *name) == 0)
            return true;
    return false;
}

const char *gemm_core_choose(enum isa isa, const char *core, const char *variable) {
    /* The lowest of each level, which every processor of the level runs. */
    static const char *const lowest[] = {"Prescott", "Haswell", "SkylakeX"};
    if (isa > ISA_AVX512) /* what is above differs in bf16 alone */
        isa = ISA_AVX512;
    if (core_is_of(core, isa) || (variable && strcmp(variable, lowest[isa]) == 0))
        return NULL;
    return lowest[isa];
}

const char *gemm_core_wanted(void) {
    enum isa isa;
    isa_chosen(&isa);
    return gemm_core_choose(isa, gemm_core(), getenv("OPENBLAS_CORETYPE"));
}

static int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Tokens up to which the product is made token by token: below, OpenBLAS's rearranging of the
 * weight costs more than reading it again from the cache. */
#define FEW_TOKENS 8
/* The same for weights in bf16, a piece of whose rows up to GEMM_FEW tokens at a time pass over. */
#define ROUNDED_FEW 16
/* Bytes of a weight's rows that stay in a core's cache while the tokens pass over them. */
#define CACHED_BYTES (256 * 1024)
/* Multiplications that are worth another thread. The team is the whole one all the same, some
 * without work, or none: libgomp ends the threads that a smaller team leaves out and has to start
 * them again for the next, which costs more than any of this. */
#define THREAD_WORK 32768

/* y for the weight's rows [n, n + rows) and a few tokens: each row is read from memory once. */
static void few_tokens(int64_t T, int64_t N, int64_t K, int64_t n, int64_t rows, const float *x,
                       const float *w, float *y) {
    int64_t step = CACHED_BYTES / (K * (int64_t)sizeof *w) + 1;
    for (int64_t at = n; at < n + rows; at += step)
        for (int64_t t = 0; t < T; t++)
            cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)min_of(step, n + rows - at),
                        (blasint)K, 1, w + at * K, (blasint)K, x + t * K, 1, 0, y + t * N + at, 1);
}

/* The threads as a grid over tokens and weight rows: into how many parts the tokens go. A thread
 * rearranges its tokens and its weight rows, so the grid with the least of both is taken. */
static int64_t token_parts(int64_t T, int64_t N, int64_t threads) {
    int64_t best = 1;
    for (int64_t parts = 2; parts <= threads; parts++)
        if (threads % parts == 0 && T / parts + N * parts / threads < T / best + N * best / threads)
            best = parts;
    return best;
}

/* y [T, N], its rows `stride` apart. */
static void product_f32(int64_t T, int64_t N, int64_t K, const float *x, const float *w,
                        int64_t stride, float *y) {
    int64_t threads = min_of(omp_get_max_threads(), T * N * K / THREAD_WORK + 1);
    int64_t parts = token_parts(T, N, threads), columns = threads / parts;
#pragma omp parallel for schedule(static) if (threads > 1)
    for (int64_t i = 0; i < threads; i++) {
        int64_t t = T * (i / columns) / parts, tokens = T * (i / columns + 1) / parts - t;
        int64_t n = N * (i % columns) / columns, rows = N * (i % columns + 1) / columns - n;
        if (tokens == 0 || rows == 0)
            continue;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)tokens, (blasint)rows,
                    (blasint)K, 1, x + t * K, (blasint)K, w + n * K, (blasint)K, 0,
                    y + t * stride + n, (blasint)stride);
    }
}

/* The weight's rows [n, n + rows) for any number of tokens, a few at a time. */
static void few_rounded(int64_t T, int64_t N, int64_t K, int64_t n, int64_t rows, const uint16_t *x,
                        const uint16_t *w, float *y) {
    int64_t passes = (T + GEMM_FEW - 1) / GEMM_FEW;
    for (int64_t pass = 0; pass < passes; pass++) {
        int64_t t = T * pass / passes, tokens = T * (pass + 1) / passes - t;
        gemm_few(tokens, N, K, n, n + rows, x + t * K, w, y + t * N);
    }
}

static void product_bf16(int64_t T, int64_t N, int64_t K, const uint16_t *x, const uint16_t *w,
                         int64_t stride, float *y) {
    if (T > GEMM_FEW && gemm_many(T, N, K, x, w, stride, y))
        return;
    int64_t threads = min_of(omp_get_max_threads(), T * N * K / THREAD_WORK + 1);
#pragma omp parallel for schedule(static) if (threads > 1)
    for (int64_t i = 0; i < threads; i++)
        few_rounded(T, stride, K, N * i / threads, N * (i + 1) / threads - N * i / threads, x, w,
                    y);
}

/* Bytes of a panel of widened rows, unless one group of rows takes more: enough that a product with
 * it is worth its threads' meeting, and few enough to stay in the caches until it is read again. */
#define PANEL_BYTES ((int64_t)8 << 20)

static int64_t panel_bytes(enum compute compute, int64_t K) {
    int64_t group = QUANT_ROWS * K * (compute == COMPUTE_BF16 ? 2 : 4);
    return group > PANEL_BYTES ? group : PANEL_BYTES;
}

static int64_t aligned(int64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static int64_t rounded_bytes(enum compute compute, int64_t T, int64_t K) {
    return compute == COMPUTE_BF16 ? aligned(T * K * 2) : 0;
}

static int64_t blocks_bytes(int64_t T, int64_t K) {
    return aligned(quant_input_bytes(min_of(T, QUANT_FEW), quant_input_blocks(K)));
}

int64_t gemm_scratch_bytes(enum compute compute, bool blocks, int64_t T, int64_t K) {
    int64_t bytes = rounded_bytes(compute, T, K);
    if (blocks)
        bytes += blocks_bytes(T, K) + aligned(panel_bytes(compute, K));
    return bytes;
}

struct gemm_scratch gemm_scratch_slice(enum compute compute, bool blocks, int64_t T, int64_t K,
                                       void *memory) {
    char *at = memory;
    struct gemm_scratch scratch = {.compute = compute};
    if (memory && compute == COMPUTE_BF16)
        scratch.rounded = memory;
    if (memory && blocks) {
        scratch.blocks = at + rounded_bytes(compute, T, K);
        scratch.panel = at + rounded_bytes(compute, T, K) + blocks_bytes(T, K);
    }
    return scratch;
}

/* Panel after panel, all of about the same number of rows. */
static void product_panels(const struct gemm_input *in, const struct matrix *w, float *y) {
    bool bf16 = in->scratch.compute == COMPUTE_BF16;
    int64_t N = w->rows, K = w->cols, groups = (N + QUANT_ROWS - 1) / QUANT_ROWS;
    int64_t most = panel_bytes(in->scratch.compute, K) / (QUANT_ROWS * K * (bf16 ? 2 : 4));
    int64_t panels = (groups + most - 1) / most;
    void *panel = in->scratch.panel;
    for (int64_t p = 0; p < panels; p++) {
        int64_t n = groups * p / panels * QUANT_ROWS;
        int64_t rows = min_of(groups * (p + 1) / panels * QUANT_ROWS, N) - n;
        if (bf16) {
            quant_widen_bf16(w, n, rows, panel);
            product_bf16(in->T, rows, K, in->scratch.rounded, panel, N, y + n);
        } else {
            quant_widen_f32(w, n, rows, panel);
            product_f32(in->T, rows, K, in->x, panel, N, y + n);
        }
        pulse_beat();
    }
}

struct gemm_input gemm_prepare(const struct gemm_scratch *scratch, int64_t T, int64_t K,
                               const float *x) {
    return (struct gemm_input){.T = T, .K = K, .x = x, .scratch = *scratch};
}

static void input_round(struct gemm_input *in) {
    if (in->is_rounded)
        return;
    int64_t n = in->T * in->K, threads = min_of(omp_get_max_threads(), n / THREAD_WORK + 1);
#pragma omp parallel for schedule(static) if (threads > 1)
    for (int64_t i = 0; i < threads; i++)
        gemm_round(n * (i + 1) / threads - n * i / threads, in->x + n * i / threads,
                   in->scratch.rounded + n * i / threads);
    in->is_rounded = true;
}

/* Multiplications of a thread between two beats: about half a millisecond. */
#define PULSE_WORK ((int64_t)1 << 27)

/* The weight's rows in one piece, or in several when somebody wants beats between them. */
static void product_plain(const struct gemm_input *in, const struct matrix *w, float *y) {
    int64_t T = in->T, N = w->rows, K = w->cols, step = N;
    if (pulse_wanted())
        step = (PULSE_WORK * omp_get_max_threads() / (T * K) / 64 + 1) * 64;
    for (int64_t n = 0; n < N; n += step) {
        int64_t rows = min_of(step, N - n);
        if (w->type == MATRIX_F32)
            product_f32(T, rows, K, in->x, (const float *)w->data + n * K, N, y + n);
        else
            product_bf16(T, rows, K, in->scratch.rounded, (const uint16_t *)w->data + n * K, N,
                         y + n);
        pulse_beat();
    }
}

/* One product on all threads, of as many tokens as there are. */
static void product_many(struct gemm_input *in, const struct gemm_output *out) {
    const struct matrix *w = out->w;
    bool blocks = quant_type(w->type) != NULL;
    if (blocks ? in->scratch.compute == COMPUTE_BF16 : w->type != MATRIX_F32)
        input_round(in);
    if (blocks)
        product_panels(in, w, out->y);
    else
        product_plain(in, w, out->y);
}

/* -- few tokens -------------------------------------------------------------------------------- */

static bool are_few(int64_t T, const struct matrix *w) {
    return T <= (quant_type(w->type)     ? quant_few_tokens()
                 : w->type == MATRIX_F32 ? FEW_TOKENS
                                         : ROUNDED_FEW);
}

/* The input in the form that the weight's type takes for a few tokens. */
static void few_input(struct gemm_input *in, const struct matrix *w) {
    if (quant_type(w->type) && in->in_blocks.T == 0)
        in->in_blocks = quant_input_make(w, in->T, in->x, in->scratch.blocks);
    else if (w->type == MATRIX_BF16)
        input_round(in);
}

/* Weights of a piece, which one thread multiplies, in whole groups of rows. Threads take many
 * pieces at first and single ones at last, so that none waits long for one that was held up. */
#define PIECE_VALUES (32 * 1024)

static int64_t piece_rows(const struct matrix *w) {
    return QUANT_ROWS * (1 + PIECE_VALUES / (QUANT_ROWS * w->cols));
}

static int64_t piece_count(const struct matrix *w) {
    return (w->rows + piece_rows(w) - 1) / piece_rows(w);
}

/* One piece of one of the products, the pieces counted through all of them. */
static void few_piece(const struct gemm_input *in, const struct gemm_output *out, int64_t piece) {
    for (; piece >= piece_count(out->w); out++)
        piece -= piece_count(out->w);
    const struct matrix *w = out->w;
    int64_t n = piece * piece_rows(w), rows = min_of(piece_rows(w), w->rows - n);
    if (quant_type(w->type))
        quant_few(&in->in_blocks, w, n, rows, out->y);
    else if (w->type == MATRIX_F32)
        few_tokens(in->T, w->rows, in->K, n, rows, in->x, w->data, out->y);
    else
        few_rounded(in->T, w->rows, in->K, n, rows, in->scratch.rounded, w->data, out->y);
}

/* Memory bounds these products, so one team is started for all of them. */
static void products_few(struct gemm_input *in, const struct gemm_output *outputs, int count) {
    int64_t work = 0, pieces = 0;
    for (int i = 0; i < count; i++) {
        few_input(in, outputs[i].w);
        work += in->T * outputs[i].w->rows * in->K;
        pieces += piece_count(outputs[i].w);
    }
#pragma omp parallel for schedule(guided) if (work > THREAD_WORK)
    for (int64_t piece = 0; piece < pieces; piece++)
        few_piece(in, outputs, piece);
}

void gemm_xwt_each(struct gemm_input *in, const struct gemm_output *outputs, int count) {
    bool few = true;
    if (in->T <= 0)
        return;
    if (in->K <= 0) {
        for (int i = 0; i < count; i++)
            memset(outputs[i].y, 0, (size_t)(in->T * outputs[i].w->rows) * sizeof(float));
        return;
    }
    for (int i = 0; i < count; i++)
        few = few && are_few(in->T, outputs[i].w);
    if (few) {
        products_few(in, outputs, count);
        return;
    }
    for (int i = 0; i < count; i++)
        if (are_few(in->T, outputs[i].w))
            products_few(in, &outputs[i], 1);
        else if (outputs[i].w->rows > 0)
            product_many(in, &outputs[i]);
}

void gemm_xwt(struct gemm_input *in, const struct matrix *w, float *y) {
    gemm_xwt_each(in, &(struct gemm_output){w, y}, 1);
}
