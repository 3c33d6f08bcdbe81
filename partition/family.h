/* The model families: what each is made of, as one table of facts. shape_read looks a model up by
 * its model_type and fills the shape from these and from config.json; everybody else reads the
 * shape. A family more is a row here, and where its config has fields of its own a short function
 * in family_read.c. FAMILIES.md, beside this file, says what is exact of each. */
#ifndef QUIRE_PARTITION_FAMILY_H
#define QUIRE_PARTITION_FAMILY_H

#include "partition/config.h"
#include "partition/shape.h"
#include "partition/tensors.h"

/* Which layers a sliding window holds for, in plain attention. */
enum window_rule {
    WINDOW_NONE,      /* the family has no window, whatever the file says */
    WINDOW_EVERY,     /* every layer */
    WINDOW_SWITCHED,  /* every layer, where use_sliding_window is true */
    WINDOW_UPPER,     /* layers from max_window_layers on, where use_sliding_window is true */
    WINDOW_UNROTATED, /* layers without rotation, where use_sliding_window is true */
    WINDOW_PATTERN,   /* all but every n-th: sliding_window_pattern */
};

struct family {
    const char *model_type, *architecture;
    enum norm_kind norm;
    enum norm_place norm_place;
    bool parallel;
    enum head_norm head_norm;
    bool ungated;
    unsigned biases;     /* those that it always has */
    bool attention_bias; /* the field attention_bias counts: q, k, v and o */
    bool mlp_bias;       /* the field mlp_bias counts */
    bool partial_rotary; /* the field partial_rotary_factor counts */
    bool experts;
    const char *text; /* "text_config." where the file describes more than this model, else NULL */

    /* What absent fields mean, as in the family's configuration class in transformers. */
    const char *activation;
    bool tied;
    double norm_eps, theta, local_theta;     /* local_theta 0: one rotary embedding */
    double rotary_part;                      /* 0: 1 */
    int64_t head_dim;                        /* 0: hidden_size / num_attention_heads */
    int64_t heads, kv_heads, vocab, context; /* 0: the file must say, or kv_heads are heads */
    enum window_rule windows;
    int64_t window_absent; /* 0: none */
    int64_t window_pattern;

    /* Fields that only this family has; NULL: none. */
    enum status (*read)(const struct config *config, struct shape *shape);

    struct tensor_names names; /* where they differ from Llama's; see family_names */
};

/* The family of a model_type, or NULL. */
const struct family *family_find(const char *model_type);

/* The i-th family, NULL behind the last: for lists in messages. */
const struct family *family_at(int i);

/* Names of the shape's tensors in the files that it was read from: Hugging Face's, or a GGUF's. */
struct tensor_names family_names(const struct shape *shape);
struct tensor_names gguf_names(const struct shape *shape);

/* Functions for the table, family_read.c: fields beyond the common ones. */
enum status family_read_gemma(const struct config *config, struct shape *shape);
enum status family_read_gemma2(const struct config *config, struct shape *shape);
enum status family_read_gemma3(const struct config *config, struct shape *shape);
enum status family_read_granite(const struct config *config, struct shape *shape);
enum status family_read_smollm3(const struct config *config, struct shape *shape);
enum status family_read_mixtral(const struct config *config, struct shape *shape);
enum status family_read_qwen3_moe(const struct config *config, struct shape *shape);

/* Sliding windows, as the family's rule and layer_types have them. Behind the family's own fields,
 * because SmolLM3's windows follow its layers without rotation. */
enum status family_read_windows(const struct family *family, const struct config *config,
                                struct shape *shape);

#endif
