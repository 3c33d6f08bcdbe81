#include "launch/tokenize_batch.h"

#include "launch/tokenizer_pieces.h"
#include "partition/json.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct batch {
    const struct options *options;
    const struct tokenizer *tokenizer;
    const char *name; /* of the file, for messages */
    int64_t line;     /* from 1 */
    char *text;       /* owned: of one line, when decoding */
    int64_t text_capacity;
    int32_t *ids; /* owned: of one line, when decoding */
    int64_t id_capacity;
};

struct encode_rules tokenize_rules(const struct options *options) {
    return (struct encode_rules){.around = !options->no_special, .specials = !options->no_special};
}

int64_t tokenize_end(const struct tokens *tokens, int64_t i, int64_t text_len) {
    return i + 1 < tokens->count ? tokens->offsets[i + 1] : text_len;
}

static enum status append(char **text, int64_t *len, int64_t *capacity, const char *part,
                          int64_t part_len) {
    TRY(array_reserve(text, capacity, *len + part_len, 1));
    if (part_len)
        memcpy(*text + *len, part, (size_t)part_len);
    *len += part_len;
    return STATUS_OK;
}

enum status tokenize_decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count,
                            char **text, int64_t *len, int64_t *capacity) {
    struct decoder *decoder;
    const char *part;
    int64_t part_len;
    TRY(decoder_open(tokenizer, &decoder));
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < count; i++) {
        TRY_TO(done, decoder_put(decoder, ids[i], &part, &part_len));
        TRY_TO(done, append(text, len, capacity, part, part_len));
    }
    TRY_TO(done, decoder_end(decoder, &part, &part_len));
    TRY_TO(done, append(text, len, capacity, part, part_len));
done:
    decoder_close(&decoder);
    return status;
}

/* The line, and a field of it where there is one. */
struct place {
    char text[64];
};

static struct place place_of(const struct batch *b, const char *field) {
    struct place place;
    snprintf(place.text, sizeof place.text, "line %" PRId64 "%s%s", b->line, field ? ": " : "",
             field ? field : "");
    return place;
}

/* -- text to ids ------------------------------------------------------------------------------- */

static void print_tokens(const struct batch *b, const struct tokens *tokens, int64_t text_len) {
    fputs("{\"ids\": [", stdout);
    for (int64_t i = 0; i < tokens->count; i++)
        printf(i ? ", %" PRId32 : "%" PRId32, tokens->ids[i]);
    if (b->options->offsets) {
        fputs("], \"offsets\": [", stdout);
        for (int64_t i = 0; i < tokens->count; i++)
            printf("%s[%" PRId64 ", %" PRId64 "]", i ? ", " : "", tokens->offsets[i],
                   tokenize_end(tokens, i, text_len));
    }
    fputs("]}\n", stdout);
}

static enum status encode_line(struct batch *b, const json_t *line) {
    const struct encode_rules rules = tokenize_rules(b->options);
    const json_t *text = json_object_get(line, "text");
    struct tokens tokens;
    if (!json_is_string(text))
        return status_fail(b->name, place_of(b, "text").text,
                           "found %s, expected a string; write {\"text\": \"...\"}",
                           json_words(text).text);
    int64_t len = (int64_t)json_string_length(text);
    TRY(tokenizer_encode_by(b->tokenizer, json_string_value(text), len, &rules, &tokens));
    print_tokens(b, &tokens, len);
    tokens_free(&tokens);
    return STATUS_OK;
}

/* -- ids to text ------------------------------------------------------------------------------- */

static enum status decode_line(struct batch *b, const json_t *line) {
    const json_t *ids = json_object_get(line, "ids"), *id;
    int64_t size = tokenizer_size(b->tokenizer), len = 0;
    if (!json_is_array(ids))
        return status_fail(b->name, place_of(b, "ids").text,
                           "found %s, expected a list of ids; write {\"ids\": [...]}",
                           json_words(ids).text);
    size_t i;
    TRY(array_reserve(&b->ids, &b->id_capacity, (int64_t)json_array_size(ids), sizeof *b->ids));
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= size)
            return status_fail(b->name, place_of(b, "ids").text,
                               "found %s at %zu, expected ids from 0 to %" PRId64
                               "; take ids of this tokenizer",
                               json_words(id).text, i, size - 1);
        b->ids[i] = (int32_t)json_integer_value(id);
    }
    TRY(tokenize_decode(b->tokenizer, b->ids, (int64_t)json_array_size(ids), &b->text, &len,
                        &b->text_capacity));
    json_t *text = json_stringn(len ? b->text : "", (size_t)len);
    if (!text)
        return status_no_memory("a text", len);
    fputs("{\"text\": ", stdout);
    json_dumpf(text, stdout, JSON_ENCODE_ANY);
    fputs("}\n", stdout);
    json_decref(text);
    return STATUS_OK;
}

/* -- lines ------------------------------------------------------------------------------------- */

static enum status take_line(struct batch *b, const char *text, int64_t len) {
    json_error_t error;
    json_t *line = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    enum status status;
    if (!json_is_object(line))
        status = status_fail(
            b->name, place_of(b, NULL).text, "found %s, expected a JSON object; %s",
            line ? json_words(line).text : error.text,
            b->options->decode ? "write {\"ids\": [...]}" : "write {\"text\": \"...\"}");
    else
        status = b->options->decode ? decode_line(b, line) : encode_line(b, line);
    json_decref(line);
    return status;
}

static bool is_blank(const char *text, ssize_t len) {
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
        len--;
    return len == 0;
}

static enum status take_lines(struct batch *b, FILE *file) {
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    enum status status = STATUS_OK;
    errno = 0;
    while (status == STATUS_OK && (len = getline(&line, &room, file)) >= 0) {
        b->line++;
        if (!is_blank(line, len))
            status = take_line(b, line, len);
    }
    if (status == STATUS_OK && ferror(file))
        status = status_fail(b->name, place_of(b, NULL).text,
                             "found %s, expected lines that can be read; check the path",
                             strerror(errno));
    free(line);
    return status;
}

enum status tokenize_batch(const struct options *options, const struct tokenizer *tokenizer) {
    bool is_stdin = strcmp(options->batch, "-") == 0;
    struct batch b = {.options = options,
                      .tokenizer = tokenizer,
                      .name = is_stdin ? "standard input" : options->batch};
    FILE *file = is_stdin ? stdin : fopen(options->batch, "r");
    if (!file)
        return status_fail(options->batch, NULL,
                           "found %s, expected a readable file; check the path", strerror(errno));
    enum status status = take_lines(&b, file);
    if (!is_stdin)
        fclose(file);
    free(b.text);
    free(b.ids);
    return status;
}
