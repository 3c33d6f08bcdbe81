#include "partition/shape.h"
#include "partition/json.h"
#include "partition/rope.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char config_name[] = "config.json";
static const int64_t config_bytes_max = 4 << 20;

/* Dimensions stay below 2^31, so that a product of two stays below 2^62; what is looped over or
 * multiplied once more is held smaller. */
static const int64_t size_max = INT32_MAX;
static const int64_t count_max = 1 << 16;
static const int64_t parameters_max = (int64_t)1 << 56;

static const struct {
    const char *model_type, *architecture;
    bool slides; /* honours sliding_window */
    /* What an absent sliding_window means: transformers' MistralConfig takes 4096. Published
     * configs carry the field (4096 in Mistral-7B-v0.1, null from v0.2 on). */
    int64_t window_absent;
} families[] = {
    {"llama", "LlamaForCausalLM", false, 0},
    {"mistral", "MistralForCausalLM", true, 4096},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

/* model_type and architectures: which family, by its place in the table. */
static enum status read_family(const char *path, const json_t *root, int *family) {
    const char *type = NULL;
    TRY(json_text(path, root, "model_type", false, &type));
    for (*family = 0; *family < FAMILIES; ++*family)
        if (type && strcmp(type, families[*family].model_type) == 0)
            break;
    if (*family == FAMILIES)
        return status_fail(
            path, "model_type",
            "found %s, expected one of llama, mistral; use a model of these families",
            json_words(json_object_get(root, "model_type")).text);

    const json_t *list;
    TRY(json_field(path, root, "architectures", &list));
    if (!list)
        return STATUS_OK;
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(entry);
        if (name && strcmp(name, families[*family].architecture) == 0)
            return STATUS_OK;
    }
    const json_t *found = json_array_size(list) == 1 ? json_array_get(list, 0) : list;
    return status_fail(path, "architectures",
                       "found %s, expected %s for model_type %s (known: LlamaForCausalLM, "
                       "MistralForCausalLM); use a model of these architectures",
                       json_words(found).text, families[*family].architecture, type);
}

/* Fields that would change the arithmetic in a way that is not computed here. */
static enum status refuse_unsupported(const char *path, const json_t *root) {
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    for (int i = 0; i < 2; i++) {
        bool bias = false;
        TRY(json_bool(path, root, biases[i], false, &bias));
        if (bias)
            return status_fail(path, biases[i],
                               "found true, expected false or nothing; projections with biases are "
                               "not supported");
    }
    const char *activation = "silu";
    TRY(json_text(path, root, "hidden_act", false, &activation));
    if (strcmp(activation, "silu") != 0)
        return status_fail(path, "hidden_act",
                           "found \"%s\", expected \"silu\"; other activations are not supported",
                           activation);
    const json_t *quantization;
    TRY(json_field(path, root, "quantization_config", &quantization));
    if (quantization)
        return status_fail(path, "quantization_config",
                           "found %s, expected nothing; use the unquantised model",
                           json_words(quantization).text);
    return STATUS_OK;
}

static enum status read_heads(const char *path, const json_t *root, struct shape *shape) {
    TRY(json_int(path, root, "num_attention_heads", true, 1, count_max, &shape->heads));
    shape->kv_heads = shape->heads;
    TRY(json_int(path, root, "num_key_value_heads", false, 1, count_max, &shape->kv_heads));
    if (shape->heads % shape->kv_heads != 0)
        return status_fail(path, "num_key_value_heads",
                           "found %lld, expected a divisor of num_attention_heads, which is %lld; "
                           "restore the file as it was published",
                           (long long)shape->kv_heads, (long long)shape->heads);
    TRY(json_int(path, root, "head_dim", false, 2, count_max, &shape->head_dim));
    if (shape->head_dim == 0) {
        if (shape->hidden % shape->heads != 0)
            return status_fail(path, "hidden_size",
                               "found %lld, expected a multiple of num_attention_heads, which is "
                               "%lld, where head_dim is absent; add head_dim",
                               (long long)shape->hidden, (long long)shape->heads);
        shape->head_dim = shape->hidden / shape->heads;
    }
    /* A rotation turns pairs. */
    if (shape->head_dim % 2 != 0 || shape->head_dim > count_max)
        return status_fail(path, "head_dim",
                           "found %lld, expected an even number up to %lld; restore the file as it "
                           "was published",
                           (long long)shape->head_dim, (long long)count_max);
    if (shape->heads * shape->head_dim > size_max)
        return status_fail(path, "head_dim",
                           "found %lld, expected at most %lld for %lld heads; restore the file as "
                           "it was published",
                           (long long)shape->head_dim, (long long)(size_max / shape->heads),
                           (long long)shape->heads);
    return STATUS_OK;
}

