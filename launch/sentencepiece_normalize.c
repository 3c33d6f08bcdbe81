#include "launch/sentencepiece_model.h"

#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>

/* SentencePiece looks at this many of the symbols that a text begins with, shortest first, and at
 * this many rules of the compiled normalisation. */
#define SYMBOLS_MAX 64
#define RULES_MAX 32

/* -- the compiled normalisation ---------------------------------------------------------------- */

static uint32_t read_number(const char *bytes) {
    const unsigned char *byte = (const unsigned char *)bytes;
    return byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24;
}

/* The bytes are the array's length in bytes, the array, the strings. */
enum status charsmap_read(const char *file, const char *bytes, int64_t len,
                          struct charsmap *charsmap) {
    int64_t array_len = len > 4 ? (int64_t)read_number(bytes) : 0;
    if (array_len < 4 || array_len % 4 || array_len >= len - 4 || bytes[len - 1] != '\0')
        return status_fail(file, "normalizer_spec.precompiled_charsmap",
                           "found %lld bytes with an array of %lld, expected an array followed by "
                           "strings; restore the file as it was published",
                           (long long)len, (long long)array_len);
    charsmap->unit_count = array_len / 4;
    charsmap->string_len = len - 4 - array_len;
    charsmap->units = malloc((size_t)array_len);
    charsmap->strings = malloc((size_t)charsmap->string_len);
    if (!charsmap->units || !charsmap->strings)
        return status_no_memory("a tokenizer", len);
    for (int64_t i = 0; i < charsmap->unit_count; i++)
        charsmap->units[i] = read_number(bytes + 4 + 4 * i);
    memcpy(charsmap->strings, bytes + 4 + array_len, (size_t)charsmap->string_len);
    return STATUS_OK;
}

void charsmap_close(struct charsmap *charsmap) {
    free(charsmap->units);
    free(charsmap->strings);
    *charsmap = (struct charsmap){0};
}

/* A unit of the double array (darts-clone): bits 0-7 and 31 the label, 8 whether a value hangs
 * below it, 9 whether the offset in the bits above is in steps of 256. */
static uint32_t unit_label(uint32_t unit) {
    return unit & (UINT32_C(1) << 31 | 0xff);
}

static uint32_t unit_offset(uint32_t unit) {
    return unit >> 10 << ((unit & UINT32_C(1) << 9) >> 6);
}

/* The replacement of the longest prefix among the `most` shortest ones that have one. */
static const char *find_among(const struct charsmap *charsmap, const char *text, int64_t len,
                              int64_t most, int64_t *used) {
    const char *found = NULL;
    *used = 0;
    if (charsmap->unit_count == 0)
        return NULL;
    int64_t node = unit_offset(charsmap->units[0]);
    for (int64_t i = 0, rules = 0; i < len && rules < most; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (node >= charsmap->unit_count || unit_label(charsmap->units[node]) != byte)
            break;
        uint32_t unit = charsmap->units[node];
        node ^= unit_offset(unit);
        if (!(unit >> 8 & 1))
            continue;
        if (node >= charsmap->unit_count)
            break;
        int64_t string = charsmap->units[node] & 0x7fffffff;
        rules++;
        if (string >= charsmap->string_len)
            continue;
        found = charsmap->strings + string;
        *used = i + 1;
    }
    return found;
}

const char *charsmap_find(const struct charsmap *charsmap, const char *text, int64_t len,
                          int64_t *used) {
    return find_among(charsmap, text, len, RULES_MAX, used);
}

const char *charsmap_first(const struct charsmap *charsmap, const char *text, int64_t len) {
    int64_t used;
    return find_among(charsmap, text, len, 1, &used);
}

/* -- a text ------------------------------------------------------------------------------------ */

/* What the next characters of the text become. */
struct prefix {
    const char *bytes; /* [len] */
    int64_t len, used;
    bool is_copy;
};

static struct prefix next_prefix(const struct sentencepiece *model, const char *text, int64_t len) {
    const struct phrase *symbol = phrases_match(&model->symbols, text, len, SYMBOLS_MAX);
    if (symbol)
        return (struct prefix){text, symbol->len, symbol->len, true};
    int64_t used;
    const char *rule = charsmap_find(&model->charsmap, text, len, &used);
    if (rule)
        return (struct prefix){rule, (int64_t)strlen(rule), used, false};
    int length = unicode_length((unsigned char)text[0]);
    return (struct prefix){text, length, length, true};
}

static enum status put_space(const struct sentencepiece *model, int64_t origin,
                             struct pieces *out) {
    if (model->spaces_escaped)
        return pieces_put_from(out, SENTENCEPIECE_SPACE, SENTENCEPIECE_SPACE_LEN, origin);
    return pieces_put_from(out, " ", 1, origin);
}

/* Appends what a prefix at text[at] became, without the spaces at its front when a space stands
 * before it and repeated ones go. */
static enum status put_prefix(const struct sentencepiece *model, const struct prefix *prefix,
                              int64_t at, bool *after_space, struct pieces *out) {
    int64_t begin = 0;
    while (*after_space && begin < prefix->len && prefix->bytes[begin] == ' ')
        begin++;
    for (int64_t i = begin; i < prefix->len; i++) {
        if (prefix->bytes[i] == ' ')
            TRY(put_space(model, at, out));
        else
            TRY(pieces_put_from(out, prefix->bytes + i, 1, prefix->is_copy ? at + i : at));
    }
    if (begin < prefix->len)
        *after_space = prefix->bytes[prefix->len - 1] == ' ';
    *after_space = *after_space && model->extra_spaces_go;
    return STATUS_OK;
}

/* Takes spaces off the end; *end becomes where in the original text the first of them stood. */
static void trim_end(const struct sentencepiece *model, int64_t *end, struct pieces *out) {
    const char *space = model->spaces_escaped ? SENTENCEPIECE_SPACE : " ";
    int64_t len = (int64_t)strlen(space);
    while (out->len >= len && !memcmp(out->text + out->len - len, space, (size_t)len)) {
        out->len -= len;
        *end = out->origin[out->len];
    }
}

enum status sentencepiece_normalize(const struct sentencepiece *model, const char *text,
                                    int64_t len, int64_t base, bool has_prefix,
                                    struct pieces *out) {
    int64_t at = 0;
    while (model->extra_spaces_go && at < len) {
        struct prefix prefix = next_prefix(model, text + at, len - at);
        if (prefix.len != 1 || prefix.bytes[0] != ' ')
            break;
        at += prefix.used;
    }
    if (at == len)
        return STATUS_OK;
    has_prefix = has_prefix && model->dummy_prefix;
    if (has_prefix && !model->space_is_suffix)
        TRY(put_space(model, base + at, out));
    bool after_space = model->extra_spaces_go;
    while (at < len) {
        struct prefix prefix = next_prefix(model, text + at, len - at);
        TRY(put_prefix(model, &prefix, base + at, &after_space, out));
        at += prefix.used;
    }
    at += base;
    if (model->extra_spaces_go)
        trim_end(model, &at, out);
    if (has_prefix && model->space_is_suffix)
        TRY(put_space(model, at, out));
    return STATUS_OK;
}
