#include "dist/attend.h"

#include "dist/collective.h"
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

/* Where the tables stand in work.tables, n floats each: cosines and sines near, then those of far
 * queries, then those of far keys. */
enum { TABLE_NEAR = 0, TABLE_FAR_QUERIES = 2, TABLE_FAR_KEYS = 4 };

/* The near tables, and the far ones from `far` on. */
static struct rotary rotary_tables(const struct sequence *s, int far) {
    int64_t n = s->options.chunk * s->model->shape.head_dim / 2;
    float *t = s->work.tables;
    struct rotary r = {.near_cos = t, .near_sin = t + n};
    if (s->options.scheme.rule == ZONE_GROUPED) {
        r.far_cos = t + far * n;
        r.far_sin = t + (far + 1) * n;
    }
    return r;
}

void attend_prepare(struct sequence *s, int64_t T) {
    const struct model *m = s->model;
    const struct scheme *scheme = &s->options.scheme;
    int64_t d = m->shape.head_dim, group = shape_group(&m->shape), n = s->options.chunk * d / 2;
    int64_t *of_rows = s->positions, *of_tokens = s->positions + s->options.chunk * group;
    float *t = s->work.tables, *far_q = t + TABLE_FAR_QUERIES * n, *far_k = t + TABLE_FAR_KEYS * n;
    for (int64_t i = 0; i < T; i++) {
        of_tokens[i] = s->tokens + i;
        for (int64_t h = 0; h < group; h++)
            of_rows[i * group + h] = s->tokens + i;
    }
    rope_tables(of_tokens, T, m->rope_frequencies, d, t, t + n);
    if (scheme->rule != ZONE_GROUPED)
        return;
    for (int64_t i = 0; i < T; i++)
        of_tokens[i] = scheme_far_query(scheme, s->tokens + i);
    rope_tables(of_tokens, T, m->rope_frequencies, d, far_q, far_q + n);
    for (int64_t i = 0; i < T; i++)
        of_tokens[i] = scheme_far_key(scheme, s->tokens + i);
    rope_tables(of_tokens, T, m->rope_frequencies, d, far_k, far_k + n);
}

/* Rotates the rows of one rank's heads, q [T, heads.count * d], to their places among the
 * attention rows: [KV head][token * group + head within the KV head][d]. */
static void rotate_queries(struct sequence *s, const float *q, struct range heads, int64_t T) {
    const struct shape *shape = &s->model->shape;
    int64_t d = shape->head_dim, group = shape_group(shape);
    float scale = (float)(1.0 / sqrt((double)d));
    struct rotary tables = rotary_tables(s, TABLE_FAR_QUERIES);
#pragma omp parallel for
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < heads.count; h++) {
            int64_t in_group = heads.first + h - s->model->share.group_heads.first;
            int64_t row = (in_group / group * T + t) * group + in_group % group;
            const float *x = q + (t * heads.count + h) * d;
            rope_rotate(x, tables.near_cos + t * d / 2, tables.near_sin + t * d / 2, d, scale,
                        s->work.q_near + row * d);
            if (tables.far_cos)
                rope_rotate(x, tables.far_cos + t * d / 2, tables.far_sin + t * d / 2, d, scale,
                            s->work.q_far + row * d);
        }
}

void attend_gather_queries(struct sequence *s, int64_t T) {
    struct dist *dist = s->model->dist;
    const struct share *own = &s->model->share;
    int64_t d = s->model->shape.head_dim;
    if (dist->sp.size == 1) {
        rotate_queries(s, s->work.q_own, own->heads, T);
        return;
    }
    int64_t *counts = rank_counts(dist);
    for (int64_t r = 0; r < dist->mesh.sp; r++)
        counts[r] = T * share_heads(own, dist->mesh, r).count * d;
    sp_allgather(dist, s->work.q_own, counts, s->work.q_all);
    const float *part = s->work.q_all;
    for (int64_t r = 0; r < dist->mesh.sp; part += counts[r++])
        rotate_queries(s, part, share_heads(own, dist->mesh, r), T);
    free(counts);
}

