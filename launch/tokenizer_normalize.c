#include "launch/tokenizer_normalize.h"

#include "launch/pretokenize_pattern.h"
#include "launch/sentencepiece_model.h"
#include "launch/tokenizer_parts.h"
#include "launch/unicode.h"
#include "launch/unicode_normal.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum kind { PREPEND, REPLACE, STRIP, LOWERCASE, FORM, NMT, PRECOMPILED };

struct step {
    enum kind kind;
    enum unicode_form form; /* FORM */
    bool left, right;       /* STRIP */
    char *content;          /* PREPEND, REPLACE; owned [content_len] */
    int64_t content_len;
    struct pattern *pattern; /* REPLACE, owned */
    struct charsmap *map;    /* PRECOMPILED, owned */
};

struct normalizer {
    struct step *steps; /* [count] */
    int64_t count, capacity;
};

/* -- reading ----------------------------------------------------------------------------------- */

static void step_close(struct step *step) {
    pattern_close(&step->pattern);
    free(step->content);
    if (step->map)
        charsmap_close(step->map);
    free(step->map);
}

static enum status add(struct normalizer *normalizer, struct step step) {
    enum status status = array_reserve(&normalizer->steps, &normalizer->capacity,
                                       normalizer->count + 1, sizeof *normalizer->steps);
    if (status != STATUS_OK) {
        step_close(&step);
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

static int base64_value(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Turns base64 [len] into bytes; *count is -1 when it is none. bytes has room for len. */
static void decode_base64(const char *text, int64_t len, char *bytes, int64_t *count) {
    uint32_t bits = 0;
    int held = 0;
    *count = 0;
    while (len > 0 && text[len - 1] == '=')
        len--;
    for (int64_t i = 0; i < len; i++) {
        int value = base64_value(text[i]);
        if (value < 0) {
            *count = -1;
            return;
        }
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[(*count)++] = (char)(bits >> held & 0xff);
        }
    }
}

/* SentencePiece's compiled map, in base64; none is one that changes nothing. */
static enum status read_precompiled(struct normalizer *normalizer, const char *file,
                                    const json_t *json) {
    static const char key[] = "precompiled_charsmap";
    const json_t *text = json_object_get(json, key);
    int64_t len = (int64_t)json_string_length(text), count;
    if (json_is_null(text))
        return STATUS_OK;
    struct step step = {.kind = PRECOMPILED, .map = calloc(1, sizeof *step.map)};
    char *bytes = malloc((size_t)len + 1);
    enum status status = STATUS_OK;
    if (!bytes || !step.map) {
        status = status_no_memory("a normalizer", len);
        goto done;
    }
    decode_base64(len ? json_string_value(text) : "", len, bytes, &count);
    if (!json_is_string(text) || count < 0) {
        status = status_fail(file, key,
                             "found %s, expected base64; restore the file as it was published",
                             json_words(text).text);
        goto done;
    }
    TRY_TO(done, charsmap_read(file, bytes, count, step.map));
    status = add(normalizer, step);
    step.map = NULL;
done:
    step_close(&step);
    free(bytes);
    return status;
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
                 {"Precompiled", read_precompiled, {0}},
                 {"Lowercase", NULL, {.kind = LOWERCASE}},
                 {"Nmt", NULL, {.kind = NMT}},
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
    .known = "Prepend, Replace, Strip, Lowercase, NFC, NFD, NFKC, NFKD, Nmt or Precompiled",
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
    for (int64_t i = 0; i < (*normalizer)->count; i++)
        step_close(&(*normalizer)->steps[i]);
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

/* The same for a text behind another: its own beginning is no beginning. */
static enum status rewrite_prepend_behind(const void *data, const char *text, const int64_t *origin,
                                          int64_t len, struct pieces *out) {
    return origin[0] ? rewrite_prepend(data, text, origin, len, out)
                     : pieces_put(out, text, len, origin);
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

/* The library's Nmt: control characters go, other separators become spaces. */
static enum status rewrite_nmt(const void *data, const char *text, const int64_t *origin,
                               int64_t len, struct pieces *out) {
    static const struct {
        int32_t first, last;
        bool goes;
    } ranges[] = {{0x01, 0x08, true},      {0x09, 0x0a, false},     {0x0b, 0x0b, true},
                  {0x0c, 0x0d, false},     {0x0e, 0x1f, true},      {0x7f, 0x7f, true},
                  {0x8f, 0x8f, true},      {0x9f, 0x9f, true},      {0x1680, 0x1680, false},
                  {0x200b, 0x200f, false}, {0x2028, 0x2029, false}, {0x2581, 0x2581, false},
                  {0xfeff, 0xfeff, false}, {0xfffd, 0xfffd, false}};
    (void)data;
    int length;
    for (int64_t at = 0; at < len; at += length) {
        int32_t point = unicode_decode(text + at, &length);
        int i = 0, count = sizeof ranges / sizeof *ranges;
        while (i < count && ranges[i].last < point)
            i++;
        if (i == count || ranges[i].first > point)
            TRY(pieces_put(out, text + at, length, origin + at));
        else if (!ranges[i].goes)
            TRY(pieces_put_from(out, " ", 1, origin[at]));
    }
    return STATUS_OK;
}

/* Appends text [len] as the map has it; *found is false when it has nothing for it. The library
 * takes the replacement of the shortest beginning for the whole. */
static enum status put_mapped(const struct charsmap *map, const char *text, const int64_t *origin,
                              int64_t len, struct pieces *out, bool *found) {
    const char *mapped = charsmap_first(map, text, len);
    *found = mapped != NULL;
    return mapped ? pieces_put_from(out, mapped, (int64_t)strlen(mapped), origin[0]) : STATUS_OK;
}

/* A grapheme of fewer bytes than this is looked up as a whole. */
#define GRAPHEME_BYTES 6

static enum status rewrite_precompiled(const void *data, const char *text, const int64_t *origin,
                                       int64_t len, struct pieces *out) {
    const struct step *step = data;
    int length;
    for (int64_t begin = 0, end; begin < len; begin = end) {
        int32_t last = unicode_decode(text + begin, &length);
        utf8proc_int32_t state = 0;
        bool found = false;
        for (end = begin + length; end < len; end += length) {
            int32_t point = unicode_decode(text + end, &length);
            if (utf8proc_grapheme_break_stateful(last, point, &state))
                break;
            last = point;
        }
        if (end - begin < GRAPHEME_BYTES)
            TRY(put_mapped(step->map, text + begin, origin + begin, end - begin, out, &found));
        for (int64_t at = begin; !found && at < end; at += length) {
            bool one;
            length = unicode_length((unsigned char)text[at]);
            TRY(put_mapped(step->map, text + at, origin + at, length, out, &one));
            if (!one)
                TRY(pieces_put(out, text + at, length, origin + at));
        }
    }
    return STATUS_OK;
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

enum status normalizer_apply(const struct normalizer *normalizer, bool behind,
                             struct pieces *pieces) {
    static piece_rewrite *const rewrites[] = {
        [PREPEND] = rewrite_prepend, [STRIP] = rewrite_strip, [LOWERCASE] = rewrite_lowercase,
        [FORM] = rewrite_form,       [NMT] = rewrite_nmt,     [PRECOMPILED] = rewrite_precompiled};
    for (int64_t i = 0; i < normalizer->count; i++) {
        const struct step *step = &normalizer->steps[i];
        if (step->kind == REPLACE)
            TRY(replace(step, pieces));
        else if (step->kind == PREPEND && behind)
            TRY(pieces_rewrite(pieces, rewrite_prepend_behind, step));
        else
            TRY(pieces_rewrite(pieces, rewrites[step->kind], step));
    }
    return STATUS_OK;
}
