#include "launch/sentencepiece_model.h"

#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MAX 64
/* SentencePiece takes an unused piece apart no deeper than this. */
#define DEPTH_MAX 100

struct encoding {
    const struct sentencepiece *model;
    struct pieces text; /* as the pieces spell it */
    struct bpe_word word;
    struct token_list *out;
    int64_t *halves; /* [size] bytes of the left half that an unused piece was last made of; 0:
                      * none; NULL when there are no unused pieces */
    bool after_unknown;
};

static bool is_piece(const struct sentencepiece *model, int32_t id) {
    return id >= 0 && (model->types[id] == SENTENCEPIECE_NORMAL ||
                       model->types[id] == SENTENCEPIECE_USER_DEFINED ||
                       model->types[id] == SENTENCEPIECE_UNUSED);
}

static bool join(const void *data, const char *text, const struct bpe_symbol *left,
                 const struct bpe_symbol *right, int32_t *rank, int32_t *id) {
    const struct encoding *e = data;
    int64_t len = left->len + right->len;
    if (len > e->model->longest)
        return false;
    *id = vocabulary_find(&e->model->vocabulary, text + left->begin, len);
    if (!is_piece(e->model, *id))
        return false;
    *rank = e->model->ranks[*id];
    if (e->model->types[*id] == SENTENCEPIECE_UNUSED)
        e->halves[*id] = left->len;
    return true;
}

/* Appends a character or piece without an id: in bytes, or as the unknown token, which stands for a
 * whole run of them. */
static enum status put_unknown(struct encoding *e, int64_t begin, int64_t len) {
    const struct sentencepiece *model = e->model;
    for (int64_t i = begin; model->byte_fallback && i < begin + len; i++)
        TRY(token_list_put(e->out, model->bytes[(unsigned char)e->text.text[i]],
                           e->text.origin[i]));
    if (!model->byte_fallback && !e->after_unknown)
        TRY(token_list_put(e->out, model->unknown, e->text.origin[begin]));
    e->after_unknown = true;
    return STATUS_OK;
}

/* Appends a symbol; an unused piece falls back into what it was joined from. */
static enum status put_symbol(struct encoding *e, int64_t begin, int64_t len, int depth) {
    const struct sentencepiece *model = e->model;
    int32_t id = vocabulary_find(&model->vocabulary, e->text.text + begin, len);
    if (!is_piece(model, id))
        return put_unknown(e, begin, len);
    if (model->types[id] != SENTENCEPIECE_UNUSED || depth > DEPTH_MAX) {
        e->after_unknown = false;
        return token_list_put(e->out, id, e->text.origin[begin]);
    }
    int64_t half = e->halves[id];
    if (half == 0)
        return put_unknown(e, begin, len);
    TRY(put_symbol(e, begin, half, depth + 1));
    return put_symbol(e, begin + half, len - half, depth + 1);
}

static enum status flush(struct encoding *e) {
    struct bpe_word *word = &e->word;
    if (word->count == 0)
        return STATUS_OK;
    if (word->count > 1)
        TRY(bpe_run(word, join, e, e->text.text));
    else
        word->symbols[0].next = -1;
    for (int64_t i = 0; i >= 0; i = word->symbols[i].next)
        TRY(put_symbol(e, word->symbols[i].begin, word->symbols[i].len, 0));
    word->count = 0;
    return STATUS_OK;
}

/* Cuts the text into symbols and flushes them where nothing can be joined across. How an unused
 * piece falls apart depends on the whole text, so that such a model's texts stay whole. */
static enum status encode(struct encoding *e) {
    const struct sentencepiece *model = e->model;
    uint32_t last = 0;
    bool last_frozen = false;
    for (int64_t at = 0; at < e->text.len;) {
        const char *text = e->text.text + at;
        int64_t rest = e->text.len - at;
        const struct phrase *symbol = phrases_match(&model->symbols, text, rest, SYMBOLS_MAX);
        int length;
        uint32_t character = bpe_character(text, rest, &length);
        bool frozen = symbol || last_frozen;
        if (!model->has_unused && (frozen || !bpe_borders_joined(model->borders, last, character)))
            TRY(flush(e));
        int64_t len = symbol ? symbol->len : length;
        TRY(bpe_put(&e->word, at, len, -1, symbol != NULL));
        last = character;
        last_frozen = symbol != NULL;
        at += len;
    }
    return flush(e);
}

static enum status encode_unigram(struct encoding *e) {
    struct unigram_path path = {0};
    enum status status = unigram_run(&e->model->unigram, NULL, e->text.text, e->text.len, &path);
    for (int64_t at = 0; status == STATUS_OK && at < e->text.len; at += path.nodes[at].len) {
        const struct unigram_node *node = &path.nodes[at];
        e->after_unknown = e->after_unknown && node->id < 0;
        status = node->id < 0 ? put_unknown(e, at, node->len)
                              : token_list_put(e->out, node->id, e->text.origin[at]);
    }
    unigram_path_close(&path);
    return status;
}

enum status sentencepiece_encode(const struct sentencepiece *model, const char *text, int64_t len,
                                 int64_t base, bool has_prefix, struct token_list *out) {
    struct encoding e = {.model = model, .out = out};
    enum status status = STATUS_OK;
    if (model->has_unused && !model->is_unigram) {
        e.halves = calloc((size_t)model->vocabulary.size, sizeof *e.halves);
        if (!e.halves)
            return status_no_memory("a text", model->vocabulary.size * 8);
    }
    TRY_TO(done, sentencepiece_normalize(model, text, len, base, has_prefix, &e.text));
    if (e.text.len)
        TRY_TO(done, model->is_unigram ? encode_unigram(&e) : encode(&e));
done:
    pieces_close(&e.text);
    bpe_word_close(&e.word);
    free(e.halves);
    return status;
}
