/* The formula of attention and nothing else: what every kernel is held against. Full score
 * matrices, positions straight from the definition, double precision, no tiles, no cache. */
#ifndef QUIRE_TESTS_REFERENCE_ATTENTION_H
#define QUIRE_TESTS_REFERENCE_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

/* One softmax over two zones: query i and key j <= i are near when i - j < window. Far ones are
 * grouped by `group` when has_far is set; otherwise they are not seen. Plain attention is a window
 * beyond every length. A cap above 0 makes a score s cap tanh(s / cap). */
struct reference_rule {
    int64_t window, group;
    bool has_far;
    double cap;
};

/* Rotary positions of query i and key j in the zone that they are in, and false when i does not see
 * j. Their difference is the relative position that the model believes in. */
bool reference_positions(const struct reference_rule *rule, int64_t i, int64_t j, int64_t *query,
                         int64_t *key);

/* out = R(position) x for pairs (x[i], x[i + d/2]) with the angle position * theta^(-2i/d). */
void reference_rotate(const float *x, int64_t position, double theta, int64_t head_dim,
                      double *out);

/* Keys [tokens, d] rotated for both zones, values [tokens, d]. */
struct reference_cache {
    int64_t tokens, head_dim;
    const double *near, *far;
    const float *values;
};

/* One query at `position`, rotated for both zones and scaled, [d] each: out [d] normalised and the
 * largest score. */
void reference_attention(const struct reference_rule *rule, const struct reference_cache *cache,
                         const double *near, const double *far, int64_t position, double *out,
                         double *max);

#endif
