/* The rows behind the command line: parsing and help both walk them. Private to options*.c. */
#ifndef QUIRE_LAUNCH_OPTIONS_TABLE_H
#define QUIRE_LAUNCH_OPTIONS_TABLE_H

#include "launch/options.h"
#include <stddef.h>

enum section {
    SECTION_INPUT,   /* the model and the text */
    SECTION_COMMAND, /* what only this command has */
    SECTION_REACH,   /* how far the model reads */
    SECTION_RUN,     /* ranks, memory, threads */
    SECTION_REPORT,
    SECTION_COUNT
};

struct option {
    const char *name;     /* "--group", "-n" */
    const char *value;    /* its value as help shows it, "N|auto"; NULL: a flag */
    unsigned commands;    /* bit 1 << enum command: those that take it */
    const char *standard; /* the default as help shows it; NULL: none */
    const char *help;     /* one or a few sentences */
    enum section section;
    bool repeatable;
    enum status (*take)(struct options *options, const struct option *row, const char *text);
    size_t place;     /* of the field that the simple kinds fill */
    int64_t min, max; /* of a whole number */
};

extern const struct option option_rows[];
extern const int64_t option_row_count;

static inline unsigned command_bit(enum command command) {
    return 1u << command;
}

#endif
