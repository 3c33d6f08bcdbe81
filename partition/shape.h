/* The shape of a model: the numbers and facts that config.json and the model's family state,
 * checked once and strictly, const afterwards. Plain data without pointers, so that one rank can
 * read it and send it to the rest. All fields zero but the sizes: a Llama. */
#ifndef QUIRE_PARTITION_SHAPE_H
#define QUIRE_PARTITION_SHAPE_H

#include "partition/status.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum rope_type {
    ROPE_DEFAULT,  /* theta^(-2i/d) */
    ROPE_LINEAR,   /* the same over factor: position interpolation, arXiv 2306.15595 */
    ROPE_LLAMA3,   /* long wavelengths over factor, short ones kept, blended between */
    ROPE_LONGROPE, /* each frequency over a factor of its own, arXiv 2402.13753: one set of factors
                    * for texts within the original context, another beyond it */
};

/* Pairs that longrope may name factors for. */
#define ROPE_FACTORS_MAX 256

/* Rotary embedding, config.json `rope_parameters`, or `rope_theta` and `rope_scaling`. */
struct rope {
    enum rope_type type;
    double theta;
    double factor;            /* linear, llama3 */
    double low_freq_factor;   /* llama3 */
    double high_freq_factor;  /* llama3 */
    int64_t original_context; /* llama3, longrope: original_max_position_embeddings, tokens */
    double attention_factor;  /* longrope: cosines and sines are multiplied by it */
    double short_factor[ROPE_FACTORS_MAX], long_factor[ROPE_FACTORS_MAX]; /* longrope, [pairs] */
};

enum norm_kind {
    NORM_RMS,   /* arXiv 1910.07467 */
    NORM_LAYER, /* with mean and bias, arXiv 1607.06450 */
};

/* Where the norms of attention and of the FFN stand. */
enum norm_place {
    NORM_BEFORE, /* x + f(norm(x)) */
    NORM_AFTER,  /* x + norm(f(x)) */
    NORM_AROUND, /* x + norm(f(norm(x))) */
};

/* RMSNorm of queries and keys before they are rotated. */
enum head_norm {
    HEAD_NORM_NONE,
    HEAD_NORM_EACH, /* each head by itself, weight [head_dim] */
    HEAD_NORM_WIDE, /* over the full width of all heads */
};

enum activation {
    ACTIVATION_SILU,
    ACTIVATION_GELU_TANH, /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    ACTIVATION_GELU,      /* 0.5 x (1 + erf(x / sqrt(2))) */
};

/* Which linear layers add a bias. (LayerNorm always does.) */
enum bias_flag { BIAS_QKV = 1, BIAS_O = 2, BIAS_FFN = 4, BIAS_HEAD = 8 };

/* What sets a layer apart from the others. */
enum layer_flag {
    LAYER_SEES_ALL = 1,  /* plain attention to all keys, in a model with a sliding window */
    LAYER_UNROTATED = 2, /* no rotary embedding: one zone, whatever the scheme */
    LAYER_EXPERTS = 4,   /* a mixture of experts in place of the FFN */
};

#define LAYERS_MAX 1024
/* As many as enum tensor_role has (tensors.h). */
#define SHAPE_ROLES 20

struct shape {
    char family[32];        /* model_type: "llama", "mistral", see family.h */
    int64_t layers;         /* num_hidden_layers */
    int64_t hidden;         /* hidden_size, D */
    int64_t heads;          /* num_attention_heads, H */
    int64_t kv_heads;       /* num_key_value_heads, divides heads */
    int64_t head_dim;       /* d, even */
    int64_t ffn;            /* intermediate_size, F; of the layers without experts */
    int64_t vocab;          /* vocab_size, V */
    int64_t context;        /* max_position_embeddings, the trained context L, tokens */
    int64_t sliding_window; /* plain attention sees keys at distance < this; 0: all keys */
    double norm_eps;        /* rms_norm_eps, layer_norm_eps */
    bool tied;              /* tie_word_embeddings: the head is the embedding table */
    char dtype[16]; /* torch_dtype or dtype as written, "" when absent; the file's tensors decide */

