/* Normalisation forms of Unicode, as the reference tokenizers apply them: with the data of
 * Unicode 9, so that a later character takes part in nothing. */
#ifndef QUIRE_LAUNCH_UNICODE_NORMAL_H
#define QUIRE_LAUNCH_UNICODE_NORMAL_H

#include "launch/tokenizer_pieces.h"

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };

/* Appends text [len bytes, valid UTF-8] to out in that form. origin [len] says where each byte
 * comes from; a byte of out that is not a copy comes from where its group of characters begins.
 * Linear in len, however long a run of combining marks is. Errors: memory. */
enum status unicode_normalize(enum unicode_form form, const char *text, const int64_t *origin,
                              int64_t len, struct pieces *out);

/* Code points that the reference's data does not know (unicode_table.c). */
struct unicode_span {
    int32_t first, last;
};
extern const struct unicode_span unicode_inert[];
extern const int unicode_inert_count;

#endif
