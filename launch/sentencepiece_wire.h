/* Protocol buffers, as far as tokenizer.model needs them: the fields of a message one by one.
 * Lengths and numbers that lie are refused; fields of unknown numbers are for the caller to pass
 * over. */
#ifndef QUIRE_LAUNCH_SENTENCEPIECE_WIRE_H
#define QUIRE_LAUNCH_SENTENCEPIECE_WIRE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* A message that is being read: bytes [begin, end) of the file. */
struct wire {
    const char *file;  /* for messages */
    const char *bytes; /* the whole file's; borrowed */
    int64_t at, end;
};

struct wire_field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;     /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    int64_t begin, end; /* WIRE_BYTES: where in the file */
};

/* Reads the next field; *more is false at the end of the message. */
enum status wire_next(struct wire *wire, struct wire_field *field, bool *more);

/* The message that a field holds. */
struct wire wire_within(const struct wire *wire, const struct wire_field *field);

#endif
