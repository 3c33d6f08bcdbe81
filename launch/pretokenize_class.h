/* A regular expression while it is translated (see pretokenize_syntax.h): what the translator of
 * groups and quantifiers and that of characters and classes share. For those two files only. */
#ifndef QUIRE_LAUNCH_PRETOKENIZE_CLASS_H
#define QUIRE_LAUNCH_PRETOKENIZE_CLASS_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

/* Classes and groups within each other; real patterns have two or three. */
#define TRANSLATION_DEPTH_MAX 64

/* Text that grows; one NUL byte stands behind it. */
struct pattern_text {
    char *bytes; /* [len] */
    int64_t len, capacity;
};

struct translation {
    const char *file, *field; /* for messages */
    const char *source;       /* [len] */
    int64_t len, at;
    struct pattern_text out;
    int64_t atom; /* where in out the last thing that a quantifier can apply to begins, or -1 */
    int depth;
};

enum status pattern_put_bytes(struct pattern_text *text, const char *bytes, int64_t len);
enum status pattern_put(struct pattern_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The characters of \w, as items of a class. */
enum status pattern_put_word(struct pattern_text *text);

/* Refuses the construct at `at`. */
enum status translation_refuse(const struct translation *t, const char *what);

/* The byte so far behind `at`, -1 beyond the end. */
int translation_peek(const struct translation *t, int64_t ahead);

/* A hexadecimal digit's value, -1 for anything else; and up to `most` digits of a base as a number.
 */
int pattern_digit(int c);
int32_t translation_read_digits(struct translation *t, int base, int most);

/* One character, plain or escaped, that stands for itself. */
enum status translation_read_character(struct translation *t, int32_t *point);

/* If the letter at `at`, behind a backslash, is one for a set of characters (\s, \p{...}): reads it
 * and appends the set as items of a class; *negated says that the others are meant. */
enum status translation_read_set(struct translation *t, struct pattern_text *text, bool *negated,
                                 bool *is_set);

/* Reads a class behind its opening bracket, the closing one included, and appends to out what
 * matches the same single characters. */
enum status translation_read_class(struct translation *t, struct pattern_text *out);

#endif
