/* Text to token ids and back, as the model's own tokenizer files say. Knows tokenizer.json (BPE
 * with byte fallback as Llama-2 has it, byte-level BPE with a splitting pattern as Llama-3 has it,
 * Unigram; added tokens), SentencePiece's tokenizer.model (BPE and unigram), vocab.json with
 * merges.txt, and GGUF files. Not collective: one rank encodes for all. */
#ifndef QUIRE_LAUNCH_TOKENIZER_H
#define QUIRE_LAUNCH_TOKENIZER_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

struct tokenizer; /* opaque, immutable once open */

/* Opens the tokenizer at PATH: a GGUF file, a file in the form of tokenizer.json or tokenizer.model
 * (by whatever name), or a directory, of which the first of these that is there is taken:
 * tokenizer.json, tokenizer.model, vocab.json with merges.txt, encoder.json with vocab.bpe (the
 * same by other names). tokenizer_config.json beside the files counts. Errors name the file and
 * field; a kind of normaliser, pre-tokenizer, model or decoder that is not known is refused by
 * name.
 *
 * What stands around a text (BOS in front, EOS behind, each by itself):
 * - The template of tokenizer.json decides, where there is one; but for the classes that replace it
 *   by their own (tokenizer_class LlamaTokenizer, CodeLlamaTokenizer, with or without Fast)
 *   add_bos_token and add_eos_token count more than the template when they are given.
 * - Without a template: add_bos_token and add_eos_token; where they are not given, BOS with those
 *   classes and with a tokenizer.model, nothing with others, and never EOS.
 * - The token is bos_token (eos_token) of tokenizer_config.json, a string or an object with a
 *   content; where that does not name one, the model's own: <s> and </s> with those classes,
 *   trainer_spec.bos_id and eos_id in a tokenizer.model. A null there means none.
 * - GGUF: tokenizer.ggml.add_bos_token, add_eos_token, bos_token_id and eos_token_id; where the
 * first two are not there, BOS with SentencePiece BPE and with the families of Llama-3 and Tekken,
 * EOS with unigram.
 *
 * A tokenizer.model by itself does what SentencePiece does: <s> or [INST] in a text is ordinary
 * text, and only the symbols that the model calls user-defined are found as a whole. Truncation and
 * padding that a tokenizer.json asks for are left out.
 *
 * vocab.json and merges.txt do not say how texts are cut. The tokenizer_class of
 * tokenizer_config.json does (GPT2Tokenizer, CodeGenTokenizer, Qwen2Tokenizer), or the model_type
 * of config.json (gpt2, phi, qwen2, qwen3), or the vocabulary itself where its numbers of tokens
 * and merges are those of GPT-2, Qwen2 or Llama-3; others are refused. A GGUF says it with
 * tokenizer.ggml.pre (see pretokenize_family.h). */
enum status tokenizer_open(const char *path, struct tokenizer **tokenizer);
void tokenizer_close(struct tokenizer **tokenizer);

/* True when there is a tokenizer at PATH. */
bool tokenizer_exists(const char *path);

/* One more than the largest id. */
int64_t tokenizer_size(const struct tokenizer *tokenizer);

/* "tokenizer.json, byte-level BPE" and the like, one line for reports. Borrowed. */
const char *tokenizer_kind(const struct tokenizer *tokenizer);

/* The chat template that the model brings along (chat_template.jinja, chat_template of
 * tokenizer_config.json, tokenizer.chat_template of a GGUF), and the texts of its BOS and EOS
 * tokens; NULL: none. Borrowed. */
const char *tokenizer_chat_template(const struct tokenizer *tokenizer);
const char *tokenizer_bos(const struct tokenizer *tokenizer);
const char *tokenizer_eos(const struct tokenizer *tokenizer);

/* Encoded text. Owned by the caller, released with tokens_free. */
struct tokens {
    int32_t *ids;     /* [count] */
    int64_t *offsets; /* [count] offset into the text of the first byte that the token stands for,
                       * never falling. One of several tokens of one character (its bytes) stands
                       * at its own byte. What a normaliser put in the place of some characters, or
                       * in front of them, stands where those begin. Tokens in front of the text
                       * stand at 0, tokens behind it at its length */
    int64_t count;
};
void tokens_free(struct tokens *tokens);

/* Bytes of a text. */
struct text_range {
    int64_t begin, end;
};

/* How a text is read. */
struct encode_rules {
    bool around;   /* add what stands around a text (see tokenizer_open) */
    bool behind;   /* the text goes on behind another: the space that models put in front of a text
                    * is left out */
    bool specials; /* tokens marked special count where the text spells them; else such text is
                    * ordinary. Added tokens without that mark always count */
    bool controls; /* and with a tokenizer.model its control pieces are such tokens, which it does
                    * not look for by itself */
    /* Where special tokens are ordinary text all the same: what a user wrote within a template.
     * Ascending and apart; borrowed. A special token that only touches one is ordinary as well. */
    const struct text_range *plain; /* [plain_count] */
    int64_t plain_count;
};

/* Encodes text [len bytes], which may hold NUL bytes and must be valid UTF-8 (text_valid_utf8).
 * Tokens match the reference implementations (Hugging Face tokenizers, SentencePiece) one for one.
 * Errors: memory, invalid UTF-8, a splitting pattern that takes too long on this text. */
enum status tokenizer_encode_by(const struct tokenizer *tokenizer, const char *text, int64_t len,
                                const struct encode_rules *rules, struct tokens *tokens);

/* The same with special tokens counting; around: see encode_rules. */
enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, int64_t len,
                             bool around, struct tokens *tokens);

/* A text that goes on behind another: nothing stands around it or in front of it. */
enum status tokenizer_encode_behind(const struct tokenizer *tokenizer, const char *text,
                                    int64_t len, struct tokens *tokens);

/* Bytes of text[0..len) that are valid UTF-8 from the start; len when all are. */
int64_t text_valid_utf8(const char *text, int64_t len);

/* Decodes a stream of tokens piece by piece. Bytes come out as soon as they make whole characters;
 * special tokens give nothing (the unknown token of a tokenizer.model gives " U+2047 ", as with
 * SentencePiece). A leading space that the encoder added is taken off the first text of the stream
 * only. */
struct decoder; /* opaque; borrows the tokenizer */
enum status decoder_open(const struct tokenizer *tokenizer, struct decoder **decoder);
void decoder_close(struct decoder **decoder);

/* Takes one token and appends its text, if any is ready, to the decoder's buffer; returns that text
 * in *text (borrowed until the next call, *len bytes, may be 0). Ids outside the vocabulary give
 * nothing. */
enum status decoder_put(struct decoder *decoder, int32_t id, const char **text, int64_t *len);

/* Ends the stream: bytes of an unfinished character come out as U+FFFD, as the reference decoders
 * print them. */
enum status decoder_end(struct decoder *decoder, const char **text, int64_t *len);

#endif
