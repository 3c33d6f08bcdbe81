/* What is computed where: rows into tiles, the tiles' keys into spans, spans onto threads. */
#include "kernels/attention.h"
#include "kernels/attention_step.h"
#include "kernels/pulse.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const struct attention_kernel *const kernels_f32[ISA_COUNT] = {
    &attention_generic, &attention_avx2, &attention_avx512, &attention_avx512, &attention_avx512};

static const struct attention_kernel *const kernels_bf16[ISA_COUNT] = {
    &attention_generic_bf16, &attention_generic_bf16, &attention_generic_bf16,
    &attention_avx512_bf16, &attention_amx};

/* A row tile: rows [row, row + rows) of a task against the local blocks [block_first, block_end),
 * which are every one that holds a key the rows see. Its blocks go to `parts` spans; the results of
 * several are kept in `partials` [parts][rows][d + 2] until they are merged. */
struct tile {
    const struct attention_task *task;
    int64_t row, rows;
    int64_t block_first, block_end;
    int64_t parts;
    float *partials; /* NULL: the only span writes the task's arrays */
};

/* The part-th share of a tile's blocks. */
struct span {
    const struct tile *tile;
    int64_t part;
    int64_t block_first, block_end;
};

/* A thread's memory for one tile. */
struct scratch {
    float *out, *max, *sums, *scores, *far_scores, *correction, *wide;
    int32_t *first, *border, *end;
    uint16_t *near, *far, *weights, *padded; /* where the kernel rounds */
    void *keys_near, *keys_far, *values;     /* a tile that was q8_0 */
};

/* One call: what holds for all of it, and everything it allocates. */
struct job {
    const struct attention_kernel *kernel;
    enum attention_rule rule;
    int64_t window, threads;
    int64_t rows_max, d_max; /* of a tile */
    bool q8_0;               /* some task's cache is */
    struct tile *tiles;
    int64_t tile_count;
    struct span *spans;
    int64_t span_count;
    float *partials;
    char *scratch; /* [threads][scratch_size] */
    int64_t scratch_size;
};

/* A span has no more than a thread's share of the work by this, so that threads end together and a
 * decoded token's few rows keep all of them busy; and no fewer keys than these. */
#define SPANS_PER_THREAD 8
#define SPAN_KEYS 256

/* Rows up to which tiles of 16 by 16 are left to the level below: they would stand mostly empty. */
#define FEW_ROWS 12

static int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t clamp(int64_t x, int64_t limit) {
    return x < 0 ? 0 : min_of(x, limit);
}

static int64_t round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

static int64_t stride_of(int64_t head_dim) {
    return round_up(head_dim, STEP_LANES);
}

/* Global tokens that a row at `position` may see: those before this one. */
static int64_t tokens_seen(const struct kv_view *keys, int64_t position) {
    return min_of(position + 1, keys->tokens);
}

/* Local blocks that hold a global token below `tokens`. */
static int64_t blocks_before(const struct kv_view *keys, int64_t tokens) {
    int64_t beyond = tokens - keys->first - keys->part * keys->block;
    return beyond <= 0 ? 0 : (beyond - 1) / (keys->parts * keys->block) + 1;
}

/* Local blocks all of whose tokens lie below the global `token`. */
static int64_t blocks_below(const struct kv_view *keys, int64_t token) {
    int64_t beyond = (token - keys->first) / keys->block - keys->part;
    return token <= keys->first || beyond <= 0 ? 0 : (beyond - 1) / keys->parts + 1;
}

/* The t-th tile of a task, in one part. False behind the last. */
static bool tile_make(const struct job *job, const struct attention_task *task, int64_t t,
                      struct tile *tile) {
    int64_t most = job->kernel->rows;
    *tile = (struct tile){.task = task, .row = t * most, .parts = 1};
    tile->rows = min_of(most, task->queries.rows - tile->row);
    if (tile->rows <= 0)
        return false;
    const struct kv_view *keys = &task->keys;
    const int64_t *positions = task->queries.positions + tile->row;
    tile->block_end = blocks_before(keys, tokens_seen(keys, positions[tile->rows - 1]));
    if (job->rule == ATTENTION_MASKED)
        tile->block_first =
            min_of(blocks_below(keys, positions[0] - job->window + 1), tile->block_end);
    return true;
}

