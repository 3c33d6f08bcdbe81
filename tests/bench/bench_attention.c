/* How fast the attention kernels go, beside what the machine can do, measured in the same run:
 *
 *     prefill  1,024 rows (the 256 last tokens, 4 heads to one KV head) over 8,192 keys, plain and
 *              grouped (w = 1024, G = 8), in GFLOP/s, 4 d operations for each row and key it sees;
 *     decode   one token over 16,384 keys, with many rows to a KV head and few, in GB/s of keys and
 *              values read.
 *
 * For the highest level, in each arithmetic and cache type; with --all for every level. Numbers are
 * medians; plain and grouped take turns, for the machine's speed drifts. Beside prefill in bf16
 * stands what the library reaches in products of bf16, 512 x 2048 x 2048, in turns with it: what an
 * AMX machine is measured by. The library keeps to the level that QUIRE_ISA allows, not to --all's.
 *
 * usage: bench_attention [--all] [threads ...]     (1 2) */
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/half.h"
#include "kernels/machine_speed.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADS = 4, BLOCK = 128, REPEATS = 9 };

static void *allocate(int64_t bytes) {
    void *memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "bench_attention: no memory for %lld bytes\n", (long long)bytes);
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* On large pages, as the KV cache is. */
static void *allocate_pages(int64_t bytes) {
    const int64_t page = (int64_t)2 << 20;
    int64_t whole = (bytes + page - 1) / page * page;
    void *memory = aligned_alloc((size_t)page, (size_t)whole);
    if (!memory)
        return allocate(bytes);
    madvise(memory, (size_t)whole, MADV_HUGEPAGE);
    return memory;
}

/* Numbers in (-1, 1), the same in every run. */
static float *random_floats(int64_t n) {
    float *x = allocate(n * 4);
    uint64_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
    return x;
}

/* KV heads with their cache and the queries of the last tokens. */
struct load {
    int64_t count, rows, d, tokens;
    enum kv_type type;
    struct attention_task *tasks;
};

static struct load load_new(enum kv_type type, int64_t count, int64_t heads, int64_t rows,
                            int64_t d, int64_t tokens) {
    struct load load = {count, rows, d, tokens, type, allocate(count * 256)};
    int64_t bytes = tokens * kv_row_bytes(type, d);
    float *x = random_floats(2 * rows * d > d ? 2 * rows * d : d);
    for (int64_t i = 0; i < count; i++) {
        char *arrays = allocate_pages(3 * bytes);
        for (int64_t t = 0; t < 2 * tokens; t++) {
            float *row = x + t * 37 % rows * d;
            char *block = arrays + t / BLOCK * BLOCK * kv_row_bytes(type, d);
            kv_put_keys(type, block, t % BLOCK, 1, d, row);
            if (t < tokens)
                kv_put_values(type, block + 2 * bytes, t % BLOCK, 1, d, row);
        }
        float *results = allocate(rows * (d + 2) * 4);
        int64_t *positions = allocate(rows * 8);
        for (int64_t r = 0; r < rows; r++)
            positions[r] = tokens - rows / heads + r / heads;
        load.tasks[i] = (struct attention_task){{.type = type,
                                                 .head_dim = d,
                                                 .block = BLOCK,
                                                 .parts = 1,
                                                 .tokens = tokens,
                                                 .keys_near = arrays,
                                                 .ring_near = tokens / BLOCK,
                                                 .keys_far = arrays + bytes,
                                                 .values = arrays + 2 * bytes,
                                                 .ring_values = tokens / BLOCK},
                                                {rows, positions, x, x + rows * d, results,
                                                 results + rows * d, results + rows * (d + 1), 0}};
    }
    return load;
}

static void load_free(struct load *load) {
    free((void *)load->tasks[0].queries.near);
    for (int64_t i = 0; i < load->count; i++) {
        free((void *)load->tasks[i].keys.keys_near);
        free(load->tasks[i].queries.out);
        free((void *)load->tasks[i].queries.positions);
    }
    free(load->tasks);
}

static double load_time(const struct load *load, enum isa isa, enum compute compute,
                        enum attention_rule rule) {
    double start = omp_get_wtime();
    if (!attention_run(isa, compute, rule, 1024, load->tasks, load->count))
        exit(EXIT_FAILURE);
    return omp_get_wtime() - start;
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double times[REPEATS]) {
    qsort(times, REPEATS, sizeof *times, order);
    return times[REPEATS / 2];
}

/* What is measured: a level in an arithmetic over a cache type, on some threads, whose peaks are:
 */
struct setting {
    enum isa isa;
    enum compute compute;
    enum kv_type type;
    int threads;
    double gflops, gbs;
};

static void setting_print(const struct setting *s, const char *what, int64_t d) {
    printf("%-11s %-4s kv %-4s threads %d  %s d %3lld: ", isa_name(s->isa),
           compute_name(s->compute), kv_type_name(s->type), s->threads, what, (long long)d);
}

/* A product of a chunk with a weight, in bf16. */
struct product {
    struct gemm_scratch scratch;
    void *memory;
    float *x, *y;
    struct matrix w;
};

enum { PRODUCT_T = 512, PRODUCT_N = 2048, PRODUCT_K = 2048 };

