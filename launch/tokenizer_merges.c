/* A byte-level vocabulary as two files, vocab.json and merges.txt, which become the tree of a
 * tokenizer.json. What they do not say, how texts are cut and which tokens were added, stands in
 * files beside them, or follows from the vocabulary. */
#include "launch/pretokenize_family.h"
#include "launch/tokenizer_whole.h"
#include "partition/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (INT64_C(1) << 28)

static const char published[] = "restore the file as it was published";

/* -- how texts are cut ------------------------------------------------------------------------- */

struct known {
    const char *name, *family;
};

static const struct known classes[] = {
    {"GPT2Tokenizer", "gpt-2"},    {"GPT2TokenizerFast", "gpt-2"},
    {"CodeGenTokenizer", "gpt-2"}, {"CodeGenTokenizerFast", "gpt-2"},
    {"Qwen2Tokenizer", "qwen2"},   {"Qwen2TokenizerFast", "qwen2"}};
static const struct known types[] = {{"gpt2", "gpt-2"},  {"phi", "gpt-2"},
                                     {"qwen2", "qwen2"}, {"qwen2_moe", "qwen2"},
                                     {"qwen3", "qwen2"}, {"qwen3_moe", "qwen2"}};
static const struct {
    int64_t tokens, merges; /* without added tokens */
    const char *family;
} vocabularies[] = {{50256, 50000, "gpt-2"},
                    {50257, 50000, "gpt-2"},
                    {151643, 151387, "qwen2"},
                    {128000, 280147, "llama-bpe"}};

static const struct pretokenize_family *look_up(const struct known *list, int count,
                                                const char *name) {
    for (int i = 0; name && i < count; i++)
        if (!strcmp(list[i].name, name))
            return pretokenize_family_find(list[i].family);
    return NULL;
}

/* The model_type of config.json; NULL without one. Owned by the caller. */
static enum status read_model_type(const char *dir, char **type) {
    char *path;
    struct stat info;
    json_t *config = NULL;
    const char *text = NULL;
    *type = NULL;
    TRY(file_join(dir, "config.json", &path));
    enum status status = STATUS_OK;
    if (stat(path, &info) == 0)
        status = json_read(path, FILE_BYTES_MAX, &config);
    if (status == STATUS_OK)
        status = json_text(path, config, "model_type", false, &text);
    if (status == STATUS_OK && text && !(*type = strdup(text)))
        status = status_no_memory(path, (long long)strlen(text));
    json_decref(config);
    free(path);
    return status;
}

static enum status choose_family(const char *dir, const char *vocab_path, const json_t *config,
                                 int64_t tokens, int64_t merges,
                                 const struct pretokenize_family **family) {
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    char *type;
    TRY(read_model_type(dir, &type));
    *family = look_up(classes, sizeof classes / sizeof *classes, class);
    if (!*family)
        *family = look_up(types, sizeof types / sizeof *types, type);
    for (size_t i = 0; !*family && i < sizeof vocabularies / sizeof *vocabularies; i++)
        if (vocabularies[i].tokens == tokens && vocabularies[i].merges == merges)
            *family = pretokenize_family_find(vocabularies[i].family);
    free(type);
    if (*family)
        return STATUS_OK;
    return status_fail(vocab_path, "vocabulary",
                       "found %lld tokens and %lld merges, and no tokenizer_config.json that says "
                       "how texts are cut, expected a tokenizer_class of GPT2Tokenizer, "
                       "CodeGenTokenizer or Qwen2Tokenizer; take the model's tokenizer.json",
                       (long long)tokens, (long long)merges);
}

/* -- the files --------------------------------------------------------------------------------- */

