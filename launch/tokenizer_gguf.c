/* The tokenizer of a GGUF file: its tokens under tokenizer.ggml.*, which become a SentencePiece
 * model or the tree of a tokenizer.json. */
#include "launch/pretokenize_family.h"
#include "launch/sentencepiece_model.h"
#include "launch/tokenizer_whole.h"
#include "partition/gguf.h"
#include "partition/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char convert[] = "convert the model again";

/* What the file says of its tokens; the arrays are as long as the list of tokens, or NULL. */
struct source {
    struct gguf *gguf;
    const char *path, *architecture;
    struct gguf_array tokens, types, scores;
};

static enum status read_source(struct source *source) {
    struct gguf *gguf = source->gguf;
    source->architecture = "";
    TRY(gguf_text(gguf, "general.architecture", false, &source->architecture));
    TRY(gguf_array(gguf, "tokenizer.ggml.tokens", GGUF_STRINGS, true, &source->tokens));
    TRY(gguf_array(gguf, "tokenizer.ggml.token_type", GGUF_INTEGERS, false, &source->types));
    TRY(gguf_array(gguf, "tokenizer.ggml.scores", GGUF_REALS, false, &source->scores));
    int64_t count = source->tokens.count;
    if (count == 0 || count > VOCABULARY_ID_LIMIT)
        return status_fail(source->path, "tokenizer.ggml.tokens",
                           "found %lld tokens, expected 1 to %lld; %s", (long long)count,
                           (long long)VOCABULARY_ID_LIMIT, convert);
    const struct gguf_array *others[] = {&source->types, &source->scores};
    for (int i = 0; i < 2; i++)
        if (others[i]->bytes && others[i]->count != count)
            return status_fail(source->path, others[i]->key,
                               "found %lld, expected %lld, one for each token; %s",
                               (long long)others[i]->count, (long long)count, convert);
    return STATUS_OK;
}

/* llama.cpp's numbers are SentencePiece's; what is undefined is an ordinary token. */
static enum sentencepiece_type type_of(const struct source *source, int64_t id) {
    int64_t type = source->types.bytes ? gguf_array_int(&source->types, id) : 0;
    return type >= SENTENCEPIECE_NORMAL && type <= SENTENCEPIECE_BYTE
               ? (enum sentencepiece_type)type
               : SENTENCEPIECE_NORMAL;
}

/* The next token's text; one that is empty goes by the name that llama.cpp gives it. */
static enum status next_token(const struct source *source, int64_t id, int64_t *at,
                              const char **text, int64_t *len, char name[32]) {
    *text = gguf_array_next(&source->tokens, at, len);
    if (text_valid_utf8(*text, *len) < *len)
        return status_fail(source->path, "tokenizer.ggml.tokens",
                           "found bytes that are not UTF-8 at %lld, expected text; %s",
                           (long long)id, convert);
    if (*len == 0) {
        *len = snprintf(name, 32, "[EMPTY_%lld]", (long long)id);
        *text = name;
    }
    return STATUS_OK;
}

/* The id under a key, -1 when it is not there or outside the list. */
static enum status read_id(const struct source *source, const char *key, int64_t *id) {
    *id = -1;
    TRY(gguf_int(source->gguf, key, false, INT64_MIN, INT64_MAX, id));
    if (*id < -1 || *id >= source->tokens.count)
        *id = -1;
    return STATUS_OK;
}

/* -- added tokens ------------------------------------------------------------------------------ */

