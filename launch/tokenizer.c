#include "launch/tokenizer.h"

#include "launch/sentencepiece.h"
#include "launch/tokenizer_json.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOKENIZER_BYTES_MAX (INT64_C(1) << 28)
#define CONFIG_BYTES_MAX (INT64_C(1) << 24)
/* Tokens that stand in front of a text or behind it; a template's own limit. */
#define SPECIALS_MAX 64

struct specials {
    int32_t ids[SPECIALS_MAX];
    int64_t count;
};

struct tokenizer {
    struct tokenizer_json *json; /* one of the two */
    struct sentencepiece *sentencepiece;
    struct specials front, back;
};

/* What tokenizer_config.json says of the tokens around a text. */
struct wishes {
    json_t *root; /* owned; NULL without the file */
    bool is_llama;
    bool has_add_bos, add_bos, has_add_eos, add_eos;
    const char *bos, *eos; /* strings, NULL where none is given; borrowed from root */
    bool has_bos, has_eos; /* the key is there, though perhaps with null */
};

/* -- the tokens around a text -------------------------------------------------------------------
 */

/* bos_token is a string or an object with a content. */
static enum status read_token(const char *path, const json_t *root, const char *key,
                              const char **text, bool *is_there) {
    const json_t *value = json_object_get(root, key);
    *is_there = value != NULL;
    if (json_is_object(value))
        return json_text(path, value, "content", true, text);
    return json_text(path, root, key, false, text);
}

static enum status read_flag(const char *path, const json_t *root, const char *key, bool *is_there,
                             bool *flag) {
    *is_there = json_is_boolean(json_object_get(root, key));
    return json_bool(path, root, key, false, flag);
}

