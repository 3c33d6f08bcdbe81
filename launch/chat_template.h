/* One row of the table of chat templates; for the files named chat* only. */
#ifndef QUIRE_LAUNCH_CHAT_TEMPLATE_H
#define QUIRE_LAUNCH_CHAT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

/* Within the strings of a row: the text of the tokenizer's EOS token. */
#define CHAT_EOS "\002"
#define CHAT_MARKS_MAX 6

enum chat_system {
    CHAT_SYSTEM_TURN,    /* a turn of its own, in front */
    CHAT_SYSTEM_IN_USER, /* at the beginning of the user's turn */
    CHAT_SYSTEM_NONE
};

enum chat_trim {
    CHAT_TRIM_NONE,
    CHAT_TRIM_EACH, /* white space around the system's and the user's text goes */
    CHAT_TRIM_USER, /* around the user's alone */
    CHAT_TRIM_BODY, /* around what stands within the user's turn */
};

struct chat_template {
    const char *name; /* several rows of one name render alike; the first is the one of that name */
    /* How it is recognised, in the model's template with " as ' and \n as a newline. */
    const char *marks[CHAT_MARKS_MAX];  /* all of them are there */
    const char *absent[CHAT_MARKS_MAX]; /* none of them is */
    bool has_bos;                       /* BOS stands in front */
    enum chat_system system;
    enum chat_trim trim;
    const char *system_default; /* the system's text when none is given; NULL: no such turn */
    const char *system_open, *system_close;
    const char *user_open, *user_close;
    const char *answer_open;
};

extern const struct chat_template chat_templates[];
extern const int64_t chat_template_count;

#endif
