#include "launch/tokenizer_json.h"

#include "launch/bpe_model.h"
#include "launch/pretokenize.h"
#include "launch/tokenizer_added.h"
#include "launch/tokenizer_normalize.h"
#include "launch/unigram_model.h"
#include "partition/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* Sequences within each other; real files have one. */
#define DEPTH_MAX 8

struct template {
    int32_t front[TOKENIZER_TEMPLATE_MAX], back[TOKENIZER_TEMPLATE_MAX];
    int64_t front_count, back_count;
    bool is_given;
};

struct tokenizer_json {
    char *file; /* owned */
    struct normalizer *normalizer;
    struct pretokenizer *pretokenizer;
    bool is_unigram; /* which of the two models */
    struct bpe_model bpe;
    struct unigram_model unigram;
    const struct vocabulary *vocabulary; /* the model's */
    struct added_tokens added;
    bool *barred; /* [vocabulary size] special tokens, which no ordinary text may become */
    struct decode_steps *decoder;
    struct template template;
    int64_t size;
};

/* -- the template ------------------------------------------------------------------------------ */

/* The ids of one special token of the template. */
static enum status put_special(struct tokenizer_json *json, const json_t *specials,
                               const json_t *piece, bool is_back) {
    struct template *template = &json->template;
    const char *name = NULL;
    TRY(json_text(json->file, piece, "id", true, &name));
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids"), *id;
    if (!json_is_array(ids))
        return status_fail(json->file, "special_tokens",
                           "found %s for the ids of \"%s\", expected a list; %s",
                           json_words(ids).text, name, published);
    size_t i;
    json_array_foreach(ids, i, id) {
        int64_t len;
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (!added_tokens_get(&json->added, value) &&
            !vocabulary_text(json->vocabulary, value, &len))
            return status_fail(json->file, "special_tokens",
                               "found id %s for \"%s\", expected one of a token; %s",
                               json_words(id).text, name, published);
        int64_t *count = is_back ? &template->back_count : &template->front_count;
        if (*count == TOKENIZER_TEMPLATE_MAX)
            return status_fail(json->file, "single",
                               "found more than %d tokens, expected fewer; %s",
                               TOKENIZER_TEMPLATE_MAX, published);
        (is_back ? template->back : template->front)[(*count)++] = (int32_t)value;
    }
    return STATUS_OK;
}

static enum status read_template(struct tokenizer_json *json, const json_t *processor) {
    const json_t *single = json_object_get(processor, "single"), *item;
    const json_t *specials = json_object_get(processor, "special_tokens");
    int texts = 0;
    size_t i;
    if (json->template.is_given)
        return status_fail(json->file, NULL,
                           "found two templates, expected one; use a model with one");
    json->template.is_given = true;
    json_array_foreach(single, i, item) {
        const json_t *piece = json_object_get(item, "SpecialToken");
        const json_t *text = json_object_get(item, "Sequence");
        const char *name = "A";
        if (piece) {
            TRY(put_special(json, specials, piece, texts > 0));
            continue;
        }
        TRY(json_text(json->file, text, "id", true, &name));
        texts += !strcmp(name, "A") ? 1 : 2;
    }
    if (texts != 1)
        return status_fail(json->file, "single",
                           "found a template without the text or with more, expected it once; %s",
                           published);
    return STATUS_OK;
}

static enum status read_processor(struct tokenizer_json *json, const json_t *processor, int depth) {
    const char *name = NULL;
    if (!json_is_object(processor) || depth > DEPTH_MAX)
        return status_fail(json->file, NULL, "found %s, expected an object with a type; %s",
                           json_words(processor).text, published);
    TRY(json_text(json->file, processor, "type", true, &name));
    if (!strcmp(name, "ByteLevel")) /* it trims offsets, and changes no token */
        return STATUS_OK;
    if (!strcmp(name, "TemplateProcessing"))
        return read_template(json, processor);
    const json_t *list = json_object_get(processor, "processors"), *item;
    if (strcmp(name, "Sequence") != 0)
        return status_fail(json->file, "type",
                           "found \"%s\", expected TemplateProcessing, ByteLevel or Sequence; "
                           "use a model with one of these",
                           name);
    if (!json_is_array(list))
        return status_fail(json->file, "processors", "found %s, expected a list; %s",
                           json_words(list).text, published);
    size_t i;
    json_array_foreach(list, i, item) TRY(read_processor(json, item, depth + 1));
    return STATUS_OK;
}

