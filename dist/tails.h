/* Several continuations of one text at once: each has a private tail of keys and values behind the
 * sequence's tokens, which all of them share and none changes. Their tokens are rows of common
 * forward passes, each row with its own position and tail. A tail lies whole on one rank of its sp
 * group, the tails by turns. */
#ifndef QUIRE_DIST_TAILS_H
#define QUIRE_DIST_TAILS_H

#include "dist/head.h"
#include "dist/sequence.h"

struct tail {
    struct cache cache; /* this rank's part; empty unless the tail lies here */
    int64_t tokens;     /* read so far, behind the sequence's */
    int64_t capacity;
};

/* A token to read: of which tail. Its position is the tail's next. */
struct tail_token {
    int64_t tail;
    int32_t id;
};

struct tails {
    struct sequence *sequence; /* borrowed; its own tokens stay as they are */
    struct tail *tails;        /* owned */
    int64_t count;
    /* of one pass, [chunk] each, owned */
    int32_t *ids;
    int64_t *positions, *of_rows, *order, *rows_of_tail; /* the last [count + 1] */
    struct attention_task *tasks;                        /* owned, [heads * count] */
    int64_t *task_positions;                             /* owned, [chunk * group] */
    float *near, *far, *out, *max, *sum;                 /* owned, of the rows in tail order */
};

/* Tails for `count` continuations of the sequence, capacities[i] tokens at most. Collective(world).
 * tails_close frees half-opened ones too. */
enum status tails_open(struct sequence *sequence, const int64_t *capacities, int64_t count,
                       struct tails *tails);
void tails_close(struct tails *tails);

/* One forward pass over tokens [count], at most the sequence's chunk: those of one tail in their
 * order, the tails in any. Row `rows_out[i]` of the pass is token i. Collective(world). */
void tails_forward(struct tails *tails, const struct tail_token *tokens, int64_t count,
                   int64_t *rows_out);

/* Chooses what follows each of these rows of the last pass, ascending; `tails_of` are their tails.
 * Collective(world). Fails where a value is not finite. */
enum status tails_choose(struct tails *tails, const int64_t *rows, const int64_t *tails_of,
                         int64_t count, const struct sample_options *options, int64_t logprobs,
                         struct choice *choices);

/* -- for attend.c, in a pass of tails -- */

/* Rows whose keys and values go to rank `part` of `parts` of the sp group, and the n-th of them. */
int64_t tails_owned_rows(const struct batch *batch, int64_t part, int64_t parts);
int64_t tails_owned_row(const struct batch *batch, int64_t part, int64_t parts, int64_t n);

/* Keys and values [own rows, k*d] of a layer into the tails; `tables` of all rows. */
void tails_put_keys(struct sequence *s, int64_t layer, const float *keys, const float *values,
                    const struct rotary *tables);

/* Attention of the rows over their own tails, merged into work.attended, row_max, row_sum. */
void tails_attend(struct sequence *s, int64_t layer);

#endif
