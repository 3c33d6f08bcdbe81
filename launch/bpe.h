/* Byte-pair encoding: neighbours are joined in the order of their ranks until none can be. Both
 * kinds of tokenizer share it; what two neighbours make together is for the model to say. */
#ifndef QUIRE_LAUNCH_BPE_H
#define QUIRE_LAUNCH_BPE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

struct bpe_symbol {
    int64_t begin, len;     /* bytes of the text; len 0 once it was joined to its left neighbour */
    int64_t previous, next; /* indices of the neighbours, -1 at the ends; bpe_run sets them */
    int32_t id;             /* the model's, -1 where it has none */
    bool frozen;            /* never joined */
};

struct bpe_pair {
    int64_t left, len; /* index of the left symbol, and bytes of both together */
    int32_t rank, id;
};

/* A word being encoded; one is reused for all words of a text. */
struct bpe_word {
    struct bpe_symbol *symbols; /* [count] */
    struct bpe_pair *heap;      /* [heap_count] least rank on top, leftmost first */
    int64_t count, capacity, heap_count, heap_capacity;
};

void bpe_word_close(struct bpe_word *word);

/* Appends a symbol. */
enum status bpe_put(struct bpe_word *word, int64_t begin, int64_t len, int32_t id, bool frozen);

/* Says whether two neighbours may be joined, at which rank (the least is joined first) and to which
 * id. */
typedef bool bpe_join(const void *model, const char *text, const struct bpe_symbol *left,
                      const struct bpe_symbol *right, int32_t *rank, int32_t *id);

/* Joins what can be joined, O(count log count). What remains is symbols[0] and, along `next`, those
 * that follow it. */
enum status bpe_run(struct bpe_word *word, bpe_join *join, const void *model, const char *text);

/* Which characters may stand side by side within a piece of the vocabulary: a text can be cut where
 * they may not, since nothing is ever joined there, and then each part is encoded by itself. Errs
 * on the side of "may". A character is given as its bytes in one number, see bpe_character. */
#define BPE_BORDER_BITS 21
struct bpe_borders {
    uint64_t bits[1 << (BPE_BORDER_BITS - 6)];
};
void bpe_borders_join(struct bpe_borders *borders, uint32_t left, uint32_t right);
bool bpe_borders_joined(const struct bpe_borders *borders, uint32_t left, uint32_t right);

/* The bytes of the character at text [len >= 1], which need not be valid UTF-8. */
uint32_t bpe_character(const char *text, int64_t len, int *length);
/* The last character of a text [len >= 1]. */
uint32_t bpe_last_character(const char *text, int64_t len);

#endif