/* -- the whole --------------------------------------------------------------------------------- */

/* The parts word their messages by their own fields; this puts the part's name in front. */
static enum status within(const char *file, const char *part, enum status status) {
    const char *message = status_text();
    size_t len = strlen(file);
    if (status == STATUS_OK || strncmp(message, file, len) != 0 ||
        strncmp(message + len, ": ", 2) != 0)
        return status;
    const char *rest = message + len + 2;
    char whole[2 * STATUS_TEXT_MAX];
    snprintf(whole, sizeof whole, "%s: %s%s%s", file, part,
             strncmp(rest, "found ", 6) == 0 ? ": " : ".", rest);
    status_adopt(whole);
    return status;
}

/* A file without a type has BPE's merges. */
static enum status read_model(struct tokenizer_json *json, const json_t *model) {
    const char *type = "BPE";
    if (json_is_object(model))
        TRY(json_text(json->file, model, "type", false, &type));
    json->is_unigram = !strcmp(type, "Unigram");
    json->vocabulary = json->is_unigram ? &json->unigram.vocabulary : &json->bpe.vocabulary;
    return json->is_unigram ? unigram_model_read(json->file, model, &json->unigram)
                            : bpe_model_read(json->file, model, &json->bpe);
}

static enum status bar_specials(struct tokenizer_json *json) {
    json->barred = calloc((size_t)json->vocabulary->size + 1, sizeof *json->barred);
    if (!json->barred)
        return status_no_memory("a tokenizer", json->vocabulary->size);
    for (int64_t i = 0; i < json->added.count; i++)
        if (json->added.list[i].special && json->added.list[i].id < json->vocabulary->size)
            json->barred[json->added.list[i].id] = true;
    return STATUS_OK;
}

static enum status read_parts(struct tokenizer_json *json, const json_t *root, enum added_ids ids) {
    const char *file = json->file, *version = "1.0";
    TRY(json_text(file, root, "version", false, &version));
    if (strcmp(version, "1.0") != 0)
        return status_fail(file, "version", "found \"%s\", expected \"1.0\"; %s", version,
                           published);
    TRY(within(file, "model", read_model(json, json_object_get(root, "model"))));
    TRY(within(file, "normalizer",
               normalizer_open(file, json_object_get(root, "normalizer"), &json->normalizer)));
    TRY(within(
        file, "pre_tokenizer",
        pretokenizer_open(file, json_object_get(root, "pre_tokenizer"), &json->pretokenizer)));
    TRY(within(file, "added_tokens",
               added_tokens_read(file, json_object_get(root, "added_tokens"), json->vocabulary, ids,
                                 json->normalizer, &json->added)));
    TRY(within(file, "decoder",
               decode_steps_open(file, json_object_get(root, "decoder"), &json->decoder)));
    const json_t *processor = json_object_get(root, "post_processor");
    if (processor && !json_is_null(processor))
        TRY(within(file, "post_processor", read_processor(json, processor, 0)));
    json->size = json->vocabulary->size;
    for (int64_t i = 0; i < json->added.count; i++)
        if (json->added.list[i].id >= json->size)
            json->size = json->added.list[i].id + 1;
    if (json->size == 0)
        return status_fail(file, "model.vocab", "found no token, expected some; %s", published);
    return bar_specials(json);
}

enum status tokenizer_json_read(const char *file, const json_t *root, enum added_ids ids,
                                struct tokenizer_json **json) {
    enum status status = STATUS_OK;
    *json = calloc(1, sizeof **json);
    if (*json)
        (*json)->file = strdup(file);
    if (!*json || !(*json)->file)
        status = status_no_memory("a tokenizer", (long long)sizeof **json);
    if (status == STATUS_OK)
        status = read_parts(*json, root, ids);
    if (status != STATUS_OK)
        tokenizer_json_close(json);
    return status;
}

enum status tokenizer_json_parse(const char *file, const char *text, int64_t len,
                                 struct tokenizer_json **json) {
    json_t *root = NULL;
    *json = NULL;
    TRY(json_parse_object(file, text, len, &root));
    enum status status = tokenizer_json_read(file, root, ADDED_IDS_NEXT, json);
    json_decref(root);
    return status;
}

