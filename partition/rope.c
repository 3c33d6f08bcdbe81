#include "partition/rope.h"

#include <string.h>

static const char *const rope_names[] = {
    [ROPE_DEFAULT] = "default",
    [ROPE_LINEAR] = "linear",
    [ROPE_LLAMA3] = "llama3",
    [ROPE_LONGROPE] = "longrope",
};
enum { ROPE_TYPES = sizeof rope_names / sizeof rope_names[0] };

const char *rope_type_name(enum rope_type type) {
    return rope_names[type];
}

/* One object that describes the rotation: rope_parameters, rope_scaling, or one of rope_parameters'
 * two. */
struct rope_place {
    const struct config *config;
    const char *name;
};

static struct config_key rope_key(struct rope_place place, const char *field) {
    struct config_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", place.name, field);
    return key;
}

static enum status refuse(struct rope_place place, const char *key, const json_t *found,
                          const char *expected) {
    return status_fail(place.config->path, config_key(place.config, key).text,
                       "found %s, expected %s; restore the file as it was published",
                       json_words(found).text, expected);
}

/* rope_type, or `type` as it was called before; a description without any is the default one. */
static enum status read_rope_type(struct rope_place place, enum rope_type *type) {
    const struct config *c = place.config;
    const char *name = NULL, *old_name = NULL;
    struct config_key key = rope_key(place, "rope_type"), old_key = rope_key(place, "type");
    TRY(config_text(c, key.text, false, &name));
    TRY(config_text(c, old_key.text, false, &old_name));
    if (name && old_name && strcmp(name, old_name) != 0)
        return status_fail(c->path, config_key(c, old_key.text).text,
                           "found \"%s\", expected \"%s\" as in %s; remove one of the two",
                           old_name, name, key.text);
    if (!name && old_name) {
        name = old_name;
        key = old_key;
    }
    const json_t *factor, *found;
    TRY(config_field(c, rope_key(place, "factor").text, &factor));
    if (!name && !factor)
        name = rope_names[ROPE_DEFAULT];
    if (name && strcmp(name, "su") == 0) /* longrope's name in Phi-3's first files */
        name = rope_names[ROPE_LONGROPE];
    for (int i = 0; i < ROPE_TYPES; i++)
        if (name && strcmp(name, rope_names[i]) == 0) {
            *type = (enum rope_type)i;
            return STATUS_OK;
        }
    TRY(config_field(c, key.text, &found));
    return status_fail(c->path, config_key(c, key.text).text,
                       "found %s, expected one of default, linear, llama3, longrope; use a model "
                       "with one of these",
                       json_words(found).text);
}

/* Where the unscaled model's context stands: beside the factors, or at top level. */
static enum status read_original_context(struct rope_place place, int64_t *context) {
    static const char name[] = "original_max_position_embeddings";
    const struct config *c = place.config;
    struct config_key key = rope_key(place, name);
    int64_t inner = 0, outer = 0;
    TRY(config_int(c, key.text, false, 1, INT32_MAX, &inner));
    TRY(config_int(c, name, false, 1, INT32_MAX, &outer));
    if (!inner && !outer)
        return status_fail(
            c->path, config_key(c, key.text).text,
            "found nothing, expected the context that the unscaled model was trained "
            "on, in tokens; add it");
    if (inner && outer && inner != outer)
        return status_fail(
            c->path, config_key(c, key.text).text,
            "found %lld, expected %lld as in %s at top level; correct one of the two",
            (long long)inner, (long long)outer, name);
    *context = inner ? inner : outer;
    return STATUS_OK;
}

static enum status read_llama3(struct rope_place place, struct rope *rope) {
    const struct config *c = place.config;
    struct config_key high = rope_key(place, "high_freq_factor");
    TRY(config_real(c, rope_key(place, "low_freq_factor").text, true, 1e-6, 1e6,
                    &rope->low_freq_factor));
    TRY(config_real(c, high.text, true, 1e-6, 1e6, &rope->high_freq_factor));
    /* Between the two wavelengths the scaling is blended over their difference. */
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return status_fail(c->path, config_key(c, high.text).text,
                           "found %g, expected more than low_freq_factor, which is %g; restore the "
                           "file as it was published",
                           rope->high_freq_factor, rope->low_freq_factor);
    return read_original_context(place, &rope->original_context);
}

/* One factor for each pair that is rotated. */
static enum status read_factors(struct rope_place place, const char *field, int64_t pairs,
                                double *factors) {
    struct config_key key = rope_key(place, field);
    const json_t *list, *entry;
    char expected[80];
    size_t i;
    TRY(config_field(place.config, key.text, &list));
    snprintf(expected, sizeof expected, "a list of %lld numbers, one for each pair that is rotated",
             (long long)pairs);
    if (!json_is_array(list) || (int64_t)json_array_size(list) != pairs)
        return refuse(place, key.text, list, expected);
    json_array_foreach(list, i, entry) {
        double factor = json_number_value(entry);
        if (!json_is_number(entry) || !(factor > 1e-9) || !(factor < 1e9))
            return refuse(place, key.text, entry, "positive numbers below 1e9");
        factors[i] = factor;
    }
    return STATUS_OK;
}

