/* quire tokenize: a model's tokenizer by itself, text to ids and ids to text. */
#include "launch/command.h"

#include "launch/input.h"
#include "launch/tokenize_batch.h"
#include "launch/tokenizer_pieces.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- text to ids ------------------------------------------------------------------------------- */

static enum status encode(const struct options *options, const struct tokenizer *tokenizer,
                          const char *text, int64_t len) {
    const struct encode_rules rules = tokenize_rules(options);
    struct tokens tokens;
    TRY(tokenizer_encode_by(tokenizer, text, len, &rules, &tokens));
    for (int64_t i = 0; i < tokens.count; i++) {
        if (options->offsets)
            printf("%" PRId32 " %" PRId64 " %" PRId64 "\n", tokens.ids[i], tokens.offsets[i],
                   tokenize_end(&tokens, i, len));
        else
            printf(i ? " %" PRId32 : "%" PRId32, tokens.ids[i]);
    }
    if (!options->offsets)
        putchar('\n');
    tokens_free(&tokens);
    return STATUS_OK;
}

/* -- ids to text ------------------------------------------------------------------------------- */

static bool is_blank(char c) {
    return c != '\0' && strchr(" \n\t\r\f\v", c) != NULL;
}

/* Reads a word [len] of digits as an id below `size`. */
static bool read_id(const char *word, int64_t len, int64_t size, int32_t *id) {
    int64_t value = 0;
    for (int64_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9' || value >= size)
            return false;
        value = value * 10 + (word[i] - '0');
    }
    *id = (int32_t)value;
    return value < size;
}

/* Ids are owned by the caller. */
static enum status read_ids(const char *text, int64_t len, int64_t size, int32_t **ids,
                            int64_t *count) {
    int64_t capacity = 0;
    for (int64_t at = 0, word; at < len; at += word) {
        for (word = 0; at + word < len && !is_blank(text[at + word]);)
            word++;
        if (word == 0) {
            word = 1;
            continue;
        }
        TRY(array_reserve(ids, &capacity, *count + 1, sizeof **ids));
        if (!read_id(text + at, word, size, &(*ids)[*count])) {
            char field[64];
            snprintf(field, sizeof field, "token %" PRId64 " at byte %" PRId64, *count, at);
            return status_fail("ids", field,
                               "found \"%.*s\", expected a number from 0 to %" PRId64
                               "; give ids of this tokenizer with blanks between",
                               (int)(word < 40 ? word : 40), text + at, size - 1);
        }
        ++*count;
    }
    return STATUS_OK;
}

static enum status decode(const struct tokenizer *tokenizer, const char *text, int64_t len) {
    int32_t *ids = NULL;
    char *out = NULL;
    int64_t count = 0, out_len = 0, capacity = 0;
    enum status status = read_ids(text, len, tokenizer_size(tokenizer), &ids, &count);
    if (status == STATUS_OK)
        status = tokenize_decode(tokenizer, ids, count, &out, &out_len, &capacity);
    if (status == STATUS_OK)
        fwrite(out, 1, (size_t)out_len, stdout);
    free(ids);
    free(out);
    return status;
}

static enum status run(const struct options *options, const struct tokenizer *tokenizer) {
    static struct text_part standard_input = {.is_file = true, .value = "-"};
    struct options source = *options;
    char *text = NULL;
    int64_t len = 0;
    if (options->batch)
        return tokenize_batch(options, tokenizer);
    if (options->text_count == 0) {
        source.texts = &standard_input;
        source.text_count = 1;
    }
    enum status status = input_read(&source, &text, &len);
    if (status == STATUS_OK)
        status =
            options->decode ? decode(tokenizer, text, len) : encode(options, tokenizer, text, len);
    free(text);
    return status;
}

enum status command_tokenize(const struct options *options) {
    struct tokenizer *tokenizer;
    TRY(tokenizer_open(options->model, &tokenizer));
    enum status status = run(options, tokenizer);
    tokenizer_close(&tokenizer);
    return status;
}
