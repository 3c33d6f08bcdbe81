#include "launch/tokenizer.h"

#include "launch/sentencepiece.h"
#include "launch/tokenizer_json.h"
#include "launch/tokenizer_specials.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOKENIZER_BYTES_MAX (INT64_C(1) << 28)

struct tokenizer {
    struct tokenizer_json *json; /* one of the two */
    struct sentencepiece *sentencepiece;
    struct specials front, back;
};

/* -- opening ----------------------------------------------------------------------------------- */

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
    TRY_TO(done, specials_read(dir, (*tokenizer)->json, (*tokenizer)->sentencepiece,
                               &(*tokenizer)->front, &(*tokenizer)->back));
done:
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

/* -- encoding ---------------------------------------------------------------------------------- */

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

/* -- decoding ---------------------------------------------------------------------------------- */

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
    *text = decoder->out.len ? decoder->out.bytes : "";
    *len = decoder->out.len;
    return status;
}

enum status decoder_end(struct decoder *decoder, const char **text, int64_t *len) {
    decoder->out.len = 0;
    enum status status = decoder->json ? decode_stream_end(decoder->json, &decoder->out)
                                       : sentencepiece_end(&decoder->sentencepiece, &decoder->out);
    *text = decoder->out.len ? decoder->out.bytes : "";
    *len = decoder->out.len;
    return status;
}
