#include "launch/tokenizer_normalize.h"

#include "launch/pretokenize_pattern.h"
#include "launch/tokenizer_parts.h"
#include "launch/unicode.h"
#include "launch/unicode_normal.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>

enum kind { PREPEND, REPLACE, STRIP, LOWERCASE, FORM };

struct step {
    enum kind kind;
    enum unicode_form form; /* FORM */
    bool left, right;       /* STRIP */
    char *content;          /* PREPEND, REPLACE; owned [content_len] */
    int64_t content_len;
    struct pattern *pattern; /* REPLACE, owned */
};

struct normalizer {
    struct step *steps; /* [count] */
    int64_t count, capacity;
};

/* -- reading ----------------------------------------------------------------------------------- */

static enum status add(struct normalizer *normalizer, struct step step) {
    enum status status = array_reserve(&normalizer->steps, &normalizer->capacity,
                                       normalizer->count + 1, sizeof *normalizer->steps);
    if (status != STATUS_OK) {
        pattern_close(&step.pattern);
        free(step.content);
        return status;
    }
    normalizer->steps[normalizer->count++] = step;
    return STATUS_OK;
}

static enum status read_content(const char *file, const json_t *json, const char *key,
                                struct step *step) {
    const json_t *text = json_object_get(json, key);
    if (!json_is_string(text))
        return status_fail(file, key,
                           "found %s, expected a string; restore the file as it was published",
                           json_words(text).text);
    step->content_len = (int64_t)json_string_length(text);
    step->content = malloc((size_t)step->content_len + 1);
    if (!step->content)
        return status_no_memory("a normalizer", step->content_len + 1);
    memcpy(step->content, json_string_value(text), (size_t)step->content_len + 1);
    return STATUS_OK;
}

static enum status read_prepend(struct normalizer *normalizer, const char *file,
                                const json_t *json) {
    struct step step = {.kind = PREPEND};
    TRY(read_content(file, json, "prepend", &step));
    return add(normalizer, step);
}

static enum status read_replace(struct normalizer *normalizer, const char *file,
                                const json_t *json) {
    struct step step = {.kind = REPLACE};
    TRY(pattern_open(file, "pattern", json_object_get(json, "pattern"), &step.pattern));
    enum status status = read_content(file, json, "content", &step);
    if (status != STATUS_OK) {
        pattern_close(&step.pattern);
        return status;
    }
    return add(normalizer, step);
}

static enum status read_strip(struct normalizer *normalizer, const char *file, const json_t *json) {
    struct step step = {.kind = STRIP};
    TRY(json_bool(file, json, "strip_left", true, &step.left));
    TRY(json_bool(file, json, "strip_right", true, &step.right));
    return add(normalizer, step);
}

static enum status read_part(void *owner, const char *file, const char *type, const json_t *json,
                             bool *taken) {
    static const struct {
        const char *name;
        enum status (*read)(struct normalizer *, const char *, const json_t *);
        struct step step; /* the whole of it where there is nothing to read */
    } kinds[] = {{"Prepend", read_prepend, {0}},
                 {"Replace", read_replace, {0}},
                 {"Strip", read_strip, {0}},
                 {"Lowercase", NULL, {.kind = LOWERCASE}},
                 {"NFC", NULL, {.kind = FORM, .form = UNICODE_NFC}},
                 {"NFD", NULL, {.kind = FORM, .form = UNICODE_NFD}},
                 {"NFKC", NULL, {.kind = FORM, .form = UNICODE_NFKC}},
                 {"NFKD", NULL, {.kind = FORM, .form = UNICODE_NFKD}}};
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (!strcmp(type, kinds[i].name))
            return kinds[i].read ? kinds[i].read(owner, file, json) : add(owner, kinds[i].step);
    *taken = false;
    return STATUS_OK;
}

static const struct part_reader reader = {
    .list = "normalizers",
    .known = "Prepend, Replace, Strip, Lowercase, NFC, NFD, NFKC or NFKD",
    .read = read_part};

enum status normalizer_open(const char *file, const json_t *json, struct normalizer **normalizer) {
    *normalizer = calloc(1, sizeof **normalizer);
    if (!*normalizer)
        return status_no_memory("a normalizer", (long long)sizeof **normalizer);
    if (!json || json_is_null(json))
        return STATUS_OK;
    enum status status = parts_read(file, json, &reader, *normalizer);
    if (status != STATUS_OK)
        normalizer_close(normalizer);
    return status;
}

