#include "dist/attend.h"

#include "dist/collective.h"
#include "dist/head_norm.h"
#include "dist/tails.h"
#include "kernels/elementwise.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counts of the ranks of the sp group: one value per rank. */
static int64_t *rank_counts(const struct dist *dist) {
    int64_t *counts = malloc((size_t)dist->mesh.sp * sizeof *counts);
    if (!counts)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    return counts;
}

/* Where the tables of one rotary embedding stand, n floats each: cosines and sines near, then those
 * of far queries, then those of far keys. */
enum { TABLE_NEAR = 0, TABLE_FAR_QUERIES = 2, TABLE_FAR_KEYS = 4, TABLES = 6 };

/* Floats of one table, and the tables of embedding r. */
static int64_t table_floats(const struct sequence *s) {
    return s->options.chunk * rotary_pairs(&s->model->shape);
}

static float *tables_of(const struct sequence *s, int64_t r) {
    int64_t tables = s->options.scheme.rule == ZONE_GROUPED ? TABLES : TABLE_FAR_QUERIES;
    return s->work.tables + r * tables * table_floats(s);
}

/* The layer's near tables, and the far ones from `far` on. */
static struct rotary rotary_tables(const struct sequence *s, int64_t layer, int far) {
    int64_t n = table_floats(s), embedding = sequence_embedding(s, layer);
    float *t = tables_of(s, embedding == 1);
    struct rotary r = {.pairs = embedding < 0 ? 0 : rotary_pairs(&s->model->shape),
                       .near_cos = t,
                       .near_sin = t + n};
    if (sequence_layer_scheme(s, layer).rule == ZONE_GROUPED) {
        r.far_cos = t + far * n;
        r.far_sin = t + (far + 1) * n;
    }
    return r;
}

/* Two tables of every rotary embedding, from `table` on. */
static void make_tables(struct sequence *s, const int64_t *positions, int64_t T, int table) {
    int64_t pairs = rotary_pairs(&s->model->shape), n = table_floats(s);
    for (int64_t r = 0; r < rotary_count(&s->model->shape); r++) {
        float *t = tables_of(s, r) + table * n;
        rope_tables(positions, T, s->frequencies + r * pairs, pairs, s->rope_factor[r], t, t + n);
    }
}

void attend_prepare(struct sequence *s, int64_t T) {
    const struct scheme *scheme = &s->options.scheme;
    int64_t group = shape_group(&s->model->shape);
    int64_t *of_rows = s->positions, *of_tokens = s->positions + s->options.chunk * group;
    for (int64_t i = 0; i < T; i++) {
        of_tokens[i] = sequence_position(s, i);
        for (int64_t h = 0; h < group; h++)
            of_rows[i * group + h] = of_tokens[i];
    }
    make_tables(s, of_tokens, T, TABLE_NEAR);
    if (scheme->rule != ZONE_GROUPED)
        return;
    for (int64_t i = 0; i < T; i++)
        of_tokens[i] = scheme_far_query(scheme, sequence_position(s, i));
    make_tables(s, of_tokens, T, TABLE_FAR_QUERIES);
    for (int64_t i = 0; i < T; i++)
        of_tokens[i] = scheme_far_key(scheme, sequence_position(s, i));
    make_tables(s, of_tokens, T, TABLE_FAR_KEYS);
}

/* Where a query head's row of the t-th of T tokens stands among the attention rows: [KV head][token
 * * group + head within the KV head]. */
static int64_t row_of(const struct sequence *s, int64_t T, int64_t t, int64_t head) {
    int64_t group = shape_group(&s->model->shape);
    int64_t in_group = head - s->model->share.group_heads.first;
    return (in_group / group * T + t) * group + in_group % group;
}

/* Rotates the rows of one rank's heads, q [T, heads.count * d] as they travel, to their places. */
static void rotate_queries(struct sequence *s, int64_t layer, enum wire wire, const void *q,
                           struct range heads, struct range rows) {
    int64_t d = s->model->shape.head_dim;
    float scale = (float)shape_attention_scale(&s->model->shape);
    struct rotary tables = rotary_tables(s, layer, TABLE_FAR_QUERIES);
#pragma omp parallel for if (rows.count > 1)
    for (int64_t t = 0; t < rows.count; t++)
        for (int64_t h = 0; h < heads.count; h++) {
            float x[d];
            int64_t row = row_of(s, rows.count, t, heads.first + h);
            int64_t angle = (rows.first + t) * tables.pairs;
            wire_get(wire, q, (t * heads.count + h) * d, d, x);
            rope_rotate(x, tables.near_cos + angle, tables.near_sin + angle, tables.pairs, d, scale,
                        s->work.q_near + row * d);
            if (tables.far_cos)
                rope_rotate(x, tables.far_cos + angle, tables.far_sin + angle, tables.pairs, d,
                            scale, s->work.q_far + row * d);
        }
}

