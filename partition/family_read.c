/* The fields of config.json that are one family's own. */
#include "partition/family.h"

#include <string.h>

static enum status read_multiplier(const struct config *c, const char *key, double *out) {
    return config_real(c, key, false, 1e-9, 1e9, out);
}

/* A soft cap: null is none, absent the family's. */
static enum status read_cap(const struct config *c, const char *key, double absent, double *cap) {
    *cap = config_has(c, key) ? 0 : absent;
    return config_real(c, key, false, 1e-6, 1e9, cap);
}

enum status family_read_gemma(const struct config *c, struct shape *shape) {
    (void)c;
    shape->embedding_multiplier = sqrt((double)shape->hidden);
    return STATUS_OK;
}

static enum status read_gemma_scores(const struct config *c, double score_cap, double logit_cap,
                                     struct shape *shape) {
    double scalar = 256;
    TRY(family_read_gemma(c, shape));
    TRY(config_real(c, "query_pre_attn_scalar", false, 1e-6, 1e9, &scalar));
    shape->attention_scale = 1 / sqrt(scalar);
    TRY(read_cap(c, "attn_logit_softcapping", score_cap, &shape->score_cap));
    return read_cap(c, "final_logit_softcapping", logit_cap, &shape->logit_cap);
}

enum status family_read_gemma2(const struct config *c, struct shape *shape) {
    return read_gemma_scores(c, 50, 30, shape);
}

enum status family_read_gemma3(const struct config *c, struct shape *shape) {
    return read_gemma_scores(c, 0, 0, shape);
}

enum status family_read_granite(const struct config *c, struct shape *shape) {
    double scaling = 1;
    TRY(read_multiplier(c, "embedding_multiplier", &shape->embedding_multiplier));
    TRY(read_multiplier(c, "residual_multiplier", &shape->residual_multiplier));
    shape->attention_scale = 1;
    TRY(read_multiplier(c, "attention_multiplier", &shape->attention_scale));
    TRY(read_multiplier(c, "logits_scaling", &scaling));
    shape->logits_multiplier = 1 / scaling;
    return STATUS_OK;
}

/* A list of one entry per layer, or NULL where the field is absent or null. */
static enum status read_layer_list(const struct config *c, const char *key,
                                   const struct shape *shape, const json_t **list) {
    TRY(config_field(c, key, list));
    if (!*list)
        return STATUS_OK;
    if (json_is_array(*list) && (int64_t)json_array_size(*list) == shape->layers)
        return STATUS_OK;
    return status_fail(c->path, config_key(c, key).text,
                       "found %s, expected a list of %lld, one for each layer; restore the file as "
                       "it was published",
                       json_words(*list).text, (long long)shape->layers);
}

/* no_rope_layers: 1 where a layer is rotated, 0 where not; absent: every n-th is not. */
enum status family_read_smollm3(const struct config *c, struct shape *shape) {
    const json_t *list;
    int64_t interval = 4;
    TRY(read_layer_list(c, "no_rope_layers", shape, &list));
    TRY(config_int(c, "no_rope_layer_interval", false, 1, INT32_MAX, &interval));
    for (int64_t l = 0; l < shape->layers; l++) {
        bool rotated = (l + 1) % interval != 0;
        if (list) {
            const json_t *entry = json_array_get(list, (size_t)l);
            if (!json_is_integer(entry) || (json_integer_value(entry) & ~1))
                return status_fail(c->path, config_key(c, "no_rope_layers").text,
                                   "found %s, expected 1 or 0 for each layer; restore the file as "
                                   "it was published",
                                   json_words(entry).text);
            rotated = json_integer_value(entry) == 1;
        }
        if (!rotated)
            shape->layer_flags[l] |= LAYER_UNROTATED;
    }
    return STATUS_OK;
}

