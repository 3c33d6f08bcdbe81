#include "launch/tokenizer_whole.h"

#include <stdlib.h>
#include <string.h>

void tokenizer_close(struct tokenizer **tokenizer) {
    if (!*tokenizer)
        return;
    tokenizer_json_close(&(*tokenizer)->json);
    sentencepiece_close(&(*tokenizer)->sentencepiece);
    added_tokens_close(&(*tokenizer)->added);
    free((*tokenizer)->bos);
    free((*tokenizer)->eos);
    free((*tokenizer)->chat_template);
    free(*tokenizer);
    *tokenizer = NULL;
}

int64_t tokenizer_size(const struct tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_size(tokenizer->json)
                           : sentencepiece_size(tokenizer->sentencepiece);
}

const char *tokenizer_kind(const struct tokenizer *tokenizer) {
    return tokenizer->kind;
}

const char *tokenizer_chat_template(const struct tokenizer *tokenizer) {
    return tokenizer->chat_template;
}

const char *tokenizer_bos(const struct tokenizer *tokenizer) {
    return tokenizer->bos;
}

const char *tokenizer_eos(const struct tokenizer *tokenizer) {
    return tokenizer->eos;
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

/* The parts between added tokens. In front of the first stands nothing but what would stand there
 * anyhow, BOS. */
static enum status encode_parts(const struct tokenizer *tokenizer, const struct pieces *pieces,
                                bool has_prefix, struct token_list *list) {
    const struct specials *front = &tokenizer->front;
    for (int64_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->list[i];
        if (piece->id >= 0) {
            TRY(token_list_put(list, piece->id, piece->begin));
            has_prefix = tokenizer->prefix_again ||
                         (i == 0 && front->count == 1 && piece->id == front->ids[0]);
            continue;
        }
        TRY(sentencepiece_encode(tokenizer->sentencepiece, pieces->text + piece->begin,
                                 piece->end - piece->begin, piece->begin, has_prefix, list));
        has_prefix = tokenizer->prefix_again;
    }
    return STATUS_OK;
}

static enum status encode_text(const struct tokenizer *tokenizer, const char *text, int64_t len,
                               const struct encode_rules *rules, struct token_list *list) {
    if (tokenizer->json)
        return tokenizer_json_encode(tokenizer->json, text, len, rules, list);
    if (tokenizer->added.count == 0 || (tokenizer->added_by_controls && !rules->controls))
        return sentencepiece_encode(tokenizer->sentencepiece, text, len, 0, !rules->behind, list);
    struct pieces pieces;
    enum status status = pieces_open(text, len, &pieces);
    if (status == STATUS_OK)
        status = added_tokens_cut(&tokenizer->added, false, rules, &pieces);
    if (status == STATUS_OK)
        status = encode_parts(tokenizer, &pieces, !rules->behind, list);
    pieces_close(&pieces);
    return status;
}

enum status tokenizer_encode_by(const struct tokenizer *tokenizer, const char *text, int64_t len,
                                const struct encode_rules *rules, struct tokens *tokens) {
    struct token_list list = {0};
    enum status status = STATUS_OK;
    *tokens = (struct tokens){0};
    int64_t valid = text_valid_utf8(text, len);
    if (valid < len)
        return status_fail("text", NULL,
                           "found invalid UTF-8 at byte %lld, expected text in UTF-8; convert it",
                           (long long)valid);
    if (rules->around)
        TRY_TO(done, put_specials(&tokenizer->front, 0, &list));
    TRY_TO(done, encode_text(tokenizer, text, len, rules, &list));
    if (rules->around)
        TRY_TO(done, put_specials(&tokenizer->back, len, &list));
    *tokens = (struct tokens){list.ids, list.offsets, list.count};
    list = (struct token_list){0};
done:
    token_list_close(&list);
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, int64_t len,
                             bool around, struct tokens *tokens) {
    const struct encode_rules rules = {.around = around, .specials = true};
    return tokenizer_encode_by(tokenizer, text, len, &rules, tokens);
}

enum status tokenizer_encode_behind(const struct tokenizer *tokenizer, const char *text,
                                    int64_t len, struct tokens *tokens) {
    const struct encode_rules rules = {.behind = true, .specials = true};
    return tokenizer_encode_by(tokenizer, text, len, &rules, tokens);
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