/* Cosines and sines times sqrt(1 + ln s / ln L0), s the context over the original one, L0: arXiv
 * 2402.13753, as transformers' _compute_longrope_parameters has it. */
static enum status read_longrope(struct rope_place place, int64_t context, int64_t pairs,
                                 struct rope *rope) {
    if (pairs > ROPE_FACTORS_MAX)
        return status_fail(place.config->path, config_key(place.config, "head_dim").text,
                           "found %lld pairs to rotate, expected at most %d under longrope; use "
                           "another model",
                           (long long)pairs, ROPE_FACTORS_MAX);
    TRY(read_original_context(place, &rope->original_context));
    TRY(read_factors(place, "short_factor", pairs, rope->short_factor));
    TRY(read_factors(place, "long_factor", pairs, rope->long_factor));
    rope->factor = (double)context / (double)rope->original_context;
    TRY(config_real(place.config, rope_key(place, "factor").text, false, 1e-3, 1e9, &rope->factor));
    rope->attention_factor = 1;
    if (rope->factor > 1 && rope->original_context > 1)
        rope->attention_factor = sqrt(1 + log(rope->factor) / log((double)rope->original_context));
    return config_real(place.config, rope_key(place, "attention_factor").text, false, 1e-3, 1e3,
                       &rope->attention_factor);
}

/* Scalings that the types above do not have, by fields that other types' descriptions carry. */
static enum status refuse_others(struct rope_place place) {
    static const char *const names[] = {"mrope_section", "short_mscale", "long_mscale"};
    const json_t *found;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct config_key key = rope_key(place, names[i]);
        TRY(config_field(place.config, key.text, &found));
        if (found)
            return status_fail(place.config->path, config_key(place.config, key.text).text,
                               "found %s, expected nothing; this scaling is not supported",
                               json_words(found).text);
    }
    return STATUS_OK;
}

/* theta stays 0 where the object does not name it. */
static enum status read_rope_object(struct rope_place place, const struct shape *shape, bool *there,
                                    struct rope *rope) {
    *rope = (struct rope){.type = ROPE_DEFAULT, .factor = 1};
    const json_t *object, *field;
    const char *name;
    TRY(config_field(place.config, place.name, &object));
    *there = object != NULL;
    if (!object)
        return STATUS_OK;
    if (!json_is_object(object))
        return refuse(place, place.name, object, "an object or null");
    json_object_foreach((json_t *)object, name, field) {
        if (json_is_object(field))
            return status_fail(place.config->path,
                               config_key(place.config, rope_key(place, name).text).text,
                               "found %s, expected a scalar; rotations that differ from layer to "
                               "layer are not part of this family",
                               json_words(field).text);
    }
    TRY(read_rope_type(place, &rope->type));
    TRY(refuse_others(place));
    TRY(config_real(place.config, rope_key(place, "rope_theta").text, false, 1, 1e15,
                    &rope->theta));
    if (rope->type == ROPE_LONGROPE)
        return read_longrope(place, shape->context, shape_rotary_dim(shape) / 2, rope);
    if (rope->type != ROPE_DEFAULT)
        TRY(config_real(place.config, rope_key(place, "factor").text, true, 1, 1e9, &rope->factor));
    if (rope->type == ROPE_LLAMA3)
        TRY(read_llama3(place, rope));
    return STATUS_OK;
}

static enum status refuse_conflict(const struct config *c, const char *field, double found,
                                   const char *other, double expected) {
    return status_fail(c->path, config_key(c, field).text,
                       "found %.15g, expected %.15g as in %s; remove one of the two", found,
                       expected, other);
}

/* The scalings of rope_scaling and rope_parameters, both there, must be one. */
static enum status compare_rope(const struct config *c, const struct rope *old,
                                const struct rope *new) {
    if (old->type != new->type)
        return status_fail(c->path, config_key(c, "rope_scaling.rope_type").text,
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
        {"rope_scaling.attention_factor", old->attention_factor, new->attention_factor},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].old != pairs[i].new)
            return refuse_conflict(c, pairs[i].field, pairs[i].old, "rope_parameters",
                                   pairs[i].new);
    for (int i = 0; i < ROPE_FACTORS_MAX; i++) {
        if (old->short_factor[i] != new->short_factor[i])
            return refuse_conflict(c, "rope_scaling.short_factor", old->short_factor[i],
                                   "rope_parameters", new->short_factor[i]);
        if (old->long_factor[i] != new->long_factor[i])
            return refuse_conflict(c, "rope_scaling.long_factor", old->long_factor[i],
                                   "rope_parameters", new->long_factor[i]);
    }
    return STATUS_OK;
}

