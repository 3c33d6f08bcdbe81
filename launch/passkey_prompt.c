#include "launch/passkey_prompt.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char introduction[] =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
    "them. I will quiz you about the important information there.";
static const char question[] = "What is the pass key? The pass key is";
static const char *const filler[] = {"The grass is green.", "The sky is blue.",
                                     "The sun is yellow.", "Here we go.", "There and back again."};
#define FILLER_COUNT ((int64_t)(sizeof filler / sizeof *filler))

/* A text with so many filler sentences, and where its tokens may be cut: in the longer stretch of
 * filler, from its middle on where that is enough, away from key and question. */
struct draft {
    char *text; /* owned; the prompt, then " KEY" */
    int64_t len, prompt_len;
    int64_t stretch_first, cut_first, stretch_end; /* bytes */
};

/* What the tokenizer makes of a draft. */
struct encoded {
    struct tokens tokens; /* owned; the prompt, then the answer */
    int64_t answer;
};

/* SplitMix64, Steele et al., OOPSLA 2014. */
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void draw_key(const struct passkey_trial *trial, char key[PASSKEY_DIGITS + 1]) {
    uint64_t x = mix(trial->seed);
    x = mix(x ^ (uint64_t)trial->length);
    x = mix(x ^ (uint64_t)trial->depth);
    x = mix(x ^ (uint64_t)trial->number);
    snprintf(key, PASSKEY_DIGITS + 1, "%" PRIu64, 10000 + x % 90000);
}

/* A line of filler sentences [first, end); the cut is to begin at sentence `cut`. */
static void write_filler(FILE *out, struct draft *draft, int64_t first, int64_t end, int64_t cut) {
    if (first == end)
        return;
    bool is_cut = first <= cut && cut < end;
    if (is_cut)
        draft->stretch_first = ftell(out);
    for (int64_t i = first; i < end; i++) {
        if (i == cut)
            draft->cut_first = ftell(out);
        fprintf(out, "%s%s", i > first ? " " : "", filler[i % FILLER_COUNT]);
    }
    if (is_cut)
        draft->stretch_end = ftell(out);
    fputc('\n', out);
}

static enum status write_draft(int64_t sentences, int64_t depth, const char *key,
                               struct draft *draft) {
    size_t size = 0;
    memset(draft, 0, sizeof *draft);
    FILE *out = open_memstream(&draft->text, &size);
    if (!out)
        return status_no_memory("pass key prompt", 0);
    int64_t before = (sentences * depth + 50) / 100;
    bool in_first = before >= sentences - before;
    int64_t cut = in_first ? before / 2 : before + (sentences - before) / 2;
    fprintf(out, "%s\n", introduction);
    write_filler(out, draft, 0, before, cut);
    fprintf(out, "The pass key is %s. Remember it. %s is the pass key.\n", key, key);
    write_filler(out, draft, before, sentences, cut);
    fprintf(out, "%s", question);
    draft->prompt_len = ftell(out);
    fprintf(out, " %s", key);
    draft->len = ftell(out);
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed)
        return status_no_memory("pass key prompt", draft->len);
    return STATUS_OK;
}

/* Encodes without what the tokenizer adds behind a text (EOS). */
static enum status encode(const struct tokenizer *tokenizer, const char *text, int64_t len,
                          bool specials, struct tokens *tokens) {
    TRY(tokenizer_encode(tokenizer, text, len, specials, tokens));
    while (tokens->count > 0 && tokens->offsets[tokens->count - 1] >= len)
        tokens->count--;
    return STATUS_OK;
}

static bool begins_with(const struct tokens *whole, const struct tokens *start) {
    return start->count < whole->count &&
           memcmp(whole->ids, start->ids, (size_t)start->count * sizeof *start->ids) == 0;
}

/* Puts the answer's ids behind the prompt's. */
static enum status append(struct tokens *prompt, const struct tokens *answer) {
    size_t count = (size_t)(prompt->count + answer->count);
    int32_t *ids = realloc(prompt->ids, count * sizeof *ids + 1);
    if (!ids)
        return status_no_memory("pass key prompt", (long long)count * 4);
    memcpy(ids + prompt->count, answer->ids, (size_t)answer->count * sizeof *ids);
    prompt->ids = ids;
    prompt->count = (int64_t)count;
    return STATUS_OK;
}

/* The prompt's tokens and the answer's behind them. */
static enum status encode_draft(const struct tokenizer *tokenizer, const struct draft *draft,
                                struct encoded *encoded) {
    struct tokens whole = {0}, *prompt = &encoded->tokens;
    enum status status;
    memset(encoded, 0, sizeof *encoded);
    TRY_TO(done, encode(tokenizer, draft->text, draft->len, true, &whole));
    TRY_TO(done, encode(tokenizer, draft->text, draft->prompt_len, true, prompt));
    if (begins_with(&whole, prompt)) {
        encoded->answer = whole.count - prompt->count;
        struct tokens answer = {.ids = whole.ids + prompt->count, .count = encoded->answer};
        status = append(prompt, &answer);
    } else {
        tokens_free(&whole);
        TRY_TO(done, encode(tokenizer, draft->text + draft->prompt_len,
                            draft->len - draft->prompt_len, false, &whole));
        encoded->answer = whole.count;
        status = append(prompt, &whole);
    }
done:
    tokens_free(&whole);
    return status;
}

