#include "partition/gguf_config.h"
#include "partition/family.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* general.architecture and model_type. llama.cpp rotates adjacent pairs of some. */
static const struct architecture {
    const char *name, *model_type;
    bool pairs_adjacent;
} architectures[] = {
    {"llama", "llama", true},         {"qwen2", "qwen2", false},
    {"qwen3", "qwen3", false},        {"qwen3moe", "qwen3_moe", false},
    {"phi2", "phi", false},           {"phi3", "phi3", false},
    {"gemma", "gemma", false},        {"gemma2", "gemma2", false},
    {"gemma3", "gemma3_text", false}, {"olmo2", "olmo2", false},
    {"granite", "granite", true},     {"smollm3", "smollm3", true},
    {"llama", "mixtral", true}, /* with experts */
    {"llama", "mistral", true}, /* with a window */
};
enum {
    ARCHITECTURES = sizeof architectures / sizeof architectures[0],
    MIXTRAL = ARCHITECTURES - 2,
    MISTRAL
};

bool gguf_pairs_adjacent(const char *model_type) {
    for (int i = 0; i < ARCHITECTURES; i++)
        if (strcmp(architectures[i].model_type, model_type) == 0)
            return architectures[i].pairs_adjacent;
    return false;
}

/* The metadata while it is translated. */
struct source {
    struct gguf *gguf;
    const struct architecture *architecture;
    json_t *config;
};

static enum status find_architecture(struct source *s) {
    const char *name;
    char known[256] = "";
    TRY(gguf_text(s->gguf, "general.architecture", true, &name));
    for (int i = 0; i < ARCHITECTURES; i++) {
        const struct architecture *a = &architectures[i];
        if (strcmp(a->name, name) == 0) {
            s->architecture = a;
            return STATUS_OK;
        }
        if (i >= MIXTRAL) /* named before */
            continue;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", a->name);
    }
    return status_fail(gguf_path(s->gguf, 0), "general.architecture",
                       "found \"%.64s\", expected one of %s; use a model of these", name, known);
}

/* "ARCHITECTURE.NAME" */
struct gguf_key {
    char text[128];
};

static struct gguf_key key_of(const struct source *s, const char *name) {
    struct gguf_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", s->architecture->name, name);
    return key;
}

static void put(struct source *s, const char *field, json_t *value) {
    json_object_set_new(s->config, field, value);
}

static enum status get_int(struct source *s, const char *name, bool required, int64_t *out) {
    return gguf_int(s->gguf, key_of(s, name).text, required, 0, INT32_MAX, out);
}

static enum status copy_int(struct source *s, const char *name, bool required, const char *field) {
    int64_t value = -1;
    TRY(get_int(s, name, required, &value));
    if (value >= 0)
        put(s, field, json_integer(value));
    return STATUS_OK;
}

/* A real that was stored as f32 stands for the decimal number that its writer meant: 1e-5 and not
 * the nearest f32, as config.json has it. */
static double decimal_of(double value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtof(text, NULL) == (float)value)
            break;
    }
    return (double)(float)value == value ? strtod(text, NULL) : value;
}

static enum status copy_real(struct source *s, const char *name, bool required, const char *field) {
    double value = NAN;
    TRY(gguf_real_in(s->gguf, key_of(s, name).text, required, -1e30, 1e30, &value));
    if (!isnan(value))
        put(s, field, json_real(decimal_of(value)));
    return STATUS_OK;
}

static bool has_tensor(const struct source *s, const char *name) {
    return gguf_tensor_find(s->gguf, name) != NULL;
}

static enum status put_heads(struct source *s) {
    int64_t heads, width, key = 0, value = 0, rotated = 0;
    TRY(copy_int(s, "attention.head_count", true, "num_attention_heads"));
    TRY(copy_int(s, "attention.head_count_kv", false, "num_key_value_heads"));
    TRY(get_int(s, "attention.head_count", true, &heads));
    TRY(get_int(s, "embedding_length", true, &width));
    TRY(get_int(s, "attention.key_length", false, &key));
    TRY(get_int(s, "attention.value_length", false, &value));
    TRY(get_int(s, "rope.dimension_count", false, &rotated));
    if (value && key != value)
        return status_fail(gguf_path(s->gguf, 0), key_of(s, "attention.value_length").text,
                           "found %lld, expected %lld as attention.key_length; heads of two sizes "
                           "are not supported",
                           (long long)value, (long long)key);
    if (!key && heads > 0 && width % heads == 0)
        key = width / heads;
    if (key)
        put(s, "head_dim", json_integer(key));
    if (rotated && key && rotated != key)
        put(s, "partial_rotary_factor", json_real((double)rotated / (double)key));
    return STATUS_OK;
}

