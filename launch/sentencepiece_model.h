/* What a SentencePiece model holds; for the files of that name only. */
#ifndef QUIRE_LAUNCH_SENTENCEPIECE_MODEL_H
#define QUIRE_LAUNCH_SENTENCEPIECE_MODEL_H

#include "launch/bpe.h"
#include "launch/sentencepiece.h"
#include "launch/sentencepiece_wire.h"
#include "launch/tokenizer_phrases.h"
#include "launch/tokenizer_vocabulary.h"
#include "launch/unigram.h"

/* U+2581, which stands for a space in pieces. */
#define SENTENCEPIECE_SPACE "\xe2\x96\x81"
#define SENTENCEPIECE_SPACE_LEN 3

/* sentencepiece_model.proto, SentencePiece.Type. */
enum sentencepiece_type {
    SENTENCEPIECE_NORMAL = 1,
    SENTENCEPIECE_UNKNOWN = 2,
    SENTENCEPIECE_CONTROL = 3,
    SENTENCEPIECE_USER_DEFINED = 4,
    SENTENCEPIECE_UNUSED = 5,
    SENTENCEPIECE_BYTE = 6,
};

/* The compiled normalisation: a double array (Darts) whose values say where in `strings` the
 * replacement of a prefix begins, up to its NUL byte. */
struct charsmap {
    uint32_t *units; /* [unit_count] */
    char *strings;   /* [string_len], the last byte is NUL */
    int64_t unit_count, string_len;
};

struct sentencepiece {
    struct vocabulary vocabulary;
    unsigned char *types; /* [size] enum sentencepiece_type */
    float *scores;        /* [size] */
    int32_t *ranks;       /* BPE: [size] 0 is the best score; equal scores share a rank */
    double *path_scores;  /* unigram: [size] what the best path adds up */
    int64_t types_capacity, scores_capacity;
    int64_t longest; /* bytes of the longest piece */
    int32_t unknown; /* -1: none */
    int32_t bos, eos;
    int32_t bytes[256];          /* ids of the byte pieces, -1 where there is none */
    struct phrases symbols;      /* user-defined */
    struct bpe_borders *borders; /* BPE */
    struct unigram unigram;      /* unigram */
    struct charsmap charsmap;
    char *unknown_text; /* what the unknown token decodes to; NULL: " U+2047 " */
    int64_t unknown_text_len;
    bool has_unused; /* a piece is of the type UNUSED */
    bool is_unigram; /* else BPE */
    bool byte_fallback;
    bool dummy_prefix, extra_spaces_go, spaces_escaped, space_is_suffix;
};

/* A model without pieces and with SentencePiece's defaults. Then pieces are added, each under the
 * next id, options are set, and sentencepiece_finish checks the whole. `file` and `field` are for
 * messages. */
enum status sentencepiece_new(struct sentencepiece **model);
enum status sentencepiece_add(struct sentencepiece *model, const char *file, const char *field,
                              const char *piece, int64_t len, enum sentencepiece_type type,
                              float score);
enum status sentencepiece_finish(struct sentencepiece *model, const char *file, const char *field);

/* Reads the message of a tokenizer.model into a new model. */
enum status sentencepiece_read(struct sentencepiece *model, struct wire wire, const char *file);

/* Reads a compiled normalisation [len bytes]. */
enum status charsmap_read(const char *file, const char *bytes, int64_t len,
                          struct charsmap *charsmap);
void charsmap_close(struct charsmap *charsmap);

/* The replacement of the longest prefix of text [len] that has one, and the bytes of that prefix in
 * *used; NULL when there is none. */
const char *charsmap_find(const struct charsmap *charsmap, const char *text, int64_t len,
                          int64_t *used);

/* The replacement of the shortest prefix that has one; NULL when none has. */
const char *charsmap_first(const struct charsmap *charsmap, const char *text, int64_t len);

/* Appends the text as the pieces spell it; origins count from `base`. has_prefix: the space in
 * front is added where the model asks for it. */
enum status sentencepiece_normalize(const struct sentencepiece *model, const char *text,
                                    int64_t len, int64_t base, bool has_prefix, struct pieces *out);

#endif
