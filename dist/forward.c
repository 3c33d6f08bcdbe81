/* Legend: T tokens of the chunk, D hidden, h own query heads, d head_dim, r own rows of k and v, f
 * own FFN columns. Every rank makes the partial sums of its own heads and columns. The residual
 * stream `hidden` [T, D] is replicated in the stage, unless its ranks have memory in common
 * (commons.h): then `hidden` and `normed` are there once for all, each rank sums, adds and norms
 * its share of the rows, and they meet before and after (arXiv 2205.05198, section 4.2.2). */
#include "dist/forward.h"

#include "dist/apply.h"
#include "dist/attend.h"
#include "dist/collective.h"
#include "dist/experts.h"
#include "dist/ffn.h"
#include "dist/head_norm.h"
#include "kernels/elementwise.h"
#include "kernels/pulse.h"
#include <string.h>

/* The tokens of a chunk that a block takes at a time: all, or one half while the sum of the other
 * is on its way (`overlap` in sequence.h). Rows of work.hidden and work.partial. */
struct half {
    struct range rows;
    int index;
    bool alone;     /* the whole chunk */
    bool under_way; /* a block's sum over the stage is: */
    enum site site; /* SITE_ATTN_OUT or SITE_MLP_OUT, */
    int64_t layer;  /* of this layer of the stage */
};

/* The rows of the residual stream that this rank keeps up, of those given. */
static struct range kept_rows(const struct sequence *s, struct range rows) {
    const struct axis *stage = &s->model->dist->stage;
    return commons_exist(&s->commons) ? range_subpart(rows, stage->size, stage->rank) : rows;
}

/* Hands this rank's share of the rows of a replicated activation [T, D] to the probe. */
static void probe_replicated(const struct sequence *s, enum site site, int64_t layer,
                             const float *x, struct range rows) {
    if (!s->probe)
        return;
    const struct model *m = s->model;
    struct range own = range_subpart(rows, m->dist->stage.size, m->dist->stage.rank);
    struct site_part p = {.site = site,
                          .layer = m->share.layers.first + layer,
                          .tokens = {s->tokens + own.first, own.count},
                          .columns = {0, m->shape.hidden},
                          .data = x + own.first * m->shape.hidden};
    s->probe->put(s->probe->context, &p);
}

static void probe_queries(const struct sequence *s, int64_t layer, struct range rows) {
    if (!s->probe)
        return;
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.heads.count * d;
    struct site_part p = {.site = SITE_Q,
                          .layer = m->share.layers.first + layer,
                          .tokens = {s->tokens + rows.first, rows.count},
                          .columns = {m->share.heads.first * d, width},
                          .data = s->work.q_own};
    s->probe->put(s->probe->context, &p);
}

/* The summed output of attention or FFN into the residual stream: its bias, the norm behind it
 * where the family has one, the residual multiplier. */
static void add_output(struct sequence *s, const struct half *half) {
    const struct shape *shape = &s->model->shape;
    const struct layer_weights *l = &s->model->layers[half->layer];
    bool attention = half->site == SITE_ATTN_OUT;
    const struct norm *post = attention ? &l->attention_post_norm : &l->ffn_post_norm;
    const float *bias = attention ? l->o.bias : l->ffn.down.bias;
    struct range kept = kept_rows(s, half->rows);
    int64_t first = kept.first * shape->hidden, n = kept.count * shape->hidden;
    float *hidden = s->work.hidden + first, *partial = s->work.partial + first;
    if (bias)
        add_to_rows(partial, bias, kept.count, shape->hidden);
    if (post->weight)
        norm_apply(shape, post, partial, kept.count, partial);
    probe_replicated(s, half->site, half->layer, s->work.partial, half->rows);
    if (shape->residual_multiplier != 0)
        add_scaled_to(hidden, partial, (float)shape->residual_multiplier, n);
    else
        add_to(hidden, partial, n);
}

/* Waits for the sum under way, and adds it to the residual stream. */
static void sum_end(struct sequence *s, struct half *half) {
    if (!half->under_way)
        return;
    half->under_way = false;
    reduction_end(&s->sums[half->index]);
    add_output(s, half);
}