/* For messages and reports only, so nothing but its form is checked. */
static enum status read_dtype(const char *path, const json_t *root, char *dtype, size_t size) {
    const char *key = "dtype", *text = NULL;
    TRY(json_text(path, root, key, false, &text));
    if (!text) {
        key = "torch_dtype";
        TRY(json_text(path, root, key, false, &text));
    }
    if (!text)
        return STATUS_OK;
    if (strlen(text) >= size ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.") != strlen(text))
        return status_fail(
            path, key,
            "found %s, expected a name such as float32 or bfloat16; restore the file "
            "as it was published",
            json_words(json_object_get(root, key)).text);
    memcpy(dtype, text, strlen(text) + 1);
    return STATUS_OK;
}

/* Parameters by the widest integers there are: the ranges alone allow products beyond 64 bits. */
static unsigned __int128 count_parameters(const struct shape *s) {
    typedef unsigned __int128 wide;
    wide hidden = (wide)s->hidden, d = (wide)s->head_dim;
    wide attention = 2 * hidden * (wide)s->heads * d + 2 * hidden * (wide)s->kv_heads * d;
    wide layer = attention + 3 * hidden * (wide)s->ffn + 2 * hidden;
    wide tables = (s->tied ? 1 : 2) * (wide)s->vocab * hidden;
    return (wide)s->layers * layer + tables + hidden;
}

static enum status read_root(const char *path, const json_t *root, struct shape *shape) {
    int family;
    TRY(read_family(path, root, &family));
    TRY(refuse_unsupported(path, root));
    snprintf(shape->family, sizeof shape->family, "%s", families[family].model_type);
    TRY(json_int(path, root, "num_hidden_layers", true, 1, count_max, &shape->layers));
    TRY(json_int(path, root, "hidden_size", true, 1, size_max, &shape->hidden));
    TRY(read_heads(path, root, shape));
    TRY(json_int(path, root, "intermediate_size", true, 1, size_max, &shape->ffn));
    TRY(json_int(path, root, "vocab_size", true, 1, size_max, &shape->vocab));
    TRY(json_int(path, root, "max_position_embeddings", true, 1, size_max, &shape->context));
    if (families[family].slides) {
        if (!json_object_get(root, "sliding_window"))
            shape->sliding_window = families[family].window_absent;
        TRY(json_int(path, root, "sliding_window", false, 1, size_max, &shape->sliding_window));
    }
    shape->norm_eps = 1e-6;
    TRY(json_real_in(path, root, "rms_norm_eps", false, 0, 1, &shape->norm_eps));
    TRY(json_bool(path, root, "tie_word_embeddings", false, &shape->tied));
    TRY(rope_read(path, root, &shape->rope));
    TRY(read_dtype(path, root, shape->dtype, sizeof shape->dtype));
    if (count_parameters(shape) > (unsigned __int128)parameters_max)
        return status_fail(
            path, "hidden_size",
            "found a model of more than %lld parameters, expected fewer; restore the "
            "file as it was published",
            (long long)parameters_max);
    return STATUS_OK;
}

enum status shape_parse(const char *path, const char *text, int64_t len, struct shape *shape) {
    /* Padding too: the object travels as bytes and may be compared as such. */
    memset(shape, 0, sizeof *shape);
    json_t *root;
    TRY(json_parse_object(path, text, len, &root));
    enum status status = read_root(path, root, shape);
    json_decref(root);
    return status;
}

enum status shape_read(const char *dir, struct shape *shape) {
    char *path, *text = NULL;
    int64_t len;
    TRY(file_join(dir, config_name, &path));
    enum status status = file_read(path, config_bytes_max, &text, &len);
    if (status == STATUS_OK)
        status = shape_parse(path, text, len, shape);
    free(text);
    free(path);
    return status;
}

static enum status add_stop_id(const char *path, const json_t *id, int64_t vocab,
                               struct stop_ids *stop) {
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= vocab)
        return status_fail(path, "eos_token_id",
                           "found %s, expected an integer from 0 to %lld; correct the file",
                           json_words(id).text, (long long)vocab - 1);
    if (stop->count == STOP_IDS_MAX)
        return status_fail(path, "eos_token_id",
                           "found more than %d ids, expected at most that; correct the file",
                           STOP_IDS_MAX);
    stop->ids[stop->count++] = (int32_t)json_integer_value(id);
    return STATUS_OK;
}

/* Adds the ids that the file names: an integer, a list of integers, or nothing. */
static enum status read_stop_file(const char *path, int64_t vocab, struct stop_ids *stop) {
    json_t *root;
    TRY(json_read(path, config_bytes_max, &root));
    const json_t *field = NULL;
    enum status status;
    TRY_TO(done, json_field(path, root, "eos_token_id", &field));
    if (json_is_array(field)) {
        size_t i;
        json_t *id;
        json_array_foreach(field, i, id) {
            TRY_TO(done, add_stop_id(path, id, vocab, stop));
        }
    } else if (field) {
        TRY_TO(done, add_stop_id(path, field, vocab, stop));
    }
done:
    json_decref(root);
    return status;
}

enum status shape_read_stop_ids(const char *dir, const struct shape *shape, struct stop_ids *stop) {
    const char *const names[] = {"generation_config.json", config_name};
    memset(stop, 0, sizeof *stop);
    for (int i = 0; i < 2 && stop->count == 0; i++) {
        char *path;
        TRY(file_join(dir, names[i], &path));
        enum status status = STATUS_OK;
        /* Only the first may be missing. */
        if (i == 1 || access(path, F_OK) == 0)
            status = read_stop_file(path, shape->vocab, stop);
        free(path);
        TRY(status);
    }
    return STATUS_OK;
}

int64_t shape_parameters(const struct shape *shape) {
    return (int64_t)count_parameters(shape);
}
