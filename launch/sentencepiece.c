#include "launch/sentencepiece.h"

#include "launch/sentencepiece_model.h"
#include "launch/tokenizer.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* SentencePiece's own bound. */
#define PIECE_LEN_MAX 8000

/* -- pieces ------------------------------------------------------------------------------------ */

enum status sentencepiece_new(struct sentencepiece **model) {
    *model = malloc(sizeof **model);
    if (!*model)
        return status_no_memory("a tokenizer", (long long)sizeof **model);
    **model = (struct sentencepiece){.unknown = -1,
                                     .bos = 1,
                                     .eos = 2,
                                     .dummy_prefix = true,
                                     .extra_spaces_go = true,
                                     .spaces_escaped = true};
    return STATUS_OK;
}

enum status sentencepiece_add(struct sentencepiece *model, const char *file, const char *field,
                              const char *piece, int64_t len, enum sentencepiece_type type,
                              float score) {
    int64_t id = model->vocabulary.count;
    if (len == 0 || len >= PIECE_LEN_MAX || memchr(piece, '\0', (size_t)len) ||
        text_valid_utf8(piece, len) < len || !isfinite(score))
        return status_fail(file, field,
                           "found piece %lld of %lld bytes and score %g, expected text of 1 to %d "
                           "bytes and a finite score; %s",
                           (long long)id, (long long)len, (double)score, PIECE_LEN_MAX - 1,
                           published);
    TRY(vocabulary_add(&model->vocabulary, file, field, piece, len, id));
    TRY(array_reserve(&model->types, &model->types_capacity, id + 1, sizeof *model->types));
    TRY(array_reserve(&model->scores, &model->scores_capacity, id + 1, sizeof *model->scores));
    model->types[id] = (unsigned char)type;
    model->scores[id] = score;
    if (len > model->longest)
        model->longest = len;
    return STATUS_OK;
}

/* -- what follows from the pieces -------------------------------------------------------------- */

static bool can_be_joined(const struct sentencepiece *model, int64_t id) {
    unsigned char type = model->types[id];
    return type == SENTENCEPIECE_NORMAL || type == SENTENCEPIECE_USER_DEFINED ||
           type == SENTENCEPIECE_UNUSED;
}

static enum status check_byte(struct sentencepiece *model, const char *file, const char *field,
                              int32_t id) {
    int64_t len;
    const char *piece = vocabulary_text(&model->vocabulary, id, &len);
    int byte = decode_byte_piece(piece, len);
    if (!model->byte_fallback || byte < 0)
        return status_fail(file, field,
                           "found \"%.*s\" of type BYTE, expected <0x00> to <0xFF> and "
                           "trainer_spec.byte_fallback; %s",
                           (int)(len < 64 ? len : 64), piece, published);
    model->bytes[byte] = id;
    return STATUS_OK;
}

static enum status sort_out(struct sentencepiece *model, const char *file, const char *field) {
    memset(model->bytes, 0xff, sizeof model->bytes);
    for (int32_t id = 0; id < (int32_t)model->vocabulary.count; id++) {
        int64_t len;
        const char *piece = vocabulary_text(&model->vocabulary, id, &len);
        if (model->types[id] == SENTENCEPIECE_BYTE)
            TRY(check_byte(model, file, field, id));
        if (model->types[id] == SENTENCEPIECE_USER_DEFINED)
            TRY(phrases_add(&model->symbols, piece, len, id));
        if (model->types[id] == SENTENCEPIECE_UNUSED)
            model->has_unused = true;
        if (model->types[id] != SENTENCEPIECE_UNKNOWN)
            continue;
        if (model->unknown >= 0)
            return status_fail(file, field, "found two of type UNKNOWN, expected one; %s",
                               published);
        model->unknown = id;
    }
    phrases_sort(&model->symbols);
    for (int byte = 0; model->byte_fallback && byte < 256; byte++)
        if (model->bytes[byte] < 0)
            return status_fail(file, field, "found no <0x%02X>, expected all 256 byte pieces; %s",
                               (unsigned)byte, published);
    if (model->unknown < 0 && !model->byte_fallback)
        return status_fail(file, field, "found none of type UNKNOWN, expected one; %s", published);
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

/* unigram_model.cc of SentencePiece 0.2.3: what the best path adds up, all in 32 bits. A symbol
 * that users define is worth more the longer it is, so that it is taken, and an unknown character
 * ten less than the worst piece. */
#define SYMBOL_BONUS 0.1f
#define UNKNOWN_PENALTY 10.0f

static enum status build_unigram(struct sentencepiece *model) {
    float least = FLT_MAX;
    int64_t count = model->vocabulary.count;
    model->path_scores = malloc((size_t)count * sizeof *model->path_scores);
    if (!model->path_scores)
        return status_no_memory("a tokenizer", count * (long long)sizeof(double));
    for (int64_t id = 0; id < count; id++)
        if (model->types[id] == SENTENCEPIECE_NORMAL && model->scores[id] < least)
            least = model->scores[id];
    for (int32_t id = 0; id < (int32_t)count; id++) {
        int64_t len;
        const char *piece = vocabulary_text(&model->vocabulary, id, &len);
        bool is_symbol = model->types[id] == SENTENCEPIECE_USER_DEFINED;
        model->path_scores[id] =
            (double)(is_symbol ? (float)len * SYMBOL_BONUS - SYMBOL_BONUS : model->scores[id]);
        if (is_symbol || model->types[id] == SENTENCEPIECE_NORMAL)
            TRY(trie_add(&model->unigram.trie, piece, len, id));
    }
    model->unigram.scores = model->path_scores;
    model->unigram.unknown_score = (double)(least - UNKNOWN_PENALTY);
    model->unigram.unknown = -1;
    model->unigram.in_floats = true;
    return STATUS_OK;
}

enum status sentencepiece_finish(struct sentencepiece *model, const char *file, const char *field) {
    if (model->vocabulary.count == 0)
        return status_fail(file, field, "found none, expected a SentencePiece model; %s",
                           published);
    TRY(sort_out(model, file, field));
    if (model->is_unigram)
        return build_unigram(model);
    TRY(rank(model));
    return mark_borders(model);
}

enum status sentencepiece_parse(const char *file, const char *bytes, int64_t len,
                                struct sentencepiece **model) {
    struct wire wire = {file, bytes, 0, len};
    TRY(sentencepiece_new(model));
    enum status status = sentencepiece_read(*model, wire, file);
    if (status == STATUS_OK)
        status = sentencepiece_finish(*model, file, "pieces");
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
    free((*model)->path_scores);
    trie_close(&(*model)->unigram.trie);
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

bool sentencepiece_is_unigram(const struct sentencepiece *model) {
    return model->is_unigram;
}

const struct vocabulary *sentencepiece_vocabulary(const struct sentencepiece *model) {
    return &model->vocabulary;
}

bool sentencepiece_is_control(const struct sentencepiece *model, int32_t id) {
    return model->types[id] == SENTENCEPIECE_CONTROL;
}

int32_t sentencepiece_eos(const struct sentencepiece *model) {
    return model->eos;
}