void normalizer_close(struct normalizer **normalizer) {
    if (!*normalizer)
        return;
    for (int64_t i = 0; i < (*normalizer)->count; i++) {
        pattern_close(&(*normalizer)->steps[i].pattern);
        free((*normalizer)->steps[i].content);
    }
    free((*normalizer)->steps);
    free(*normalizer);
    *normalizer = NULL;
}

/* -- applying ---------------------------------------------------------------------------------- */

static enum status rewrite_prepend(const void *data, const char *text, const int64_t *origin,
                                   int64_t len, struct pieces *out) {
    const struct step *step = data;
    TRY(pieces_put_from(out, step->content, step->content_len, origin[0]));
    return pieces_put(out, text, len, origin);
}

/* A step while it is applied. */
struct replacement {
    const struct step *step;
    struct matcher *matcher;
    struct spans *spans;
};

static enum status rewrite_replace(const void *data, const char *text, const int64_t *origin,
                                   int64_t len, struct pieces *out) {
    const struct replacement *replacement = data;
    const struct step *step = replacement->step;
    TRY(matcher_cut(replacement->matcher, text, len, replacement->spans));
    for (int64_t i = 0; i < replacement->spans->count; i++) {
        const struct span *span = &replacement->spans->list[i];
        if (span->is_match)
            TRY(pieces_put_from(out, step->content, step->content_len,
                                origin[span->begin < len ? span->begin : len - 1]));
        else
            TRY(pieces_put(out, text + span->begin, span->end - span->begin, origin + span->begin));
    }
    return STATUS_OK;
}

static enum status rewrite_strip(const void *data, const char *text, const int64_t *origin,
                                 int64_t len, struct pieces *out) {
    const struct step *step = data;
    int64_t begin = 0, end = len;
    int length;
    while (step->left && begin < end && unicode_is_space(unicode_decode(text + begin, &length)))
        begin += length;
    while (step->right && begin < end) {
        int64_t last = end - 1;
        while ((text[last] & 0xc0) == 0x80)
            last--;
        if (!unicode_is_space(unicode_decode(text + last, &length)))
            break;
        end = last;
    }
    return pieces_put(out, text + begin, end - begin, origin + begin);
}

static enum status rewrite_lowercase(const void *data, const char *text, const int64_t *origin,
                                     int64_t len, struct pieces *out) {
    (void)data;
    int length;
    for (int64_t at = 0; at < len; at += length) {
        int32_t points[3], point = unicode_decode(text + at, &length);
        int count = unicode_lower(point, points);
        if (count == 1 && points[0] == point) {
            TRY(pieces_put(out, text + at, length, origin + at));
            continue;
        }
        for (int i = 0; i < count; i++) {
            char bytes[4];
            TRY(pieces_put_from(out, bytes, unicode_encode(points[i], bytes), origin[at]));
        }
    }
    return STATUS_OK;
}

static enum status rewrite_form(const void *data, const char *text, const int64_t *origin,
                                int64_t len, struct pieces *out) {
    const struct step *step = data;
    return unicode_normalize(step->form, text, origin, len, out);
}

static enum status replace(const struct step *step, struct pieces *pieces) {
    struct spans spans = {0};
    struct replacement replacement = {.step = step, .spans = &spans};
    TRY(matcher_open(step->pattern, &replacement.matcher));
    enum status status = pieces_rewrite(pieces, rewrite_replace, &replacement);
    matcher_close(&replacement.matcher);
    free(spans.list);
    return status;
}

enum status normalizer_apply(const struct normalizer *normalizer, struct pieces *pieces) {
    static piece_rewrite *const rewrites[] = {[PREPEND] = rewrite_prepend,
                                              [STRIP] = rewrite_strip,
                                              [LOWERCASE] = rewrite_lowercase,
                                              [FORM] = rewrite_form};
    for (int64_t i = 0; i < normalizer->count; i++) {
        const struct step *step = &normalizer->steps[i];
        if (step->kind == REPLACE)
            TRY(replace(step, pieces));
        else
            TRY(pieces_rewrite(pieces, rewrites[step->kind], step));
    }
    return STATUS_OK;
}
