/* The shape of a model: the numbers that config.json states, checked once and strictly, const
 * afterwards. Plain data without pointers, so that one rank can read it and send it to the rest. */
#ifndef QUIRE_PARTITION_SHAPE_H
#define QUIRE_PARTITION_SHAPE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

enum rope_type {
    ROPE_DEFAULT, /* theta^(-2i/d) */
    ROPE_LINEAR,  /* the same over factor: position interpolation, arXiv 2306.15595 */
    ROPE_LLAMA3,  /* long wavelengths over factor, short ones kept, blended between */
};

/* Rotary embedding, config.json `rope_parameters`, or `rope_theta` and `rope_scaling`. */
struct rope {
    enum rope_type type;
    double theta;
    double factor;            /* linear, llama3 */
    double low_freq_factor;   /* llama3 */
    double high_freq_factor;  /* llama3 */
    int64_t original_context; /* llama3: original_max_position_embeddings, tokens */
};

struct shape {
    char family[32];        /* model_type: "llama", "mistral" */
    int64_t layers;         /* num_hidden_layers */
    int64_t hidden;         /* hidden_size, D */
    int64_t heads;          /* num_attention_heads, H */
    int64_t kv_heads;       /* num_key_value_heads, divides heads */
    int64_t head_dim;       /* d, even */
    int64_t ffn;            /* intermediate_size, F */
    int64_t vocab;          /* vocab_size, V */
    int64_t context;        /* max_position_embeddings, the trained context L, tokens */
    int64_t sliding_window; /* plain attention sees keys at distance < this; 0: all keys */
    double norm_eps;        /* rms_norm_eps */
    bool tied;              /* tie_word_embeddings: the head is the embedding table */
    struct rope rope;
    char dtype[16]; /* torch_dtype or dtype as written, "" when absent; the file's tensors decide */
};

/* Query heads that share a KV head. */
static inline int64_t shape_group(const struct shape *s) {
    return s->heads / s->kv_heads;
}

/* Reads DIR/config.json. Both the form with rope_theta and rope_scaling at top level and the one
 * with rope_parameters; the two together must agree. Fields that do not change the arithmetic are
 * ignored, those that would and are not supported here are refused by name (another architecture,
 * activation, rope type, biases, quantisation). Every number is checked to be of its type and in a
 * range that the rest can rely on: sizes positive and below 2^31, products below 2^62.
 * Local. Errors: message names DIR/config.json and the field. */
enum status shape_read(const char *dir, struct shape *shape);

/* The same from the text of a config.json; `path` is for messages. */
enum status shape_parse(const char *path, const char *text, int64_t len, struct shape *shape);

#define STOP_IDS_MAX 64

/* End-of-text ids: eos_token_id (one or several) of DIR/generation_config.json, else of
 * config.json; count 0 when neither names any. Ids must lie in [0, vocab). Local. */
struct stop_ids {
    int32_t ids[STOP_IDS_MAX];
    int32_t count;
};
enum status shape_read_stop_ids(const char *dir, const struct shape *shape, struct stop_ids *stop);

/* Number of parameters, a tied head counted once. */
int64_t shape_parameters(const struct shape *shape);

#endif