/* How many experts there are and how many a token takes. Two names have been in use. */
static enum status read_experts(const struct config *c, struct shape *shape) {
    static const char *const names[] = {"num_local_experts", "num_experts"};
    int64_t found[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        TRY(config_int(c, names[i], false, 1, 4096, &found[i]));
    if (!found[0] && !found[1])
        return status_fail(c->path, config_key(c, names[0]).text,
                           "found nothing, expected the number of experts; restore the file as it "
                           "was published");
    if (found[0] && found[1] && found[0] != found[1])
        return status_fail(c->path, config_key(c, names[1]).text,
                           "found %lld, expected %lld as in %s; remove one of the two",
                           (long long)found[1], (long long)found[0], names[0]);
    shape->experts = found[0] ? found[0] : found[1];
    return config_int(c, "num_experts_per_tok", true, 1, shape->experts, &shape->experts_used);
}

enum status family_read_mixtral(const struct config *c, struct shape *shape) {
    TRY(read_experts(c, shape));
    shape->expert_ffn = shape->ffn;
    shape->ffn = 0;
    shape->experts_normalised = true;
    for (int64_t l = 0; l < shape->layers; l++)
        shape->layer_flags[l] |= LAYER_EXPERTS;
    return STATUS_OK;
}

enum status family_read_qwen3_moe(const struct config *c, struct shape *shape) {
    const json_t *dense, *entry;
    int64_t step = 1;
    size_t i;
    TRY(read_experts(c, shape));
    TRY(config_int(c, "moe_intermediate_size", true, 1, INT32_MAX, &shape->expert_ffn));
    TRY(config_bool(c, "norm_topk_prob", false, &shape->experts_normalised));
    TRY(config_int(c, "decoder_sparse_step", false, 1, INT32_MAX, &step));
    TRY(config_field(c, "mlp_only_layers", &dense));
    for (int64_t l = 0; l < shape->layers; l++)
        if ((l + 1) % step == 0)
            shape->layer_flags[l] |= LAYER_EXPERTS;
    if (dense && !json_is_array(dense))
        return status_fail(c->path, config_key(c, "mlp_only_layers").text,
                           "found %s, expected a list of layers; restore the file as it was "
                           "published",
                           json_words(dense).text);
    json_array_foreach(dense, i, entry) {
        if (!json_is_integer(entry) || json_integer_value(entry) < 0)
            return status_fail(c->path, config_key(c, "mlp_only_layers").text,
                               "found %s, expected numbers of layers; restore the file as it was "
                               "published",
                               json_words(entry).text);
        if (json_integer_value(entry) < shape->layers)
            shape->layer_flags[json_integer_value(entry)] &= (uint8_t)~LAYER_EXPERTS;
    }
    return STATUS_OK;
}

static bool slides_by_rule(const struct family *family, const struct shape *shape, int64_t pattern,
                           int64_t upper, int64_t layer) {
    switch (family->windows) {
    case WINDOW_UPPER:
        return layer >= upper;
    case WINDOW_UNROTATED:
        return shape_layer_is(shape, layer, LAYER_UNROTATED);
    case WINDOW_PATTERN:
        return (layer + 1) % pattern != 0;
    default:
        return true;
    }
}

/* layer_types, where it is there, says of each layer whether it slides. */
static enum status slides_by_list(const struct config *c, const json_t *entry, bool *slides) {
    const char *name = json_string_value(entry);
    bool sliding = name && strcmp(name, "sliding_attention") == 0;
    if (!sliding && (!name || strcmp(name, "full_attention") != 0))
        return status_fail(c->path, config_key(c, "layer_types").text,
                           "found %s, expected full_attention or sliding_attention for each "
                           "layer; use a model with these",
                           json_words(entry).text);
    *slides = sliding;
    return STATUS_OK;
}

/* The window in use, 0 for none: absent means the family's, null means none. */
static enum status read_window(const struct family *family, const struct config *c,
                               int64_t *window) {
    bool on = family->windows == WINDOW_EVERY || family->windows == WINDOW_PATTERN;
    if (!on)
        TRY(config_bool(c, "use_sliding_window", false, &on));
    const json_t *field;
    TRY(config_field(c, "sliding_window", &field));
    /* A switched-off window is not read: published files name one. */
    if (!on)
        return STATUS_OK;
    if (!config_has(c, "sliding_window"))
        *window = family->window_absent;
    return config_int(c, "sliding_window", false, 1, INT32_MAX, window);
}

enum status family_read_windows(const struct family *family, const struct config *c,
                                struct shape *shape) {
    const json_t *list;
    int64_t pattern = family->window_pattern, upper = 28, sliding = 0;
    if (family->windows == WINDOW_NONE)
        return STATUS_OK;
    TRY(read_window(family, c, &shape->sliding_window));
    TRY(read_layer_list(c, "layer_types", shape, &list));
    if (family->windows == WINDOW_UPPER)
        TRY(config_int(c, "max_window_layers", false, 0, INT32_MAX, &upper));
    if (family->windows == WINDOW_PATTERN && family->local_theta != 0) {
        TRY(config_int(c, "_sliding_window_pattern", false, 1, INT32_MAX, &pattern));
        TRY(config_int(c, "sliding_window_pattern", false, 1, INT32_MAX, &pattern));
    }
    for (int64_t l = 0; l < shape->layers; l++) {
        bool slides = slides_by_rule(family, shape, pattern, upper, l);
        if (list)
            TRY(slides_by_list(c, json_array_get(list, (size_t)l), &slides));
        sliding += slides;
        if (!slides)
            shape->layer_flags[l] |= LAYER_SEES_ALL;
    }
    if (!sliding)
        shape->sliding_window = 0;
    /* Without a window the layers are alike, unless they are rotated differently. */
    for (int64_t l = 0; l < shape->layers && !shape->sliding_window && !shape->has_local_rope; l++)
        shape->layer_flags[l] &= (uint8_t)~LAYER_SEES_ALL;
    return STATUS_OK;
}