/* Global index of the n-th token of this chunk that rank `part` of the group owns. */
static int64_t chunk_token(const struct sequence *s, int64_t part, int64_t n) {
    struct cyclic c = s->cache.cyclic;
    return cyclic_global(c, part, cyclic_count(c, part, s->tokens) + n);
}

/* How many tokens of this chunk that rank owns. */
static int64_t chunk_tokens(const struct sequence *s, int64_t part, int64_t T) {
    struct cyclic c = s->cache.cyclic;
    return cyclic_count(c, part, s->tokens + T) - cyclic_count(c, part, s->tokens);
}

/* Sends each owner its tokens' rows of k and v, and puts what arrives together: keys, values
 * [own tokens, k*d]. */
static void exchange_keys(struct sequence *s, int64_t T) {
    struct dist *dist = s->model->dist;
    const struct model *m = s->model;
    int64_t r = m->share.kv_rows.count, width = m->share.kv_heads.count * m->shape.head_dim;
    int64_t base = m->share.kv_heads.first * m->shape.head_dim;
    int64_t *send = rank_counts(dist), *receive = rank_counts(dist);
    int64_t mine = chunk_tokens(s, dist->place.sp, T);
    float *out = s->work.kv_send;
    for (int64_t owner = 0; owner < dist->mesh.sp; owner++) {
        int64_t tokens = chunk_tokens(s, owner, T);
        send[owner] = tokens * 2 * r;
        receive[owner] = mine * 2 * share_kv_rows(&m->shape, &m->share, dist->mesh, owner).count;
        for (int64_t n = 0; n < tokens; n++, out += 2 * r) {
            int64_t t = chunk_token(s, owner, n) - s->tokens;
            memcpy(out, s->work.kv_own + t * r, (size_t)r * sizeof *out);
            memcpy(out + r, s->work.kv_own + (T + t) * r, (size_t)r * sizeof *out);
        }
    }
    sp_alltoall(dist, s->work.kv_send, send, s->work.kv_all, receive);
    const float *in = s->work.kv_all;
    for (int64_t from = 0; from < dist->mesh.sp; from++) {
        struct range rows = share_kv_rows(&m->shape, &m->share, dist->mesh, from);
        for (int64_t n = 0; n < mine; n++, in += 2 * rows.count) {
            int64_t at = n * width + rows.first - base;
            memcpy(s->work.keys + at, in, (size_t)rows.count * sizeof *in);
            memcpy(s->work.values + at, in + rows.count, (size_t)rows.count * sizeof *in);
        }
    }
    free(send);
    free(receive);
}

/* Hands one array [own tokens, k*d] to a probe, a run of consecutive global tokens at a time. */
static void probe_keys(const struct sequence *s, const struct probe *probe, enum site site,
                       int64_t layer, const float *x, int64_t tokens) {
    if (!probe)
        return;
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.kv_heads.count * d;
    int64_t part = m->dist->place.sp;
    for (int64_t n = 0, run; n < tokens; n += run) {
        int64_t first = chunk_token(s, part, n);
        for (run = 1; n + run < tokens && chunk_token(s, part, n + run) == first + run;)
            run++;
        struct site_part p = {.site = site,
                              .layer = m->share.layers.first + layer,
                              .tokens = {first, run},
                              .columns = {m->share.kv_heads.first * d, width},
                              .data = x + n * width};
        probe->put(probe->context, &p);
    }
}

void attend_put_keys(struct sequence *s, int64_t layer, int64_t T, const float *keys,
                     const float *values) {
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.kv_heads.count * d;
    int64_t part = m->dist->place.sp, tokens = chunk_tokens(s, part, T);
    struct rotary tables = rotary_tables(s, TABLE_FAR_KEYS);
#pragma omp parallel
    {
        float scratch[2 * d];
#pragma omp for
        for (int64_t n = 0; n < tokens; n++) {
            int64_t token = chunk_token(s, part, n);
            cache_put(&s->cache, layer, token, keys + n * width, values + n * width, &tables,
                      token - s->tokens, scratch);
        }
    }
}