/* Sums work.partial [T, D] over the stage, of the rows that this rank keeps up. */
static void sum_whole(struct sequence *s, int64_t T) {
    int64_t D = s->model->shape.hidden;
    struct range kept = kept_rows(s, (struct range){0, T});
    if (commons_exist(&s->commons)) {
        commons_meet(&s->commons);
        commons_sum(&s->commons, kept.first * D, kept.count * D);
    } else {
        reduction_run(&s->sums[0], s->work.partial, T * D);
    }
}

/* Starts the sum of a block's partial results over the stage; what this rank puts in is checked
 * first. With the whole chunk there is nothing to compute meanwhile. */
static void sum_begin(struct sequence *s, enum site site, int64_t layer, struct half *half) {
    const struct share *own = &s->model->share;
    int64_t D = s->model->shape.hidden, n = half->rows.count * D, whole = own->layers.first + layer;
    float *partial = s->work.partial + half->rows.first * D;
    if (!all_finite(partial, n))
        sequence_mark_fault(s, site == SITE_ATTN_OUT ? step_attention(whole) : step_ffn(whole));
    half->site = site;
    half->layer = layer;
    if (half->alone) {
        sum_whole(s, half->rows.count);
        add_output(s, half);
    } else {
        reduction_begin(&s->sums[half->index], partial, n);
        half->under_way = true;
    }
}

/* Each rank looks up the ids among its own vocabulary rows; the sum over the stage has them all. */
static void embed(struct sequence *s, const int32_t *tokens, int64_t T) {
    const struct model *m = s->model;
    int64_t D = m->shape.hidden;
    struct range kept = kept_rows(s, (struct range){0, T});
    float *hidden = s->work.hidden + kept.first * D;
    for (int64_t t = 0; t < T; t++) {
        float *row = s->work.partial + t * D;
        if (range_has(m->share.vocab, tokens[t]))
            matrix_row(&m->embedding, tokens[t] - m->share.vocab.first, row);
        else
            memset(row, 0, (size_t)D * sizeof *row);
    }
    if (!all_finite(s->work.partial, T * D))
        sequence_mark_fault(s, STEP_EMBEDDING);
    sum_whole(s, T);
    memcpy(hidden, s->work.partial + kept.first * D, (size_t)(kept.count * D) * sizeof *hidden);
    if (m->shape.embedding_multiplier != 0)
        scale_by(hidden, (float)m->shape.embedding_multiplier, kept.count * D);
}

/* What attention and FFN read: the norm of the residual stream, or the stream itself where the
 * norms stand behind them. */
static const float *block_input(struct sequence *s, const struct norm *norm, struct range rows) {
    int64_t D = s->model->shape.hidden;
    struct range kept = kept_rows(s, rows);
    if (norm->weight)
        norm_apply(&s->model->shape, norm, s->work.hidden + kept.first * D, kept.count,
                   s->work.normed + kept.first * D);
    commons_meet(&s->commons);
    return (norm->weight ? s->work.normed : s->work.hidden) + rows.first * D;
}

/* What the block before has read, once the ranks have met behind its sum. */
static const float *same_input(struct sequence *s, struct range rows) {
    commons_meet(&s->commons);
    return s->work.normed + rows.first * s->model->shape.hidden;
}

/* h = norm(x); q, k, v = h W; x += W_o softmax(q k / sqrt(d)) v, in two zones (arXiv 2401.01325,
 * section 3). */
static void attention_block(struct sequence *s, int64_t layer, struct half *half) {
    const struct model *m = s->model;
    const struct layer_weights *l = &m->layers[layer];
    struct workspace *w = &s->work;
    struct range rows = half->rows;
    int64_t D = m->shape.hidden, hd = m->share.heads.count * m->shape.head_dim;
    int64_t T = rows.count, r = m->share.kv_rows.count;

    sum_end(s, half);
    const float *h = block_input(s, &l->attention_norm, rows);
    struct gemm_input input = gemm_prepare(&w->products, T, D, h);
    const struct linear_output qkv[] = {
        {&l->q, w->q_own}, {&l->k, w->kv_own}, {&l->v, w->kv_own + T * r}};
    linear_apply(m->dist, &input, qkv, 3);
    head_norm_projections(s, layer, T);
    probe_queries(s, layer, rows);

    attend_exchange(s, layer, rows);
    attend_store_keys(s, layer, rows);
    attend_shard(s, layer, rows);
    attend_merge(s, T);

    struct gemm_input merged = gemm_prepare(&w->products, T, hd, w->merged);
    partial_apply(m->dist, &merged, &l->o.weight, w->partial + rows.first * D);
    sum_begin(s, SITE_ATTN_OUT, layer, half);
}