/* Phi-3's tokens take the white space behind them; the file does not say so. */
static bool strips_right(const struct source *source, const char *text, int64_t len) {
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    if (strcmp(source->architecture, "phi3") != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if ((int64_t)strlen(keep[i]) == len && !memcmp(keep[i], text, (size_t)len))
            return false;
    return true;
}

/* Control tokens, the unknown one among them, are special; tokens that users define are not. */
static enum status list_added(const struct source *source, bool is_sentencepiece, json_t *list) {
    int64_t at = 0, len;
    const char *text;
    char name[32];
    for (int64_t id = 0; id < source->tokens.count; id++) {
        enum sentencepiece_type type = type_of(source, id);
        TRY(next_token(source, id, &at, &text, &len, name));
        if (type == SENTENCEPIECE_CONTROL || type == SENTENCEPIECE_UNKNOWN ||
            type == SENTENCEPIECE_USER_DEFINED)
            TRY(added_list_put(list, id, text, len, type != SENTENCEPIECE_USER_DEFINED,
                               is_sentencepiece && strips_right(source, text, len)));
    }
    return STATUS_OK;
}

/* -- SentencePiece ----------------------------------------------------------------------------- */

static enum status add_pieces(const struct source *source, struct sentencepiece *model) {
    int64_t at = 0, len;
    const char *text;
    char name[32];
    int64_t unknown;
    TRY(read_id(source, "tokenizer.ggml.unknown_token_id", &unknown));
    if (unknown < 0 && !source->types.bytes)
        unknown = 0; /* llama.cpp's own default */
    for (int64_t id = 0; id < source->tokens.count; id++) {
        enum sentencepiece_type type = type_of(source, id);
        double score = source->scores.bytes ? gguf_array_real(&source->scores, id) : 0;
        TRY(next_token(source, id, &at, &text, &len, name));
        if (type == SENTENCEPIECE_BYTE)
            model->byte_fallback = true;
        if (type == SENTENCEPIECE_UNKNOWN) /* some files mark padding so */
            type = SENTENCEPIECE_CONTROL;
        if (id == unknown)
            type = SENTENCEPIECE_UNKNOWN;
        TRY(sentencepiece_add(model, source->path, "tokenizer.ggml.tokens", text, len, type,
                              (float)score));
    }
    return STATUS_OK;
}

static enum status read_charsmap(const struct source *source, struct sentencepiece *model) {
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    struct gguf_array map;
    TRY(gguf_array(source->gguf, key, GGUF_BYTES, false, &map));
    if (!model->is_unigram || map.count == 0)
        return STATUS_OK;
    return charsmap_read(source->path, map.bytes, map.count, &model->charsmap);
}

static enum status read_sentencepiece(const struct source *source, bool is_unigram,
                                      struct tokenizer *tokenizer) {
    TRY(sentencepiece_new(&tokenizer->sentencepiece));
    struct sentencepiece *model = tokenizer->sentencepiece;
    model->is_unigram = is_unigram;
    model->extra_spaces_go = false;
    TRY(gguf_bool(source->gguf, "tokenizer.ggml.add_space_prefix", false, &model->dummy_prefix));
    TRY(gguf_bool(source->gguf, "tokenizer.ggml.remove_extra_whitespaces", false,
                  &model->extra_spaces_go));
    TRY(read_charsmap(source, model));
    TRY(add_pieces(source, model));
    TRY(sentencepiece_finish(model, source->path, "tokenizer.ggml.tokens"));
    json_t *list = json_array();
    enum status status = list_added(source, true, list);
    if (status == STATUS_OK)
        status = added_tokens_read(source->path, list, sentencepiece_vocabulary(model),
                                   ADDED_IDS_STATED, NULL, &tokenizer->added);
    json_decref(list);
    tokenizer->prefix_again = true;
    return status;
}

/* -- byte-level BPE ---------------------------------------------------------------------------- */

/* How texts are cut: tokenizer.ggml.pre; files from before that key say it by their architecture.
 */
static enum status read_family(const struct source *source,
                               const struct pretokenize_family **family) {
    static const char *const older[][2] = {
        {"gpt2", "gpt-2"}, {"phi2", "phi-2"}, {"qwen2", "qwen2"}, {"qwen2moe", "qwen2"}};
    const char *name = NULL;
    TRY(gguf_text(source->gguf, "tokenizer.ggml.pre", false, &name));
    for (int i = 0; !name && i < 4; i++)
        if (!strcmp(source->architecture, older[i][0]))
            *family = pretokenize_family_find(older[i][1]);
    if (name)
        *family = pretokenize_family_find(name);
    if (!*family)
        return status_fail(source->path, "tokenizer.ggml.pre",
                           "found %s%s%s, expected one of %s; %s", name ? "\"" : "",
                           name ? name : "nothing", name ? "\"" : "", pretokenize_family_names(),
                           convert);
    return STATUS_OK;
}

static enum status put_vocabulary(const struct source *source, json_t *vocabulary) {
    int64_t at = 0, len;
    const char *text;
    char name[32];
    for (int64_t id = 0; id < source->tokens.count; id++) {
        TRY(next_token(source, id, &at, &text, &len, name));
        if (json_object_getn(vocabulary, text, (size_t)len))
            return status_fail(source->path, "tokenizer.ggml.tokens",
                               "found \"%.*s\" twice, expected each token once; %s",
                               (int)(len < 64 ? len : 64), text, convert);
        if (json_object_setn_new(vocabulary, text, (size_t)len, json_integer(id)) != 0)
            return status_no_memory("a tokenizer", len);
    }
    return STATUS_OK;
}

static enum status put_merges(const struct source *source, json_t *list) {
    struct gguf_array merges;
    int64_t at = 0, len;
    TRY(gguf_array(source->gguf, "tokenizer.ggml.merges", GGUF_STRINGS, true, &merges));
    for (int64_t i = 0; i < merges.count; i++) {
        const char *text = gguf_array_next(&merges, &at, &len);
        if (json_array_append_new(list, json_stringn(text, (size_t)len)) != 0)
            return status_fail(source->path, "tokenizer.ggml.merges",
                               "found bytes that are not UTF-8 at %lld, expected two tokens; %s",
                               (long long)i, convert);
    }
    return STATUS_OK;
}

static enum status read_bpe(const struct source *source, struct tokenizer *tokenizer,
                            bool *adds_bos) {
    const struct pretokenize_family *family = NULL;
    TRY(read_family(source, &family));
    json_t *vocabulary = json_object(), *merges = json_array(), *list = json_array();
    json_t *root = pretokenize_family_json(family);
    json_object_set_new(root, "model",
                        json_pack("{s:b,s:O,s:O}", "ignore_merges", family->ignore_merges, "vocab",
                                  vocabulary, "merges", merges));
    json_object_set(root, "added_tokens", list);
    enum status status = put_vocabulary(source, vocabulary);
    if (status == STATUS_OK)
        status = put_merges(source, merges);
    if (status == STATUS_OK)
        status = list_added(source, false, list);
    if (status == STATUS_OK)
        status = tokenizer_json_read(source->path, root, ADDED_IDS_STATED, &tokenizer->json);
    json_decref(vocabulary);
    json_decref(merges);
    json_decref(list);
    json_decref(root);
    *adds_bos = family->adds_bos;
    return status;
}

/* -- what stands around ------------------------------------------------------------------------ */

/* One side: the token's id and whether it is added. */
static enum status read_side(const struct source *source, const char *id_key, const char *add_key,
                             bool adds, struct specials *side, char **text) {
    int64_t id;
    TRY(read_id(source, id_key, &id));
    TRY(gguf_bool(source->gguf, add_key, false, &adds));
    if (id < 0)
        return STATUS_OK;
    if (adds)
        side->ids[side->count++] = (int32_t)id;
    int64_t at = 0, len = 0;
    const char *token = "";
    for (int64_t i = 0; i <= id; i++)
        token = gguf_array_next(&source->tokens, &at, &len);
    *text = strndup(token, (size_t)len);
    return *text ? STATUS_OK : status_no_memory("a tokenizer", len);
}

static enum status read_template(const struct source *source, struct tokenizer *tokenizer) {
    const char *text = NULL;
    TRY(gguf_text(source->gguf, "tokenizer.chat_template", false, &text));
    if (!text)
        return STATUS_OK;
    tokenizer->chat_template = strdup(text);
    return tokenizer->chat_template ? STATUS_OK
                                    : status_no_memory("a tokenizer", (long long)strlen(text));
}

static enum status read_all(struct source *source, struct tokenizer *tokenizer) {
    const char *model = NULL;
    bool adds_bos = true;
    TRY(gguf_text(source->gguf, "tokenizer.ggml.model", true, &model));
    TRY(read_source(source));
    bool is_unigram = !strcmp(model, "t5");
    if (is_unigram || !strcmp(model, "llama"))
        TRY(read_sentencepiece(source, is_unigram, tokenizer));
    else if (!strcmp(model, "gpt2"))
        TRY(read_bpe(source, tokenizer, &adds_bos));
    else
        return status_fail(source->path, "tokenizer.ggml.model",
                           "found \"%s\", expected llama (SentencePiece BPE), gpt2 (byte-level "
                           "BPE) or t5 (SentencePiece Unigram); use a model with one of these",
                           model);
    snprintf(tokenizer->kind, sizeof tokenizer->kind, "GGUF, %s",
             is_unigram        ? "SentencePiece Unigram"
             : tokenizer->json ? tokenizer_json_kind(tokenizer->json)
                               : "SentencePiece BPE");
    TRY(read_side(source, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token",
                  adds_bos && !is_unigram, &tokenizer->front, &tokenizer->bos));
    TRY(read_side(source, "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_eos_token", is_unigram,
                  &tokenizer->back, &tokenizer->eos));
    return read_template(source, tokenizer);
}

enum status tokenizer_read_gguf(const char *path, struct tokenizer *tokenizer) {
    struct source source = {0};
    TRY(gguf_open(path, &source.gguf));
    source.path = gguf_path(source.gguf, 0);
    enum status status = read_all(&source, tokenizer);
    gguf_close(&source.gguf);
    return status;
}
