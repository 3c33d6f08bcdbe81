/* Legend: T tokens of the chunk, D hidden, h own query heads, d head_dim, r own rows of k and v, f
 * own FFN columns. The residual stream `hidden` [T, D] is replicated in the stage; every rank adds
 * the partial sums of its own heads and columns. */
#include "dist/forward.h"

#include "dist/attend.h"
#include "dist/collective.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include <string.h>

/* Hands this rank's share of the chunk's tokens of a replicated activation [T, D] to the probe. */
static void probe_replicated(const struct sequence *s, enum site site, int64_t layer,
                             const float *x, int64_t T) {
    if (!s->probe)
        return;
    const struct model *m = s->model;
    struct range rows = range_part(T, m->dist->stage.size, m->dist->stage.rank);
    struct site_part p = {.site = site,
                          .layer = m->share.layers.first + layer,
                          .tokens = {s->tokens + rows.first, rows.count},
                          .columns = {0, m->shape.hidden},
                          .data = x + rows.first * m->shape.hidden};
    s->probe->put(s->probe->context, &p);
}

static void probe_queries(const struct sequence *s, int64_t layer, int64_t T) {
    if (!s->probe)
        return;
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.heads.count * d;
    struct site_part p = {.site = SITE_Q,
                          .layer = m->share.layers.first + layer,
                          .tokens = {s->tokens, T},
                          .columns = {m->share.heads.first * d, width},
                          .data = s->work.q_own};
    s->probe->put(s->probe->context, &p);
}

/* partial [T, D] := its sum over the stage; what this rank puts in is checked first. */
static void sum_partials(struct sequence *s, int64_t step, int64_t T) {
    struct workspace *w = &s->work;
    int64_t n = T * s->model->shape.hidden;
    if (!all_finite(w->partial, n))
        sequence_mark_fault(s, step);
    stage_allreduce_sum(s->model->dist, w->partial, n);
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
    stage_allreduce_sum(m->dist, s->work.hidden, T * D);
}

/* h = norm(x); q, k, v = h W; x += W_o softmax(q k / sqrt(d)) v, in two zones (arXiv 2401.01325,
 * section 3). */
static void attention_block(struct sequence *s, int64_t layer, int64_t T) {
    const struct model *m = s->model;
    const struct layer_weights *l = &m->layers[layer];
    struct workspace *w = &s->work;
    int64_t D = m->shape.hidden, hd = m->share.heads.count * m->shape.head_dim;
    int64_t r = m->share.kv_rows.count;

    rms_norm(w->hidden, l->attention_norm, m->shape.norm_eps, T, D, w->normed);
    struct gemm_input normed = gemm_prepare(&w->products, T, D, w->normed);
    gemm_xwt(&normed, &l->q, w->q_own);
    gemm_xwt(&normed, &l->k, w->kv_own);
    gemm_xwt(&normed, &l->v, w->kv_own + T * r);
    probe_queries(s, layer, T);

    attend_gather_queries(s, T);
    attend_store_keys(s, layer, T);
    attend_shard(s, layer, T);
    attend_merge(s, T);

    struct gemm_input merged = gemm_prepare(&w->products, T, hd, w->merged);
    gemm_xwt(&merged, &l->o, w->partial);
    sum_partials(s, step_attention(m->share.layers.first + layer), T);
    probe_replicated(s, SITE_ATTN_OUT, layer, w->partial, T);
    add_to(w->hidden, w->partial, T * D);
}

/* x += W_down (silu(W_gate h) * W_up h), h = norm(x). */
static void ffn_block(struct sequence *s, int64_t layer, int64_t T) {
    const struct model *m = s->model;
    const struct layer_weights *l = &m->layers[layer];
    struct workspace *w = &s->work;
    int64_t D = m->shape.hidden, f = m->share.ffn.count;

    rms_norm(w->hidden, l->ffn_norm, m->shape.norm_eps, T, D, w->normed);
    struct gemm_input normed = gemm_prepare(&w->products, T, D, w->normed);
    gemm_xwt(&normed, &l->gate, w->gate);
    gemm_xwt(&normed, &l->up, w->up);
    silu_multiply(w->gate, w->up, T * f);

    struct gemm_input gated = gemm_prepare(&w->products, T, f, w->gate);
    gemm_xwt(&gated, &l->down, w->partial);
    sum_partials(s, step_ffn(m->share.layers.first + layer), T);
    probe_replicated(s, SITE_MLP_OUT, layer, w->partial, T);
    add_to(w->hidden, w->partial, T * D);
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

void forward_chunk(struct sequence *s, const int32_t *tokens, int64_t T) {
    attend_prepare(s, T);
    stage_enter(s, tokens, T);
    for (int64_t layer = 0; layer < s->model->share.layers.count; layer++) {
        probe_replicated(s, SITE_RESID_PRE, layer, s->work.hidden, T);
        attention_block(s, layer, T);
        probe_replicated(s, SITE_RESID_MID, layer, s->work.hidden, T);
        ffn_block(s, layer, T);
        probe_replicated(s, SITE_RESID_POST, layer, s->work.hidden, T);
    }
    stage_leave(s, T);
    s->tokens += T;
    s->chunk_rows = T;
}
