/* Two ways to divide a length over parts: contiguous ranges (layers, heads, columns, rows) and
 * block-cyclic (tokens of the KV cache). Any length and any number of parts are legal, parts above
 * the length give empty shares. Pure arithmetic. */
#ifndef QUIRE_PARTITION_LAYOUT_H
#define QUIRE_PARTITION_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

/* Indices first .. first+count-1. */
struct range {
    int64_t first, count;
};

/* The share of `part` when [0, len) is cut into `parts` contiguous ranges as even as can be: the
 * first len % parts of them have one more. */
struct range range_part(int64_t len, int64_t parts, int64_t part);

/* The same for a range: its part, in the indices of the whole. */
struct range range_subpart(struct range whole, int64_t parts, int64_t part);

/* What both hold. */
struct range range_intersect(struct range a, struct range b);

static inline int64_t range_end(struct range r) {
    return r.first + r.count;
}

static inline bool range_has(struct range r, int64_t i) {
    return i >= r.first && i < r.first + r.count;
}

/* Block-cyclic: token t lies in block t / block, the blocks go round the parts, so every part has
 * the same share of every prefix, to the block.
 *
 *     tokens   | 0 .. B-1 | B .. 2B-1 | 2B .. 3B-1 | ...
 *     parts=2  | part 0   | part 1    | part 0     | ...
 */
struct cyclic {
    int64_t block; /* tokens in a block, >= 1 */
    int64_t parts; /* >= 1 */
};

int64_t cyclic_owner(struct cyclic c, int64_t token);
/* Tokens of [0, len) that `part` owns: also the local index that token `len` would get there. */
int64_t cyclic_count(struct cyclic c, int64_t part, int64_t len);
/* Local index of a token at its owner, and back. */
int64_t cyclic_local(struct cyclic c, int64_t token);
int64_t cyclic_global(struct cyclic c, int64_t part, int64_t local);

#endif
