/* The model of tokenizer.json when its type is Unigram: pieces with scores, the best way to cut. */
#ifndef QUIRE_LAUNCH_UNIGRAM_MODEL_H
#define QUIRE_LAUNCH_UNIGRAM_MODEL_H

#include "launch/tokenizer_pieces.h"
#include "launch/tokenizer_vocabulary.h"
#include "launch/unigram.h"
#include <jansson.h>

struct unigram_model {
    const char *file; /* borrowed, for messages */
    struct vocabulary vocabulary;
    struct unigram unigram; /* its `unknown` is -1 when the file names none */
    double *scores;         /* [size] */
    int32_t bytes[256];     /* the ids of <0x00> to <0xFF>; -1 where there is none */
    bool byte_fallback;     /* characters without a piece are spelt in bytes where all have ids */
};

/* `file` must outlive the model. Errors: what is broken. */
enum status unigram_model_read(const char *file, const json_t *json, struct unigram_model *model);
void unigram_model_close(struct unigram_model *model);

/* Appends the tokens of one word [len >= 1] to out; origin [len]. barred: by id, tokens that are
 * not made; NULL: none. `path` is scratch. */
enum status unigram_model_encode(const struct unigram_model *model, const bool *barred,
                                 const char *text, const int64_t *origin, int64_t len,
                                 struct unigram_path *path, struct token_list *out);

#endif