static enum status put_sizes(struct source *s) {
    const struct gguf_tensor *table = gguf_tensor_find(s->gguf, "token_embd.weight");
    TRY(copy_int(s, "block_count", true, "num_hidden_layers"));
    TRY(copy_int(s, "embedding_length", true, "hidden_size"));
    TRY(copy_int(s, "feed_forward_length", true, "intermediate_size"));
    TRY(copy_int(s, "context_length", true, "max_position_embeddings"));
    if (!table || table->dims != 2)
        return status_fail(gguf_path(s->gguf, 0), "token_embd.weight",
                           "found no such matrix, expected the embedding table; use a whole model "
                           "(this may be a vocabulary alone)");
    put(s, "vocab_size", json_integer(table->shape[0]));
    put(s, "tie_word_embeddings", json_boolean(!has_tensor(s, "output.weight")));
    return put_heads(s);
}

/* A vector of factors, one for each rotated pair. */
static enum status put_factors(struct source *s, const char *name, json_t *rope,
                               const char *field) {
    const struct gguf_tensor *tensor = gguf_tensor_find(s->gguf, name);
    float factors[1024];
    if (tensor->dims != 1 || strcmp(gguf_format(tensor->type)->name, "F32") != 0 ||
        tensor->shape[0] > 1024)
        return status_fail(gguf_path(s->gguf, tensor->file), name,
                           "found another kind of tensor, expected a vector of up to 1024 F32; use "
                           "a file that llama.cpp converted");
    TRY(gguf_read(s->gguf, tensor, 0, tensor->shape[0] * 4, factors));
    json_t *list = json_array();
    for (int64_t i = 0; i < tensor->shape[0]; i++)
        json_array_append_new(list, json_real((double)factors[i]));
    json_object_set_new(rope, field, list);
    return STATUS_OK;
}

/* rope_freqs: what each frequency is divided by, as Llama-3's scaling comes out. It is longrope
 * with one set of factors and without its attention factor. */
static enum status put_fixed_factors(struct source *s, int64_t context, json_t *rope) {
    json_object_set_new(rope, "rope_type", json_string("longrope"));
    json_object_set_new(rope, "original_max_position_embeddings", json_integer(context));
    json_object_set_new(rope, "attention_factor", json_real(1));
    TRY(put_factors(s, "rope_freqs.weight", rope, "short_factor"));
    return put_factors(s, "rope_freqs.weight", rope, "long_factor");
}

static enum status put_longrope(struct source *s, int64_t context, json_t *rope) {
    int64_t original = context;
    double attention = NAN;
    TRY(get_int(s, "rope.scaling.original_context_length", false, &original));
    TRY(gguf_real_in(s->gguf, key_of(s, "rope.scaling.attn_factor").text, false, 1e-3, 1e3,
                     &attention));
    json_object_set_new(rope, "rope_type", json_string("longrope"));
    json_object_set_new(rope, "original_max_position_embeddings", json_integer(original));
    if (!isnan(attention))
        json_object_set_new(rope, "attention_factor", json_real(decimal_of(attention)));
    TRY(put_factors(s, "rope_factors_short.weight", rope, "short_factor"));
    return put_factors(s, "rope_factors_long.weight", rope, "long_factor");
}

static enum status put_scaling(struct source *s, json_t *rope) {
    const char *type = NULL;
    double factor = 1;
    int64_t context = 0;
    TRY(get_int(s, "context_length", true, &context));
    TRY(gguf_text(s->gguf, key_of(s, "rope.scaling.type").text, false, &type));
    TRY(gguf_real_in(s->gguf, key_of(s, "rope.scaling.factor").text, false, 0, 1e9, &factor));
    if (has_tensor(s, "rope_factors_long.weight") && has_tensor(s, "rope_factors_short.weight"))
        return put_longrope(s, context, rope);
    if (type && strcmp(type, "none") != 0 && strcmp(type, "longrope") != 0 && factor != 1) {
        json_object_set_new(rope, "rope_type", json_string(type));
        json_object_set_new(rope, "factor", json_real(decimal_of(factor)));
        return STATUS_OK;
    }
    if (has_tensor(s, "rope_freqs.weight"))
        return put_fixed_factors(s, context, rope);
    return STATUS_OK;
}