static int64_t tile_work(const struct tile *tile) {
    return (tile->block_end - tile->block_first) * tile->rows;
}

static int64_t span_work(const struct span *span) {
    return (span->block_end - span->block_first) * span->tile->rows;
}

/* Longest first: the threads then end at about the same time. */
static int span_order(const void *a, const void *b) {
    int64_t x = span_work(a), y = span_work(b);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Sets the zones of a step whose rows all see all of its keys in one zone, which the first and the
 * last row tell, for positions do not decrease. False where that is not so. */
static bool step_alike(const struct job *job, const int64_t *positions, int64_t token,
                       struct attention_step *step) {
    bool all_far =
        job->rule == ATTENTION_GROUPED && positions[0] - job->window + 1 - token >= step->keys;
    bool all_near =
        job->rule == ATTENTION_ALL_NEAR || positions[step->rows - 1] - job->window < token;
    if (step->keys % KV_GROUP != 0 || positions[0] + 1 - token < step->keys ||
        (!all_far && !all_near))
        return false;
    step->masked = false;
    step->far_groups = all_far ? step->keys / KV_GROUP : 0;
    step->near_group = step->far_groups;
    return true;
}

/* Which of the step's keys, the global tokens from `token` on, the rows see and in which zone.
 * False when none sees any. */
static bool step_zones(const struct job *job, const int64_t *positions, int64_t token,
                       const struct scratch *scratch, struct attention_step *step) {
    if (step_alike(job, positions, token, step))
        return true;
    int64_t seen = 0, far_end = 0, near_first = step->keys;
    for (int64_t r = 0; r < step->rows; r++) {
        int64_t end = clamp(positions[r] + 1 - token, step->keys), border = 0;
        if (job->rule != ATTENTION_ALL_NEAR)
            border = clamp(positions[r] - job->window + 1 - token, end);
        int64_t first = job->rule == ATTENTION_MASKED ? border : 0;
        scratch->first[r] = (int32_t)first;
        scratch->border[r] = (int32_t)border;
        scratch->end[r] = (int32_t)end;
        seen = max_of(seen, first < end ? end : 0);
        if (job->rule == ATTENTION_GROUPED)
            far_end = max_of(far_end, border);
        if (border < end)
            near_first = min_of(near_first, border);
    }
    step->masked = true;
    step->keys = seen;
    step->far_groups = (far_end + KV_GROUP - 1) / KV_GROUP;
    step->near_group = near_first / KV_GROUP;
    return seen > 0;
}

/* Place of local block b in an array of `ring` slots, `offset` tokens into the block. */
static const void *block_at(const struct kv_view *keys, const void *blocks, int64_t ring, int64_t b,
                            int64_t offset) {
    int64_t token = b % ring * keys->block + offset;
    return (const char *)blocks + token * kv_row_bytes(keys->type, keys->head_dim);
}

/* Puts the step's tile into scratch, in the type that the kernel takes instead of q8_0. */
static void step_widen(const struct kv_widener *q8_0, const struct scratch *scratch,
                       struct attention_step *step) {
    int64_t groups = round_up(step->keys, KV_GROUP) / KV_GROUP, d = step->head_dim;
    step->type = q8_0->type;
    q8_0->keys(d, 0, step->far_groups, step->keys_far, scratch->keys_far);
    q8_0->keys(d, step->near_group, groups, step->keys_near, scratch->keys_near);
    q8_0->values(d, 0, groups, step->values, scratch->values);
    step->keys_far = scratch->keys_far;
    step->keys_near = scratch->keys_near;
    step->values = scratch->values;
}

static void step_run(const struct attention_kernel *kernel, const struct scratch *scratch,
                     struct attention_step *step) {
    if (step->type != KV_Q8_0) {
        kernel->run(step);
    } else if (step->rows <= ATTENTION_FEW_ROWS && kernel->run_few_q8_0) {
        kernel->run_few_q8_0(step);
    } else {
        step_widen(kernel->q8_0, scratch, step);
        kernel->run(step);
        step->type = KV_Q8_0;
    }
}

static void span_steps(const struct job *job, const struct span *span,
                       const struct scratch *scratch) {
    const struct tile *tile = span->tile;
    const struct kv_view *keys = &tile->task->keys;
    const struct attention_queries *queries = &tile->task->queries;
    const int64_t *positions = queries->positions + tile->row;
    int64_t tokens = tokens_seen(keys, positions[tile->rows - 1]);
    bool grouped = job->rule == ATTENTION_GROUPED;
    struct attention_step step = {.rows = tile->rows,
                                  .head_dim = keys->head_dim,
                                  .stride = stride_of(keys->head_dim),
                                  .near = queries->near + tile->row * keys->head_dim,
                                  .score_cap = queries->score_cap,
                                  .stride_rounded = round_up(keys->head_dim, STEP_PAIRS),
                                  .near_rounded = scratch->near,
                                  .far_rounded = scratch->far,
                                  .type = keys->type,
                                  .first = scratch->first,
                                  .border = scratch->border,
                                  .end = scratch->end,
                                  .out = scratch->out,
                                  .max = scratch->max,
                                  .sums = scratch->sums,
                                  .scores = scratch->scores,
                                  .far_scores = scratch->far_scores,
                                  .weights = scratch->weights,
                                  .correction = scratch->correction,
                                  .wide = scratch->wide,
                                  .padded = scratch->padded};
    if (grouped)
        step.far = queries->far + tile->row * keys->head_dim;
    for (int64_t b = span->block_first; b < span->block_end; b++) {
        for (int64_t offset = 0; offset < keys->block; offset += job->kernel->keys) {
            int64_t token = keys->first + (b * keys->parts + keys->part) * keys->block + offset;
            step.keys = min_of(min_of(job->kernel->keys, keys->block - offset), tokens - token);
            if (step.keys <= 0 || !step_zones(job, positions, token, scratch, &step))
                continue;
            if (step.near_group * KV_GROUP < step.keys)
                step.keys_near = block_at(keys, keys->keys_near, keys->ring_near, b, offset);
            if (step.far_groups > 0) /* every far block is there: a ring that never comes round */
                step.keys_far = block_at(keys, keys->keys_far, INT64_MAX, b, offset);
            step.values = block_at(keys, keys->values, keys->ring_values, b, offset);
            step_run(job->kernel, scratch, &step);
        }
    }
}

/* The rows of a tile in bf16, padded with zeros. */
static void queries_round(const struct job *job, const struct tile *tile, const float *queries,
                          uint16_t *rounded) {
    int64_t d = tile->task->keys.head_dim, stride = round_up(d, STEP_PAIRS);
    for (int64_t r = 0; r < tile->rows; r++) {
        job->kernel->round(d, queries + (tile->row + r) * d, rounded + r * stride);
        memset(rounded + r * stride + d, 0, (size_t)(stride - d) * sizeof *rounded);
    }
}

static void span_run(const struct job *job, const struct span *span,
                     const struct scratch *scratch) {
    const struct tile *tile = span->tile;
    const struct attention_queries *queries = &tile->task->queries;
    int64_t d = tile->task->keys.head_dim, stride = stride_of(d);
    memset(scratch->out, 0, (size_t)(tile->rows * stride) * sizeof *scratch->out);
    memset(scratch->sums, 0, (size_t)(tile->rows * STEP_LANES) * sizeof *scratch->sums);
    for (int64_t r = 0; r < tile->rows; r++)
        scratch->max[r] = -INFINITY;
    if (job->kernel->rounds)
        queries_round(job, tile, queries->near, scratch->near);
    if (job->kernel->rounds && job->rule == ATTENTION_GROUPED)
        queries_round(job, tile, queries->far, scratch->far);
    span_steps(job, span, scratch);

    for (int64_t r = 0; r < tile->rows; r++) {
        float *out = queries->out + (tile->row + r) * d;
        float *max = queries->max + tile->row + r, *sum = queries->sum + tile->row + r;
        if (tile->partials) {
            out = tile->partials + (span->part * tile->rows + r) * (d + 2);
            max = out + d;
            sum = out + d + 1;
        }
        memcpy(out, scratch->out + r * stride, (size_t)d * sizeof *out);
        *max = job->kernel->rounds ? scratch->max[r] * (float)M_LN2 : scratch->max[r];
        *sum = 0;
        for (int64_t lane = 0; lane < STEP_LANES; lane++)
            *sum += scratch->sums[r * STEP_LANES + lane];
    }
}

/* out = sum_p exp(max_p - max) out_p, not divided. A part that saw no key has sum 0 and is left
 * out, for its maximum is -infinity; a NaN gets through. */
static void partials_merge(const float *partials, int64_t parts, int64_t stride, int64_t d,
                           float *out, float *max, float *sum) {
    *max = -INFINITY;
    *sum = 0;
    memset(out, 0, (size_t)d * sizeof *out);
    for (int64_t p = 0; p < parts; p++)
        if (partials[p * stride + d] > *max)
            *max = partials[p * stride + d];
    for (int64_t p = 0; p < parts; p++) {
        const float *partial = partials + p * stride;
        if (partial[d + 1] == 0)
            continue;
        float weight = expf(partial[d] - *max);
        *sum += weight * partial[d + 1];
        for (int64_t i = 0; i < d; i++)
            out[i] += weight * partial[i];
    }
}

void attention_merge(const float *partials, int64_t parts, int64_t stride, int64_t head_dim,
                     float *out) {
    float max, sum;
    partials_merge(partials, parts, stride, head_dim, out, &max, &sum);
    if (sum == 0)
        return;
    for (int64_t i = 0; i < head_dim; i++)
        out[i] /= sum;
}

static void tile_merge(const struct tile *tile) {
    const struct attention_queries *queries = &tile->task->queries;
    int64_t d = tile->task->keys.head_dim;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t row = tile->row + r;
        partials_merge(tile->partials + r * (d + 2), tile->parts, tile->rows * (d + 2), d,
                       queries->out + row * d, queries->max + row, queries->sum + row);
    }
}

