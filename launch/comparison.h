/* What the two commands that compare have in common: plain attention and SelfExtend side by side,
 * at several lengths, each under the scheme that the user's request gives for the length. */
#ifndef QUIRE_LAUNCH_COMPARISON_H
#define QUIRE_LAUNCH_COMPARISON_H

#include "launch/options.h"
#include "launch/session.h"
#include "launch/table.h"
#include <jansson.h>
#include <stdbool.h>

struct comparison {
    bool runs[METHOD_COUNT];
    struct number_list lengths; /* owned; ascending, each once */
};

/* Takes the lengths from --lengths, else the `count` of `otherwise`, and the methods from
 * --no-plain and --no-self-extend. Errors: a length below 2. Local, equal everywhere. */
enum status comparison_open(const struct options *options, const int64_t *otherwise, int64_t count,
                            struct comparison *comparison);
void comparison_close(struct comparison *comparison);

/* A copy of values [count], ascending, each once; owned by the caller. */
enum status number_list_sorted(const int64_t *values, int64_t count, struct number_list *sorted);

/* Options of a sequence that reads `length` tokens by the method; those of plain attention where
 * SelfExtend is left out. */
struct sequence_options comparison_sequence(const struct session *session, enum method method,
                                            int64_t length);

/* Warns where SelfExtend is beyond its reach, and where plain attention is and was asked for alone:
 * next to SelfExtend it is there to be seen failing. */
void comparison_warn(const struct session *session, const struct comparison *comparison);

/* Puts method, group, window (null where they play no part) and limit, the longest input that stays
 * within the trained context. */
void comparison_put_scheme(json_t *object, const struct scheme *scheme, int64_t context);

/* Puts the two cells G and w of a table's row. */
void comparison_put_cells(struct table *table, const struct scheme *scheme);

#endif
