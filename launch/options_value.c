#include "launch/options_value.h"

#include "dist/probe.h"
#include "partition/shape_named.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Most numbers in a list. */
#define LIST_MAX 1000000

static void *field(struct options *options, const struct option *row) {
    return (char *)options + row->place;
}

/* Reads digits alone; *end is behind them. False when there is none or the number is too large. */
static bool read_number(const char *text, const char **end, uint64_t *number) {
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &stop, 10);
    *end = stop;
    return errno == 0;
}

static bool read_number_in(const char *text, const char **end, const struct option *row,
                           int64_t *number) {
    uint64_t n;
    if (!read_number(text, end, &n) || n > INT64_MAX)
        return false;
    *number = (int64_t)n;
    return *number >= row->min && *number <= row->max;
}

static bool read_real(const char *text, double *number) {
    if (*text == '\0' || strspn(text, "0123456789.eE+-") != strlen(text))
        return false;
    char *end;
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number);
}

/* Makes room for `more` elements behind the count of an owned array. */
static enum status array_grow(void **array, int64_t count, int64_t more, size_t size) {
    size_t bytes = (size_t)(count + more) * size;
    void *larger = realloc(*array, bytes);
    if (!larger)
        return status_no_memory("command line", (long long)bytes);
    *array = larger;
    return STATUS_OK;
}

static enum status list_grow(struct number_list *list, int64_t more) {
    void *values = list->values;
    TRY(array_grow(&values, list->count, more, sizeof *list->values));
    list->values = values;
    return STATUS_OK;
}

enum status take_flag(struct options *options, const struct option *row, const char *text) {
    (void)text;
    *(bool *)field(options, row) = true;
    return STATUS_OK;
}

enum status take_text(struct options *options, const struct option *row, const char *text) {
    if (*text == '\0')
        return status_usage(row->name, "found an empty value, expected %s", row->value);
    *(const char **)field(options, row) = text;
    return STATUS_OK;
}

enum status take_string(struct options *options, const struct option *row, const char *text) {
    *(const char **)field(options, row) = text;
    return STATUS_OK;
}

static enum status refuse_number(const struct option *row, const char *text, const char *other) {
    return status_usage(
        row->name, "found \"%.200s\", expected a whole number from %" PRId64 " to %" PRId64 "%s",
        text, row->min, row->max, other);
}

enum status take_number(struct options *options, const struct option *row, const char *text) {
    const char *end;
    int64_t number;
    if (!read_number_in(text, &end, row, &number) || *end)
        return refuse_number(row, text, "");
    *(int64_t *)field(options, row) = number;
    return STATUS_OK;
}

enum status take_auto_number(struct options *options, const struct option *row, const char *text) {
    const char *end;
    int64_t number = 0;
    if (strcmp(text, "auto") != 0 && (!read_number_in(text, &end, row, &number) || *end))
        return refuse_number(row, text, ", or auto");
    *(int64_t *)field(options, row) = number;
    return STATUS_OK;
}

enum status take_numbers(struct options *options, const struct option *row, const char *text) {
    struct number_list *list = field(options, row);
    TRY(list_grow(list, (int64_t)strlen(text) / 2 + 1)); /* a number and its comma take two bytes */
    for (const char *at = text;; at++) {
        int64_t number;
        if (!read_number_in(at, &at, row, &number) || (*at && *at != ',') ||
            list->count == LIST_MAX)
            return status_usage(row->name,
                                "found \"%.200s\", expected whole numbers from %" PRId64
                                " to %" PRId64 " with commas between",
                                text, row->min, row->max);
        list->values[list->count++] = number;
        if (!*at)
            return STATUS_OK;
    }
}

enum status take_seed(struct options *options, const struct option *row, const char *text) {
    const char *end;
    uint64_t seed;
    if (!read_number(text, &end, &seed) || *end)
        return status_usage(row->name,
                            "found \"%.200s\", expected a whole number from 0 to %" PRIu64, text,
                            UINT64_MAX);
    options->sample.seed = seed;
    return STATUS_OK;
}

