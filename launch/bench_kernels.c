#include "launch/bench_kernels.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds that a kernel is run for in each round, at least once. */
#define SECONDS 0.03

/* Keys of the attention kernels: of a long chunk, and of a token that is generated. */
#define PREFILL_KEYS 8192
#define DECODE_KEYS 16384

/* Most kernels of a group. */
#define GROUP_MAX 24

/* Kernels of one level that are measured in turns. */
struct group {
    const struct session *session;
    struct bench_speed *speed;
    struct bench_kernels *kernels;
    enum isa isa;
    struct load loads[GROUP_MAX];
    int64_t count;
};

/* The group's next place. */
static struct load *next_load(struct group *g) {
    return &g->loads[g->count++];
}

static enum status take_product(struct group *g, enum matrix_type type, int64_t T, int64_t N,
                                int64_t K) {
    bool bf16 = type != MATRIX_F32 && compute_has(COMPUTE_BF16, g->isa);
    struct load_product product = {type, bf16 ? COMPUTE_BF16 : COMPUTE_F32, T, N, K};
    return load_open_product(&product, g->speed->memory, g->speed->bytes, next_load(g));
}

static enum status take_attention(struct group *g, struct load_attention attention) {
    attention.isa = g->isa;
    attention.group = shape_group(&g->session->shape);
    return load_open_attention(&attention, g->speed->memory, g->speed->bytes, next_load(g));
}

static enum speed peak_of(const struct load *load) {
    return bench_speed_of(load->is_attention ? load->attention.compute : load->product.compute);
}

static void describe(const struct load *load, struct bench_kernel *row) {
    const struct load_attention *a = &load->attention;
    const struct load_product *p = &load->product;
    if (load->is_attention) {
        snprintf(row->name, sizeof row->name, "attention_%s_%s_kv_%s",
                 a->tokens == 1 ? "decode" : "prefill", a->grouped ? "grouped" : "plain",
                 kv_type_name(a->kv));
        snprintf(row->shape, sizeof row->shape,
                 "tokens=%" PRId64 " keys=%" PRId64 " d=%" PRId64 " heads=%" PRId64 "x%" PRId64,
                 a->tokens, a->keys, a->head_dim, a->heads, a->group);
    } else {
        snprintf(row->name, sizeof row->name, "product_%s", matrix_type_name(p->weights));
        snprintf(row->shape, sizeof row->shape, "T=%" PRId64 " N=%" PRId64 " K=%" PRId64, p->T,
                 p->N, p->K);
    }
}

enum status bench_kernels_add(struct bench_kernels *k, int64_t more, struct bench_kernel **rows) {
    size_t bytes = (size_t)(k->count + more) * sizeof *k->rows;
    struct bench_kernel *all = realloc(k->rows, bytes + 1);
    if (!all)
        return status_no_memory("kernels", (long long)bytes);
    k->rows = all;
    *rows = all + k->count;
    memset(*rows, 0, (size_t)more * sizeof **rows);
    k->count += more;
    return STATUS_OK;
}

/* Rows for the group's kernels. */
static enum status take_rows(struct group *g, struct bench_kernel **rows) {
    TRY(bench_kernels_add(g->kernels, g->count, rows));
    for (int64_t i = 0; i < g->count; i++) {
        struct bench_kernel *row = *rows + i;
        row->isa = g->isa;
        row->peak = peak_of(&g->loads[i]);
        row->operations = load_operations(&g->loads[i]);
        row->bytes = load_bytes(&g->loads[i]);
        describe(&g->loads[i], row);
    }
    return STATUS_OK;
}

/* Runs per second here. */
static enum status runs_of_rank(struct load *load, double *rate) {
    int64_t runs = 0;
    double start = omp_get_wtime(), seconds;
    do {
        if (!load_run(load))
            return status_no_memory("attention", 1 << 20);
        runs++;
        seconds = omp_get_wtime() - start;
    } while (seconds < SECONDS);
    *rate = (double)runs / seconds;
    return STATUS_OK;
}

static enum status measure(struct group *g, int64_t index, struct bench_kernel *row) {
    MPI_Comm world = g->session->dist.world.comm;
    double own = 0, all;
    MPI_Barrier(world);
    TRY(status_agree(world, runs_of_rank(&g->loads[index], &own)));
    MPI_Allreduce(&own, &all, 1, MPI_DOUBLE, MPI_SUM, world);
    return samples_add(&row->runs, all);
}

/* Products once without a look at the clock: libraries make themselves ready for the sizes. Then all
 * in turns with the machine's own speed at the level. */
static enum status run_rounds(struct group *g, struct bench_kernel *rows) {
    for (int64_t i = 0; i < g->count; i++)
        if (!g->loads[i].is_attention)
            load_run(&g->loads[i]);
    for (int64_t round = 0; round < g->session->options->runs; round++) {
        double peaks[SPEED_COUNT];
        for (enum speed what = 0; what < SPEED_COUNT; what++)
            peaks[what] = bench_speed_with(g->speed, what, g->isa, g->speed->threads);
        for (int64_t i = 0; i < g->count; i++) {
            for (enum speed what = 0; what < SPEED_COUNT; what++)
                TRY(samples_add(&rows[i].peaks[what], peaks[what]));
            TRY(measure(g, i, &rows[i]));
        }
    }
    return STATUS_OK;
}

