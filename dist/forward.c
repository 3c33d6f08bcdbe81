/* Legend: T tokens of the chunk, D hidden, h own query heads, d head_dim, r own rows of k and v, f
 * own FFN columns. The residual stream `hidden` [T, D] is replicated in the stage; every rank adds
 * the partial sums of its own heads and columns. */
#include "dist/forward.h"

#include "dist/attend.h"
#include "dist/collective.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
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

/* Products count as such, all else between them as elementwise work (times.h). */
static void product(const struct sequence *s, struct gemm_input *in, const struct matrix *w,
                    float *y) {
    struct times *times = &s->model->dist->times;
    enum time_part before = times_enter(times, TIME_PRODUCTS);
    gemm_xwt(in, w, y);
    times_enter(times, before);
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

/* Waits for the sum under way, and adds it to the residual stream. */
static void sum_end(struct sequence *s, struct half *half) {
    int64_t D = s->model->shape.hidden, first = half->rows.first * D;
    if (!half->under_way)
        return;
    half->under_way = false;
    reduction_end(&s->sums[half->index]);
    probe_replicated(s, half->site, half->layer, s->work.partial, half->rows);
    add_to(s->work.hidden + first, s->work.partial + first, half->rows.count * D);
}

/* Starts the sum of a block's partial results over the stage; what this rank puts in is checked
 * first. With the whole chunk there is nothing to compute meanwhile. */
static void sum_begin(struct sequence *s, enum site site, int64_t layer, struct half *half) {
    const struct share *own = &s->model->share;
    int64_t D = s->model->shape.hidden, n = half->rows.count * D, whole = own->layers.first + layer;
    float *partial = s->work.partial + half->rows.first * D;
    struct reduction *sum = &s->sums[half->index];
    if (!all_finite(partial, n))
        sequence_mark_fault(s, site == SITE_ATTN_OUT ? step_attention(whole) : step_ffn(whole));
    half->site = site;
    half->layer = layer;
    half->under_way = true;
    if (half->alone) {
        reduction_run(sum, partial, n);
        sum_end(s, half);
    } else {
        reduction_begin(sum, partial, n);
    }
}

/* Each rank looks up the ids among its own vocabulary rows; the sum over the stage has them all. */
static void embed(struct sequence *s, const int32_t *tokens, int64_t T) {
    const struct model *m = s->model;
    int64_t D = m->shape.hidden;
    for (int64_t t = 0; t < T; t++) {
        float *row = s->work.hidden + t * D;
        if (range_has(m->share.vocab, tokens[t]))
            matrix_row(&m->embedding, tokens[t] - m->share.vocab.first, row);
        else
            memset(row, 0, (size_t)D * sizeof *row);
    }
    if (!all_finite(s->work.hidden, T * D))
        sequence_mark_fault(s, STEP_EMBEDDING);
    reduction_run(&s->sums[0], s->work.hidden, T * D);
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
    rms_norm(w->hidden + rows.first * D, l->attention_norm, m->shape.norm_eps, T, D, w->normed);
    struct gemm_input normed = gemm_prepare(&w->products, T, D, w->normed);
    product(s, &normed, &l->q, w->q_own);
    product(s, &normed, &l->k, w->kv_own);
    product(s, &normed, &l->v, w->kv_own + T * r);
    probe_queries(s, layer, rows);

    attend_exchange(s, rows);
    attend_store_keys(s, layer, rows);
    attend_shard(s, layer, rows);
    attend_merge(s, T);

    struct gemm_input merged = gemm_prepare(&w->products, T, hd, w->merged);
    product(s, &merged, &l->o, w->partial + rows.first * D);
    sum_begin(s, SITE_ATTN_OUT, layer, half);
}

/* x += W_down (silu(W_gate h) * W_up h), h = norm(x). */
static void ffn_block(struct sequence *s, int64_t layer, struct half *half) {
    const struct model *m = s->model;
    const struct layer_weights *l = &m->layers[layer];
    struct workspace *w = &s->work;
    struct range rows = half->rows;
    int64_t D = m->shape.hidden, f = m->share.ffn.count, T = rows.count;

    sum_end(s, half);
    rms_norm(w->hidden + rows.first * D, l->ffn_norm, m->shape.norm_eps, T, D, w->normed);
    struct gemm_input normed = gemm_prepare(&w->products, T, D, w->normed);
    product(s, &normed, &l->gate, w->gate);
    product(s, &normed, &l->up, w->up);
    silu_multiply(w->gate, w->up, T * f);

    struct gemm_input gated = gemm_prepare(&w->products, T, f, w->gate);
    product(s, &gated, &l->down, w->partial + rows.first * D);
    sum_begin(s, SITE_MLP_OUT, layer, half);
}

/* Takes the residual stream from the stage before, or makes it from the ids. */
static void stage_enter(struct sequence *s, const int32_t *tokens, int64_t T) {
    if (s->model->share.embeds)
        embed(s, tokens, T);
    else
        pp_receive(s->model->dist, s->work.hidden, T * s->model->shape.hidden);
}

/* Sends it on while this stage goes to the next chunk. */
static void stage_leave(struct sequence *s, int64_t T) {
    if (s->model->share.predicts)
        return;
    int64_t n = T * s->model->shape.hidden;
    pp_send_end(s->model->dist, &s->passing);
    memcpy(s->work.passing, s->work.hidden, (size_t)n * sizeof(float));
    pp_send_begin(s->model->dist, s->work.passing, n, &s->passing);
}

/* Short halves would make the products slower than their messages are long; and a probe looks at
 * whole chunks. */
#define HALF_LEAST 64

static int halve(const struct sequence *s, int64_t T, struct half halves[2]) {
    int count = s->options.overlap && !s->probe && T >= 2 * HALF_LEAST ? 2 : 1;
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
    pulse_stop();
    stage_leave(s, T);
    s->tokens += T;
    s->chunk_rows = T;
    times_enter(&s->model->dist->times, before);
}
