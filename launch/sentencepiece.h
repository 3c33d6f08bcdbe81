/* SentencePiece's tokenizer.model of type BPE or unigram, by itself: what SentencePiece does with
 * it, no more. So strings such as <s> in a text are ordinary text, and only symbols that the model
 * itself calls user-defined are found as a whole. */
#ifndef QUIRE_LAUNCH_SENTENCEPIECE_H
#define QUIRE_LAUNCH_SENTENCEPIECE_H

#include "launch/tokenizer_decode.h"
#include "launch/tokenizer_pieces.h"
#include "launch/tokenizer_vocabulary.h"

struct sentencepiece; /* opaque, immutable */

/* Reads a model from memory [len bytes]; `file` is for messages. Errors: what is broken, a type of
 * model other than these, an option that is not known. */
enum status sentencepiece_parse(const char *file, const char *bytes, int64_t len,
                                struct sentencepiece **model);
void sentencepiece_close(struct sentencepiece **model);

int64_t sentencepiece_size(const struct sentencepiece *model);
bool sentencepiece_is_unigram(const struct sentencepiece *model);
const struct vocabulary *sentencepiece_vocabulary(const struct sentencepiece *model);

/* True for a piece that no text spells: <s>, [INST]. */
bool sentencepiece_is_control(const struct sentencepiece *model, int32_t id);

/* The id of a piece, -1 when there is none; the ids that the model names for the beginning and end
 * of texts, -1 for none. */
int32_t sentencepiece_find(const struct sentencepiece *model, const char *piece, int64_t len);
int32_t sentencepiece_bos(const struct sentencepiece *model);
int32_t sentencepiece_eos(const struct sentencepiece *model);

/* Appends the tokens of a text [len bytes, valid UTF-8]. Offsets, from `base` on: a token's first
 * byte; one of the bytes of a character that has no piece stands where that byte is. has_prefix:
 * the space in front is added where the model asks for it. */
enum status sentencepiece_encode(const struct sentencepiece *model, const char *text, int64_t len,
                                 int64_t base, bool has_prefix, struct token_list *out);

/* Decoding as a stream; zeroed to begin with. */
struct sentencepiece_stream {
    struct decoded bytes; /* of a character that is not whole yet; owned by the caller in the end */
    bool has_text;        /* something came out */
    bool took_space;      /* the token before was the space in front */
    bool past_space;      /* no space is in front any more */
};
enum status sentencepiece_put(const struct sentencepiece *model,
                              struct sentencepiece_stream *stream, int32_t id, struct decoded *out);
enum status sentencepiece_end(struct sentencepiece_stream *stream, struct decoded *out);

#endif