/* The bounds keep logit/temperature finite in f64, whatever the logits. */
enum status take_temperature(struct options *options, const struct option *row, const char *text) {
    double t;
    if (!read_real(text, &t) || !(t == 0 || (t >= 1e-6 && t <= 1e6)))
        return status_usage(row->name,
                            "found \"%.200s\", expected 0 (greedy) or 0.000001 to 1000000", text);
    options->sample.temperature = t;
    return STATUS_OK;
}

enum status take_top_p(struct options *options, const struct option *row, const char *text) {
    double p;
    if (!read_real(text, &p) || !(p > 0 && p <= 1))
        return status_usage(row->name, "found \"%.200s\", expected a number above 0 and up to 1",
                            text);
    options->sample.top_p = p;
    return STATUS_OK;
}

enum status take_mesh(struct options *options, const struct option *row, const char *text) {
    (void)row;
    return mesh_parse(text, &options->mesh);
}

enum status take_kv(struct options *options, const struct option *row, const char *text) {
    for (enum kv_type type = KV_F32; type < KV_TYPES; type++)
        if (strcmp(text, kv_type_name(type)) == 0) {
            options->kv = type;
            return STATUS_OK;
        }
    return status_usage(row->name, "found \"%.200s\", expected f32, bf16 or q8_0", text);
}

enum status take_compute(struct options *options, const struct option *row, const char *text) {
    for (enum compute compute = COMPUTE_F32; compute <= COMPUTE_AUTO; compute++)
        if (strcmp(text, compute_name(compute)) == 0) {
            options->compute = compute;
            return STATUS_OK;
        }
    return status_usage(row->name, "found \"%.200s\", expected f32, bf16 or auto", text);
}

enum status take_weights(struct options *options, const struct option *row, const char *text) {
    for (enum weights_type type = WEIGHTS_AUTO; type <= WEIGHTS_Q4_0; type++)
        if (strcmp(text, weights_type_name(type)) == 0) {
            options->weights = type;
            return STATUS_OK;
        }
    return status_usage(row->name, "found \"%.200s\", expected auto, q8_0 or q4_0", text);
}

enum status take_wire(struct options *options, const struct option *row, const char *text) {
    for (enum wire wire = WIRE_F32; wire < WIRE_COUNT; wire++)
        if (strcmp(text, wire_name(wire)) == 0) {
            options->wire = wire;
            return STATUS_OK;
        }
    return status_usage(row->name, "found \"%.200s\", expected f32 or bf16", text);
}

const char *overlap_name(enum overlap overlap) {
    static const char *const names[] = {"auto", "on", "off"};
    return names[overlap];
}

enum status take_overlap(struct options *options, const struct option *row, const char *text) {
    for (enum overlap overlap = OVERLAP_AUTO; overlap < OVERLAP_COUNT; overlap++)
        if (strcmp(text, overlap_name(overlap)) == 0) {
            options->overlap = overlap;
            return STATUS_OK;
        }
    return status_usage(row->name, "found \"%.200s\", expected auto, on or off", text);
}

enum status take_shape(struct options *options, const struct option *row, const char *text) {
    if (!shape_has_name(text))
        return status_usage(row->name, "found \"%.200s\", expected %s", text, shape_names);
    options->shape = text;
    return STATUS_OK;
}

enum status take_methods(struct options *options, const struct option *row, const char *text) {
    options->methods = 0;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        enum method m = 0;
        while (m < METHOD_COUNT &&
               (strlen(method_name(m)) != len || memcmp(method_name(m), at, len) != 0))
            m++;
        if (m == METHOD_COUNT)
            return status_usage(row->name,
                                "found \"%.200s\", expected plain, self_extend or both with a "
                                "comma between",
                                text);
        options->methods |= 1u << m;
        at += len;
        if (!*at)
            return STATUS_OK;
    }
}

static enum status add_text(struct options *options, struct text_part part) {
    void *texts = options->texts;
    TRY(array_grow(&texts, options->text_count, 1, sizeof part));
    options->texts = texts;
    options->texts[options->text_count++] = part;
    return STATUS_OK;
}

