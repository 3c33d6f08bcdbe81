/* The portable step: the reference of the fast ones, in plain loops. */
#include "kernels/attention_step.h"
#include "kernels/half.h"

#include <math.h>

/* A group of keys in f32, [d][KV_GROUP]. */
static const float *keys_wide(const struct attention_step *s, const void *keys, int64_t group) {
    int64_t size = s->head_dim * KV_GROUP;
    if (s->type == KV_F32)
        return (const float *)keys + group * size;
    const uint16_t *from = (const uint16_t *)keys + group * size;
    for (int64_t i = 0; i < s->head_dim; i++)
        for (int64_t lane = 0; lane < KV_GROUP; lane++)
            s->wide[i * KV_GROUP + lane] = bf16_to_f32(from[(i / 2 * KV_GROUP + lane) * 2 + i % 2]);
    return s->wide;
}

/* The tile's values in f32, [keys][d]. */
static const float *values_wide(const struct attention_step *s) {
    if (s->type == KV_F32)
        return s->values;
    const uint16_t *from = s->values;
    for (int64_t j = 0; j < s->keys; j++)
        for (int64_t i = 0; i < s->head_dim; i++)
            s->wide[j * s->head_dim + i] = bf16_to_f32(from[(j / 2 * s->head_dim + i) * 2 + j % 2]);
    return s->wide;
}

static void scores_compute(const struct attention_step *s, const float *queries, const void *keys,
                           int64_t group_first, int64_t group_end, float *scores) {
    for (int64_t group = group_first; group < group_end; group++) {
        const float *k = keys_wide(s, keys, group);
        for (int64_t r = 0; r < s->rows; r++) {
            const float *q = queries + r * s->head_dim;
            float sum[KV_GROUP] = {0};
            for (int64_t i = 0; i < s->head_dim; i++)
                for (int64_t lane = 0; lane < KV_GROUP; lane++)
                    sum[lane] += q[i] * k[i * KV_GROUP + lane];
            memcpy(scores + r * STEP_KEYS + group * KV_GROUP, sum, sizeof sum);
        }
    }
    step_cap(s, soft_cap_generic, group_first, group_end, scores);
}

/* Scores of row r into weights; the row's maximum, sums and correction. */
static void row_softmax(const struct attention_step *s, int64_t r) {
    float *p = s->scores + r * STEP_KEYS;
    int64_t first = s->masked ? s->first[r] : 0, end = s->masked ? s->end[r] : s->keys;
    int64_t border = s->masked ? s->border[r] : s->far_groups * KV_GROUP;
    s->correction[r] = 1;
    for (int64_t j = 0; j < first || (first >= end && j < s->keys); j++)
        p[j] = 0;
    if (first >= end)
        return;
    for (int64_t j = end; j < s->keys; j++)
        p[j] = 0;
    for (int64_t j = first; j < end && j < border; j++)
        p[j] = s->far_scores[r * STEP_KEYS + j];

    float max = s->max[r], sum = 0;
    for (int64_t j = first; j < end; j++)
        max = p[j] > max ? p[j] : max;
    for (int64_t j = first; j < end; j++) {
        p[j] = expf(p[j] - max);
        sum += p[j];
    }
    s->correction[r] = expf(s->max[r] - max);
    s->max[r] = max;
    float *sums = s->sums + r * STEP_LANES;
    sums[0] = sums[0] * s->correction[r] + sum;
}

static void row_values(const struct attention_step *s, const float *values, int64_t r) {
    const float *p = s->scores + r * STEP_KEYS;
    float *out = s->out + r * s->stride;
    for (int64_t i = 0; i < s->head_dim; i += STEP_LANES) {
        int64_t lanes = s->head_dim - i < STEP_LANES ? s->head_dim - i : STEP_LANES;
        float sum[STEP_LANES] = {0};
        for (int64_t j = 0; j < s->keys; j++)
            for (int64_t lane = 0; lane < lanes; lane++)
                sum[lane] += p[j] * values[j * s->head_dim + i + lane];
        for (int64_t lane = 0; lane < lanes; lane++)
            out[i + lane] = out[i + lane] * s->correction[r] + sum[lane];
    }
}

static void step_run(const struct attention_step *s) {
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    scores_compute(s, s->far, s->keys_far, 0, s->far_groups, s->far_scores);
    scores_compute(s, s->near, s->keys_near, s->near_group, groups, s->scores);
    for (int64_t r = 0; r < s->rows; r++)
        row_softmax(s, r);
    const float *values = values_wide(s);
    for (int64_t r = 0; r < s->rows; r++)
        row_values(s, values, r);
}

const struct attention_kernel attention_generic = {
    .run = step_run, .rows = STEP_ROWS, .keys = STEP_KEYS, .q8_0 = &kv_widen_generic};