/* Up to three places may name theta; those that do must agree. None: *theta stays. */
static enum status read_theta(const struct config *c, const char *parameters, double in_scaling,
                              double in_parameters, double *theta) {
    double top = 0;
    struct config_key new;
    snprintf(new.text, sizeof new.text, "%s.rope_theta", parameters);
    TRY(config_real(c, "rope_theta", false, 1, 1e15, &top));
    if (in_parameters && top && top != in_parameters)
        return refuse_conflict(c, "rope_theta", top, new.text, in_parameters);
    if (in_parameters && in_scaling && in_scaling != in_parameters)
        return refuse_conflict(c, "rope_scaling.rope_theta", in_scaling, new.text, in_parameters);
    if (top && in_scaling && in_scaling != top)
        return refuse_conflict(c, "rope_scaling.rope_theta", in_scaling, "rope_theta", top);
    if (in_parameters || top || in_scaling)
        *theta = in_parameters ? in_parameters : top ? top : in_scaling;
    return STATUS_OK;
}

/* The part of each head that is rotated may be named in three places. Absent: the family's. */
static enum status read_part(const struct config *c, const struct family *family,
                             struct shape *shape) {
    static const char *const keys[] = {"partial_rotary_factor",
                                       "rope_scaling.partial_rotary_factor",
                                       "rope_parameters.partial_rotary_factor"};
    const char *from = NULL;
    double part = family->rotary_part ? family->rotary_part : 1;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        double found = -1; /* absent */
        const json_t *object = NULL;
        if (i > 0) { /* what is no object is refused when it is read as one */
            char name[] = "rope_parameters";
            snprintf(name, sizeof name, "%.*s", (int)strcspn(keys[i], "."), keys[i]);
            TRY(config_field(c, name, &object));
            if (!json_is_object(object))
                continue;
        }
        TRY(config_real(c, keys[i], false, 0, 1e9, &found));
        if (found < 0)
            continue;
        if (from && found != part)
            return refuse_conflict(c, keys[i], found, from, part);
        if (found != 1 && !family->partial_rotary)
            return status_fail(c->path, config_key(c, keys[i]).text,
                               "found %g, expected 1 or nothing; this family rotates whole heads",
                               found);
        part = found;
        from = keys[i];
    }
    if (part == 1)
        return STATUS_OK;
    shape->rotary_dim = part < 1 ? (int64_t)((double)shape->head_dim * part) : 0;
    if (shape->rotary_dim < 2 || shape->rotary_dim % 2 != 0)
        return status_fail(
            c->path, config_key(c, from ? from : keys[0]).text,
            "found %g, expected an even part of the %lld elements of a head; restore "
            "the file as it was published",
            part, (long long)shape->head_dim);
    return STATUS_OK;
}

/* rope_parameters holds one description, or one for each kind of layer. */
static enum status has_two(const struct config *c, const struct family *family, bool *two) {
    const json_t *object, *inner = NULL;
    *two = false;
    if (family->local_theta == 0)
        return STATUS_OK;
    TRY(config_field(c, "rope_parameters", &object));
    if (json_is_object(object))
        inner = json_object_get(object, "full_attention");
    *two = json_is_object(inner);
    return STATUS_OK;
}

/* Layers with a sliding window: an object of their own, or a base alone. */
static enum status read_local(const struct config *c, const struct family *family, bool two,
                              struct shape *shape) {
    static const char name[] = "rope_parameters.sliding_attention";
    struct rope *rope = &shape->rope_local;
    double theta = family->local_theta, base = 0;
    bool there = false;
    *rope = (struct rope){.type = ROPE_DEFAULT, .factor = 1};
    if (two)
        TRY(read_rope_object((struct rope_place){c, name}, shape, &there, rope));
    TRY(config_real(c, "rope_local_base_freq", false, 1, 1e15, &base));
    if (base && rope->theta && base != rope->theta)
        return refuse_conflict(c, "rope_local_base_freq", base, name, rope->theta);
    if (!rope->theta)
        rope->theta = base ? base : theta;
    shape->has_local_rope = true;
    return STATUS_OK;
}

enum status rope_read(const struct config *c, const struct family *family, struct shape *shape) {
    bool has_old, has_new, two;
    struct rope old, new;
    TRY(has_two(c, family, &two));
    const char *parameters = two ? "rope_parameters.full_attention" : "rope_parameters";
    TRY(read_part(c, family, shape));
    TRY(read_rope_object((struct rope_place){c, "rope_scaling"}, shape, &has_old, &old));
    TRY(read_rope_object((struct rope_place){c, parameters}, shape, &has_new, &new));
    if (has_old && has_new)
        TRY(compare_rope(c, &old, &new));
    double theta = family->theta;
    TRY(read_theta(c, parameters, old.theta, new.theta, &theta));
    shape->rope = has_new ? new : old;
    shape->rope.theta = theta;
    if (family->local_theta != 0)
        TRY(read_local(c, family, two, shape));
    return STATUS_OK;
}