enum status take_file(struct options *options, const struct option *row, const char *text) {
    if (*text == '\0')
        return status_usage(row->name, "found an empty value, expected %s", row->value);
    for (int64_t i = 0; i < options->text_count; i++)
        if (options->texts[i].is_file && strcmp(text, "-") == 0 &&
            strcmp(options->texts[i].value, "-") == 0)
            return status_usage(row->name, "found standard input twice, expected it once");
    return add_text(options, (struct text_part){.is_file = true, .value = text});
}

/* An empty prompt is left to whoever joins the parts: another part may have text. */
enum status take_prompt(struct options *options, const struct option *row, const char *text) {
    (void)row;
    return add_text(options, (struct text_part){.is_file = false, .value = text});
}

enum status take_stop(struct options *options, const struct option *row, const char *text) {
    if (*text == '\0')
        return status_usage(row->name, "found an empty text, expected one to stop at");
    void *stops = options->stops;
    TRY(array_grow(&stops, options->stop_count, 1, sizeof *options->stops));
    options->stops = stops;
    options->stops[options->stop_count++] = text;
    return STATUS_OK;
}

enum status take_sites(struct options *options, const struct option *row, const char *text) {
    options->sites = 0;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        enum site site = 0;
        while (site < SITE_COUNT &&
               (strlen(site_name(site)) != len || memcmp(site_name(site), at, len) != 0))
            site++;
        if (site == SITE_COUNT)
            return status_usage(
                row->name,
                "found \"%.200s\", expected names with commas between, of resid_pre, "
                "q, k, v, attn_out, resid_mid, mlp_out, resid_post, logits",
                text);
        options->sites |= 1u << site;
        at += len;
        if (!*at)
            return STATUS_OK;
    }
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void list_sort_unique(struct number_list *list) {
    qsort(list->values, (size_t)list->count, sizeof *list->values, compare_numbers);
    int64_t kept = 0;
    for (int64_t i = 0; i < list->count; i++)
        if (!kept || list->values[i] != list->values[kept - 1])
            list->values[kept++] = list->values[i];
    list->count = kept;
}

/* Reads "3" or "0-3" and moves *at behind it. */
static bool read_span(const char **at, const struct option *row, int64_t *first, int64_t *last) {
    if (!read_number_in(*at, at, row, first))
        return false;
    *last = *first;
    if (**at != '-')
        return true;
    ++*at;
    return read_number_in(*at, at, row, last) && *last >= *first;
}

enum status take_layers(struct options *options, const struct option *row, const char *text) {
    for (const char *at = text;; at++) {
        int64_t first, last;
        if (!read_span(&at, row, &first, &last) || (*at && *at != ',') ||
            last - first >= LIST_MAX - options->layers.count)
            return status_usage(row->name,
                                "found \"%.200s\", expected layers and ranges from 0 to %" PRId64
                                " as in 0-3,7",
                                text, row->max);
        TRY(list_grow(&options->layers, last - first + 1));
        for (int64_t layer = first; layer <= last; layer++)
            options->layers.values[options->layers.count++] = layer;
        if (!*at)
            break;
    }
    list_sort_unique(&options->layers);
    return STATUS_OK;
}

enum status take_range(struct options *options, const struct option *row, const char *text) {
    const char *at = text;
    int64_t first = 0, end = -1;
    bool good = (*at == ':' || read_number_in(at, &at, row, &first)) && *at == ':';
    if (good && *++at)
        good = read_number_in(at, &at, row, &end) && *at == '\0' && end > first;
    if (!good)
        return status_usage(row->name,
                            "found \"%.200s\", expected A:B for the tokens A up to but without B, "
                            "A below B, either may be left out",
                            text);
    options->range = (struct range){.first = first, .count = end < 0 ? -1 : end - first};
    return STATUS_OK;
}

enum status take_commit_every(struct options *options, const struct option *row, const char *text) {
    const char *end;
    int64_t number;
    bool good = read_number_in(text, &end, row, &number);
    if (!good || (*end && strcmp(end, "s") != 0))
        return status_usage(
            row->name,
            "found \"%.200s\", expected a number of tokens, or of seconds with an s "
            "behind it, as in 60s",
            text);
    options->commit_tokens = *end ? 0 : number;
    options->commit_seconds = *end ? (double)number : 0;
    return STATUS_OK;
}
