/* Finds a tokenizer's files and reads them. Part of tokenizer.h. */
#include "launch/tokenizer_whole.h"
#include "partition/gguf.h"
#include "partition/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKENIZER_BYTES_MAX (INT64_C(1) << 28)
#define CONFIG_BYTES_MAX (INT64_C(1) << 24)
#define TEMPLATE_BYTES_MAX (INT64_C(1) << 20)

/* -- what there is ----------------------------------------------------------------------------- */

/* The forms, in the order in which a directory is looked through. */
static const struct {
    const char *name, *beside;
} forms[] = {{"tokenizer.json", NULL},
             {"tokenizer.model", NULL},
             {"vocab.json", "merges.txt"},
             {"encoder.json", "vocab.bpe"}};
enum { FORMS = sizeof forms / sizeof *forms, FORM_JSON = 0, FORM_MODEL, FORM_MERGES };

static bool is_there(const char *dir, const char *name) {
    char *path;
    struct stat info;
    if (!name)
        return true;
    if (file_join(dir, name, &path) != STATUS_OK)
        return false;
    bool is = stat(path, &info) == 0;
    free(path);
    return is;
}

/* The first form in a directory, FORMS when there is none. */
static int find_form(const char *dir) {
    int form = 0;
    while (form < FORMS && !(is_there(dir, forms[form].name) && is_there(dir, forms[form].beside)))
        form++;
    return form;
}

static bool is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* A GGUF of weights alone has no tokenizer. */
static bool gguf_has_tokenizer(const char *path) {
    struct gguf *gguf;
    if (gguf_open(path, &gguf) != STATUS_OK)
        return true; /* opening it as a tokenizer says why */
    bool has = gguf_has(gguf, "tokenizer.ggml.model");
    gguf_close(&gguf);
    return has;
}

bool tokenizer_exists(const char *path) {
    if (is_directory(path))
        return find_form(path) < FORMS;
    return gguf_is(path) ? gguf_has_tokenizer(path) : access(path, F_OK) == 0;
}

/* -- the files beside -------------------------------------------------------------------------- */

/* Reads DIR/tokenizer_config.json if it is there; *path is its path either way. Both owned by the
 * caller. */
static enum status read_config(const char *dir, char **path, json_t **config) {
    struct stat info;
    TRY(file_join(dir, "tokenizer_config.json", path));
    return stat(*path, &info) == 0 ? json_read(*path, CONFIG_BYTES_MAX, config) : STATUS_OK;
}

/* A string, or an object with it as its content; a copy, NULL for anything else. */
static char *copy_token(const json_t *token) {
    if (json_is_object(token))
        token = json_object_get(token, "content");
    return json_is_string(token) ? strdup(json_string_value(token)) : NULL;
}

/* chat_template: a text, or a list of named ones of which "default" counts. */
static const char *template_of(const json_t *config) {
    const json_t *value = json_object_get(config, "chat_template"), *item;
    size_t i;
    json_array_foreach(value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default"))
            return json_string_value(json_object_get(item, "template"));
    }
    return json_string_value(value);
}

/* The template in a file of its own counts more than that in the configuration. */
static enum status read_template(const char *dir, const json_t *config, char **text) {
    char *path;
    struct stat info;
    int64_t len;
    TRY(file_join(dir, "chat_template.jinja", &path));
    enum status status = STATUS_OK;
    if (stat(path, &info) == 0)
        status = file_read(path, TEMPLATE_BYTES_MAX, text, &len);
    else if (template_of(config) && !(*text = strdup(template_of(config))))
        status = status_no_memory(path, 1);
    free(path);
    return status;
}

/* The text of a token of the model's own, where the configuration names none; a copy. */
static char *piece_text(const struct sentencepiece *model, int32_t id) {
    int64_t len;
    const char *text = vocabulary_text(sentencepiece_vocabulary(model), id, &len);
    return text ? strndup(text, (size_t)len) : NULL;
}

static enum status read_around(const char *dir, const char *config_path, const json_t *config,
                               struct tokenizer *tokenizer) {
    const struct sentencepiece *model = tokenizer->sentencepiece;
    TRY(specials_settle(config_path, config, tokenizer->json, model, &tokenizer->front,
                        &tokenizer->back));
    tokenizer->bos = copy_token(json_object_get(config, "bos_token"));
    tokenizer->eos = copy_token(json_object_get(config, "eos_token"));
    if (model && !tokenizer->bos)
        tokenizer->bos = piece_text(model, sentencepiece_bos(model));
    if (model && !tokenizer->eos)
        tokenizer->eos = piece_text(model, sentencepiece_eos(model));
    return read_template(dir, config, &tokenizer->chat_template);
}

/* -- the tokenizer itself ---------------------------------------------------------------------- */

