/* Patterns of tokenizer.json, {"String": ...} or {"Regex": ...}, and the cutting of texts by them.
 */
#ifndef QUIRE_LAUNCH_PRETOKENIZE_PATTERN_H
#define QUIRE_LAUNCH_PRETOKENIZE_PATTERN_H

#include "partition/status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct pattern; /* opaque, immutable */

/* Reads a pattern. `field` is for messages. Errors: another form, a regular expression that does
 * not compile. */
enum status pattern_open(const char *file, const char *field, const json_t *json,
                         struct pattern **pattern);
/* A regular expression of our own. */
enum status pattern_open_regex(const char *file, const char *field, const char *source, int64_t len,
                               struct pattern **pattern);
void pattern_close(struct pattern **pattern);

/* The string that is looked for, NULL for a regular expression. */
const char *pattern_literal(const struct pattern *pattern, int64_t *len);

/* A part of a text: what a pattern matches, or what lies between two matches. */
struct span {
    int64_t begin, end;
    bool is_match;
};
struct spans {
    struct span *list; /* [count] without gaps from 0 to the text's end; a match may be empty */
    int64_t count, capacity;
};
enum status spans_put(struct spans *spans, int64_t begin, int64_t end, bool is_match);

/* What matching needs beside the pattern, for one text or several. */
struct matcher; /* opaque */
enum status matcher_open(const struct pattern *pattern, struct matcher **matcher);
void matcher_close(struct matcher **matcher);

/* Cuts text [len bytes, valid UTF-8] into spans. Errors: memory, a match that takes too long. */
enum status matcher_cut(struct matcher *matcher, const char *text, int64_t len,
                        struct spans *spans);

#endif
