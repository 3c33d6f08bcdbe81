#include "partition/shape.h"

#include "partition/family.h"
#include "partition/gguf_config.h"
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

/* "llama, mistral, ..." or "LlamaForCausalLM, ...". */
struct family_list {
    char text[512];
};

static struct family_list list_families(bool architectures) {
    struct family_list list = {""};
    const struct family *f;
    for (int i = 0; (f = family_at(i)); i++) {
        size_t used = strlen(list.text);
        snprintf(list.text + used, sizeof list.text - used, "%s%s", i ? ", " : "",
                 architectures ? f->architecture : f->model_type);
    }
    return list;
}

/* The list `architectures`, where it is there, must name the family's. */
static enum status check_architecture(const struct config *c, const struct family *family) {
    const json_t *list;
    TRY(config_field(c, "architectures", &list));
    if (!list)
        return STATUS_OK;
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(entry);
        if (name && strcmp(name, family->architecture) == 0)
            return STATUS_OK;
    }
    const json_t *found = json_array_size(list) == 1 ? json_array_get(list, 0) : list;
    return status_fail(c->path, config_key(c, "architectures").text,
                       "found %s, expected %s for model_type %s (known: %s); use a model of these "
                       "architectures",
                       json_words(found).text, family->architecture, family->model_type,
                       list_families(true).text);
}

/* model_type and architectures; from then on the fields of the text model. */
static enum status read_family(struct config *c, const struct family **family) {
    const char *type = NULL;
    TRY(config_text(c, "model_type", false, &type));
    *family = type ? family_find(type) : NULL;
    if (!*family)
        return status_fail(c->path, config_key(c, "model_type").text,
                           "found %s, expected one of %s; use a model of these families",
                           json_words(json_object_get(c->root, "model_type")).text,
                           list_families(false).text);
    TRY(check_architecture(c, *family));
    if ((*family)->text)
        c->prefix = (*family)->text;
    return STATUS_OK;
}

static enum status read_activation(const struct config *c, const struct family *family,
                                   struct shape *shape) {
    static const struct {
        const char *name;
        enum activation activation;
    } known[] = {
        {"silu", ACTIVATION_SILU},
        {"swish", ACTIVATION_SILU},
        {"gelu_new", ACTIVATION_GELU_TANH},
        {"gelu_fast", ACTIVATION_GELU_TANH},
        {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
        {"gelu", ACTIVATION_GELU},
    };
    static const char *const keys[] = {"hidden_act", "hidden_activation"};
    const char *name = family->activation, *key = keys[0];
    bool gemma = strncmp(family->model_type, "gemma", 5) == 0;
    for (int i = 0; i < 2; i++) { /* Gemma's second name counts before the first */
        const char *found = NULL;
        TRY(config_text(c, keys[i], false, &found));
        if (found && (i == 0 || gemma)) {
            name = found;
            key = keys[i];
        }
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].name) == 0) {
            shape->activation = known[i].activation;
            /* Gemma's first configs say "gelu" and mean the tanh form (transformers #29402). */
            if (gemma && shape->activation == ACTIVATION_GELU)
                shape->activation = ACTIVATION_GELU_TANH;
            return STATUS_OK;
        }
    return status_fail(c->path, config_key(c, key).text,
                       "found \"%s\", expected silu, gelu_new, gelu_pytorch_tanh or gelu; other "
                       "activations are not supported",
                       name);
}

static enum status read_biases(const struct config *c, const struct family *family,
                               struct shape *shape) {
    static const char *const keys[] = {"attention_bias", "mlp_bias"};
    static const unsigned flags[] = {BIAS_QKV | BIAS_O, BIAS_FFN};
    const bool counts[] = {family->attention_bias, family->mlp_bias};
    shape->biases = family->biases;
    for (int i = 0; i < 2; i++) {
        bool bias = false;
        TRY(config_bool(c, keys[i], false, &bias));
        if (bias && !counts[i])
            return status_fail(c->path, config_key(c, keys[i]).text,
                               "found true, expected false or nothing; models of this family have "
                               "no such biases");
        if (bias)
            shape->biases |= flags[i];
    }
    return STATUS_OK;
}

