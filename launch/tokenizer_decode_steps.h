/* The steps of a decoder as they were read; for the files of that name only. */
#ifndef QUIRE_LAUNCH_TOKENIZER_DECODE_STEPS_H
#define QUIRE_LAUNCH_TOKENIZER_DECODE_STEPS_H

#include "launch/pretokenize_pattern.h"
#include "launch/tokenizer_decode.h"

enum decode_kind {
    DECODE_JOIN,
    DECODE_REPLACE,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
    DECODE_BYTE_LEVEL,
    DECODE_METASPACE
};

struct decode_step {
    enum decode_kind kind;
    struct pattern *pattern; /* DECODE_REPLACE, owned */
    char *content;           /* DECODE_REPLACE, owned [content_len] */
    int64_t content_len;
    int32_t character;   /* DECODE_STRIP, DECODE_METASPACE */
    int64_t start, stop; /* DECODE_STRIP: how many to take off at most */
    bool keeps_first;    /* DECODE_METASPACE: nothing was put in front of the text */
    bool in_parts;       /* one string comes in, in parts */
};

struct decode_steps {
    struct decode_step *list; /* [count] */
    int64_t count, capacity;
};

#endif
