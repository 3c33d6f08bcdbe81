/* The position scheme: how far apart the model believes two tokens to be. SelfExtend (arXiv
 * 2401.01325): query i and key j are near when i - j < w and rotated at their own positions; far
 * otherwise, the query rotated at i//G + w - w//G and the key at j//G. One softmax over both.
 * Everything follows from global token indices alone. Pure arithmetic. */
#ifndef QUIRE_PARTITION_SCHEME_H
#define QUIRE_PARTITION_SCHEME_H

#include "partition/shape.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum zone_rule {
    ZONE_ALL_NEAR, /* plain attention */
    ZONE_GROUPED,  /* SelfExtend: keys at distance >= window are grouped */
    ZONE_MASKED,   /* sliding window: keys at distance >= window are not seen */
};

struct scheme {
    enum zone_rule rule;
    int64_t window; /* w, or the sliding window; unused by ZONE_ALL_NEAR */
    int64_t group;  /* G; 1 unless ZONE_GROUPED */
};

/* Rotary position of a far query or key (near ones stand at their own index). */
int64_t scheme_far_query(const struct scheme *s, int64_t i);
int64_t scheme_far_key(const struct scheme *s, int64_t j);

/* Longest input whose relative positions all stay below the trained context L:
 * (L - w + w//G) * G, the paper's (L - w) * G + w when G divides w. 0 when w >= L + w//G. */
int64_t scheme_limit(int64_t context, int64_t group, int64_t window);

/* Smallest G whose limit reaches `length`, or 0 when no G does (w too large for L). */
int64_t scheme_smallest_group(int64_t context, int64_t window, int64_t length);

/* What the user asked for: 0 means auto. */
struct scheme_request {
    bool plain; /* --no-self-extend */
    int64_t group, window;
};

/* The scheme for an input of `length` tokens (prompt, generated and reserved ones). Auto: w = L/4,
 * G the smallest integer with w + ceil((length - w)/G) <= 2L/3; both auto and length <= L: plain.
 * A value given is used at any length; where no G satisfies the rule, the smallest within the limit
 * is taken, and 1 where there is none. Plain attention keeps the model's sliding window; SelfExtend
 * turns it off, as the method's authors do. */
struct scheme scheme_choose(const struct shape *shape, struct scheme_request request,
                            int64_t length);

/* How one layer attends under the scheme: layers without rotation have one zone whatever the
 * scheme; in plain attention those that see all keys are not masked. */
struct scheme scheme_of_layer(const struct scheme *s, const struct shape *shape, int64_t layer);

/* Longest input that the scheme takes within the trained context. */
int64_t scheme_reach(const struct scheme *s, int64_t context);

/* Words the one warning for an input of `length` tokens beyond the scheme's reach, naming the
 * smallest G that fits; false when there is nothing to warn of. */
bool scheme_warning(const struct scheme *s, const struct shape *shape, int64_t length, char *text,
                    size_t text_size);

/* Angles per position of each pair (x[i], x[i + pairs]) of those that are rotated: frequencies
 * [pairs], radians, with the model's rope scaling (default: theta^(-i/pairs), arXiv 2104.09864 eq.
 * 15; llama3: as the config's factors; longrope: over the long factors when `length`, the tokens
 * asked for, is beyond the original context, else over the short ones). Returns what cosines and
 * sines are multiplied by: 1 but for longrope. */
double rope_frequencies(const struct rope *rope, int64_t pairs, int64_t length,
                        double *frequencies);

#endif