static bool job_tiles(struct job *job, const struct attention_task *tasks, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        job->tile_count += round_up(tasks[i].queries.rows, job->kernel->rows) / job->kernel->rows;
    job->tiles = malloc((size_t)(job->tile_count + 1) * sizeof *job->tiles);
    if (!job->tiles)
        return false;
    struct tile *tile = job->tiles;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t t = 0; tile_make(job, tasks + i, t, tile); t++) {
            job->rows_max = max_of(job->rows_max, tile->rows);
            job->d_max = max_of(job->d_max, tasks[i].keys.head_dim);
            job->q8_0 = job->q8_0 || tasks[i].keys.type == KV_Q8_0;
            tile++;
        }
    }
    return true;
}

/* Cuts the tiles' keys into spans, and gives those with several the memory for their results. */
static bool job_spans(struct job *job) {
    int64_t work = 0, floats = 0;
    for (int64_t t = 0; t < job->tile_count; t++)
        work += tile_work(job->tiles + t);
    int64_t limit = work / (SPANS_PER_THREAD * job->threads) + 1;
    for (int64_t t = 0; t < job->tile_count; t++) {
        struct tile *tile = job->tiles + t;
        const struct kv_view *keys = &tile->task->keys;
        int64_t blocks_least = (SPAN_KEYS - 1) / keys->block + 1;
        int64_t most = (tile->block_end - tile->block_first) / blocks_least;
        if (job->threads > 1)
            tile->parts = max_of(1, min_of(most, (tile_work(tile) + limit - 1) / limit));
        job->span_count += tile->parts;
        if (tile->parts > 1)
            floats += tile->parts * tile->rows * (keys->head_dim + 2);
    }
    job->spans = malloc((size_t)(job->span_count + 1) * sizeof *job->spans);
    job->partials = malloc((size_t)(floats + 1) * sizeof *job->partials);
    if (!job->spans || !job->partials)
        return false;

    struct span *span = job->spans;
    float *partials = job->partials;
    for (int64_t t = 0; t < job->tile_count; t++) {
        struct tile *tile = job->tiles + t;
        int64_t blocks = tile->block_end - tile->block_first, first = tile->block_first;
        for (int64_t p = 0; p < tile->parts; p++)
            *span++ = (struct span){.tile = tile,
                                    .part = p,
                                    .block_first = first + blocks * p / tile->parts,
                                    .block_end = first + blocks * (p + 1) / tile->parts};
        if (tile->parts > 1) {
            tile->partials = partials;
            partials += tile->parts * tile->rows * (tile->task->keys.head_dim + 2);
        }
    }
    qsort(job->spans, (size_t)job->span_count, sizeof *job->spans, span_order);
    return true;
}

