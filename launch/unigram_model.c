#include "launch/unigram_model.h"

#include "partition/json.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* What a character without a piece is worth less than the worst piece (unigram/model.rs). */
#define UNKNOWN_PENALTY 10.0

/* The library reads a decimal as its digits, a whole number, times or over a power of ten, which
 * may be off by one in the last place, and that decides between pieces that are worth the same.
 * This takes the shortest decimal of a number, as files have it, and does the same. */
static double as_the_library_reads(double number) {
    char text[40], power[16];
    int precision = 0, places = 0;
    int64_t digits = 0;
    do
        snprintf(text, sizeof text, "%.*e", precision, number);
    while (strtod(text, NULL) != number && ++precision < 17);
    const char *end = strchr(text, 'e'), *point = strchr(text, '.');
    for (const char *c = text; c < end; c++)
        if (*c >= '0' && *c <= '9') {
            digits = digits * 10 + (*c - '0');
            places += point && c > point;
        }
    int exponent = atoi(end + 1) - places;
    snprintf(power, sizeof power, "1e%d", abs(exponent));
    double scale = strtod(power, NULL), value = (double)digits;
    if (!isfinite(scale))
        return number;
    value = exponent < 0 ? value / scale : value * scale;
    return number < 0 ? -value : value;
}

static enum status read_piece(struct unigram_model *model, const json_t *item, int64_t id) {
    const json_t *piece = json_array_get(item, 0), *score = json_array_get(item, 1);
    double value = json_number_value(score);
    if (json_array_size(item) != 2 || !json_is_string(piece) || !json_is_number(score) ||
        !isfinite(value))
        return status_fail(model->file, "vocab",
                           "found %s at %lld, expected a piece and its score; %s",
                           json_words(item).text, (long long)id, published);
    const char *text = json_string_value(piece);
    int64_t len = (int64_t)json_string_length(piece);
    /* Files that the library itself has trained may hold the unknown token twice. */
    TRY(vocabulary_add_last(&model->vocabulary, model->file, "vocab", text, len, id));
    if (len)
        TRY(trie_add(&model->unigram.trie, text, len, (int32_t)id));
    model->scores[id] = as_the_library_reads(value);
    return STATUS_OK;
}

static enum status read_pieces(struct unigram_model *model, const json_t *json) {
    const json_t *vocab = json_object_get(json, "vocab"), *item;
    int64_t count = (int64_t)json_array_size(vocab);
    double least = DBL_MAX;
    size_t i;
    if (count == 0)
        return status_fail(model->file, "vocab", "found %s, expected a list of pieces; %s",
                           json_words(vocab).text, published);
    model->scores = malloc((size_t)count * sizeof *model->scores);
    if (!model->scores)
        return status_no_memory("a tokenizer", count * (long long)sizeof *model->scores);
    json_array_foreach(vocab, i, item) {
        TRY(read_piece(model, item, (int64_t)i));
        least = model->scores[i] < least ? model->scores[i] : least;
    }
    model->unigram.scores = model->scores;
    model->unigram.unknown_score = least - UNKNOWN_PENALTY;
    return STATUS_OK;
}

enum status unigram_model_read(const char *file, const json_t *json, struct unigram_model *model) {
    int64_t unknown = -1;
    *model = (struct unigram_model){.file = file};
    TRY(json_bool(file, json, "byte_fallback", false, &model->byte_fallback));
    TRY(read_pieces(model, json));
    TRY(json_int(file, json, "unk_id", false, 0, model->vocabulary.size - 1, &unknown));
    model->unigram.unknown = (int32_t)unknown;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        model->bytes[byte] = vocabulary_find(&model->vocabulary, name, 6);
    }
    return STATUS_OK;
}

void unigram_model_close(struct unigram_model *model) {
    vocabulary_close(&model->vocabulary);
    trie_close(&model->unigram.trie);
    free(model->scores);
    *model = (struct unigram_model){0};
}

/* -- encoding ---------------------------------------------------------------------------------- */

/* What the path calls unknown, [len] bytes: looked up once more, as the reference does, which may
 * have joined several characters; then in bytes, if each has an id. */
static enum status put_unknown(const struct unigram_model *model, const bool *barred,
                               const char *text, const int64_t *origin, int64_t len,
                               struct token_list *out) {
    int32_t id = vocabulary_find(&model->vocabulary, text, len);
    if (id >= 0 && !(barred && barred[id]))
        return token_list_put(out, id, origin[0]);
    bool in_bytes = model->byte_fallback;
    for (int64_t i = 0; in_bytes && i < len; i++)
        in_bytes = model->bytes[(unsigned char)text[i]] >= 0;
    for (int64_t i = 0; in_bytes && i < len; i++)
        TRY(token_list_put(out, model->bytes[(unsigned char)text[i]], origin[i]));
    if (in_bytes)
        return STATUS_OK;
    if (model->unigram.unknown < 0)
        return status_fail(model->file, "unk_id",
                           "found a text that needs it, expected the id of the unknown token; %s",
                           published);
    return token_list_put(out, model->unigram.unknown, origin[0]);
}

enum status unigram_model_encode(const struct unigram_model *model, const bool *barred,
                                 const char *text, const int64_t *origin, int64_t len,
                                 struct unigram_path *path, struct token_list *out) {
    int32_t unknown = model->unigram.unknown;
    TRY(unigram_run(&model->unigram, barred, text, len, path));
    for (int64_t at = 0; at < len;) {
        int64_t end = at + path->nodes[at].len;
        int32_t id = path->nodes[at].id;
        while (id == unknown && unknown >= 0 && end < len && path->nodes[end].id == unknown)
            end += path->nodes[end].len;
        if (id == unknown)
            TRY(put_unknown(model, barred, text + at, origin + at, end - at, out));
        else
            TRY(token_list_put(out, id, origin[at]));
        at = end;
    }
    return STATUS_OK;
}