static enum status wishes_read(const char *dir, struct wishes *wishes) {
    static const char *const llama[] = {"LlamaTokenizer", "LlamaTokenizerFast",
                                        "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};
    char *path;
    struct stat info;
    *wishes = (struct wishes){0};
    TRY(file_join(dir, "tokenizer_config.json", &path));
    enum status status = STATUS_OK;
    if (stat(path, &info) != 0)
        goto done;
    TRY_TO(done, json_read(path, CONFIG_BYTES_MAX, &wishes->root));
    const json_t *root = wishes->root;
    const char *class = "";
    TRY_TO(done, json_text(path, root, "tokenizer_class", false, &class));
    for (int i = 0; i < (int)(sizeof llama / sizeof *llama); i++)
        if (!strcmp(class, llama[i]))
            wishes->is_llama = true;
    TRY_TO(done, read_flag(path, root, "add_bos_token", &wishes->has_add_bos, &wishes->add_bos));
    TRY_TO(done, read_flag(path, root, "add_eos_token", &wishes->has_add_eos, &wishes->add_eos));
    TRY_TO(done, read_token(path, root, "bos_token", &wishes->bos, &wishes->has_bos));
    TRY_TO(done, read_token(path, root, "eos_token", &wishes->eos, &wishes->has_eos));
done:
    free(path);
    return status;
}

/* One side of a text: what the template has there, and what the wishes say. */
struct side {
    const char *file, *flag; /* for messages */
    const char *token;       /* NULL: none is given */
    int32_t id;              /* of the token, -1 where it has none */
    bool is_told, told;      /* add_bos_token, add_eos_token */
    bool is_default;         /* without being told */
    bool has_template;
    bool template_yields; /* what is told counts more than the template */
    struct token_ids template;
};

static enum status side_settle(const struct side *side, struct specials *specials) {
    specials->count = 0;
    bool from_template = side->has_template && !(side->template_yields && side->is_told);
    bool wanted = side->is_told ? side->told : side->is_default;
    if (!from_template && !wanted)
        return STATUS_OK;
    if (!from_template && side->id >= 0) {
        specials->ids[specials->count++] = side->id;
        return STATUS_OK;
    }
    if (!from_template && side->token && side->is_told)
        return status_fail(side->file, side->flag,
                           "found true with the token \"%s\", which the tokenizer does not have, "
                           "expected one that it has; correct tokenizer_config.json",
                           side->token);
    /* Wanted but not named: the template's own, if there is one. */
    for (int64_t i = 0; i < side->template.count && i < SPECIALS_MAX; i++)
        specials->ids[specials->count++] = side->template.ids[i];
    return STATUS_OK;
}

static int32_t find_token(const struct tokenizer *tokenizer, const char *text) {
    if (!text)
        return -1;
    if (tokenizer->json)
        return tokenizer_json_find(tokenizer->json, text, (int64_t)strlen(text));
    return sentencepiece_find(tokenizer->sentencepiece, text, (int64_t)strlen(text));
}

static enum status settle_specials(struct tokenizer *tokenizer, const char *path,
                                   const struct wishes *wishes) {
    struct side front = {.file = path,
                         .flag = "add_bos_token",
                         .token = wishes->bos,
                         .is_told = wishes->has_add_bos,
                         .told = wishes->add_bos,
                         .is_default = wishes->is_llama || !tokenizer->json,
                         .template_yields = wishes->is_llama};
    struct side back = {.file = path,
                        .flag = "add_eos_token",
                        .token = wishes->eos,
                        .is_told = wishes->has_add_eos,
                        .told = wishes->add_eos,
                        .template_yields = wishes->is_llama};
    if (tokenizer->json)
        front.has_template = back.has_template =
            tokenizer_json_template(tokenizer->json, &front.template, &back.template);
    /* Where the configuration does not speak of the token: Llama's own, or the model's. */
    if (!wishes->has_bos && wishes->is_llama)
        front.token = "<s>";
    if (!wishes->has_eos && wishes->is_llama)
        back.token = "</s>";
    front.id = find_token(tokenizer, front.token);
    back.id = find_token(tokenizer, back.token);
    if (tokenizer->sentencepiece && !wishes->has_bos && front.id < 0)
        front.id = sentencepiece_bos(tokenizer->sentencepiece);
    if (tokenizer->sentencepiece && !wishes->has_eos && back.id < 0)
        back.id = sentencepiece_eos(tokenizer->sentencepiece);
    TRY(side_settle(&front, &tokenizer->front));
    return side_settle(&back, &tokenizer->back);
}

/* -- opening ------------------------------------------------------------------------------------
 */

static const char *const names[] = {"tokenizer.json", "tokenizer.model"};

/* The path of the first tokenizer file that is there (owned by the caller), NULL when none is. */
static enum status find_file(const char *dir, char **path, bool *is_json) {
    for (int i = 0; i < 2; i++) {
        struct stat info;
        TRY(file_join(dir, names[i], path));
        *is_json = i == 0;
        if (stat(*path, &info) == 0)
            return STATUS_OK;
        free(*path);
    }
    *path = NULL;
    return STATUS_OK;
}

bool tokenizer_exists(const char *dir) {
    char *path = NULL;
    bool is_json;
    bool exists = find_file(dir, &path, &is_json) == STATUS_OK && path;
    free(path);
    return exists;
}

enum status tokenizer_open(const char *dir, struct tokenizer **tokenizer) {
    char *path = NULL, *bytes = NULL;
    int64_t len;
    bool is_json;
    struct wishes wishes = {0};
    enum status status = STATUS_OK;
    *tokenizer = NULL;
    TRY(find_file(dir, &path, &is_json));
    if (!path)
        return status_fail(
            dir, "tokenizer",
            "found neither tokenizer.json nor tokenizer.model, expected one of them; "
            "copy it there from where the model was published");
    *tokenizer = calloc(1, sizeof **tokenizer);
    if (!*tokenizer) {
        status = status_no_memory("a tokenizer", (long long)sizeof **tokenizer);
        goto done;
    }
    TRY_TO(done, file_read(path, TOKENIZER_BYTES_MAX, &bytes, &len));
    if (is_json)
        TRY_TO(done, tokenizer_json_parse(path, bytes, len, &(*tokenizer)->json));
    else
        TRY_TO(done, sentencepiece_parse(path, bytes, len, &(*tokenizer)->sentencepiece));
    TRY_TO(done, wishes_read(dir, &wishes));
    TRY_TO(done, settle_specials(*tokenizer, path, &wishes));
done:
    json_decref(wishes.root);
    free(bytes);
    free(path);
    if (status != STATUS_OK)
        tokenizer_close(tokenizer);
    return status;
}

void tokenizer_close(struct tokenizer **tokenizer) {
    if (!*tokenizer)
        return;
    tokenizer_json_close(&(*tokenizer)->json);
    sentencepiece_close(&(*tokenizer)->sentencepiece);
    free(*tokenizer);
    *tokenizer = NULL;
}

int64_t tokenizer_size(const struct tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_size(tokenizer->json)
                           : sentencepiece_size(tokenizer->sentencepiece);
}

const char *tokenizer_kind(const struct tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_kind(tokenizer->json)
                           : "tokenizer.model, SentencePiece BPE";
}

/* -- encoding -----------------------------------------------------------------------------------
 */

void tokens_free(struct tokens *tokens) {
    free(tokens->ids);
    free(tokens->offsets);
    *tokens = (struct tokens){0};
}

static enum status put_specials(const struct specials *specials, int64_t offset,
                                struct token_list *list) {
    for (int64_t i = 0; i < specials->count; i++)
        TRY(token_list_put(list, specials->ids[i], offset));
    return STATUS_OK;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, int64_t len,
                             bool specials, struct tokens *tokens) {
    struct token_list list = {0};
    enum status status = STATUS_OK;
    *tokens = (struct tokens){0};
    int64_t valid = text_valid_utf8(text, len);
    if (valid < len)
        return status_fail("text", NULL,
                           "found invalid UTF-8 at byte %lld, expected text in UTF-8; convert it",
                           (long long)valid);
    if (specials)
        TRY_TO(done, put_specials(&tokenizer->front, 0, &list));
    if (tokenizer->json)
        TRY_TO(done, tokenizer_json_encode(tokenizer->json, text, len, &list));
    else
        TRY_TO(done, sentencepiece_encode(tokenizer->sentencepiece, text, len, &list));
    if (specials)
        TRY_TO(done, put_specials(&tokenizer->back, len, &list));
    *tokens = (struct tokens){list.ids, list.offsets, list.count};
    list = (struct token_list){0};
done:
    token_list_close(&list);
    return status;
}

/* -- decoding -----------------------------------------------------------------------------------
 */

struct decoder {
    const struct tokenizer *tokenizer;
    struct decode_stream *json; /* with tokenizer.json */
    struct sentencepiece_stream sentencepiece;
    struct decoded out; /* of the last call */
};

enum status decoder_open(const struct tokenizer *tokenizer, struct decoder **decoder) {
    *decoder = calloc(1, sizeof **decoder);
    if (!*decoder)
        return status_no_memory("a decoder", (long long)sizeof **decoder);
    (*decoder)->tokenizer = tokenizer;
    if (!tokenizer->json)
        return STATUS_OK;
    enum status status =
        decode_stream_open(tokenizer_json_decoder(tokenizer->json), &(*decoder)->json);
    if (status != STATUS_OK)
        decoder_close(decoder);
    return status;
}

void decoder_close(struct decoder **decoder) {
    if (!*decoder)
        return;
    decode_stream_close(&(*decoder)->json);
    free((*decoder)->sentencepiece.bytes.bytes);
    free((*decoder)->out.bytes);
    free(*decoder);
    *decoder = NULL;
}

enum status decoder_put(struct decoder *decoder, int32_t id, const char **text, int64_t *len) {
    const struct tokenizer *tokenizer = decoder->tokenizer;
    enum status status = STATUS_OK;
    decoder->out.len = 0;
    if (tokenizer->json) {
        int64_t piece_len;
        const char *piece = tokenizer_json_text(tokenizer->json, id, &piece_len);
        if (piece)
            status = decode_stream_put(decoder->json, piece, piece_len, &decoder->out);
    } else {
        status =
            sentencepiece_put(tokenizer->sentencepiece, &decoder->sentencepiece, id, &decoder->out);
    }
    *text = decoder->out.bytes;
    *len = decoder->out.len;
    return status;
}

enum status decoder_end(struct decoder *decoder, const char **text, int64_t *len) {
    decoder->out.len = 0;
    enum status status = decoder->json ? decode_stream_end(decoder->json, &decoder->out)
                                       : sentencepiece_end(&decoder->sentencepiece, &decoder->out);
    *text = decoder->out.bytes;
    *len = decoder->out.len;
    return status;
}