/* Carves a thread's arrays, each on a cache line, out of memory; only counts without. */
struct carver {
    char *memory;
    int64_t used;
};

static void *carve(struct carver *c, int64_t elements, int64_t bytes) {
    void *at = c->memory ? c->memory + c->used : NULL;
    c->used += round_up(elements * bytes, 64);
    return at;
}

/* Bytes of a thread's scratch, laid out at `memory` unless that is NULL. There is room for whole
 * groups of STEP_LANES rows, for kernels that do not leave out those behind the last. */
static int64_t scratch_lay(const struct job *job, char *memory, struct scratch *scratch) {
    struct carver c = {memory, 0};
    int64_t rows = round_up(job->rows_max, STEP_LANES), keys = job->kernel->keys,
            stride = stride_of(job->d_max);
    int64_t rounded = job->kernel->rounds ? round_up(job->d_max, STEP_PAIRS) : 0;
    bool far = job->rule == ATTENTION_GROUPED;
    scratch->out = carve(&c, rows * stride, 4);
    scratch->max = carve(&c, rows, 4);
    scratch->sums = carve(&c, rows * STEP_LANES, 4);
    scratch->scores = carve(&c, rows * keys, 4);
    scratch->far_scores = carve(&c, far ? rows * keys : 0, 4);
    scratch->correction = carve(&c, rows, 4);
    scratch->wide = carve(&c, keys * stride, 4);
    scratch->first = carve(&c, rows, 4);
    scratch->border = carve(&c, rows, 4);
    scratch->end = carve(&c, rows, 4);
    scratch->near = carve(&c, rows * rounded, 2);
    scratch->far = carve(&c, far ? rows * rounded : 0, 2);
    int64_t wide = 0;
    if (job->q8_0)
        wide = keys * kv_row_bytes(job->kernel->q8_0->type, job->d_max);
    scratch->keys_near = carve(&c, wide, 1);
    scratch->keys_far = carve(&c, far ? wide : 0, 1);
    scratch->values = carve(&c, wide, 1);
    scratch->weights = carve(&c, rounded ? rows * keys : 0, 2);
    scratch->padded = carve(&c, 3 * keys * rounded, 2);
    return c.used;
}

