#include "launch/inspect_family.h"

#include "dist/model.h"
#include "partition/rope.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A line's text, put together piece by piece. */
struct line {
    char text[512];
};

static void line_add(struct line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line_add(struct line *line, const char *format, ...) {
    size_t used = strlen(line->text);
    va_list values;
    va_start(values, format);
    vsnprintf(line->text + used, sizeof line->text - used, format, values);
    va_end(values);
}

static void print(const char *name, const char *text) {
    printf("  %-20s%s\n", name, text);
}

/* Layers with the flag, or without it, as ranges: "0-2, 4-6". */
static struct line layer_ranges(const struct shape *s, enum layer_flag flag, bool set) {
    struct line line = {""};
    for (int64_t l = 0, end; l < s->layers; l = end) {
        for (end = l + 1;
             end < s->layers && shape_layer_is(s, end, flag) == shape_layer_is(s, l, flag);)
            end++;
        if (shape_layer_is(s, l, flag) != set)
            continue;
        line_add(&line, "%s%" PRId64, line.text[0] ? ", " : "", l);
        if (end > l + 1)
            line_add(&line, "-%" PRId64, end - 1);
    }
    return line;
}

static json_t *layer_list(const struct shape *s, enum layer_flag flag) {
    json_t *list = json_array();
    for (int64_t l = 0; l < s->layers; l++)
        if (shape_layer_is(s, l, flag))
            json_array_append_new(list, json_integer(l));
    return list;
}

static bool any_layer(const struct shape *s, enum layer_flag flag) {
    for (int64_t l = 0; l < s->layers; l++)
        if (shape_layer_is(s, l, flag))
            return true;
    return false;
}

static const char *norm_name(const struct shape *s) {
    return s->norm == NORM_LAYER ? "layer" : "rms";
}

static const char *place_name(const struct shape *s) {
    static const char *const names[] = {
        [NORM_BEFORE] = "before", [NORM_AFTER] = "after", [NORM_AROUND] = "around"};
    return names[s->norm_place];
}

static const char *activation_name(const struct shape *s) {
    static const char *const names[] = {[ACTIVATION_SILU] = "silu",
                                        [ACTIVATION_GELU_TANH] = "gelu_tanh",
                                        [ACTIVATION_GELU] = "gelu"};
    return names[s->activation];
}

static const char *head_norm_name(const struct shape *s) {
    static const char *const names[] = {
        [HEAD_NORM_NONE] = "none", [HEAD_NORM_EACH] = "each head", [HEAD_NORM_WIDE] = "all heads"};
    return names[s->head_norm];
}

static const struct {
    enum bias_flag flag;
    const char *name;
} biases[] = {{BIAS_QKV, "q, k, v"}, {BIAS_O, "o"}, {BIAS_FFN, "ffn"}, {BIAS_HEAD, "head"}};
enum { BIASES = sizeof biases / sizeof biases[0] };

static void print_rope(const char *name, const struct shape *s, const struct rope *rope) {
    struct line line = {""};
    line_add(&line, "%s, theta %g", rope_type_name(rope->type), rope->theta);
    if (rope->type != ROPE_DEFAULT)
        line_add(&line, ", factor %g", rope->factor);
    if (rope->type == ROPE_LLAMA3)
        line_add(&line, " (low %g, high %g, original context %" PRId64 ")", rope->low_freq_factor,
                 rope->high_freq_factor, rope->original_context);
    if (rope->type == ROPE_LONGROPE)
        line_add(&line, " (original context %" PRId64 ", beyond it the long factors; times %g)",
                 rope->original_context, rope->attention_factor);
    if (shape_rotary_dim(s) != s->head_dim)
        line_add(&line, ", of the first %" PRId64 " of %" PRId64 " elements of a head",
                 shape_rotary_dim(s), s->head_dim);
    print(name, line.text);
}

static void print_norms(const struct shape *s) {
    struct line line = {""};
    line_add(&line, "%s, %s attention and FFN%s", s->norm == NORM_LAYER ? "LayerNorm" : "RMSNorm",
             place_name(s), s->parallel ? ", which stand side by side" : "");
    if (s->head_norm != HEAD_NORM_NONE)
        line_add(&line, "; of queries and keys over %s", head_norm_name(s));
    print("norms", line.text);
}

static void print_scaling(const struct shape *s) {
    struct line line = {""};
    const struct {
        const char *name;
        double value;
    } factors[] = {{"scores", s->attention_scale},
                   {"embeddings", s->embedding_multiplier},
                   {"what is added", s->residual_multiplier},
                   {"logits", s->logits_multiplier}};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        if (factors[i].value != 0)
            line_add(&line, "%s%s times %g", line.text[0] ? ", " : "", factors[i].name,
                     factors[i].value);
    if (line.text[0])
        print("multipliers", line.text);
    line.text[0] = '\0';
    if (s->score_cap != 0)
        line_add(&line, "scores within %g", s->score_cap);
    if (s->logit_cap != 0)
        line_add(&line, "%slogits within %g", line.text[0] ? ", " : "", s->logit_cap);
    if (line.text[0])
        print("soft caps", line.text);
}

static void print_layers(const struct shape *s) {
    struct line line = {""};
    if (s->sliding_window) {
        line_add(&line, "%" PRId64 " tokens, in layers %s; off under SelfExtend", s->sliding_window,
                 layer_ranges(s, LAYER_SEES_ALL, false).text);
        print("sliding window", line.text);
    }
    if (any_layer(s, LAYER_UNROTATED))
        print("without rotation", layer_ranges(s, LAYER_UNROTATED, true).text);
    line.text[0] = '\0';
    if (s->experts) {
        line_add(
            &line, "%" PRId64 " of %" PRId64 " for each token, FFN size %" PRId64 ", in layers %s",
            s->experts_used, s->experts, s->expert_ffn, layer_ranges(s, LAYER_EXPERTS, true).text);
        print("experts", line.text);
    }
}

void inspect_print_family(const struct shape *s) {
    struct line line = {""};
    print_norms(s);
    line_add(&line, "%s%s", activation_name(s), s->ungated ? "" : ", gated");
    print("activation", line.text);
    line.text[0] = '\0';
    for (int i = 0; i < BIASES; i++)
        if (s->biases & biases[i].flag)
            line_add(&line, "%s%s", line.text[0] ? ", " : "", biases[i].name);
    if (s->biases)
        print("biases", line.text);
    print_rope("rotary embedding", s, &s->rope);
    if (s->has_local_rope)
        print_rope("where it slides", s, &s->rope_local);
    print_scaling(s);
    print_layers(s);
}

static json_t *rope_object(const struct rope *rope) {
    json_t *object =
        json_pack("{s:s,s:f}", "type", rope_type_name(rope->type), "theta", rope->theta);
    if (rope->type != ROPE_DEFAULT)
        json_object_set_new(object, "factor", json_real(rope->factor));
    if (rope->type == ROPE_LLAMA3) {
        json_object_set_new(object, "low_freq_factor", json_real(rope->low_freq_factor));
        json_object_set_new(object, "high_freq_factor", json_real(rope->high_freq_factor));
    }
    if (rope->type == ROPE_LONGROPE)
        json_object_set_new(object, "attention_factor", json_real(rope->attention_factor));
    if (rope->original_context)
        json_object_set_new(object, "original_context", json_integer(rope->original_context));
    return object;
}

static json_t *real_or_null(double value) {
    return value != 0 ? json_real(value) : json_null();
}

static json_t *experts_object(const struct shape *s) {
    if (s->experts == 0)
        return json_null();
    json_t *object = json_pack("{s:I,s:I,s:I,s:b}", "count", (json_int_t)s->experts, "used",
                               (json_int_t)s->experts_used, "ffn", (json_int_t)s->expert_ffn,
                               "normalised", s->experts_normalised);
    json_object_set_new(object, "layers", layer_list(s, LAYER_EXPERTS));
    return object;
}

void inspect_put_family(const struct shape *s, json_t *model) {
    json_t *list = json_array();
    for (int i = 0; i < BIASES; i++)
        if (s->biases & biases[i].flag)
            json_array_append_new(list, json_string(biases[i].name));
    json_object_set_new(model, "norm", json_string(norm_name(s)));
    json_object_set_new(model, "norm_place", json_string(place_name(s)));
    json_object_set_new(model, "norm_eps", json_real(s->norm_eps));
    json_object_set_new(model, "parallel", json_boolean(s->parallel));
    json_object_set_new(model, "head_norm", json_string(head_norm_name(s)));
    json_object_set_new(model, "activation", json_string(activation_name(s)));
    json_object_set_new(model, "gated", json_boolean(!s->ungated));
    json_object_set_new(model, "biases", list);
    json_object_set_new(model, "rope", rope_object(&s->rope));
    json_object_set_new(model, "rope_local",
                        s->has_local_rope ? rope_object(&s->rope_local) : json_null());
    json_object_set_new(model, "rotary_dim", json_integer(shape_rotary_dim(s)));
    json_object_set_new(model, "attention_scale", json_real(shape_attention_scale(s)));
    json_object_set_new(model, "embedding_multiplier", real_or_null(s->embedding_multiplier));
    json_object_set_new(model, "residual_multiplier", real_or_null(s->residual_multiplier));
    json_object_set_new(model, "logits_multiplier", real_or_null(s->logits_multiplier));
    json_object_set_new(model, "score_cap", real_or_null(s->score_cap));
    json_object_set_new(model, "logit_cap", real_or_null(s->logit_cap));
    json_object_set_new(model, "layers_without_window", layer_list(s, LAYER_SEES_ALL));
    json_object_set_new(model, "layers_without_rotation", layer_list(s, LAYER_UNROTATED));
    json_object_set_new(model, "experts", experts_object(s));
}

static void put_name(void *list, const char *name) {
    json_array_append_new(list, json_string(name));
}

enum status inspect_unused(const char *dir, const struct weights *weights,
                           const struct shape *shape, json_t **unused) {
    json_t *tensors = json_array(), *config = json_array();
    *unused = json_pack("{s:o,s:o}", "tensors", tensors, "config", config);
    if (!*unused)
        return status_no_memory(dir, 64);
    TRY(shape_list_unused(dir, put_name, config));
    return model_list_unused(weights, shape, put_name, tensors);
}

/* Names shown at most; the JSON has all. */
#define NAMES_SHOWN 12

static void print_names(const char *what, const json_t *names) {
    size_t count = json_array_size(names);
    printf("  %-20s", what);
    for (size_t i = 0; i < count && i < NAMES_SHOWN; i++)
        printf("%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
    if (count > NAMES_SHOWN)
        printf(", and %zu more", count - NAMES_SHOWN);
    printf("%s\n", count ? "" : "none");
}

void inspect_print_unused(const struct shape *shape, const json_t *unused) {
    printf("\nNot used\n");
    print_names("tensors", json_object_get(unused, "tensors"));
    print_names(shape->is_gguf ? "metadata" : "config.json", json_object_get(unused, "config"));
}