/* Global index of the n-th of these rows that rank `part` of the group owns. Of a batch: what would
 * be the index if its rows were the next tokens. */
static int64_t owned_token(const struct sequence *s, struct range rows, int64_t part, int64_t n) {
    struct cyclic c = s->cache.cyclic;
    if (s->batch)
        return s->tokens + tails_owned_row(s->batch, part, c.parts, n);
    return cyclic_global(c, part, cyclic_count(c, part, s->tokens + rows.first) + n);
}

/* How many of these rows' tokens that rank owns. */
static int64_t owned_tokens(const struct sequence *s, struct range rows, int64_t part) {
    struct cyclic c = s->cache.cyclic;
    if (s->batch)
        return tails_owned_rows(s->batch, part, c.parts);
    return cyclic_count(c, part, s->tokens + range_end(rows)) -
           cyclic_count(c, part, s->tokens + rows.first);
}

/* What this rank sends to another: all its queries, then the other's tokens' rows of k and v. */
static int64_t pack_for(struct sequence *s, struct range rows, int64_t to, void *out, int64_t at) {
    enum wire wire = s->options.wire;
    int64_t T = rows.count, r = s->model->share.kv_rows.count;
    int64_t queries = T * s->model->share.heads.count * s->model->shape.head_dim;
    int64_t tokens = owned_tokens(s, rows, to);
    wire_put(wire, s->work.q_own, queries, out, at);
    at += queries;
#pragma omp parallel for if (tokens > 1)
    for (int64_t n = 0; n < tokens; n++) {
        int64_t t = owned_token(s, rows, to, n) - s->tokens - rows.first;
        wire_put(wire, s->work.kv_own + t * r, r, out, at + n * 2 * r);
        wire_put(wire, s->work.kv_own + (T + t) * r, r, out, at + n * 2 * r + r);
    }
    return queries + tokens * 2 * r;
}

/* Takes in what rank `from` sent: its queries to their places, its rows of this rank's tokens to
 * work.keys, work.values [own tokens, k*d]. */
static void unpack_from(struct sequence *s, int64_t layer, struct range rows, int64_t from,
                        const void *in, int64_t at) {
    enum wire wire = s->options.wire;
    const struct model *m = s->model;
    struct mesh mesh = m->dist->mesh;
    int64_t width = m->share.kv_heads.count * m->shape.head_dim;
    int64_t tokens = owned_tokens(s, rows, m->dist->place.sp);
    struct range heads = share_heads(&m->share, mesh, from);
    struct range kv = share_kv_rows(&m->shape, &m->share, mesh, from);
    rotate_queries(s, layer, wire, (const char *)in + at * wire_bytes(wire), heads, rows);
    at += rows.count * heads.count * m->shape.head_dim;
#pragma omp parallel for if (tokens > 1)
    for (int64_t n = 0; n < tokens; n++) {
        int64_t to = n * width + kv.first - m->share.kv_heads.first * m->shape.head_dim;
        wire_get(wire, in, at + n * 2 * kv.count, kv.count, s->work.keys + to);
        wire_get(wire, in, at + n * 2 * kv.count + kv.count, kv.count, s->work.values + to);
    }
}

void attend_exchange(struct sequence *s, int64_t layer, struct range rows) {
    struct dist *dist = s->model->dist;
    const struct model *m = s->model;
    int64_t S = dist->mesh.sp, T = rows.count, d = m->shape.head_dim, at = 0;
    if (S == 1) {
        rotate_queries(s, layer, WIRE_F32, s->work.q_own, m->share.heads, rows);
        return;
    }
    int64_t *send = rank_counts(dist), *receive = rank_counts(dist);
    int64_t mine = owned_tokens(s, rows, dist->place.sp);
    for (int64_t r = 0; r < S; at += send[r++]) {
        send[r] = pack_for(s, rows, r, s->work.exchange_send, at);
        receive[r] = T * share_heads(&m->share, dist->mesh, r).count * d +
                     mine * 2 * share_kv_rows(&m->shape, &m->share, dist->mesh, r).count;
    }
    sp_alltoall(dist, s->options.wire, s->work.exchange_send, send, s->work.exchange_all, receive);
    at = 0;
    for (int64_t r = 0; r < S; at += receive[r++])
        unpack_from(s, layer, rows, r, s->work.exchange_all, at);
    free(send);
    free(receive);
}

