#include "launch/pretokenize_family.h"

#include <stdio.h>
#include <string.h>

/* The patterns as the models' own tokenizer.json have them. */
#define PUNCTUATION " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SLASHES " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static const char *const gpt2[] = {GPT2, NULL};
static const char *const llama3[] = {ENDINGS "|" BEFORE "\\p{L}+|\\p{N}{1,3}|" PUNCTUATION, NULL};
static const char *const qwen2[] = {ENDINGS "|" BEFORE "\\p{L}+|\\p{N}|" PUNCTUATION, NULL};
static const char *const gpt4o[] = {BEFORE UPPER "*" LOWER "+" ENDINGS "?|" BEFORE UPPER "+" LOWER
                                                 "*" ENDINGS "?|\\p{N}{1,3}|" SLASHES,
                                    NULL};
static const char *const tekken[] = {
    BEFORE UPPER "*" LOWER "+|" BEFORE UPPER "+" LOWER "*|\\p{N}|" SLASHES, NULL};
/* llama.cpp's own, for files whose converter did not know the vocabulary. */
static const char *const standard[] = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "\\p{N}+",
    "[0-9][0-9][0-9]", NULL};

/* Names of llama.cpp's llama-vocab.cpp; what they mean, from the models' tokenizer.json. */
static const struct pretokenize_family families[] = {
    {.name = "default", .patterns = standard},
    {.name = "gpt-2", .patterns = gpt2},
    {.name = "phi-2", .patterns = gpt2},
    {.name = "mpt", .patterns = gpt2, .composes = true},
    {.name = "olmo", .patterns = gpt2, .composes = true},
    {.name = "llama-bpe", .patterns = llama3, .ignore_merges = true, .adds_bos = true},
    {.name = "llama3", .patterns = llama3, .ignore_merges = true, .adds_bos = true},
    {.name = "llama-v3", .patterns = llama3, .ignore_merges = true, .adds_bos = true},
    {.name = "smaug-bpe", .patterns = llama3},
    {.name = "dbrx", .patterns = llama3},
    {.name = "qwen2", .patterns = qwen2, .composes = true},
    {.name = "deepseek-r1-qwen", .patterns = qwen2, .composes = true},
    {.name = "smollm", .patterns = gpt2, .digits_alone = true},
    {.name = "starcoder", .patterns = gpt2, .digits_alone = true},
    {.name = "refact", .patterns = gpt2, .digits_alone = true},
    {.name = "codeshell", .patterns = gpt2, .digits_alone = true},
    {.name = "command-r", .patterns = gpt2, .digits_alone = true},
    {.name = "gpt-4o", .patterns = gpt4o},
    {.name = "llama4", .patterns = gpt4o},
    {.name = "tekken", .patterns = tekken, .ignore_merges = true, .adds_bos = true},
};
enum { FAMILIES = sizeof families / sizeof *families };

const struct pretokenize_family *pretokenize_family_find(const char *name) {
    for (int i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i].name, name))
            return &families[i];
    return NULL;
}

const char *pretokenize_family_names(void) {
    static char names[512];
    size_t len = 0;
    for (int i = 0; i < FAMILIES && len < sizeof names; i++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
                                families[i].name);
    return names;
}

json_t *pretokenize_family_json(const struct pretokenize_family *family) {
    json_t *steps = json_array();
    if (family->digits_alone)
        json_array_append_new(steps,
                              json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1));
    for (const char *const *pattern = family->patterns; *pattern; pattern++)
        json_array_append_new(steps,
                              json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern",
                                        "Regex", *pattern, "behavior", "Isolated", "invert", 0));
    json_array_append_new(steps, json_pack("{s:s,s:b,s:b}", "type", "ByteLevel", "add_prefix_space",
                                           0, "use_regex", 0));
    json_t *root = json_pack("{s:{s:s,s:o},s:{s:s}}", "pre_tokenizer", "type", "Sequence",
                             "pretokenizers", steps, "decoder", "type", "ByteLevel");
    if (root && family->composes)
        json_object_set_new(root, "normalizer", json_pack("{s:s}", "type", "NFC"));
    return root;
}
