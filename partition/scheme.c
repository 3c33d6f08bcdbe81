#include "partition/scheme.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

int64_t scheme_far_query(const struct scheme *s, int64_t i) {
    return i / s->group + s->window - s->window / s->group;
}

int64_t scheme_far_key(const struct scheme *s, int64_t j) {
    return j / s->group;
}

int64_t scheme_limit(int64_t context, int64_t group, int64_t window) {
    int64_t groups = context - window + window / group;
    return groups > 0 ? groups * group : 0;
}

/* The limit does not grow with G everywhere (w//G falls in steps), but it never falls below
 * (L - w) * G, so the search ends at length / (L - w) + 1. */
int64_t scheme_smallest_group(int64_t context, int64_t window, int64_t length) {
    if (scheme_limit(context, 1, window) >= length)
        return 1;
    if (window >= context)
        return 0;
    int64_t last = length / (context - window) + 1;
    int64_t first = length / context; /* limit <= L * G for every w */
    for (int64_t group = first > 1 ? first : 1; group <= last; group++)
        if (scheme_limit(context, group, window) >= length)
            return group;
    return 0;
}

/* Smallest G with w + ceil((length - w)/G) <= 2L/3, in integers; 0 when there is none. */
static int64_t group_by_rule(int64_t context, int64_t window, int64_t length) {
    if (length <= window)
        return 3 * length <= 2 * context ? 1 : 0;
    int64_t room = 2 * context / 3 - window; /* groups that the far tokens may take */
    if (room < 1)
        return 0;
    return (length - window + room - 1) / room;
}

static struct scheme grouped(int64_t group, int64_t window) {
    struct scheme s = {.rule = ZONE_GROUPED, .window = window, .group = group};
    return s;
}

static struct scheme plain(const struct shape *shape) {
    struct scheme s = {.rule = shape->sliding_window ? ZONE_MASKED : ZONE_ALL_NEAR,
                       .window = shape->sliding_window,
                       .group = 1};
    return s;
}

struct scheme scheme_choose(const struct shape *shape, struct scheme_request request,
                            int64_t length) {
    bool automatic = !request.group && !request.window;
    if (request.plain || (automatic && length <= shape->context))
        return plain(shape);
    int64_t window = request.window ? request.window : shape->context / 4;
    if (window < 1)
        window = 1;
    int64_t group = request.group;
    if (!group)
        group = group_by_rule(shape->context, window, length);
    if (!group)
        group = scheme_smallest_group(shape->context, window, length);
    return grouped(group ? group : 1, window);
}

struct scheme scheme_of_layer(const struct scheme *s, const struct shape *shape, int64_t layer) {
    const struct scheme all_near = {.rule = ZONE_ALL_NEAR, .group = 1};
    if (s->rule == ZONE_GROUPED && shape_layer_is(shape, layer, LAYER_UNROTATED))
        return all_near;
    if (s->rule == ZONE_MASKED && shape_layer_is(shape, layer, LAYER_SEES_ALL))
        return all_near;
    return *s;
}

int64_t scheme_reach(const struct scheme *s, int64_t context) {
    if (s->rule == ZONE_GROUPED)
        return scheme_limit(context, s->group, s->window);
    return context;
}

bool scheme_warning(const struct scheme *s, const struct shape *shape, int64_t length, char *text,
                    size_t text_size) {
    int64_t reach = scheme_reach(s, shape->context);
    if (length <= reach)
        return false;
    int64_t window = s->rule == ZONE_GROUPED ? s->window : shape->context / 4;
    if (window < 1)
        window = 1;
    int64_t group = scheme_smallest_group(shape->context, window, length);
    int used;
    if (s->rule == ZONE_GROUPED)
        used = snprintf(text, text_size,
                        "%" PRId64 " tokens are beyond the %" PRId64 " that G=%" PRId64
                        ", w=%" PRId64 " keep within the trained context of %" PRId64,
                        length, reach, s->group, s->window, shape->context);
    else
        used = snprintf(text, text_size,
                        "%" PRId64 " tokens are beyond the trained context of %" PRId64
                        " under plain attention",
                        length, shape->context);
    if (used < 0 || (size_t)used >= text_size)
        return true;
    if (group)
        snprintf(text + used, text_size - (size_t)used,
                 "; the smallest that fits is --group %" PRId64 " with --window %" PRId64, group,
                 window);
    else
        snprintf(text + used, text_size - (size_t)used,
                 "; no group fits with --window %" PRId64 ", take a smaller window", window);
    return true;
}

/* llama3: wavelengths above original_context / low_freq_factor are stretched by the factor, those
 * below original_context / high_freq_factor are kept, between the two a linear blend in
 * original_context / wavelength. (Field names: config.json, rope_type "llama3".) */
static double llama3_frequency(const struct rope *rope, double frequency) {
    double wavelength = 2 * M_PI / frequency;
    double turns = (double)rope->original_context / wavelength;
    if (turns < rope->low_freq_factor)
        return frequency / rope->factor;
    if (turns > rope->high_freq_factor)
        return frequency;
    double smooth =
        (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

double rope_frequencies(const struct rope *rope, int64_t pairs, int64_t length,
                        double *frequencies) {
    const double *factors =
        length > rope->original_context ? rope->long_factor : rope->short_factor;
    for (int64_t i = 0; i < pairs; i++) {
        double f = pow(rope->theta, -(double)i / (double)pairs);
        if (rope->type == ROPE_LINEAR)
            f /= rope->factor;
        else if (rope->type == ROPE_LLAMA3)
            f = llama3_frequency(rope, f);
        else if (rope->type == ROPE_LONGROPE)
            f /= factors[i];
        frequencies[i] = f;
    }
    return rope->type == ROPE_LONGROPE ? rope->attention_factor : 1;
}