static enum status put_rope(struct source *s) {
    json_t *rope = json_object();
    enum status status = put_scaling(s, rope);
    if (status == STATUS_OK && json_object_size(rope))
        put(s, "rope_scaling", json_incref(rope));
    json_decref(rope);
    TRY(status);
    return copy_real(s, "rope.freq_base", false, "rope_theta");
}

/* Layers without a router have an FFN. */
static void put_dense_layers(struct source *s) {
    json_t *dense = json_array();
    json_int_t layers = json_integer_value(json_object_get(s->config, "num_hidden_layers"));
    for (json_int_t l = 0; l < layers && l < LAYERS_MAX; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%" JSON_INTEGER_FORMAT ".ffn_gate_inp.weight", l);
        if (!has_tensor(s, name))
            json_array_append_new(dense, json_integer(l));
    }
    put(s, "mlp_only_layers", dense);
}

static enum status put_experts(struct source *s) {
    int64_t experts = 0;
    bool normalised = true;
    TRY(get_int(s, "expert_count", false, &experts));
    if (!experts)
        return STATUS_OK;
    if (strcmp(s->architecture->name, "llama") == 0)
        s->architecture = &architectures[MIXTRAL];
    else
        put_dense_layers(s);
    TRY(gguf_bool(s->gguf, key_of(s, "expert_weights_norm").text, false, &normalised));
    put(s, "num_experts", json_integer(experts));
    put(s, "norm_topk_prob", json_boolean(normalised));
    TRY(copy_int(s, "expert_feed_forward_length", false, "moe_intermediate_size"));
    return copy_int(s, "expert_used_count", true, "num_experts_per_tok");
}

/* Gemma 2 and 3 divide scores by the root of this, which llama.cpp knows by the number of layers:
 * the largest model of each takes the width of a head of even shares. */
static enum status put_query_scalar(struct source *s, int64_t layers_of_largest) {
    int64_t layers, width, heads;
    TRY(get_int(s, "block_count", true, &layers));
    TRY(get_int(s, "embedding_length", true, &width));
    TRY(get_int(s, "attention.head_count", true, &heads));
    json_t *scalar = json_incref(json_object_get(s->config, "head_dim"));
    if (layers == layers_of_largest && heads > 0) {
        json_decref(scalar);
        scalar = json_real((double)width / (double)heads);
    }
    put(s, "query_pre_attn_scalar", scalar);
    return STATUS_OK;
}

/* A window of 0 is none. */
static enum status put_window(struct source *s) {
    int64_t window = -1;
    TRY(get_int(s, "attention.sliding_window", false, &window));
    if (window >= 0)
        put(s, "sliding_window", window ? json_integer(window) : json_null());
    return STATUS_OK;
}

/* Which layers have the window: every but the n-th, or a list of booleans. */
static enum status put_window_pattern(struct source *s) {
    struct gguf_key key = key_of(s, "attention.sliding_window_pattern");
    int64_t layers, period = 0;
    struct gguf_array list = {0};
    TRY(get_int(s, "block_count", true, &layers));
    if (gguf_is_array(s->gguf, key.text))
        TRY(gguf_array(s->gguf, key.text, GGUF_BOOLS, true, &list));
    else
        TRY(gguf_int(s->gguf, key.text, false, 1, INT32_MAX, &period));
    if (!list.bytes && !period)
        return STATUS_OK;
    if (layers > LAYERS_MAX || (list.bytes && list.count != layers))
        return status_fail(gguf_path(s->gguf, 0), key.text,
                           "found %lld, expected %lld, one for each layer; convert the model again",
                           (long long)list.count, (long long)layers);
    json_t *types = json_array();
    for (int64_t l = 0; l < layers; l++) {
        bool slides = list.bytes ? gguf_array_int(&list, l) != 0 : (l + 1) % period != 0;
        json_array_append_new(types, json_string(slides ? "sliding_attention" : "full_attention"));
    }
    put(s, "layer_types", types);
    return STATUS_OK;
}

