#include "launch/sentencepiece.h"

#include "launch/sentencepiece_model.h"
#include "launch/sentencepiece_wire.h"
#include "launch/tokenizer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* SentencePiece's own bound. */
#define PIECE_LEN_MAX 8000

/* -- fields ------------------------------------------------------------------------------------ */

/* A field of a known number whose kind is another is passed over, as protobuf does. */
static bool is(const struct wire_field *field, uint64_t number, enum wire_type type) {
    return field->number == number && field->type == type;
}

static enum status read_piece(struct sentencepiece *model, struct wire wire, const char *file) {
    struct wire_field field;
    bool more;
    int64_t begin = 0, end = 0, id = model->vocabulary.count;
    uint64_t type = SENTENCEPIECE_NORMAL;
    float score = 0;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            break;
        if (is(&field, 1, WIRE_BYTES)) {
            begin = field.begin;
            end = field.end;
        } else if (is(&field, 2, WIRE_FIXED32)) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&score, &bits, sizeof score);
        } else if (is(&field, 3, WIRE_VARINT) && field.value >= SENTENCEPIECE_NORMAL &&
                   field.value <= SENTENCEPIECE_BYTE) {
            type = field.value;
        }
    }
    const char *piece = wire.bytes + begin;
    int64_t len = end - begin;
    if (len == 0 || len >= PIECE_LEN_MAX || memchr(piece, '\0', (size_t)len) ||
        text_valid_utf8(piece, len) < len || !isfinite(score))
        return status_fail(file, "pieces",
                           "found piece %lld of %lld bytes and score %g, expected text of 1 to %d "
                           "bytes and a finite score; %s",
                           (long long)id, (long long)len, (double)score, PIECE_LEN_MAX - 1,
                           published);
    TRY(vocabulary_add(&model->vocabulary, file, "pieces", piece, len, id));
    TRY(array_reserve(&model->types, &model->types_capacity, id + 1, sizeof *model->types));
    TRY(array_reserve(&model->scores, &model->scores_capacity, id + 1, sizeof *model->scores));
    model->types[id] = (unsigned char)type;
    model->scores[id] = score;
    if (len > model->longest)
        model->longest = len;
    return STATUS_OK;
}

static enum status read_trainer(struct sentencepiece *model, struct wire wire, const char *file,
                                uint64_t *type) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 3, WIRE_VARINT))
            *type = field.value;
        else if (is(&field, 24, WIRE_VARINT))
            model->space_is_suffix = field.value != 0;
        else if (is(&field, 35, WIRE_VARINT))
            model->byte_fallback = field.value != 0;
        else if (is(&field, 41, WIRE_VARINT))
            model->bos = (int32_t)field.value;
        else if (is(&field, 42, WIRE_VARINT))
            model->eos = (int32_t)field.value;
        else if (is(&field, 44, WIRE_BYTES)) {
            int64_t len = field.end - field.begin;
            if (text_valid_utf8(wire.bytes + field.begin, len) < len)
                return status_fail(file, "trainer_spec.unk_surface",
                                   "found bytes, expected text; %s", published);
            free(model->unknown_text);
            model->unknown_text = malloc((size_t)len + 1);
            if (!model->unknown_text)
                return status_no_memory("a tokenizer", len + 1);
            memcpy(model->unknown_text, wire.bytes + field.begin, (size_t)len);
            model->unknown_text_len = len;
        }
    }
}

static enum status read_normalizer(struct sentencepiece *model, struct wire wire,
                                   const char *file) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 2, WIRE_BYTES)) {
            charsmap_close(&model->charsmap);
            if (field.end > field.begin)
                TRY(charsmap_read(file, wire.bytes + field.begin, field.end - field.begin,
                                  &model->charsmap));
        } else if (is(&field, 3, WIRE_VARINT)) {
            model->dummy_prefix = field.value != 0;
        } else if (is(&field, 4, WIRE_VARINT)) {
            model->extra_spaces_go = field.value != 0;
        } else if (is(&field, 5, WIRE_VARINT)) {
            model->spaces_escaped = field.value != 0;
        }
    }
}

