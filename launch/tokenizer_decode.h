/* The decoder of tokenizer.json: turns the strings of tokens back into text, as a stream. Knows
 * Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel and Metaspace.
 *
 * Each step takes strings of tokens and hands strings on. A step that has made one string of all of
 * them (Fuse, ByteLevel) hands it on in parts, and those behind it work on the parts as they come.
 * Where the reference, which sees all tokens at once, would take back what is out already, the
 * stream differs: a run of byte tokens that turns out invalid after some whole characters keeps
 * those, and only the bytes from there on are U+FFFD, one each. */
#ifndef QUIRE_LAUNCH_TOKENIZER_DECODE_H
#define QUIRE_LAUNCH_TOKENIZER_DECODE_H

#include "partition/status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes that grow. */
struct decoded {
    char *bytes; /* [len] */
    int64_t len, capacity;
};
enum status decoded_put(struct decoded *decoded, const char *bytes, int64_t len);

struct decode_steps; /* opaque, immutable */

/* json: the decoder object; NULL or null: strings are put side by side with a space between. Errors
 * name the kind that is not known. */
enum status decode_steps_open(const char *file, const json_t *json, struct decode_steps **steps);
void decode_steps_close(struct decode_steps **steps);

struct decode_stream; /* opaque; borrows the steps */
enum status decode_stream_open(const struct decode_steps *steps, struct decode_stream **stream);
void decode_stream_close(struct decode_stream **stream);

/* Takes the string of a token, and appends to out what text is ready. */
enum status decode_stream_put(struct decode_stream *stream, const char *text, int64_t len,
                              struct decoded *out);
/* Appends what is left; the stream is over. */
enum status decode_stream_end(struct decode_stream *stream, struct decoded *out);

/* The value of a string <0x00> to <0xFF>, -1 for others. */
int decode_byte_piece(const char *text, int64_t len);

#endif