static enum status put_gemma_fields(struct source *s, int64_t layers_of_largest) {
    TRY(put_query_scalar(s, layers_of_largest));
    TRY(put_window(s));
    TRY(put_window_pattern(s));
    TRY(copy_real(s, "rope.freq_base_swa", false, "rope_local_base_freq"));
    TRY(copy_real(s, "attn_logit_softcapping", false, "attn_logit_softcapping"));
    return copy_real(s, "final_logit_softcapping", false, "final_logit_softcapping");
}

/* Biases that the family does not always have. */
static void put_biases(struct source *s) {
    unsigned always = family_find(s->architecture->model_type)->biases;
    bool attention = has_tensor(s, "blk.0.attn_q.bias") || has_tensor(s, "blk.0.attn_qkv.bias");
    if (attention && !(always & BIAS_QKV))
        put(s, "attention_bias", json_true());
    if (has_tensor(s, "blk.0.ffn_up.bias") && !(always & BIAS_FFN))
        put(s, "mlp_bias", json_true());
}

static enum status put_own_fields(struct source *s) {
    const char *type = s->architecture->model_type;
    put_biases(s);
    if (strcmp(type, "gemma2") == 0)
        return put_gemma_fields(s, 46);
    if (strcmp(type, "gemma3_text") == 0)
        return put_gemma_fields(s, 62);
    if (strcmp(s->architecture->name, "llama") == 0 || strcmp(type, "phi3") == 0)
        TRY(put_window(s));
    if (strcmp(type, "llama") == 0 && json_is_integer(json_object_get(s->config, "sliding_window")))
        s->architecture = &architectures[MISTRAL]; /* which is refused with biases */
    if (strcmp(type, "granite") == 0) {
        TRY(copy_real(s, "embedding_scale", false, "embedding_multiplier"));
        TRY(copy_real(s, "residual_scale", false, "residual_multiplier"));
        TRY(copy_real(s, "attention.scale", false, "attention_multiplier"));
        TRY(copy_real(s, "logit_scale", false, "logits_scaling"));
    }
    return STATUS_OK;
}

/* What would change the arithmetic, and is not read for this family, must be as if it were not
 * there: of value 0 or of the one that leaves all as it is. */
static enum status check_unread(struct source *s) {
    static const struct {
        const char *name;
        double neutral;
    } keys[] = {
        {"attention.scale", 0},
        {"attention.clamp_kqv", 0},
        {"logit_scale", 1},
        {"residual_scale", 1},
        {"embedding_scale", 1},
        {"attn_logit_softcapping", 0},
        {"final_logit_softcapping", 0},
        {"attention.max_alibi_bias", 0},
        {"attention.temperature_scale", 0},
        {"expert_weights_scale", 1},
        {"expert_shared_count", 0},
        {"expert_gating_func", 1 /* softmax */},
        {"expert_group_count", 1},
        {"leading_dense_block_count", 0},
        {"rope.scaling.attn_factor", 1},
        {"nextn_predict_layers", 0},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct gguf_key key = key_of(s, keys[i].name);
        double value = 0;
        if (gguf_is_read(s->gguf, key.text))
            continue;
        TRY(gguf_real_in(s->gguf, key.text, false, -1e30, 1e30, &value));
        if (value != 0 && value != keys[i].neutral)
            return status_fail(gguf_path(s->gguf, 0), key.text,
                               "found %g, expected %g or nothing: %s models are computed without "
                               "it here; use a model that does without it",
                               value, keys[i].neutral, s->architecture->name);
    }
    return STATUS_OK;
}

static enum status translate(struct source *s) {
    bool layer_norm;
    TRY(find_architecture(s));
    TRY(put_sizes(s));
    TRY(put_experts(s));
    layer_norm = strcmp(s->architecture->model_type, "phi") == 0;
    TRY(layer_norm ? copy_real(s, "attention.layer_norm_epsilon", true, "layer_norm_eps")
                   : copy_real(s, "attention.layer_norm_rms_epsilon", true, "rms_norm_eps"));
    TRY(put_rope(s));
    TRY(put_own_fields(s));
    put(s, "model_type", json_string(s->architecture->model_type));
    return check_unread(s);
}

enum status gguf_config(struct gguf *gguf, json_t **config) {
    struct source s = {.gguf = gguf, .config = json_object()};
    *config = NULL;
    if (!s.config)
        return status_no_memory(gguf_path(gguf, 0), 64);
    enum status status = translate(&s);
    if (status == STATUS_OK)
        *config = s.config;
    else
        json_decref(s.config);
    return status;
}
