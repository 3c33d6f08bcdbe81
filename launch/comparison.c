#include "launch/comparison.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int number_order(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum status number_list_sorted(const int64_t *values, int64_t count, struct number_list *sorted) {
    sorted->count = 0;
    sorted->values = malloc((size_t)(count + 1) * sizeof *values);
    if (!sorted->values)
        return status_no_memory("numbers", count * (int64_t)sizeof *values);
    memcpy(sorted->values, values, (size_t)count * sizeof *values);
    qsort(sorted->values, (size_t)count, sizeof *values, number_order);
    for (int64_t i = 0; i < count; i++)
        if (i == 0 || sorted->values[i] != sorted->values[sorted->count - 1])
            sorted->values[sorted->count++] = sorted->values[i];
    return STATUS_OK;
}

enum status comparison_open(const struct options *options, const int64_t *otherwise, int64_t count,
                            struct comparison *comparison) {
    const struct number_list *asked = &options->lengths;
    comparison->runs[METHOD_PLAIN] = !options->no_plain;
    comparison->runs[METHOD_SELF_EXTEND] = !options->scheme.plain;
    TRY(asked->count ? number_list_sorted(asked->values, asked->count, &comparison->lengths)
                     : number_list_sorted(otherwise, count, &comparison->lengths));
    if (comparison->lengths.values[0] < 2)
        return status_usage(asked->count ? "--lengths" : "input",
                            "found a length of %" PRId64
                            ", expected at least 2 tokens: one to read and one to predict",
                            comparison->lengths.values[0]);
    return STATUS_OK;
}

void comparison_close(struct comparison *comparison) {
    free(comparison->lengths.values);
    memset(comparison, 0, sizeof *comparison);
}

struct sequence_options comparison_sequence(const struct session *session, enum method method,
                                            int64_t length) {
    return session_sequence(session, method == METHOD_PLAIN, length + session->options->reserve,
                            length);
}

void comparison_warn(const struct session *session, const struct comparison *comparison) {
    for (int64_t i = comparison->lengths.count - 1; i >= 0; i--) {
        int64_t length = comparison->lengths.values[i];
        struct sequence_options o = comparison_sequence(session, METHOD_SELF_EXTEND, length);
        session_warn_reach(session, &o.scheme, length);
    }
}

void comparison_put_scheme(json_t *object, const struct scheme *scheme, int64_t context) {
    bool grouped = scheme->rule == ZONE_GROUPED;
    json_object_set_new(object, "method", json_string(grouped ? "self_extend" : "plain"));
    json_object_set_new(object, "group", grouped ? json_integer(scheme->group) : json_null());
    json_object_set_new(object, "window", grouped ? json_integer(scheme->window) : json_null());
    json_object_set_new(object, "limit", json_integer(scheme_reach(scheme, context)));
}

void comparison_put_cells(struct table *table, const struct scheme *scheme) {
    if (scheme->rule == ZONE_GROUPED) {
        table_put(table, "%" PRId64, scheme->group);
        table_put(table, "%" PRId64, scheme->window);
    } else {
        table_put(table, "-");
        table_put(table, "-");
    }
}
