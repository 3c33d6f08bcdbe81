#include "tests/reference_attention.h"

#include <math.h>
#include <stdlib.h>

bool reference_positions(const struct reference_rule *rule, int64_t i, int64_t j, int64_t *query,
                         int64_t *key) {
    if (j > i)
        return false;
    if (i - j < rule->window) {
        *query = i;
        *key = j;
        return true;
    }
    if (!rule->has_far)
        return false;
    *query = i / rule->group + rule->window - rule->window / rule->group;
    *key = j / rule->group;
    return true;
}

void reference_rotate(const float *x, int64_t position, double theta, int64_t head_dim,
                      double *out) {
    int64_t half = head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        double angle = (double)position * pow(theta, -2.0 * (double)i / (double)head_dim);
        out[i] = x[i] * cos(angle) - x[i + half] * sin(angle);
        out[i + half] = x[i + half] * cos(angle) + x[i] * sin(angle);
    }
}

void reference_attention(const struct reference_rule *rule, const struct reference_cache *cache,
                         const double *near, const double *far, int64_t position, double *out,
                         double *max) {
    int64_t d = cache->head_dim, query_position, key_position;
    double *scores = malloc((size_t)cache->tokens * sizeof *scores), sum = 0;
    *max = -INFINITY;
    for (int64_t j = 0; j < cache->tokens; j++) {
        scores[j] = -INFINITY;
        if (!reference_positions(rule, position, j, &query_position, &key_position))
            continue;
        bool is_near = position - j < rule->window;
        const double *keys = is_near ? cache->near : cache->far, *query = is_near ? near : far;
        scores[j] = 0;
        for (int64_t i = 0; i < d; i++)
            scores[j] += query[i] * keys[j * d + i];
        if (rule->cap > 0)
            scores[j] = rule->cap * tanh(scores[j] / rule->cap);
        *max = fmax(*max, scores[j]);
    }
    for (int64_t i = 0; i < d; i++)
        out[i] = 0;
    for (int64_t j = 0; j < cache->tokens; j++) {
        if (scores[j] == -INFINITY)
            continue;
        double weight = exp(scores[j] - *max);
        sum += weight;
        for (int64_t i = 0; i < d; i++)
            out[i] += weight * cache->values[j * d + i];
    }
    for (int64_t i = 0; i < d && sum > 0; i++)
        out[i] /= sum;
    free(scores);
}