/* Hands one array [own tokens, k*d] to a probe, a run of consecutive global tokens at a time. */
static void probe_keys(const struct sequence *s, const struct probe *probe, enum site site,
                       int64_t layer, const float *x, struct range rows) {
    if (!probe)
        return;
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.kv_heads.count * d;
    int64_t part = m->dist->place.sp, tokens = owned_tokens(s, rows, part);
    for (int64_t n = 0, run; n < tokens; n += run) {
        int64_t first = owned_token(s, rows, part, n);
        for (run = 1; n + run < tokens && owned_token(s, rows, part, n + run) == first + run;)
            run++;
        struct site_part p = {.site = site,
                              .layer = m->share.layers.first + layer,
                              .tokens = {first, run},
                              .columns = {m->share.kv_heads.first * d, width},
                              .data = x + n * width};
        probe->put(probe->context, &p);
    }
}

void attend_put_keys(struct sequence *s, int64_t layer, struct range rows, const float *keys,
                     const float *values) {
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.kv_heads.count * d;
    int64_t part = m->dist->place.sp, tokens = owned_tokens(s, rows, part);
    struct rotary tables = rotary_tables(s, layer, TABLE_FAR_KEYS);
    if (s->batch) {
        tails_put_keys(s, layer, keys, values, &tables);
        return;
    }
    if (tokens == 0)
        return;
    /* Groups of the cache, the first perhaps only from its middle on, times heads. */
    int64_t lead = cache_run(&s->cache, owned_token(s, rows, part, 0), tokens);
    int64_t groups = 1 + (tokens - lead + KV_GROUP - 1) / KV_GROUP, heads = s->cache.heads;
#pragma omp parallel if (tokens > 1)
    {
        float scratch[2 * KV_GROUP * d];
#pragma omp for
        for (int64_t i = 0; i < groups * heads; i++) {
            int64_t group = i / heads, n = group ? lead + (group - 1) * KV_GROUP : 0;
            int64_t token = owned_token(s, rows, part, n);
            int64_t count = cache_run(&s->cache, token, tokens - n);
            cache_put(&s->cache, layer, token, count, i % heads, keys + n * width,
                      values + n * width, &tables, token - s->tokens, scratch);
        }
    }
}

void attend_store_keys(struct sequence *s, int64_t layer, struct range rows) {
    const struct model *m = s->model;
    int64_t width = m->share.kv_heads.count * m->shape.head_dim;
    bool shared = m->dist->sp.size > 1;
    float *keys = shared ? s->work.keys : s->work.kv_own;
    const float *values = shared ? s->work.values : s->work.kv_own + rows.count * width;
    head_norm_keys(s, layer, keys, owned_tokens(s, rows, m->dist->place.sp));
    const struct probe *watchers[] = {s->probe, s->keeper};
    for (int i = 0; i < 2; i++) {
        probe_keys(s, watchers[i], SITE_K, layer, keys, rows);
        probe_keys(s, watchers[i], SITE_V, layer, values, rows);
    }
    attend_put_keys(s, layer, rows, keys, values);
}

void attend_tasks(struct sequence *s, int64_t layer, const struct attention_task *tasks,
                  int64_t count) {
    static const enum attention_rule rules[] = {[ZONE_ALL_NEAR] = ATTENTION_ALL_NEAR,
                                                [ZONE_GROUPED] = ATTENTION_GROUPED,
                                                [ZONE_MASKED] = ATTENTION_MASKED};
    struct scheme scheme = sequence_layer_scheme(s, layer);
    enum time_part before = times_enter(&s->model->dist->times, TIME_ATTENTION);
    if (!attention_run(s->options.isa, s->options.compute, rules[scheme.rule], scheme.window, tasks,
                       count)) {
        fprintf(stderr, "quire: memory: attention: found no room for its tiles, expected some "
                        "hundred kB per thread; use more ranks or nodes\n");
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    }
    times_enter(&s->model->dist->times, before);
}