static void job_run(struct job *job) {
#pragma omp parallel num_threads((int)job->threads)
    {
        struct scratch scratch;
        scratch_lay(job, job->scratch + omp_get_thread_num() * job->scratch_size, &scratch);
        if (job->kernel->open)
            job->kernel->open();
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < job->span_count; i++) {
            span_run(job, job->spans + i, &scratch);
            pulse_beat();
        }
        if (job->kernel->close)
            job->kernel->close();
#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < job->tile_count; t++)
            if (job->tiles[t].partials)
                tile_merge(job->tiles + t);
    }
}

static const struct attention_kernel *kernel_choose(enum isa isa, enum compute compute,
                                                    const struct attention_task *tasks,
                                                    int64_t count) {
    bool rounds = compute == COMPUTE_BF16;
    int64_t rows = 0;
    for (int64_t i = 0; i < count; i++) {
        rounds = rounds && tasks[i].keys.type != KV_F32;
        rows = max_of(rows, tasks[i].queries.rows);
    }
    if (rounds && isa == ISA_AMX && rows <= FEW_ROWS)
        isa = ISA_AVX512_BF16;
    return rounds ? kernels_bf16[isa] : kernels_f32[isa];
}

bool attention_run(enum isa isa, enum compute compute, enum attention_rule rule, int64_t window,
                   const struct attention_task *tasks, int64_t count) {
    return attention_run_by(kernel_choose(isa, compute, tasks, count), rule, window, tasks, count);
}

bool attention_run_by(const struct attention_kernel *kernel, enum attention_rule rule,
                      int64_t window, const struct attention_task *tasks, int64_t count) {
    struct job job = {.kernel = kernel,
                      .rule = rule,
                      .window = window,
                      .threads = omp_in_parallel() ? 1 : omp_get_max_threads()};
    bool done = job_tiles(&job, tasks, count) && job_spans(&job);
    if (done && job.span_count > 0) {
        struct scratch unused;
        if (job.span_count == 1) /* a team smaller than the whole is slow to come: see gemm.c */
            job.threads = 1;
        job.scratch_size = scratch_lay(&job, NULL, &unused);
        job.scratch = aligned_alloc(64, (size_t)(job.threads * job.scratch_size));
        done = job.scratch != NULL;
        if (done)
            job_run(&job);
    }
    free(job.tiles);
    free(job.spans);
    free(job.partials);
    free(job.scratch);
    return done;
}
