/* The pre_tokenizer of tokenizer.json: cuts a text into pieces, within which alone symbols are
 * joined. Knows Sequence, Split, ByteLevel, Metaspace, Digits, Whitespace,
 * WhitespaceSplit and Punctuation. */
#ifndef QUIRE_LAUNCH_PRETOKENIZE_H
#define QUIRE_LAUNCH_PRETOKENIZE_H

#include "launch/pretokenize_pattern.h"
#include "launch/tokenizer_pieces.h"
#include <jansson.h>

struct pretokenizer; /* opaque, immutable */

/* json: the pre_tokenizer object; NULL or null makes one that leaves texts whole. Errors name the
 * kind that is not known. */
enum status pretokenizer_open(const char *file, const json_t *json,
                              struct pretokenizer **pretokenizer);
void pretokenizer_close(struct pretokenizer **pretokenizer);

/* Cuts and rewrites the pieces that are still text; behind: see encode_rules. Errors: memory, a
 * pattern that takes too long.
 */
enum status pretokenizer_apply(const struct pretokenizer *pretokenizer, bool behind,
                               struct pieces *pieces);

/* True when a step writes bytes as characters of their own (ByteLevel). */
bool pretokenizer_is_byte_level(const struct pretokenizer *pretokenizer);

/* The character that stands for a byte in byte-level vocabularies, and back (-1: for none). */
int32_t byte_level_character(unsigned char byte);
int byte_level_byte(int32_t point);

#endif