void attend_shard(struct sequence *s, int64_t layer, struct range rows) {
    struct scheme scheme = sequence_layer_scheme(s, layer);
    const struct model *m = s->model;
    int64_t group = shape_group(&m->shape), n = rows.count * group, d = m->shape.head_dim;
    int64_t tokens = s->batch ? s->tokens : s->tokens + range_end(rows);
    for (int64_t h = 0; h < m->share.kv_heads.count; h++) {
        struct attention_queries queries = {
            .rows = n,
            .positions = s->positions + rows.first * group,
            .near = s->work.q_near + h * n * d,
            .far = scheme.rule == ZONE_GROUPED ? s->work.q_far + h * n * d : NULL,
            .score_cap = (float)m->shape.score_cap,
            .out = s->work.attended + h * n * d,
            .max = s->work.row_max + h * n,
            .sum = s->work.row_sum + h * n,
        };
        s->tasks[h] = (struct attention_task){.keys = cache_view(&s->cache, layer, h, tokens),
                                              .queries = queries};
    }
    attend_tasks(s, layer, s->tasks, m->share.kv_heads.count);
    if (s->batch)
        tails_attend(s, layer);
}

/* A row of partial results as it travels: d outputs of the wire's type, then maximum and sum in
 * f32, which an exponential makes too much of to be rounded. Its length in elements of the wire's
 * type. */
static int64_t partial_width(enum wire wire, int64_t d) {
    return d + 2 * (int64_t)sizeof(float) / wire_bytes(wire);
}

/* Partial results of one rank's heads, token by token: [T, heads][partial]. */
static void pack_partials(const struct sequence *s, struct range heads, int64_t T, char *out) {
    enum wire wire = s->options.wire;
    int64_t d = s->model->shape.head_dim, bytes = partial_width(wire, d) * wire_bytes(wire);
#pragma omp parallel for if (T > 1)
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < heads.count; h++) {
            int64_t row = row_of(s, T, t, heads.first + h);
            char *to = out + (t * heads.count + h) * bytes;
            const float ends[2] = {s->work.row_max[row], s->work.row_sum[row]};
            wire_put(wire, s->work.attended + row * d, d, to, 0);
            memcpy(to + d * wire_bytes(wire), ends, sizeof ends);
        }
}

/* The own rows, from all parts: [S][T, h][partial]. */
static void merge_rows(struct sequence *s, int64_t rows, const char *all) {
    enum wire wire = s->options.wire;
    int64_t S = s->model->dist->mesh.sp, d = s->model->shape.head_dim;
    int64_t bytes = partial_width(wire, d) * wire_bytes(wire);
#pragma omp parallel for
    for (int64_t row = 0; row < rows; row++) {
        float parts[S * (d + 2)];
        for (int64_t p = 0; p < S; p++) {
            const char *from = all + (p * rows + row) * bytes;
            wire_get(wire, from, 0, d, parts + p * (d + 2));
            memcpy(parts + p * (d + 2) + d, from + d * wire_bytes(wire), 2 * sizeof *parts);
        }
        attention_merge(parts, S, d + 2, d, s->work.merged + row * d);
    }
}

/* One part needs no merging: only the division by the row sums, in token order. */
static void finish_rows(struct sequence *s, int64_t T) {
    struct range heads = s->model->share.heads;
    int64_t d = s->model->shape.head_dim;
#pragma omp parallel for if (T > 1)
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < heads.count; h++) {
            int64_t row = row_of(s, T, t, heads.first + h);
            const float *from = s->work.attended + row * d, sum = s->work.row_sum[row];
            float *to = s->work.merged + (t * heads.count + h) * d, inverse = 1 / sum;
            for (int64_t i = 0; i < d; i++)
                to[i] = sum == 0 ? 0 : from[i] * inverse;
        }
}

void attend_merge(struct sequence *s, int64_t T) {
    struct dist *dist = s->model->dist;
    const struct share *own = &s->model->share;
    enum wire wire = s->options.wire;
    int64_t width = partial_width(wire, s->model->shape.head_dim), S = dist->mesh.sp;
    if (S == 1) {
        finish_rows(s, T);
        return;
    }
    int64_t *send = rank_counts(dist), *receive = rank_counts(dist);
    char *out = s->work.merge_send;
    for (int64_t r = 0; r < S; out += send[r++] * wire_bytes(wire)) {
        struct range heads = share_heads(own, dist->mesh, r);
        send[r] = T * heads.count * width;
        receive[r] = T * own->heads.count * width;
        pack_partials(s, heads, T, out);
    }
    sp_alltoall(dist, wire, s->work.merge_send, send, s->work.merge_all, receive);
    merge_rows(s, T * own->heads.count, s->work.merge_all);
    free(send);
    free(receive);
}