enum status added_list_put(json_t *list, int64_t id, const char *content, int64_t len, bool special,
                           bool right_strip) {
    json_t *token = json_pack("{s:I,s:o,s:b,s:b,s:b}", "id", (json_int_t)id, "content",
                              json_stringn(content, (size_t)len), "special", special, "normalized",
                              0, "rstrip", right_strip);
    if (!token || json_array_append_new(list, token) != 0)
        return status_no_memory("added tokens", len);
    return STATUS_OK;
}

/* Control pieces, for texts in which they count. */
static enum status list_controls(const char *path, struct tokenizer *tokenizer) {
    const struct sentencepiece *model = tokenizer->sentencepiece;
    const struct vocabulary *vocabulary = sentencepiece_vocabulary(model);
    json_t *list = json_array();
    enum status status = STATUS_OK;
    for (int32_t id = 0; id < (int32_t)vocabulary->size && status == STATUS_OK; id++) {
        int64_t len;
        const char *text = vocabulary_text(vocabulary, id, &len);
        if (sentencepiece_is_control(model, id))
            status = added_list_put(list, id, text, len, true, false);
    }
    if (status == STATUS_OK)
        status =
            added_tokens_read(path, list, vocabulary, ADDED_IDS_STATED, NULL, &tokenizer->added);
    tokenizer->added_by_controls = true;
    json_decref(list);
    return status;
}

static bool ends_with(const char *path, const char *ending) {
    size_t len = strlen(path), end = strlen(ending);
    return len >= end && !strcmp(path + len - end, ending);
}

/* A file in one of the two forms: by its name, else by its first character, a bracket in
 * tokenizer.json, which no SentencePiece model begins with. */
static enum status read_file(const char *path, struct tokenizer *tokenizer) {
    char *bytes;
    int64_t len, at = 0;
    TRY(file_read(path, TOKENIZER_BYTES_MAX, &bytes, &len));
    while (at < len && strchr(" \t\r\n", bytes[at]) && bytes[at])
        at++;
    bool is_json =
        ends_with(path, ".json") || (!ends_with(path, ".model") && at < len && bytes[at] == '{');
    enum status status = is_json ? tokenizer_json_parse(path, bytes, len, &tokenizer->json)
                                 : sentencepiece_parse(path, bytes, len, &tokenizer->sentencepiece);
    free(bytes);
    TRY(status);
    const char *kind = is_json ? tokenizer_json_kind(tokenizer->json)
                       : sentencepiece_is_unigram(tokenizer->sentencepiece)
                           ? "SentencePiece Unigram"
                           : "SentencePiece BPE";
    snprintf(tokenizer->kind, sizeof tokenizer->kind, "%s, %s",
             is_json ? "tokenizer.json" : "tokenizer.model", kind);
    return is_json ? STATUS_OK : list_controls(path, tokenizer);
}

static enum status read_directory(const char *dir, const json_t *config,
                                  struct tokenizer *tokenizer) {
    char *path;
    int form = find_form(dir);
    if (form == FORMS)
        return status_fail(
            dir, "tokenizer",
            "found neither tokenizer.json nor tokenizer.model nor vocab.json with merges.txt, "
            "expected one of them; copy it there from where the model was published");
    if (form >= FORM_MERGES)
        return tokenizer_read_merges(dir, forms[form].name, forms[form].beside, config, tokenizer);
    TRY(file_join(dir, forms[form].name, &path));
    enum status status = read_file(path, tokenizer);
    free(path);
    return status;
}

static enum status read_any(const char *path, const char *dir, struct tokenizer *tokenizer) {
    char *config_path = NULL;
    json_t *config = NULL;
    enum status status = read_config(dir, &config_path, &config);
    if (status == STATUS_OK)
        status = is_directory(path) ? read_directory(path, config, tokenizer)
                                    : read_file(path, tokenizer);
    if (status == STATUS_OK)
        status = read_around(dir, config_path, config, tokenizer);
    json_decref(config);
    free(config_path);
    return status;
}

/* The directory in which a file lies; owned by the caller, NULL without memory. */
static char *directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

enum status tokenizer_open(const char *path, struct tokenizer **tokenizer) {
    char *dir = is_directory(path) ? strdup(path) : directory_of(path);
    *tokenizer = calloc(1, sizeof **tokenizer);
    enum status status = STATUS_OK;
    if (!*tokenizer || !dir)
        status = status_no_memory("a tokenizer", (long long)sizeof **tokenizer);
    else
        status =
            gguf_is(path) ? tokenizer_read_gguf(path, *tokenizer) : read_any(path, dir, *tokenizer);
    free(dir);
    if (status != STATUS_OK)
        tokenizer_close(tokenizer);
    return status;
}
