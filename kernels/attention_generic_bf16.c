/* The portable step of bf16 arithmetic: the reference of the fast ones, in plain loops. */
#include "kernels/attention_step.h"
#include "kernels/half.h"

#include <math.h>

static void scores_compute(const struct attention_step *s, const uint16_t *queries,
                           const uint16_t *keys, int64_t group_first, int64_t group_end,
                           float *scores) {
    for (int64_t group = group_first; group < group_end; group++) {
        const uint16_t *k = keys + group * s->head_dim * KV_GROUP;
        for (int64_t r = 0; r < s->rows; r++) {
            const uint16_t *q = queries + r * s->stride_rounded;
            float sum[KV_GROUP] = {0};
            for (int64_t i = 0; i < s->head_dim; i++)
                for (int64_t lane = 0; lane < KV_GROUP; lane++)
                    sum[lane] +=
                        bf16_to_f32(q[i]) * bf16_to_f32(k[(i / 2 * KV_GROUP + lane) * 2 + i % 2]);
            memcpy(scores + r * STEP_KEYS + group * KV_GROUP, sum, sizeof sum);
        }
    }
    step_cap(s, soft_cap_generic, group_first, group_end, scores);
}

/* Scores of row r into weights; the row's maximum, sums and correction. */
static void row_softmax(const struct attention_step *s, int64_t r) {
    float *p = s->scores + r * STEP_KEYS;
    uint16_t *weights = s->weights + r * STEP_KEYS;
    int64_t first = s->masked ? s->first[r] : 0, end = s->masked ? s->end[r] : s->keys;
    int64_t border = s->masked ? s->border[r] : s->far_groups * KV_GROUP;
    memset(weights, 0, (size_t)s->keys * sizeof *weights);
    s->correction[r] = 1;
    if (first >= end)
        return;
    for (int64_t j = first; j < end && j < border; j++)
        p[j] = s->far_scores[r * STEP_KEYS + j];

    float largest = -INFINITY, sum = 0;
    for (int64_t j = first; j < end; j++)
        largest = p[j] > largest ? p[j] : largest;
    float max = fmaxf(s->max[r], ceilf((float)M_LOG2E * largest));
    for (int64_t j = first; j < end; j++) {
        weights[j] = bf16_from_f32(exp2f(fmaf((float)M_LOG2E, p[j], -max)));
        sum += bf16_to_f32(weights[j]);
    }
    if (max > s->max[r])
        s->correction[r] = exp2f(s->max[r] - max);
    s->max[r] = max;
    float *sums = s->sums + r * STEP_LANES;
    sums[0] = sums[0] * s->correction[r] + sum;
}

static void row_values(const struct attention_step *s, int64_t r) {
    const uint16_t *weights = s->weights + r * STEP_KEYS, *values = s->values;
    float *out = s->out + r * s->stride;
    for (int64_t i = 0; i < s->head_dim; i++) {
        float sum = 0;
        for (int64_t j = 0; j < s->keys; j++)
            sum += bf16_to_f32(weights[j]) *
                   bf16_to_f32(values[(j / 2 * s->head_dim + i) * 2 + j % 2]);
        out[i] = out[i] * s->correction[r] + sum;
    }
}

static void step_run(const struct attention_step *s) {
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    scores_compute(s, s->far_rounded, s->keys_far, 0, s->far_groups, s->far_scores);
    scores_compute(s, s->near_rounded, s->keys_near, s->near_group, groups, s->scores);
    for (int64_t r = 0; r < s->rows; r++)
        row_softmax(s, r);
    for (int64_t r = 0; r < s->rows; r++)
        row_values(s, r);
}

static void round_all(int64_t n, const float *x, uint16_t *rounded) {
    for (int64_t i = 0; i < n; i++)
        rounded[i] = bf16_from_f32(x[i]);
}

const struct attention_kernel attention_generic_bf16 = {.run = step_run,
                                                        .rows = STEP_ROWS,
                                                        .keys = STEP_KEYS,
                                                        .q8_0 = &kv_widen_generic_bf16,
                                                        .rounds = true,
                                                        .round = round_all};
