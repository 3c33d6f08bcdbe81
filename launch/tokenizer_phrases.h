/* A set of strings that are looked for in texts: added tokens, and the symbols that users define in
 * SentencePiece models. Finds the longest one that a place of the text begins with. */
#ifndef QUIRE_LAUNCH_TOKENIZER_PHRASES_H
#define QUIRE_LAUNCH_TOKENIZER_PHRASES_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

struct phrase {
    const char *text; /* [len] owned by the set */
    int64_t len;
    int32_t id;
};

struct phrases {
    struct phrase *list; /* [count] sorted by bytes once phrases_sort was called */
    int64_t count, capacity;
    int64_t first[257]; /* list[first[b] .. first[b + 1]) begin with byte b */
};

/* Adds a copy of a string [len >= 1]. */
enum status phrases_add(struct phrases *phrases, const char *text, int64_t len, int32_t id);

/* Makes the set ready to search; of equal strings the one with the lowest id stays. */
void phrases_sort(struct phrases *phrases);

void phrases_close(struct phrases *phrases);

/* The longest phrase that text [len] begins with, among the `most` shortest ones that it begins
 * with; NULL when there is none. */
const struct phrase *phrases_match(const struct phrases *phrases, const char *text, int64_t len,
                                   int most);

#endif