/* Fields that would change the arithmetic in a way that is not computed here. */
static enum status refuse_unsupported(const struct config *c) {
    static const struct {
        const char *key, *remedy;
    } fields[] = {
        {"quantization_config", "use the unquantised model"},
        {"qk_layernorm", "LayerNorm of queries and keys is not supported"},
        {"clip_qkv", "clipping of queries and keys is not supported"},
        {"use_bidirectional_attention", "attention to later tokens is not supported"},
        {"is_encoder_decoder", "use a decoder"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const json_t *found;
        TRY(config_field(c, fields[i].key, &found));
        if (found && !json_is_false(found))
            return status_fail(c->path, config_key(c, fields[i].key).text,
                               "found %s, expected nothing; %s", json_words(found).text,
                               fields[i].remedy);
    }
    return STATUS_OK;
}

static enum status read_heads(const struct config *c, const struct family *family,
                              struct shape *shape) {
    shape->heads = family->heads;
    TRY(config_int(c, "num_attention_heads", !family->heads, 1, count_max, &shape->heads));
    shape->kv_heads = family->kv_heads ? family->kv_heads : shape->heads;
    TRY(config_int(c, "num_key_value_heads", false, 1, count_max, &shape->kv_heads));
    if (shape->heads % shape->kv_heads != 0)
        return status_fail(c->path, config_key(c, "num_key_value_heads").text,
                           "found %lld, expected a divisor of num_attention_heads, which is %lld; "
                           "restore the file as it was published",
                           (long long)shape->kv_heads, (long long)shape->heads);
    if (!config_has(c, "head_dim"))
        shape->head_dim = family->head_dim;
    TRY(config_int(c, "head_dim", false, 2, count_max, &shape->head_dim));
    if (shape->head_dim == 0) {
        if (shape->hidden % shape->heads != 0)
            return status_fail(c->path, config_key(c, "hidden_size").text,
                               "found %lld, expected a multiple of num_attention_heads, which is "
                               "%lld, where head_dim is absent; add head_dim",
                               (long long)shape->hidden, (long long)shape->heads);
        shape->head_dim = shape->hidden / shape->heads;
    }
    /* A rotation turns pairs. */
    if (shape->head_dim % 2 != 0 || shape->head_dim > count_max)
        return status_fail(c->path, config_key(c, "head_dim").text,
                           "found %lld, expected an even number up to %lld; restore the file as it "
                           "was published",
                           (long long)shape->head_dim, (long long)count_max);
    if (shape->heads * shape->head_dim > size_max)
        return status_fail(c->path, config_key(c, "head_dim").text,
                           "found %lld, expected at most %lld for %lld heads; restore the file as "
                           "it was published",
                           (long long)shape->head_dim, (long long)(size_max / shape->heads),
                           (long long)shape->heads);
    return STATUS_OK;
}

/* For messages and reports only, so nothing but its form is checked. */
static enum status read_dtype(const struct config *c, char *dtype, size_t size) {
    static const char *const keys[] = {"torch_dtype", "dtype"};
    const char *key = keys[0], *text = NULL;
    for (int i = 0; i < 2; i++) { /* the newer name counts before the older one */
        const char *found = NULL;
        TRY(config_text(c, keys[i], false, &found));
        if (found) {
            key = keys[i];
            text = found;
        }
    }
    if (!text)
        return STATUS_OK;
    if (strlen(text) >= size ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.") != strlen(text))
        return status_fail(
            c->path, config_key(c, key).text,
            "found %s, expected a name such as float32 or bfloat16; restore the file "
            "as it was published",
            json_words(json_object_get(c->root, key)).text);
    memcpy(dtype, text, strlen(text) + 1);
    return STATUS_OK;
}

static enum status read_sizes(const struct config *c, const struct family *family,
                              struct shape *shape) {
    TRY(config_int(c, "num_hidden_layers", true, 1, LAYERS_MAX, &shape->layers));
    TRY(config_int(c, "hidden_size", true, 1, size_max, &shape->hidden));
    TRY(read_heads(c, family, shape));
    TRY(config_int(c, "intermediate_size", true, 1, size_max, &shape->ffn));
    shape->vocab = family->vocab;
    shape->context = family->context;
    TRY(config_int(c, "vocab_size", !family->vocab, 1, size_max, &shape->vocab));
    return config_int(c, "max_position_embeddings", !family->context, 1, size_max, &shape->context);
}

/* What the family says by itself. */
static void take_facts(const struct family *family, struct shape *shape) {
    snprintf(shape->family, sizeof shape->family, "%s", family->model_type);
    shape->norm = family->norm;
    shape->norm_place = family->norm_place;
    shape->parallel = family->parallel;
    shape->head_norm = family->head_norm;
    shape->ungated = family->ungated;
    shape->norm_eps = family->norm_eps;
    shape->tied = family->tied;
}

/* Every parameter of the model, by the widest integers there are: the ranges alone allow products
 * beyond 64 bits. */
static unsigned __int128 count_parameters(const struct shape *shape) {
    struct share whole = share_of(shape, (struct mesh){1, 1, 1}, 0);
    return tensors_count(shape, &whole, false);
}

static enum status read_model(struct config *c, struct shape *shape) {
    const struct family *family;
    const json_t *used_elsewhere; /* shape_read_stop_ids */
    TRY(config_field(c, "eos_token_id", &used_elsewhere));
    TRY(read_family(c, &family));
    TRY(refuse_unsupported(c));
    take_facts(family, shape);
    TRY(read_sizes(c, family, shape));
    TRY(read_activation(c, family, shape));
    TRY(read_biases(c, family, shape));
    TRY(config_real(c, family->norm == NORM_LAYER ? "layer_norm_eps" : "rms_norm_eps", false, 0, 1,
                    &shape->norm_eps));
    TRY(config_bool(c, "tie_word_embeddings", false, &shape->tied));
    TRY(rope_read(c, family, shape));
    if (family->read)
        TRY(family->read(c, shape));
    TRY(family_read_windows(family, c, shape));
    TRY(read_dtype(c, shape->dtype, sizeof shape->dtype));
    if (count_parameters(shape) > (unsigned __int128)parameters_max)
        return status_fail(
            c->path, config_key(c, "hidden_size").text,
            "found a model of more than %lld parameters, expected fewer; restore the "
            "file as it was published",
            (long long)parameters_max);
    return STATUS_OK;
}

/* Reads a parsed file; `unused` may be NULL, else it gets the names of the fields that nobody
 * looked for, owned by the caller. */
static enum status read_root(const char *path, const json_t *root, struct shape *shape,
                             json_t **unused) {
    struct config config;
    TRY(config_open(path, root, &config));
    /* Padding too: the object travels as bytes and may be compared as such. */
    memset(shape, 0, sizeof *shape);
    enum status status = read_model(&config, shape);
    if (status == STATUS_OK && unused) {
        *unused = config_unused(&config);
        status = *unused ? STATUS_OK : status_no_memory(path, 64);
    }
    config_close(&config);
    return status;
}

enum status shape_parse(const char *path, const char *text, int64_t len, struct shape *shape) {
    json_t *root;
    TRY(json_parse_object(path, text, len, &root));
    enum status status = read_root(path, root, shape, NULL);
    json_decref(root);
    return status;
}

/* The types of the tensors in blocks. A tensor that is lacking is found so when weights are. */
static void note_stored(const struct gguf *gguf, struct shape *shape) {
    static const struct share none;
    struct tensor_names names = gguf_names(shape);
    struct tensor_list list;
    for (int64_t row = 0; row <= shape->layers; row++) {
        if (row == 0)
            tensors_of_tables(shape, &none, &list);
        else
            tensors_of_layer(shape, &none, row - 1, &list);
        for (int64_t i = 0; i < list.count; i++) {
            const struct tensor_slice *slice = &list.slices[i];
            if (!slice->cols)
                continue;
            struct tensor_place place = tensor_place(&names, shape, slice, row - 1, 0);
            const struct gguf_tensor *tensor = gguf_tensor_find(gguf, place.name);
            if (tensor && gguf_format(tensor->type)->block > 1)
                shape->stored[row][slice->role] = (uint8_t)tensor->type;
        }
    }
}

static enum status read_gguf(const char *path, struct shape *shape) {
    struct gguf *gguf;
    json_t *config = NULL;
    TRY(gguf_open(path, &gguf));
    enum status status = gguf_config(gguf, &config);
    if (status == STATUS_OK)
        status = read_root(gguf_path(gguf, 0), config, shape, NULL);
    if (status == STATUS_OK) {
        shape->is_gguf = true;
        shape->fused_qkv = gguf_tensor_find(gguf, "blk.0.attn_qkv.weight") != NULL;
        shape->experts_apart = gguf_tensor_find(gguf, "blk.0.ffn_gate.0.weight") != NULL;
        note_stored(gguf, shape);
    }
    json_decref(config);
    gguf_close(&gguf);
    return status;
}

static enum status read_dir(const char *dir, struct shape *shape, json_t **unused) {
    char *path;
    json_t *root = NULL;
    TRY(file_join(dir, config_name, &path));
    enum status status = json_read(path, config_bytes_max, &root);
    if (status == STATUS_OK)
        status = read_root(path, root, shape, unused);
    json_decref(root);
    free(path);
    return status;
}

enum status shape_read(const char *dir, struct shape *shape) {
    return gguf_is(dir) ? read_gguf(dir, shape) : read_dir(dir, shape, NULL);
}

/* Keys of a GGUF that neither shape_read nor a tokenizer looks for. */
static enum status list_unused_keys(const char *path, void (*put)(void *context, const char *name),
                                    void *context) {
    struct gguf *gguf;
    json_t *config = NULL;
    const struct gguf_value *value;
    TRY(gguf_open(path, &gguf));
    enum status status = gguf_config(gguf, &config);
    for (int64_t i = 0; status == STATUS_OK && (value = gguf_value_at(gguf, i)); i++)
        if (!value->is_read && strncmp(value->key, "tokenizer.", 10) != 0)
            put(context, value->key);
    json_decref(config);
    gguf_close(&gguf);
    return status;
}

enum status shape_list_unused(const char *dir, void (*put)(void *context, const char *name),
                              void *context) {
    struct shape shape;
    json_t *unused = NULL, *name;
    size_t i;
    if (gguf_is(dir))
        return list_unused_keys(dir, put, context);
    TRY(read_dir(dir, &shape, &unused));
    json_array_foreach(unused, i, name) {
        put(context, json_string_value(name));
    }
    json_decref(unused);
    return STATUS_OK;
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

static enum status read_stop_keys(const char *path, int64_t vocab, struct stop_ids *stop) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    struct gguf *gguf;
    enum status status;
    TRY(gguf_open(path, &gguf));
    for (int i = 0; i < 3; i++) {
        int64_t id = -1;
        bool known = false;
        TRY_TO(done, gguf_int(gguf, keys[i], false, 0, vocab - 1, &id));
        for (int32_t k = 0; k < stop->count; k++)
            known = known || stop->ids[k] == id;
        if (id >= 0 && !known)
            stop->ids[stop->count++] = (int32_t)id;
    }
done:
    gguf_close(&gguf);
    return status;
}

enum status shape_read_stop_ids(const char *dir, const struct shape *shape, struct stop_ids *stop) {
    const char *const names[] = {"generation_config.json", config_name};
    memset(stop, 0, sizeof *stop);
    if (gguf_is(dir))
        return read_stop_keys(dir, shape->vocab, stop);
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