/* Measures what `take` puts into a group, the loads being open only as long. Collective(world). */
static enum status run_group(const struct session *session, struct bench_speed *speed,
                             struct bench_kernels *kernels, enum isa isa, int64_t a, int64_t b,
                             enum status (*take)(struct group *, int64_t, int64_t)) {
    struct group *g = calloc(1, sizeof *g);
    struct bench_kernel *rows = NULL;
    if (!g)
        return status_no_memory("kernels", (long long)sizeof *g);
    *g = (struct group){.session = session, .speed = speed, .kernels = kernels, .isa = isa};
    enum status status = take(g, a, b);
    if (status == STATUS_OK)
        status = take_rows(g, &rows);
    status = status_agree(session->dist.world.comm, status);
    if (status == STATUS_OK)
        status = run_rounds(g, rows);
    for (int64_t i = 0; i < g->count; i++)
        load_close(&g->loads[i]);
    free(g);
    return status;
}

/* A weight [N, K] with one token, a few, and a chunk, in the types that --weights names. */
static enum status take_products(struct group *g, int64_t N, int64_t K) {
    static const int64_t tokens[] = {1, 8, 512};
    bool is_head = N == g->session->shape.vocab; /* only ever meets one token */
    for (enum matrix_type type = MATRIX_F32; type <= MATRIX_Q4_0; type++)
        for (int i = 0; i < (is_head ? 1 : 3); i++)
            if (K % matrix_block(type) == 0 &&
                (type != MATRIX_BF16 || compute_has(COMPUTE_BF16, g->isa)))
                TRY(take_product(g, type, tokens[i], N, K));
    return STATUS_OK;
}

/* The products are libraries' for the most part, which keep to one level for the whole run:
 * bench_levels.h has the others. */
static enum status run_products(const struct session *session, struct bench_speed *speed,
                                struct bench_kernels *kernels) {
    const struct shape *s = &session->shape;
    int64_t D = s->hidden, Q = s->heads * s->head_dim, K = s->kv_heads * s->head_dim;
    const int64_t sizes[][2] = {{Q, D}, {K, D}, {D, Q}, {s->ffn, D}, {D, s->ffn}, {s->vocab, D}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || memcmp(sizes[i], sizes[j], sizeof sizes[i]) == 0;
        if (!seen)
            TRY(run_group(session, speed, kernels, session->isa, sizes[i][0], sizes[i][1],
                          take_products));
    }
    return STATUS_OK;
}

/* Heads of which keys and values together are far beyond the caches, 4 at least. */
static int64_t heads_beyond_caches(const struct group *g, int64_t keys, int64_t d,
                                   enum kv_type kv) {
    int64_t heads = g->speed->bytes / 2 / (2 * keys * kv_row_bytes(kv, d));
    return heads > 4 ? heads : 4;
}

/* Attention of a chunk and of one token, plain and in two zones; the slower the level, the fewer
 * tokens a chunk has. */
static enum status take_attentions(struct group *g, int64_t d, int64_t unused) {
    (void)unused;
    int64_t chunk = g->isa >= ISA_AVX512_BF16 ? 256 : g->isa >= ISA_AVX2 ? 64 : 8;
    for (enum kv_type kv = KV_F32; kv < KV_TYPES; kv++) {
        struct load_attention a = {
            .kv = kv,
            .compute = kv != KV_F32 && g->isa >= ISA_AVX512_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
            .head_dim = d};
        for (int grouped = 0; grouped <= 1; grouped++) {
            a.grouped = grouped;
            a.tokens = chunk;
            a.keys = PREFILL_KEYS;
            a.heads = 4;
            TRY(take_attention(g, a));
            a.tokens = 1;
            a.keys = DECODE_KEYS;
            a.heads = heads_beyond_caches(g, a.keys, d, kv);
            TRY(take_attention(g, a));
        }
    }
    return STATUS_OK;
}

enum status bench_kernels_run(const struct session *session, struct bench_speed *speed, bool few,
                              struct bench_kernels *kernels) {
    const struct shape *s = &session->shape;
    if (few)
        return run_group(session, speed, kernels, session->isa, s->ffn, s->hidden, take_products);
    TRY(run_products(session, speed, kernels));
    for (enum isa isa = session->isa + 1; isa-- > ISA_GENERIC;)
        for (int64_t d = 64; d <= 128; d *= 2)
            TRY(run_group(session, speed, kernels, isa, d, 0, take_attentions));
    return STATUS_OK;
}

void bench_kernels_free(struct bench_kernels *kernels) {
    for (int64_t i = 0; i < kernels->count; i++) {
        samples_free(&kernels->rows[i].runs);
        for (enum speed what = 0; what < SPEED_COUNT; what++)
            samples_free(&kernels->rows[i].peaks[what]);
    }
    free(kernels->rows);
    memset(kernels, 0, sizeof *kernels);
}

double bench_kernel_operations(const struct bench_kernel *kernel) {
    return kernel->operations * samples_median(&kernel->runs);
}

double bench_kernel_bytes(const struct bench_kernel *kernel) {
    return kernel->bytes * samples_median(&kernel->runs);
}

double bench_kernel_of_peak(const struct bench_kernel *kernel, bool *by_memory) {
    double peak = samples_median(&kernel->peaks[kernel->peak]);
    double read = samples_median(&kernel->peaks[SPEED_READ]);
    double computing = peak > 0 ? bench_kernel_operations(kernel) / peak : 0;
    double reading = read > 0 ? bench_kernel_bytes(kernel) / read : 0;
    *by_memory = reading > computing;
    return *by_memory ? reading : computing;
}
