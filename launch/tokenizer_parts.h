/* tokenizer.json's normalizer, pre_tokenizer and decoder have one form: null, an object with a
 * type, or a Sequence of such objects, nested or not. This walks it; what each type means is the
 * reader's.
 */
#ifndef QUIRE_LAUNCH_TOKENIZER_PARTS_H
#define QUIRE_LAUNCH_TOKENIZER_PARTS_H

#include "partition/status.h"
#include <jansson.h>
#include <stdbool.h>

struct part_reader {
    const char *list;  /* the Sequence's list: "normalizers", "pretokenizers", "decoders" */
    const char *known; /* the types that `read` takes, for the message: "Split, ... or Digits" */
    /* Reads one object of this type into the owner; *taken = false for a type not known. */
    enum status (*read)(void *owner, const char *file, const char *type, const json_t *json,
                        bool *taken);
};

/* Reads every object in order. `file` names the place for messages. Errors: no object or list where
 * one must be, nesting too deep, a type that is not known, named with those that are. */
enum status parts_read(const char *file, const json_t *json, const struct part_reader *reader,
                       void *owner);

#endif
