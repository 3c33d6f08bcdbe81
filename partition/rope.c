#include "partition/rope.h"

#include <string.h>

static const char *const rope_names[] = {
    [ROPE_DEFAULT] = "default",
    [ROPE_LINEAR] = "linear",
    [ROPE_LLAMA3] = "llama3",
};
enum { ROPE_TYPES = sizeof rope_names / sizeof rope_names[0] };

/* One object that describes the rotation: rope_parameters or rope_scaling. */
struct rope_place {
    const char *path;
    const json_t *root;
    const char *name;
};

struct rope_key {
    char text[96];
};

static struct rope_key rope_key(struct rope_place place, const char *field) {
    struct rope_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", place.name, field);
    return key;
}

static enum status refuse_partial(const char *path, const json_t *root, const char *key) {
    double part = 1;
    TRY(json_real_in(path, root, key, false, 0, 1e9, &part));
    if (part != 1)
        return status_fail(path, key,
                           "found %g, expected 1 or nothing; rotating a part of each head is not "
                           "supported",
                           part);
    return STATUS_OK;
}

/* rope_type, or `type` as it was called before; a description without any is the default one. */
static enum status read_rope_type(struct rope_place place, enum rope_type *type) {
    const char *name = NULL, *old_name = NULL;
    struct rope_key key = rope_key(place, "rope_type"), old_key = rope_key(place, "type");
    TRY(json_text(place.path, place.root, key.text, false, &name));
    TRY(json_text(place.path, place.root, old_key.text, false, &old_name));
    if (name && old_name && strcmp(name, old_name) != 0)
        return status_fail(place.path, old_key.text,
                           "found \"%s\", expected \"%s\" as in %s; remove one of the two",
                           old_name, name, key.text);
    if (!name && old_name) {
        name = old_name;
        key = old_key;
    }
    const json_t *factor;
    TRY(json_field(place.path, place.root, rope_key(place, "factor").text, &factor));
    if (!name && !factor)
        name = rope_names[ROPE_DEFAULT];
    for (int i = 0; i < ROPE_TYPES; i++)
        if (name && strcmp(name, rope_names[i]) == 0) {
            *type = (enum rope_type)i;
            return STATUS_OK;
        }
    const json_t *found;
    TRY(json_field(place.path, place.root, key.text, &found));
    return status_fail(place.path, key.text,
                       "found %s, expected one of default, linear, llama3; use a model with one of "
                       "these",
                       json_words(found).text);
}

/* Where the unscaled model's context stands: beside the factors, or at top level. */
static enum status read_original_context(struct rope_place place, int64_t *context) {
    static const char name[] = "original_max_position_embeddings";
    struct rope_key key = rope_key(place, name);
    int64_t inner = 0, outer = 0;
    TRY(json_int(place.path, place.root, key.text, false, 1, INT32_MAX, &inner));
    TRY(json_int(place.path, place.root, name, false, 1, INT32_MAX, &outer));
    if (!inner && !outer)
        return status_fail(
            place.path, key.text,
            "found nothing, expected the context that the unscaled model was trained "
            "on, in tokens; add it");
    if (inner && outer && inner != outer)
        return status_fail(
            place.path, key.text,
            "found %lld, expected %lld as in %s at top level; correct one of the two",
            (long long)inner, (long long)outer, name);
    *context = inner ? inner : outer;
    return STATUS_OK;
}

static enum status read_llama3(struct rope_place place, struct rope *rope) {
    struct rope_key high = rope_key(place, "high_freq_factor");
    TRY(json_real_in(place.path, place.root, rope_key(place, "low_freq_factor").text, true, 1e-6,
                     1e6, &rope->low_freq_factor));
    TRY(json_real_in(place.path, place.root, high.text, true, 1e-6, 1e6, &rope->high_freq_factor));
    /* Between the two wavelengths the scaling is blended over their difference. */
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return status_fail(place.path, high.text,
                           "found %g, expected more than low_freq_factor, which is %g; restore the "
                           "file as it was published",
                           rope->high_freq_factor, rope->low_freq_factor);
    return read_original_context(place, &rope->original_context);
}

