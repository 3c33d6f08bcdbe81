#include "launch/tokenizer_decode_steps.h"

#include "launch/tokenizer_parts.h"
#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>

/* Characters that Strip takes off; real files have one. */
#define STRIP_MAX 1024

static void step_close(struct decode_step *step) {
    pattern_close(&step->pattern);
    free(step->content);
}

static enum status add(struct decode_steps *steps, struct decode_step step) {
    enum status status =
        array_reserve(&steps->list, &steps->capacity, steps->count + 1, sizeof *steps->list);
    if (status != STATUS_OK) {
        step_close(&step);
        return status;
    }
    const struct decode_step *last = steps->count ? &steps->list[steps->count - 1] : NULL;
    step.in_parts =
        last && (last->in_parts || last->kind == DECODE_FUSE || last->kind == DECODE_BYTE_LEVEL);
    steps->list[steps->count++] = step;
    return STATUS_OK;
}

static enum status read_replace(struct decode_steps *steps, const char *file, const json_t *json) {
    struct decode_step step = {.kind = DECODE_REPLACE};
    const json_t *content = json_object_get(json, "content");
    if (!json_is_string(content))
        return status_fail(file, "content",
                           "found %s, expected a string; restore the file as it was published",
                           json_words(content).text);
    TRY(pattern_open(file, "pattern", json_object_get(json, "pattern"), &step.pattern));
    step.content_len = (int64_t)json_string_length(content);
    step.content = malloc((size_t)step.content_len + 1);
    if (!step.content) {
        step_close(&step);
        return status_no_memory("a decoder", step.content_len + 1);
    }
    memcpy(step.content, json_string_value(content), (size_t)step.content_len + 1);
    return add(steps, step);
}

static enum status read_character(const char *file, const json_t *json, const char *key,
                                  int32_t *character) {
    const char *text = NULL;
    TRY(json_text(file, json, key, true, &text));
    int length = 0;
    if (text[0])
        *character = unicode_decode(text, &length);
    if (length == 0 || text[length])
        return status_fail(file, key,
                           "found \"%s\", expected one character; "
                           "restore the file as it was published",
                           text);
    return STATUS_OK;
}

static enum status read_strip(struct decode_steps *steps, const char *file, const json_t *json) {
    struct decode_step step = {.kind = DECODE_STRIP};
    TRY(read_character(file, json, "content", &step.character));
    TRY(json_int(file, json, "start", true, 0, STRIP_MAX, &step.start));
    TRY(json_int(file, json, "stop", true, 0, STRIP_MAX, &step.stop));
    return add(steps, step);
}

static enum status read_metaspace(struct decode_steps *steps, const char *file,
                                  const json_t *json) {
    struct decode_step step = {.kind = DECODE_METASPACE};
    const char *scheme = "always";
    bool prefix = true;
    TRY(read_character(file, json, "replacement", &step.character));
    TRY(json_text(file, json, "prepend_scheme", false, &scheme));
    TRY(json_bool(file, json, "add_prefix_space", false, &prefix));
    step.keeps_first = !prefix || !strcmp(scheme, "never");
    return add(steps, step);
}

static enum status read_byte_fallback(struct decode_steps *steps, const char *file,
                                      const json_t *json) {
    (void)file;
    (void)json;
    return add(steps, (struct decode_step){.kind = DECODE_BYTE_FALLBACK});
}

static enum status read_fuse(struct decode_steps *steps, const char *file, const json_t *json) {
    (void)file;
    (void)json;
    return add(steps, (struct decode_step){.kind = DECODE_FUSE});
}

static enum status read_byte_level(struct decode_steps *steps, const char *file,
                                   const json_t *json) {
    (void)file;
    (void)json;
    return add(steps, (struct decode_step){.kind = DECODE_BYTE_LEVEL});
}

static enum status read_part(void *owner, const char *file, const char *type, const json_t *json,
                             bool *taken) {
    static const struct {
        const char *name;
        enum status (*read)(struct decode_steps *, const char *, const json_t *);
    } kinds[] = {{"Replace", read_replace},
                 {"ByteFallback", read_byte_fallback},
                 {"Fuse", read_fuse},
                 {"Strip", read_strip},
                 {"ByteLevel", read_byte_level},
                 {"Metaspace", read_metaspace}};
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (!strcmp(type, kinds[i].name))
            return kinds[i].read(owner, file, json);
    *taken = false;
    return STATUS_OK;
}

static const struct part_reader reader = {
    .list = "decoders",
    .known = "Replace, ByteFallback, Fuse, Strip, ByteLevel or Metaspace",
    .read = read_part};

enum status decode_steps_open(const char *file, const json_t *json, struct decode_steps **steps) {
    *steps = calloc(1, sizeof **steps);
    if (!*steps)
        return status_no_memory("a decoder", (long long)sizeof **steps);
    enum status status = !json || json_is_null(json)
                             ? add(*steps, (struct decode_step){.kind = DECODE_JOIN})
                             : parts_read(file, json, &reader, *steps);
    if (status != STATUS_OK)
        decode_steps_close(steps);
    return status;
}

void decode_steps_close(struct decode_steps **steps) {
    if (!*steps)
        return;
    for (int64_t i = 0; i < (*steps)->count; i++)
        step_close(&(*steps)->list[i]);
    free((*steps)->list);
    free(*steps);
    *steps = NULL;
}