/* Lines of two tokens with a blank between; the first may state a version. */
static enum status read_merges(const char *path, json_t *list) {
    char *text;
    int64_t len, line = 0;
    TRY(file_read(path, FILE_BYTES_MAX, &text, &len));
    enum status status = STATUS_OK;
    for (int64_t at = 0; at < len && status == STATUS_OK;) {
        const char *begin = text + at, *newline = memchr(begin, '\n', (size_t)(len - at));
        int64_t part = newline ? newline - begin : len - at;
        at += part + 1;
        line++;
        if (part && begin[part - 1] == '\r')
            part--;
        if (part == 0 || !strncmp(begin, "#version", 8))
            continue;
        const char *space = memchr(begin, ' ', (size_t)part);
        int64_t rest = space ? begin + part - (space + 1) : 0;
        char field[32];
        snprintf(field, sizeof field, "line %lld", (long long)line);
        if (!space || space == begin || rest == 0 || memchr(space + 1, ' ', (size_t)rest) ||
            json_array_append_new(list, json_stringn(begin, (size_t)part)) != 0)
            status = status_fail(path, field,
                                 "found \"%.*s\", expected two tokens with a blank between; %s",
                                 (int)(part < 64 ? part : 64), begin, published);
    }
    free(text);
    return status;
}

/* added_tokens_decoder of tokenizer_config.json: an object of ids. */
static enum status list_added(const char *file, const json_t *config, json_t *list) {
    const json_t *added = json_object_get(config, "added_tokens_decoder");
    const char *key;
    json_t *token;
    json_object_foreach((json_t *)added, key, token) {
        char *end;
        long long id = strtoll(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || !json_is_object(token))
            return status_fail(file, "added_tokens_decoder",
                               "found %s under \"%.32s\", expected an object under an id; %s",
                               json_words(token).text, key, published);
        json_t *copy = json_copy(token);
        json_object_set_new(copy, "id", json_integer(id));
        json_array_append_new(list, copy);
    }
    return STATUS_OK;
}

/* The tokens that tokenizer_config.json names by their parts, where the list above lacks them. */
static enum status list_named(const json_t *config, const json_t *vocab, json_t *list) {
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    for (int i = 0; i < 4; i++) {
        const json_t *token = json_object_get(config, keys[i]), *item;
        if (json_is_object(token))
            token = json_object_get(token, "content");
        const char *text = json_string_value(token);
        const json_t *id = text ? json_object_get(vocab, text) : NULL;
        bool is_listed = false;
        size_t k;
        json_array_foreach(list, k, item) if (json_equal(json_object_get(item, "content"), token))
            is_listed = true;
        if (json_is_integer(id) && !is_listed)
            TRY(added_list_put(list, json_integer_value(id), text, (int64_t)strlen(text), true,
                               false));
    }
    return STATUS_OK;
}

/* -- the whole --------------------------------------------------------------------------------- */

struct two_files {
    char *vocab_path, *merges_path; /* owned */
    json_t *vocab, *merges, *added; /* owned */
};

static enum status read_both(const char *dir, const json_t *config, struct two_files *files,
                             struct tokenizer *tokenizer) {
    const struct pretokenize_family *family = NULL;
    TRY(json_read(files->vocab_path, FILE_BYTES_MAX, &files->vocab));
    TRY(read_merges(files->merges_path, files->merges));
    TRY(choose_family(dir, files->vocab_path, config, (int64_t)json_object_size(files->vocab),
                      (int64_t)json_array_size(files->merges), &family));
    TRY(list_added(files->vocab_path, config, files->added));
    TRY(list_named(config, files->vocab, files->added));
    json_t *root = pretokenize_family_json(family);
    json_object_set_new(root, "model",
                        json_pack("{s:b,s:O,s:O}", "ignore_merges", family->ignore_merges, "vocab",
                                  files->vocab, "merges", files->merges));
    json_object_set(root, "added_tokens", files->added);
    enum status status =
        tokenizer_json_read(files->vocab_path, root, ADDED_IDS_STATED, &tokenizer->json);
    json_decref(root);
    return status;
}

enum status tokenizer_read_merges(const char *dir, const char *vocab_name, const char *merges_name,
                                  const json_t *config, struct tokenizer *tokenizer) {
    struct two_files files = {.merges = json_array(), .added = json_array()};
    enum status status = file_join(dir, vocab_name, &files.vocab_path);
    if (status == STATUS_OK)
        status = file_join(dir, merges_name, &files.merges_path);
    if (status == STATUS_OK)
        status = read_both(dir, config, &files, tokenizer);
    snprintf(tokenizer->kind, sizeof tokenizer->kind, "%s and %s, byte-level BPE", vocab_name,
             merges_name);
    json_decref(files.vocab);
    json_decref(files.merges);
    json_decref(files.added);
    free(files.vocab_path);
    free(files.merges_path);
    return status;
}