void attend_store_keys(struct sequence *s, int64_t layer, int64_t T) {
    const struct model *m = s->model;
    int64_t width = m->share.kv_heads.count * m->shape.head_dim;
    int64_t tokens = chunk_tokens(s, m->dist->place.sp, T);
    const float *keys = s->work.kv_own, *values = s->work.kv_own + T * width;
    if (m->dist->sp.size > 1) {
        exchange_keys(s, T);
        keys = s->work.keys;
        values = s->work.values;
    }
    const struct probe *watchers[] = {s->probe, s->keeper};
    for (int i = 0; i < 2; i++) {
        probe_keys(s, watchers[i], SITE_K, layer, keys, tokens);
        probe_keys(s, watchers[i], SITE_V, layer, values, tokens);
    }
    attend_put_keys(s, layer, T, keys, values);
}

void attend_shard(struct sequence *s, int64_t layer, int64_t T) {
    static const enum attention_rule rules[] = {[ZONE_ALL_NEAR] = ATTENTION_ALL_NEAR,
                                                [ZONE_GROUPED] = ATTENTION_GROUPED,
                                                [ZONE_MASKED] = ATTENTION_MASKED};
    const struct scheme *scheme = &s->options.scheme;
    const struct model *m = s->model;
    int64_t rows = T * shape_group(&m->shape), d = m->shape.head_dim;
    for (int64_t h = 0; h < m->share.kv_heads.count; h++) {
        struct attention_queries queries = {
            .rows = rows,
            .positions = s->positions,
            .near = s->work.q_near + h * rows * d,
            .far = scheme->rule == ZONE_GROUPED ? s->work.q_far + h * rows * d : NULL,
            .out = s->work.attended + h * rows * d,
            .max = s->work.row_max + h * rows,
            .sum = s->work.row_sum + h * rows,
        };
        s->tasks[h] = (struct attention_task){
            .keys = cache_view(&s->cache, layer, h, s->tokens + T), .queries = queries};
    }
    if (!attention_run(s->options.isa, s->options.compute, rules[scheme->rule], scheme->window,
                       s->tasks, m->share.kv_heads.count)) {
        fprintf(stderr, "quire: memory: attention: found no room for its tiles, expected some "
                        "hundred kB per thread; use more ranks or nodes\n");
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    }
}

/* Partial results of one rank's heads, token by token: [T, heads][d outputs, maximum, sum]. */
static void pack_partials(const struct sequence *s, struct range heads, int64_t T, float *out) {
    const struct shape *shape = &s->model->shape;
    int64_t d = shape->head_dim, group = shape_group(shape);
#pragma omp parallel for
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < heads.count; h++) {
            int64_t in_group = heads.first + h - s->model->share.group_heads.first;
            int64_t row = (in_group / group * T + t) * group + in_group % group;
            float *to = out + (t * heads.count + h) * (d + 2);
            memcpy(to, s->work.attended + row * d, (size_t)d * sizeof *to);
            to[d] = s->work.row_max[row];
            to[d + 1] = s->work.row_sum[row];
        }
}

void attend_merge(struct sequence *s, int64_t T) {
    struct dist *dist = s->model->dist;
    const struct share *own = &s->model->share;
    int64_t d = s->model->shape.head_dim, rows = T * own->heads.count, S = dist->mesh.sp;
    int64_t *send = rank_counts(dist), *receive = rank_counts(dist);
    float *out = s->work.merge_send;
    for (int64_t r = 0; r < S; out += send[r++]) {
        struct range heads = share_heads(own, dist->mesh, r);
        send[r] = T * heads.count * (d + 2);
        receive[r] = rows * (d + 2);
        pack_partials(s, heads, T, out);
    }
    const float *all = s->work.merge_send;
    if (S > 1) {
        sp_alltoall(dist, s->work.merge_send, send, s->work.merge_all, receive);
        all = s->work.merge_all;
    }
    free(send);
    free(receive);
#pragma omp parallel for
    for (int64_t row = 0; row < rows; row++)
        attention_merge(all + row * (d + 2), S, rows * (d + 2), d, s->work.merged + row * d);
}