/* Tokens of prompt and answer with so many filler sentences. */
static enum status measure(const struct tokenizer *tokenizer, int64_t sentences, int64_t depth,
                           const char *key, struct draft *draft, struct encoded *encoded) {
    free(draft->text);
    tokens_free(&encoded->tokens);
    TRY(write_draft(sentences, depth, key, draft));
    return encode_draft(tokenizer, draft, encoded);
}

static enum status odd_tokenizer(int64_t sentences, int64_t tokens) {
    return status_fail("tokenizer", NULL,
                       "found %" PRId64 " tokens for a pass key prompt of %" PRId64
                       " filler sentences, expected more tokens for more text; this tokenizer "
                       "cannot be tested",
                       tokens, sentences);
}

/* The text without filler, which is the least that a length must hold. */
static enum status measure_least(const struct tokenizer *tokenizer,
                                 const struct passkey_trial *trial, const char *key,
                                 struct draft *draft, struct encoded *encoded) {
    TRY(measure(tokenizer, 0, trial->depth, key, draft, encoded));
    int64_t least = encoded->tokens.count;
    if (encoded->answer < 1)
        return odd_tokenizer(0, least);
    if (trial->length < least)
        return status_usage("--lengths",
                            "found %" PRId64 ", expected at least %" PRId64
                            " tokens, which the pass key's sentences and the answer take",
                            trial->length, least);
    return STATUS_OK;
}

/* Finds the smallest number of filler sentences that reaches the length: estimates it from what ten
 * sentences take, then adds one after the other. */
static enum status fill(const struct tokenizer *tokenizer, const struct passkey_trial *trial,
                        const char *key, struct draft *draft, struct encoded *encoded) {
    TRY(measure_least(tokenizer, trial, key, draft, encoded));
    int64_t least = encoded->tokens.count, length = trial->length;
    if (length == least)
        return STATUS_OK;
    TRY(measure(tokenizer, 2 * FILLER_COUNT, trial->depth, key, draft, encoded));
    int64_t taken = encoded->tokens.count - least;
    if (taken < 1)
        return odd_tokenizer(2 * FILLER_COUNT, encoded->tokens.count);
    int64_t sentences = (length - least) * 2 * FILLER_COUNT / taken - 1;
    if (sentences < 1)
        sentences = 1;
    for (int64_t end = sentences + 16 * FILLER_COUNT; sentences < end; sentences++) {
        TRY(measure(tokenizer, sentences, trial->depth, key, draft, encoded));
        if (encoded->tokens.count >= length)
            return STATUS_OK;
    }
    return odd_tokenizer(sentences, encoded->tokens.count);
}

/* Index of the first token at byte `at` or behind, of count. */
static int64_t token_at(const struct tokens *tokens, int64_t count, int64_t at) {
    int64_t index = 0;
    while (index < count && tokens->offsets[index] < at)
        index++;
    return index;
}

/* Takes the tokens beyond the length out of the filler. The token in front of the line break stays:
 * many tokenizers make the two one. */
static enum status cut(const struct draft *draft, int64_t length, struct encoded *encoded) {
    struct tokens *t = &encoded->tokens;
    int64_t excess = t->count - length, prompt = t->count - encoded->answer;
    int64_t end = token_at(t, prompt, draft->stretch_end + 1) - 1;
    int64_t first = token_at(t, prompt, draft->cut_first);
    if (first > end - excess)
        first = end - excess;
    if (first < token_at(t, prompt, draft->stretch_first))
        return status_fail("tokenizer", NULL,
                           "found no room in the filler to cut %" PRId64 " of %" PRId64
                           " tokens, expected it; ask for a longer text",
                           excess, t->count);
    memmove(t->ids + first, t->ids + first + excess, (size_t)(length - first) * sizeof *t->ids);
    t->count = length;
    return STATUS_OK;
}

enum status passkey_prompt_check(const struct tokenizer *tokenizer,
                                 const struct passkey_trial *trial) {
    struct draft draft = {0};
    struct encoded encoded = {0};
    char key[PASSKEY_DIGITS + 1];
    draw_key(trial, key);
    enum status status = measure_least(tokenizer, trial, key, &draft, &encoded);
    free(draft.text);
    tokens_free(&encoded.tokens);
    return status;
}

enum status passkey_prompt_build(const struct tokenizer *tokenizer,
                                 const struct passkey_trial *trial, struct passkey_prompt *prompt) {
    struct draft draft = {0};
    struct encoded encoded = {0};
    memset(prompt, 0, sizeof *prompt);
    draw_key(trial, prompt->key);
    enum status status = fill(tokenizer, trial, prompt->key, &draft, &encoded);
    if (status == STATUS_OK && encoded.tokens.count > trial->length)
        status = cut(&draft, trial->length, &encoded);
    if (status == STATUS_OK) {
        prompt->ids = encoded.tokens.ids;
        prompt->count = encoded.tokens.count;
        prompt->answer = encoded.answer;
        encoded.tokens.ids = NULL;
    }
    free(draft.text);
    tokens_free(&encoded.tokens);
    return status;
}

void passkey_prompt_free(struct passkey_prompt *prompt) {
    free(prompt->ids);
    memset(prompt, 0, sizeof *prompt);
}