void tokenizer_json_close(struct tokenizer_json **json) {
    if (!*json)
        return;
    normalizer_close(&(*json)->normalizer);
    pretokenizer_close(&(*json)->pretokenizer);
    bpe_model_close(&(*json)->bpe);
    unigram_model_close(&(*json)->unigram);
    free((*json)->barred);
    added_tokens_close(&(*json)->added);
    decode_steps_close(&(*json)->decoder);
    free((*json)->file);
    free(*json);
    *json = NULL;
}

int64_t tokenizer_json_size(const struct tokenizer_json *json) {
    return json->size;
}

const char *tokenizer_json_kind(const struct tokenizer_json *json) {
    if (json->is_unigram)
        return "Unigram";
    if (pretokenizer_is_byte_level(json->pretokenizer))
        return "byte-level BPE";
    return json->bpe.byte_fallback ? "BPE with byte fallback" : "BPE";
}

int32_t tokenizer_json_find(const struct tokenizer_json *json, const char *text, int64_t len) {
    const struct added_token *token = added_tokens_find(&json->added, text, len);
    return token ? token->id : vocabulary_find(json->vocabulary, text, len);
}

bool tokenizer_json_template(const struct tokenizer_json *json, struct token_ids *front,
                             struct token_ids *back) {
    const struct template *template = &json->template;
    *front = (struct token_ids){template->front, template->front_count};
    *back = (struct token_ids){template->back, template->back_count};
    return template->is_given;
}

/* -- encoding and decoding --------------------------------------------------------------------- */

static enum status encode_pieces(const struct tokenizer_json *json, const bool *barred,
                                 const struct pieces *pieces, int64_t text_len,
                                 struct token_list *out) {
    struct bpe_word word = {0};
    struct unigram_path path = {0};
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < pieces->count && status == STATUS_OK; i++) {
        const struct piece *piece = &pieces->list[i];
        const char *text = pieces->text + piece->begin;
        const int64_t *origin = pieces->origin + piece->begin;
        int64_t len = piece->end - piece->begin;
        if (piece->id >= 0)
            status =
                token_list_put(out, piece->id, piece->begin < pieces->len ? *origin : text_len);
        else if (json->is_unigram)
            status = unigram_model_encode(&json->unigram, barred, text, origin, len, &path, out);
        else
            status = bpe_model_encode(&json->bpe, barred, text, origin, len, &word, out);
    }
    bpe_word_close(&word);
    unigram_path_close(&path);
    return status;
}

enum status tokenizer_json_encode(const struct tokenizer_json *json, const char *text, int64_t len,
                                  const struct encode_rules *rules, struct token_list *out) {
    const bool *barred = rules->specials && rules->plain_count == 0 ? NULL : json->barred;
    struct pieces pieces;
    enum status status = pieces_open(text, len, &pieces);
    if (status == STATUS_OK)
        status = added_tokens_cut(&json->added, false, rules, &pieces);
    if (status == STATUS_OK)
        status = normalizer_apply(json->normalizer, rules->behind, &pieces);
    if (status == STATUS_OK)
        status = added_tokens_cut(&json->added, true, rules, &pieces);
    if (status == STATUS_OK)
        status = pretokenizer_apply(json->pretokenizer, rules->behind, &pieces);
    if (status == STATUS_OK)
        status = encode_pieces(json, barred, &pieces, len, out);
    pieces_close(&pieces);
    return status;
}

const struct decode_steps *tokenizer_json_decoder(const struct tokenizer_json *json) {
    return json->decoder;
}

const char *tokenizer_json_text(const struct tokenizer_json *json, int64_t id, int64_t *len) {
    const struct added_token *token = added_tokens_get(&json->added, id);
    *len = 0;
    if (!token) {
        /* Of a string with two ids only one is the added token's; it is special by either. */
        const char *text = vocabulary_text(json->vocabulary, id, len);
        token = text ? added_tokens_find(&json->added, text, *len) : NULL;
        return token && token->special ? NULL : text;
    }
    if (token->special)
        return NULL;
    *len = token->shown_len;
    return token->shown;
}