/* theta stays 0 where the object does not name it. */
static enum status read_rope_object(struct rope_place place, bool *there, struct rope *rope) {
    *rope = (struct rope){.type = ROPE_DEFAULT, .factor = 1};
    const json_t *object;
    TRY(json_field(place.path, place.root, place.name, &object));
    *there = object != NULL;
    if (!object)
        return STATUS_OK;
    if (!json_is_object(object))
        return status_fail(place.path, place.name,
                           "found %s, expected an object or null; restore the file as it was "
                           "published",
                           json_words(object).text);
    const char *name;
    json_t *field;
    json_object_foreach((json_t *)object, name, field) {
        if (json_is_object(field))
            return status_fail(place.path, rope_key(place, name).text,
                               "found %s, expected a scalar; rotations that differ from layer to "
                               "layer are not supported",
                               json_words(field).text);
    }
    TRY(read_rope_type(place, &rope->type));
    TRY(json_real_in(place.path, place.root, rope_key(place, "rope_theta").text, false, 1, 1e15,
                     &rope->theta));
    TRY(refuse_partial(place.path, place.root, rope_key(place, "partial_rotary_factor").text));
    if (rope->type != ROPE_DEFAULT)
        TRY(json_real_in(place.path, place.root, rope_key(place, "factor").text, true, 1, 1e9,
                         &rope->factor));
    if (rope->type == ROPE_LLAMA3)
        TRY(read_llama3(place, rope));
    return STATUS_OK;
}

static enum status refuse_rope_conflict(const char *path, const char *field, double found,
                                        const char *other, double expected) {
    return status_fail(path, field, "found %.15g, expected %.15g as in %s; remove one of the two",
                       found, expected, other);
}

/* The scalings of rope_scaling and rope_parameters, both there, must be one. */
static enum status compare_rope(const char *path, const struct rope *old, const struct rope *new) {
    if (old->type != new->type)
        return status_fail(path, "rope_scaling.rope_type",
                           "found \"%s\", expected \"%s\" as in rope_parameters; remove one of the "
                           "two",
                           rope_names[old->type], rope_names[new->type]);
    const struct {
        const char *field;
        double old, new;
    } pairs[] = {
        {"rope_scaling.factor", old->factor, new->factor},
        {"rope_scaling.low_freq_factor", old->low_freq_factor, new->low_freq_factor},
        {"rope_scaling.high_freq_factor", old->high_freq_factor, new->high_freq_factor},
        {"rope_scaling.original_max_position_embeddings", (double)old->original_context,
         (double)new->original_context},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].old != pairs[i].new)
            return refuse_rope_conflict(path, pairs[i].field, pairs[i].old, "rope_parameters",
                                        pairs[i].new);
    return STATUS_OK;
}

/* Up to three places may name theta; those that do must agree. None: *theta stays. */
static enum status read_theta(const char *path, const json_t *root, double in_scaling,
                              double in_parameters, double *theta) {
    double top = 0;
    TRY(json_real_in(path, root, "rope_theta", false, 1, 1e15, &top));
    if (in_parameters && top && top != in_parameters)
        return refuse_rope_conflict(path, "rope_theta", top, "rope_parameters.rope_theta",
                                    in_parameters);
    if (in_parameters && in_scaling && in_scaling != in_parameters)
        return refuse_rope_conflict(path, "rope_scaling.rope_theta", in_scaling,
                                    "rope_parameters.rope_theta", in_parameters);
    if (top && in_scaling && in_scaling != top)
        return refuse_rope_conflict(path, "rope_scaling.rope_theta", in_scaling, "rope_theta", top);
    if (in_parameters || top || in_scaling)
        *theta = in_parameters ? in_parameters : top ? top : in_scaling;
    return STATUS_OK;
}

enum status rope_read(const char *path, const json_t *root, struct rope *rope) {
    bool has_old, has_new;
    struct rope old, new;
    TRY(read_rope_object((struct rope_place){path, root, "rope_scaling"}, &has_old, &old));
    TRY(read_rope_object((struct rope_place){path, root, "rope_parameters"}, &has_new, &new));
    TRY(refuse_partial(path, root, "partial_rotary_factor"));
    if (has_old && has_new)
        TRY(compare_rope(path, &old, &new));
    double theta = 10000; /* Llama-2's published config names none */
    TRY(read_theta(path, root, old.theta, new.theta, &theta));
    *rope = has_new ? new : old;
    rope->theta = theta;
    return STATUS_OK;
}