static struct product product_new(void) {
    struct product p = {.x = random_floats(PRODUCT_T * PRODUCT_K),
                        .y = allocate(PRODUCT_T * PRODUCT_N * 4)};
    uint16_t *w = allocate(PRODUCT_N * PRODUCT_K * 2);
    for (int64_t i = 0; i < (int64_t)PRODUCT_N * PRODUCT_K; i++)
        w[i] = bf16_from_f32(p.x[i % (PRODUCT_T * PRODUCT_K)]);
    p.w = (struct matrix){.type = MATRIX_BF16, .rows = PRODUCT_N, .cols = PRODUCT_K, .data = w};
    p.memory = allocate(gemm_scratch_bytes(COMPUTE_BF16, false, PRODUCT_T, PRODUCT_K));
    p.scratch = gemm_scratch_slice(COMPUTE_BF16, false, PRODUCT_T, PRODUCT_K, p.memory);
    return p;
}

static void product_free(struct product *p) {
    free((void *)p->w.data);
    free(p->memory);
    free(p->x);
    free(p->y);
}

static double product_time(const struct product *p) {
    double start = omp_get_wtime();
    struct gemm_input in = gemm_prepare(&p->scratch, PRODUCT_T, PRODUCT_K, p->x);
    gemm_xwt(&in, &p->w, p->y);
    return omp_get_wtime() - start;
}

static void prefill(const struct setting *s, int64_t d) {
    struct load load = load_new(s->type, 1, HEADS, 1024, d, 8192);
    const struct attention_queries *queries = &load.tasks[0].queries;
    struct product product = {0};
    double pairs = 0, plain[REPEATS], grouped[REPEATS], products[REPEATS];
    for (int64_t r = 0; r < load.rows; r++)
        pairs += (double)(queries->positions[r] + 1);
    if (s->compute == COMPUTE_BF16) {
        product = product_new();
        product_time(&product); /* the library makes itself ready for the sizes */
    }
    for (int i = 0; i < REPEATS; i++) {
        if (s->compute == COMPUTE_BF16)
            products[i] = product_time(&product);
        plain[i] = load_time(&load, s->isa, s->compute, ATTENTION_ALL_NEAR);
        grouped[i] = load_time(&load, s->isa, s->compute, ATTENTION_GROUPED);
    }
    double work = pairs * 4e-9 * (double)d,
           rates[] = {work / median(plain), work / median(grouped)};
    setting_print(s, "prefill        ", d);
    printf("plain %6.1f GFLOP/s, %.3f of peak; grouped %6.1f, %.3f; time ratio %.3f\n", rates[0],
           rates[0] / s->gflops, rates[1], rates[1] / s->gflops, rates[0] / rates[1]);
    if (s->compute == COMPUTE_BF16) {
        double rate = 2e-9 * PRODUCT_T * PRODUCT_N * PRODUCT_K / median(products);
        printf("                                 products %6.1f GFLOP/s; attention over products: "
               "plain %.3f, grouped %.3f\n",
               rate, rates[0] / rate, rates[1] / rate);
    }
    fflush(stdout);
    product_free(&product);
    load_free(&load);
}

static void decode(const struct setting *s, int64_t d, int64_t heads) {
    struct load load = load_new(s->type, 1024 / d, heads, heads, d, 16384);
    double times[REPEATS];
    double bytes = 2.0 * (double)(load.count * load.tokens * kv_row_bytes(s->type, d));
    for (int i = 0; i < REPEATS; i++)
        times[i] = load_time(&load, s->isa, s->compute, ATTENTION_ALL_NEAR);
    double time = median(times), gbs = bytes * 1e-9 / time;
    char what[32];
    snprintf(what, sizeof what, "decode, %lld row%s", (long long)heads, heads > 1 ? "s" : " ");
    setting_print(s, what, d);
    printf("%5.1f GB/s, %.3f of peak; %.3f ms\n", gbs, gbs / s->gbs, time * 1e3);
    fflush(stdout);
    load_free(&load);
}

static void setting_run(const struct setting *s) {
    static const int64_t head_dims[] = {64, 128}, heads[] = {1, 4, 8};
    for (int i = 0; i < 2; i++)
        prefill(s, head_dims[i]);
    for (int i = 0; i < 2; i++)
        for (int h = 0; h < 3; h++)
            decode(s, head_dims[i], heads[h]);
}

int main(int argc, char **argv) {
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    static char *both[] = {"1", "2"};
    int count = argc > 1 + all ? argc - 1 - all : 2;
    char **threads = argc > 1 + all ? argv + 1 + all : both;
    enum isa best;
    if (!isa_chosen(&best)) {
        fprintf(stderr, "bench_attention: QUIRE_ISA names no level of this machine\n");
        return EXIT_FAILURE;
    }
    gemm_init();
    int64_t bytes = speed_memory_bytes();
    void *memory = speed_memory(bytes);
    if (!memory)
        return EXIT_FAILURE;
    for (int t = 0; t < count; t++) {
        struct setting s = {.threads = atoi(threads[t])};
        omp_set_num_threads(s.threads);
        double f32 = speed_f32(best, s.threads, 0.5) * 1e-9;
        double bf16 = speed_bf16(best, s.threads, 0.5) * 1e-9;
        double gbs = speed_read(best, s.threads, 0.5, memory, bytes) * 1e-9;
        printf("peak of %d threads: f32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, reading %.1f GB/s\n",
               s.threads, f32, bf16, gbs);
        for (enum isa isa = all ? ISA_GENERIC : best; isa <= best; isa++)
            for (enum compute compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++)
                for (enum kv_type type = KV_F32; type < KV_TYPES; type++) {
                    s.isa = isa;
                    s.compute = compute;
                    s.type = type;
                    s.gflops = compute == COMPUTE_BF16 ? bf16 : f32;
                    s.gbs = gbs;
                    if (compute == COMPUTE_F32 || (compute_has(compute, isa) && type != KV_F32))
                        setting_run(&s);
                }
    }
    gemm_close();
    free(memory);
    return EXIT_SUCCESS;
}