/* Text is rewritten after decoding where a model says so; none of the supported kind does. */
static enum status refuse_denormalizer(struct wire wire, const char *file) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 2, WIRE_BYTES) && field.end > field.begin)
            return status_fail(file, "denormalizer_spec.precompiled_charsmap",
                               "found a compiled map, expected none; use a model without it");
    }
}

static enum status read_model(struct sentencepiece *model, struct wire wire, const char *file) {
    static const char *const types[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    struct wire_field field;
    bool more;
    uint64_t type = 1;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            break;
        if (is(&field, 1, WIRE_BYTES))
            TRY(read_piece(model, wire_within(&wire, &field), file));
        else if (is(&field, 2, WIRE_BYTES))
            TRY(read_trainer(model, wire_within(&wire, &field), file, &type));
        else if (is(&field, 3, WIRE_BYTES))
            TRY(read_normalizer(model, wire_within(&wire, &field), file));
        else if (is(&field, 5, WIRE_BYTES))
            TRY(refuse_denormalizer(wire_within(&wire, &field), file));
    }
    if (model->vocabulary.count == 0)
        return status_fail(file, "pieces", "found none, expected a SentencePiece model; %s",
                           published);
    if (type != 2)
        return status_fail(file, "trainer_spec.model_type",
                           "found %s, expected BPE; use a model with such a tokenizer",
                           type < 5 ? types[type] : "an unknown type");
    return STATUS_OK;
}

/* -- what follows from the pieces -------------------------------------------------------------- */

static bool can_be_joined(const struct sentencepiece *model, int64_t id) {
    unsigned char type = model->types[id];
    return type == SENTENCEPIECE_NORMAL || type == SENTENCEPIECE_USER_DEFINED ||
           type == SENTENCEPIECE_UNUSED;
}

static enum status check_byte(struct sentencepiece *model, const char *file, int32_t id) {
    int64_t len;
    const char *piece = vocabulary_text(&model->vocabulary, id, &len);
    int byte = decode_byte_piece(piece, len);
    if (!model->byte_fallback || byte < 0)
        return status_fail(file, "pieces",
                           "found \"%.*s\" of type BYTE, expected <0x00> to <0xFF> and "
                           "trainer_spec.byte_fallback; %s",
                           (int)(len < 64 ? len : 64), piece, published);
    model->bytes[byte] = id;
    return STATUS_OK;
}

static enum status sort_out(struct sentencepiece *model, const char *file) {
    memset(model->bytes, 0xff, sizeof model->bytes);
    for (int32_t id = 0; id < (int32_t)model->vocabulary.count; id++) {
        int64_t len;
        const char *piece = vocabulary_text(&model->vocabulary, id, &len);
        if (model->types[id] == SENTENCEPIECE_BYTE)
            TRY(check_byte(model, file, id));
        if (model->types[id] == SENTENCEPIECE_USER_DEFINED)
            TRY(phrases_add(&model->symbols, piece, len, id));
        if (model->types[id] == SENTENCEPIECE_UNUSED)
            model->has_unused = true;
        if (model->types[id] != SENTENCEPIECE_UNKNOWN)
            continue;
        if (model->unknown >= 0)
            return status_fail(file, "pieces", "found two of type UNKNOWN, expected one; %s",
                               published);
        model->unknown = id;
    }
    phrases_sort(&model->symbols);
    for (int byte = 0; model->byte_fallback && byte < 256; byte++)
        if (model->bytes[byte] < 0)
            return status_fail(file, "pieces",
                               "found no <0x%02X>, expected all 256 byte pieces; %s",
                               (unsigned)byte, published);
    if (model->unknown < 0 && !model->byte_fallback)
        return status_fail(file, "pieces", "found none of type UNKNOWN, expected one; %s",
                           published);
    if (model->bos >= model->vocabulary.count)
        model->bos = -1;
    if (model->eos >= model->vocabulary.count)
        model->eos = -1;
    return STATUS_OK;
}