/* x += FFN(h) or the experts' mixture of h, h = norm(x), or what attention read where the two stand
 * side by side. */
static void ffn_block(struct sequence *s, int64_t layer, struct half *half) {
    const struct layer_weights *l = &s->model->layers[layer];
    struct range rows = half->rows;
    int64_t first = rows.first * s->model->shape.hidden;

    sum_end(s, half);
    const float *h =
        s->model->shape.parallel ? same_input(s, rows) : block_input(s, &l->ffn_norm, rows);
    if (l->experts)
        experts_columns(s, layer, h, rows.count, s->work.partial + first);
    else
        ffn_columns(s, &l->ffn, h, rows.count, s->work.partial + first);
    sum_begin(s, SITE_MLP_OUT, layer, half);
}

/* Takes the residual stream from the stage before, once nobody reads the last chunk's any more, or
 * makes it from the ids. */
static void stage_enter(struct sequence *s, const int32_t *tokens, int64_t T) {
    if (s->model->share.embeds) {
        embed(s, tokens, T);
        return;
    }
    int64_t D = s->model->shape.hidden;
    struct range kept = kept_rows(s, (struct range){0, T});
    commons_meet(&s->commons);
    pp_receive(s->model->dist, s->work.hidden + kept.first * D, kept.count * D);
}

/* Sends it on while this stage goes to the next chunk. */
static void stage_leave(struct sequence *s, int64_t T) {
    if (s->model->share.predicts)
        return;
    int64_t D = s->model->shape.hidden;
    struct range kept = kept_rows(s, (struct range){0, T});
    int64_t n = kept.count * D;
    pp_send_end(s->model->dist, &s->passing);
    memcpy(s->work.passing, s->work.hidden + kept.first * D, (size_t)n * sizeof(float));
    pp_send_begin(s->model->dist, s->work.passing, n, &s->passing);
}

/* Short halves would make the products slower than their messages are long; and a probe looks at
 * whole chunks. */
#define HALF_LEAST 64

static int halve(const struct sequence *s, int64_t T, struct half halves[2]) {
    int count = s->options.overlap && !s->probe && !s->batch && T >= 2 * HALF_LEAST ? 2 : 1;
    for (int i = 0; i < count; i++)
        halves[i] = (struct half){.rows = range_part(T, count, i), .index = i, .alone = count == 1};
    return count;
}

/* What long kernels call now and then (pulse.h). */
static void move_sums(void *sequence) {
    struct sequence *s = sequence;
    reduction_progress(&s->sums[0]);
    reduction_progress(&s->sums[1]);
}

void forward_chunk(struct sequence *s, const int32_t *tokens, int64_t T) {
    struct half halves[2];
    int count = halve(s, T, halves);
    enum time_part before = times_enter(&s->model->dist->times, TIME_ELEMENTWISE);
    if (count > 1)
        pulse_start(move_sums, s);
    attend_prepare(s, T);
    stage_enter(s, tokens, T);
    for (int64_t layer = 0; layer < s->model->share.layers.count; layer++) {
        struct range all = {0, T};
        probe_replicated(s, SITE_RESID_PRE, layer, s->work.hidden, all);
        for (int i = 0; i < count; i++)
            attention_block(s, layer, &halves[i]);
        probe_replicated(s, SITE_RESID_MID, layer, s->work.hidden, all);
        for (int i = 0; i < count; i++)
            ffn_block(s, layer, &halves[i]);
        probe_replicated(s, SITE_RESID_POST, layer, s->work.hidden, all);
    }
    for (int i = 0; i < count; i++)
        sum_end(s, &halves[i]);
    commons_meet(&s->commons);
    pulse_stop();
    stage_leave(s, T);
    s->tokens += s->batch ? 0 : T;
    s->chunk_rows = T;
    times_enter(&s->model->dist->times, before);
}