    enum norm_kind norm;
    enum norm_place norm_place;
    bool parallel; /* attention and FFN read the same norm of x: x + attention(h) + ffn(h) */
    enum head_norm head_norm;
    enum activation activation;
    bool ungated;    /* down(act(up h)) without a gate */
    unsigned biases; /* enum bias_flag, any of them */

    double attention_scale;      /* of the scores; 0: 1/sqrt(head_dim) */
    double embedding_multiplier; /* 0: none, as the next two */
    double residual_multiplier;  /* of what attention and FFN add */
    double logits_multiplier;
    double score_cap; /* scores become cap tanh(score/cap); 0: none */
    double logit_cap; /* the same of the logits */

    int64_t rotary_dim;  /* leading elements of each head that are rotated, even; 0: all */
    struct rope rope;    /* of the layers that see all keys, or of all */
    bool has_local_rope; /* layers with a sliding window rotate by rope_local */
    struct rope rope_local;

    int64_t experts;         /* of each LAYER_EXPERTS layer; 0: none anywhere */
    int64_t experts_used;    /* per token */
    int64_t expert_ffn;      /* columns of one expert */
    bool experts_normalised; /* the weights of those used are divided by their sum */

    uint8_t layer_flags[LAYERS_MAX]; /* enum layer_flag, by layer */

    bool is_gguf; /* read from a GGUF file */
    /* How that lays out what has two forms in such files: q, k and v in one tensor, and each expert
     * in one of its own. */
    bool fused_qkv, experts_apart;
    /* Its tensors in blocks by the file's number of their type (gguf_format), 0 for those without:
     * those outside the layers, then of each layer, by enum tensor_role. */
    uint8_t stored[LAYERS_MAX + 1][SHAPE_ROLES];
};

/* Query heads that share a KV head. */
static inline int64_t shape_group(const struct shape *s) {
    return s->heads / s->kv_heads;
}

static inline int64_t shape_rotary_dim(const struct shape *s) {
    return s->rotary_dim ? s->rotary_dim : s->head_dim;
}

static inline double shape_attention_scale(const struct shape *s) {
    return s->attention_scale != 0 ? s->attention_scale : 1 / sqrt((double)s->head_dim);
}

static inline bool shape_layer_is(const struct shape *s, int64_t layer, enum layer_flag flag) {
    return (s->layer_flags[layer] & flag) != 0;
}

/* Reads DIR/config.json, or the head of a GGUF file, which is translated into one. Both the form
 * with rope_theta and rope_scaling at top level and the one with rope_parameters; the two together
 * must agree. Fields that do not change the arithmetic are ignored, those that would and are not
 * supported here are refused by name (another architecture, activation, rope type, quantisation).
 * Every number is checked to be of its type and in a range that the rest can rely on: sizes
 * positive and below 2^31, products below 2^62. Local. Errors: message names DIR/config.json and
 * the field. */
enum status shape_read(const char *dir, struct shape *shape);

/* The same from the text of a config.json; `path` is for messages. */
enum status shape_parse(const char *path, const char *text, int64_t len, struct shape *shape);

/* Calls `put` for each field of DIR/config.json that shape_read did not look for, by name. */
enum status shape_list_unused(const char *dir, void (*put)(void *context, const char *name),
                              void *context);

#define STOP_IDS_MAX 64

/* End-of-text ids: eos_token_id (one or several) of DIR/generation_config.json, else of
 * config.json; of a GGUF tokenizer.ggml.eos_token_id, eot_token_id and eom_token_id; count 0 when
 * none is named. Ids must lie in [0, vocab). Local. */
struct stop_ids {
    int32_t ids[STOP_IDS_MAX];
    int32_t count;
};
enum status shape_read_stop_ids(const char *dir, const struct shape *shape, struct stop_ids *stop);

/* Number of parameters, a tied head counted once. */
int64_t shape_parameters(const struct shape *shape);

#endif
