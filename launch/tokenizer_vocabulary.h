/* The strings of a tokenizer's vocabulary and their ids, either way. Ids may leave gaps. */
#ifndef QUIRE_LAUNCH_TOKENIZER_VOCABULARY_H
#define QUIRE_LAUNCH_TOKENIZER_VOCABULARY_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

/* Ids lie below this, so that a file's number cannot ask for unbounded memory. */
#define VOCABULARY_ID_LIMIT (INT64_C(1) << 24)

struct vocabulary_entry {
    int64_t begin; /* of its string, plus one; 0: no string has this id */
    int64_t len;
};

struct vocabulary {
    char *text;                       /* all strings, one after the other */
    struct vocabulary_entry *entries; /* [size] */
    int32_t *slots;                   /* [slot_count] hash table of ids, -1 where empty */
    int64_t size;                     /* one more than the largest id */
    int64_t count, text_len, text_capacity, entry_capacity, slot_count;
};

void vocabulary_close(struct vocabulary *vocabulary);

/* Adds a string under an id in [0, VOCABULARY_ID_LIMIT). `file` and `field` are for messages.
 * Errors: string or id taken, memory. */
enum status vocabulary_add(struct vocabulary *vocabulary, const char *file, const char *field,
                           const char *text, int64_t len, int64_t id);

/* The same, but a string that has an id may get another one: the last is found, each names it. */
enum status vocabulary_add_last(struct vocabulary *vocabulary, const char *file, const char *field,
                                const char *text, int64_t len, int64_t id);

/* The id of a string, -1 when it has none. */
int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, int64_t len);

/* The string of an id (borrowed), NULL when it has none. */
const char *vocabulary_text(const struct vocabulary *vocabulary, int64_t id, int64_t *len);

#endif