/* A score as a number of the same order, the sign of zero included. */
static int64_t order_of(float score) {
    int32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits < 0 ? -(int64_t)(bits & 0x7fffffff) - 1 : bits;
}

static int compare_scores(const void *left, const void *right, void *data) {
    const float *scores = data;
    int64_t a = order_of(scores[*(const int32_t *)left]);
    int64_t b = order_of(scores[*(const int32_t *)right]);
    return (a < b) - (a > b);
}

static enum status rank(struct sentencepiece *model) {
    int64_t count = model->vocabulary.count;
    int32_t *sorted = malloc((size_t)count * sizeof *sorted);
    model->ranks = malloc((size_t)count * sizeof *model->ranks);
    if (!sorted || !model->ranks) {
        free(sorted);
        return status_no_memory("a tokenizer", count * (long long)sizeof *sorted * 2);
    }
    for (int32_t i = 0; i < (int32_t)count; i++)
        sorted[i] = i;
    qsort_r(sorted, (size_t)count, sizeof *sorted, compare_scores, model->scores);
    for (int64_t i = 0; i < count; i++) {
        bool equal =
            i && order_of(model->scores[sorted[i]]) == order_of(model->scores[sorted[i - 1]]);
        model->ranks[sorted[i]] = equal ? model->ranks[sorted[i - 1]] : (int32_t)i;
    }
    free(sorted);
    return STATUS_OK;
}

static enum status mark_borders(struct sentencepiece *model) {
    model->borders = calloc(1, sizeof *model->borders);
    if (!model->borders)
        return status_no_memory("a tokenizer", (long long)sizeof *model->borders);
    for (int64_t id = 0; id < model->vocabulary.count; id++) {
        int64_t len;
        int length;
        const char *piece = vocabulary_text(&model->vocabulary, id, &len);
        if (!can_be_joined(model, id))
            continue;
        uint32_t last = bpe_character(piece, len, &length);
        for (int64_t at = length; at < len; at += length) {
            uint32_t character = bpe_character(piece + at, len - at, &length);
            bpe_borders_join(model->borders, last, character);
            last = character;
        }
    }
    return STATUS_OK;
}

enum status sentencepiece_parse(const char *file, const char *bytes, int64_t len,
                                struct sentencepiece **model) {
    *model = malloc(sizeof **model);
    if (!*model)
        return status_no_memory("a tokenizer", (long long)sizeof **model);
    **model = (struct sentencepiece){.unknown = -1,
                                     .bos = 1,
                                     .eos = 2,
                                     .dummy_prefix = true,
                                     .extra_spaces_go = true,
                                     .spaces_escaped = true};
    struct wire wire = {file, bytes, 0, len};
    enum status status = read_model(*model, wire, file);
    if (status == STATUS_OK)
        status = sort_out(*model, file);
    if (status == STATUS_OK)
        status = rank(*model);
    if (status == STATUS_OK)
        status = mark_borders(*model);
    if (status != STATUS_OK)
        sentencepiece_close(model);
    return status;
}

void sentencepiece_close(struct sentencepiece **model) {
    if (!*model)
        return;
    vocabulary_close(&(*model)->vocabulary);
    phrases_close(&(*model)->symbols);
    charsmap_close(&(*model)->charsmap);
    free((*model)->types);
    free((*model)->scores);
    free((*model)->ranks);
    free((*model)->borders);
    free((*model)->unknown_text);
    free(*model);
    *model = NULL;
}

int64_t sentencepiece_size(const struct sentencepiece *model) {
    return model->vocabulary.size;
}

int32_t sentencepiece_find(const struct sentencepiece *model, const char *piece, int64_t len) {
    return vocabulary_find(&model->vocabulary, piece, len);
}

int32_t sentencepiece_bos(const struct sentencepiece *model) {
    return model->bos;
}

int32_t sentencepiece_eos(const struct sentencepiece *model) {
    return model->eos;
}
