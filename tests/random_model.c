#include "tests/random_model.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char name[96];
    int64_t rows, cols; /* cols 0: a vector of ones, as norms start */
};

struct shape random_model_shape(void) {
    struct shape s = {.family = "llama",
                      .layers = 3,
                      .hidden = 40,
                      .heads = 8,
                      .kv_heads = 4,
                      .head_dim = 6,
                      .ffn = 50,
                      .vocab = 101,
                      .context = 64,
                      .norm_eps = 1e-5,
                      .rope = {.type = ROPE_DEFAULT, .theta = 10000}};
    return s;
}

static void write_config(const char *dir, const struct shape *s) {
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", dir);
    json_t *config = json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b}", "architectures",
        "LlamaForCausalLM", "model_type", "llama", "num_hidden_layers", (json_int_t)s->layers,
        "hidden_size", (json_int_t)s->hidden, "num_attention_heads", (json_int_t)s->heads,
        "num_key_value_heads", (json_int_t)s->kv_heads, "head_dim", (json_int_t)s->head_dim,
        "intermediate_size", (json_int_t)s->ffn, "vocab_size", (json_int_t)s->vocab,
        "max_position_embeddings", (json_int_t)s->context, "rms_norm_eps", s->norm_eps,
        "rope_theta", s->rope.theta, "tie_word_embeddings", 0);
    if (!config || json_dump_file(config, path, 0) != 0)
        exit(1);
    json_decref(config);
}

static int64_t list_tensors(const struct shape *s, struct entry *e) {
    int64_t D = s->hidden, Q = s->heads * s->head_dim, K = s->kv_heads * s->head_dim, n = 0;
    const struct entry per_layer[] = {
        {"input_layernorm", D, 0},    {"self_attn.q_proj", Q, D},
        {"self_attn.k_proj", K, D},   {"self_attn.v_proj", K, D},
        {"self_attn.o_proj", D, Q},   {"post_attention_layernorm", D, 0},
        {"mlp.gate_proj", s->ffn, D}, {"mlp.up_proj", s->ffn, D},
        {"mlp.down_proj", D, s->ffn},
    };
    const struct entry tables[] = {{"model.embed_tokens.weight", s->vocab, D},
                                   {"model.norm.weight", D, 0},
                                   {"lm_head.weight", s->vocab, D}};
    for (int i = 0; i < 3; i++)
        e[n++] = tables[i];
    for (int64_t l = 0; l < s->layers; l++)
        for (int i = 0; i < 9; i++, n++) {
            e[n] = per_layer[i];
            snprintf(e[n].name, sizeof e[n].name, "model.layers.%" PRId64 ".%.32s.weight", l,
                     per_layer[i].name);
        }
    return n;
}

static int64_t entry_floats(const struct entry *e) {
    return e->rows * (e->cols ? e->cols : 1);
}

/* Uniform in [-1, 1): splitmix64. */
static double next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1;
}

static void write_tensor(FILE *file, const struct entry *e, uint64_t *state, bool spoiled) {
    int64_t n = entry_floats(e);
    double scale = e->cols ? 2.5 / sqrt((double)e->cols) : 0.3;
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(scale * next_random(state) + (e->cols ? 0 : 1));
        if (spoiled && i == n - 1)
            x = NAN;
        if (fwrite(&x, sizeof x, 1, file) != 1)
            exit(1);
    }
}

void random_model_write(const char *dir, const struct shape *shape, uint64_t seed,
                        const char *spoiled) {
    struct entry *e = calloc((size_t)(9 * shape->layers + 3), sizeof *e);
    int64_t count = list_tensors(shape, e), offset = 0;
    json_t *header = json_object();
    for (int64_t i = 0; i < count; i++) {
        int64_t end = offset + 4 * entry_floats(&e[i]);
        json_t *dims = e[i].cols ? json_pack("[I,I]", (json_int_t)e[i].rows, (json_int_t)e[i].cols)
                                 : json_pack("[I]", (json_int_t)e[i].rows);
        json_object_set_new(header, e[i].name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", dims,
                                      "data_offsets", (json_int_t)offset, (json_int_t)end));
        offset = end;
    }
    char path[4096], *text = json_dumps(header, JSON_COMPACT);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *file = fopen(path, "wb");
    uint64_t length = strlen(text);
    if (!file || fwrite(&length, 8, 1, file) != 1 || fwrite(text, length, 1, file) != 1)
        exit(1);
    for (int64_t i = 0; i < count; i++)
        write_tensor(file, &e[i], &seed, spoiled && strcmp(spoiled, e[i].name) == 0);
    if (fclose(file) != 0)
        exit(1);
    write_config(dir, shape);
    free(text);
    free(e);
    json_decref(header);
}
