#include "launch/rounding.h"

#include "kernels/quant.h"
#include "partition/family.h"
#include "partition/tensors.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Calls visit for every matrix of the model: the tables' first, then each layer's. */
typedef void visit_matrix(void *context, const struct rounding *r, const struct tensor_slice *slice,
                          int64_t layer);

static void each_matrix(const struct rounding *r, visit_matrix *visit, void *context) {
    static const struct share none;
    for (int64_t layer = -1; layer < r->shape->layers; layer++) {
        struct tensor_list list;
        if (layer < 0)
            tensors_of_tables(r->shape, &none, &list);
        else
            tensors_of_layer(r->shape, &none, layer, &list);
        for (int64_t i = 0; i < list.count; i++)
            if (list.slices[i].cols)
                visit(context, r, &list.slices[i], layer);
    }
}

static enum matrix_type type_held(const struct rounding *r, const struct tensor_slice *slice) {
    return model_held(r->compute, r->type, slice);
}

/* The stored types that a rounding concerns, each once. */
struct dtypes {
    const char *of[8];
    int count;
};

static void add_dtype(struct dtypes *d, const char *dtype) {
    for (int i = 0; i < d->count; i++)
        if (strcmp(d->of[i], dtype) == 0)
            return;
    if (d->count < 8)
        d->of[d->count++] = dtype;
}

/* Of the matrices that are held in blocks, and of the others that bf16 rounds. */
struct stored {
    struct dtypes blocks, plain;
};

static void add_stored(void *context, const struct rounding *r, const struct tensor_slice *slice,
                       int64_t layer) {
    struct stored *stored = context;
    struct tensor_names names = family_names(r->shape);
    struct tensor_place place = tensor_place(&names, r->shape, slice, layer, 0);
    const char *dtype = weights_dtype(r->weights, place.name);
    if (!dtype || slice->f32)
        return;
    enum matrix_type held = type_held(r, slice);
    if (quant_type(held) && strcasecmp(matrix_type_name(held), dtype) == 0)
        return; /* kept as it is */
    if (quant_type(held))
        add_dtype(&stored->blocks, dtype);
    else if (strcmp(dtype, "BF16") != 0)
        add_dtype(&stored->plain, dtype);
}

/* "BF16 weights to q8_0" */
static void append_blocks(json_t *array, const struct rounding *r, const struct stored *stored) {
    for (int i = 0; i < stored->blocks.count; i++)
        json_array_append_new(array, json_sprintf("%s weights to %s", stored->blocks.of[i],
                                                  weights_type_name(r->type)));
}

json_t *rounding_object(const struct rounding *r) {
    struct stored stored = {0};
    json_t *f32 = json_array(), *bf16 = json_array();
    each_matrix(r, add_stored, &stored);
    append_blocks(f32, r, &stored);
    json_array_append_new(bf16, json_string("activations"));
    for (int i = 0; i < stored.plain.count; i++)
        json_array_append_new(bf16, json_sprintf("%s weights", stored.plain.of[i]));
    append_blocks(bf16, r, &stored);
    if (stored.blocks.count)
        json_array_append_new(bf16, json_sprintf("%s weights", weights_type_name(r->type)));
    return json_pack("{s:o,s:o}", "f32", f32, "bf16", bf16);
}

static void add_held(void *context, const struct rounding *r, const struct tensor_slice *slice,
                     int64_t layer) {
    json_t *held = context, *names, *known;
    struct tensor_names patterns = family_names(r->shape);
    const char *type = matrix_type_name(type_held(r, slice));
    char name[160];
    (void)layer;
    snprintf(name, sizeof name, "%s.weight", patterns.of[slice->role]);
    for (char *at = strchr(name, '#'); at; at = strchr(at, '#'))
        *at = '*';
    if (!json_object_get(held, type))
        json_object_set_new(held, type, json_array());
    names = json_object_get(held, type);
    size_t i;
    json_array_foreach(names, i, known) {
        if (strcmp(json_string_value(known), name) == 0)
            return;
    }
    json_array_append_new(names, json_string(name));
}

json_t *rounding_held(const struct rounding *r) {
    json_t *held = json_object();
    each_matrix(r, add_held, held);
    return held;
}

static void print_joined(const json_t *names) {
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name) {
        printf("%s%s", i ? ", " : "", json_string_value(name));
    }
    printf("\n");
}

/* Where some are in blocks, the others are named. */
static void print_held(const struct rounding *r) {
    const char *main_type = matrix_type_name(weights_matrix(r->type, r->compute)), *type;
    json_t *held = rounding_held(r), *names;
    if (json_object_get(held, main_type))
        printf("  held as %-12s%s\n", main_type,
               json_object_size(held) > 1 ? "all other matrices" : "all matrices");
    json_object_foreach(held, type, names) {
        if (strcmp(type, main_type) == 0)
            continue;
        printf("  held as %-12s", type);
        print_joined(names);
    }
    json_decref(held);
}

void rounding_print(const struct rounding *r) {
    struct stored stored = {0};
    each_matrix(r, add_stored, &stored);
    printf("  %-20srounds no activation", "--compute f32");
    printf(stored.blocks.count ? "; the weights are rounded to %s\n" : " and no weight\n",
           weights_type_name(r->type));
    printf("  %-20srounds activations before each product", "--compute bf16");
    for (int i = 0; i < stored.plain.count; i++)
        printf("%s %s", i ? " and" : ", and the", stored.plain.of[i]);
    if (stored.plain.count)
        printf(" weights when they are read");
    if (stored.blocks.count)
        printf("; weights rounded to %s once more for many tokens at a time",
               weights_type_name(r->type));
    printf("\n");
    print_held(r);
}
