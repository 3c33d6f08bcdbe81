#include "launch/passkey_prompt.h"
#include "tests/testing.h"

#include <inttypes.h>

/* The paper's words, written out once more. */
#define INTRODUCTION                                                                               \
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "     \
    "them. I will quiz you about the important information there.\n"
#define FILLER                                                                                     \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
#define QUESTION "What is the pass key? The pass key is"

static struct tokenizer *open_tokenizer(const char *dir) {
    struct tokenizer *tokenizer = NULL;
    ck_assert_msg(tokenizer_open(dir, &tokenizer) == STATUS_OK, "%s", status_text());
    return tokenizer;
}

static struct tokenizer *open_demo(void) {
    return open_tokenizer(path_of("%s/launch/demo-model", QUIRE_SOURCE_DIR).text);
}

static struct passkey_prompt build(const struct tokenizer *tokenizer, int64_t length, int64_t depth,
                                   int64_t number) {
    struct passkey_trial trial = {.seed = 1, .length = length, .depth = depth, .number = number};
    struct passkey_prompt prompt;
    ck_assert_msg(passkey_prompt_build(tokenizer, &trial, &prompt) == STATUS_OK, "%s",
                  status_text());
    return prompt;
}

/* The least length, as a refusal names it. */
static int64_t least_length(const struct tokenizer *tokenizer, int64_t depth) {
    struct passkey_trial trial = {.length = 2, .depth = depth};
    struct passkey_prompt prompt;
    int64_t least = 0;
    REQUIRE(passkey_prompt_build(tokenizer, &trial, &prompt) == STATUS_USAGE);
    passkey_prompt_free(&prompt);
    ck_assert_msg(sscanf(status_text(), "--lengths: found 2, expected at least %" SCNd64, &least) ==
                      1,
                  "%s", status_text());
    return least;
}

/* Text of ids, owned by the caller. */
static char *text_of(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count) {
    struct decoder *decoder;
    const char *text;
    char *whole = NULL;
    size_t size;
    int64_t len;
    FILE *out = open_memstream(&whole, &size);
    REQUIRE(decoder_open(tokenizer, &decoder) == STATUS_OK);
    for (int64_t i = 0; i < count; i++) {
        REQUIRE(decoder_put(decoder, ids[i], &text, &len) == STATUS_OK);
        REQUIRE(len == 0 || fwrite(text, 1, (size_t)len, out) == (size_t)len);
    }
    REQUIRE(decoder_end(decoder, &text, &len) == STATUS_OK);
    REQUIRE(len == 0 || fwrite(text, 1, (size_t)len, out) == (size_t)len);
    decoder_close(&decoder);
    fclose(out);
    return whole;
}

static struct path fact_of(const struct passkey_prompt *prompt) {
    return path_of("The pass key is %s. Remember it. %s is the pass key.\n", prompt->key,
                   prompt->key);
}

/* Prompt and answer are the length asked for, whatever it is. */
static void check_lengths(const struct tokenizer *tokenizer) {
    for (int64_t depth = 0; depth <= 100; depth += 25) {
        int64_t least = least_length(tokenizer, depth);
        for (int64_t more = 16; more < 80; more++) { /* keys differ in their tokens by less */
            struct passkey_prompt prompt = build(tokenizer, least + more, depth, more);
            REQUIRE(prompt.count == least + more);
            REQUIRE(prompt.answer >= 1 && prompt.answer <= PASSKEY_DIGITS + 1);
            passkey_prompt_free(&prompt);
        }
        static const int64_t lengths[] = {997, 2048, 4099};
        for (int i = 0; i < 3; i++) {
            struct passkey_prompt prompt = build(tokenizer, lengths[i], depth, i);
            REQUIRE(prompt.count == lengths[i]);
            passkey_prompt_free(&prompt);
        }
    }
}

/* Takes `words` off the front of text. */
static const char *skip(const char *text, const char *words) {
    ck_assert_msg(strncmp(text, words, strlen(words)) == 0, "expected \"%s\" at \"%.200s\"", words,
                  text);
    return text + strlen(words);
}

/* The filler from sentence `first` on, at least `least` bytes; owned by the caller. */
static char *filler_from(int64_t first, int64_t least) {
    static const char *const sentences[] = {"The grass is green.", "The sky is blue.",
                                            "The sun is yellow.", "Here we go.",
                                            "There and back again."};
    char *text = malloc((size_t)least + 100);
    ck_assert_ptr_nonnull(text);
    for (int64_t len = 0, i = first; len < least; i++)
        len += sprintf(text + len, "%s ", sentences[i % 5]);
    return text;
}

/* A line of filler [text, end) with its line break: whole sentences one after the other from
 * *sentence on, which is moved behind them; one stretch of less than 30 bytes may be missing.
 * Returns the bytes that are missing. */
static int64_t check_filler(const char *text, const char *end, int64_t *sentence) {
    int64_t len = end - text - 1, before = 0;
    if (end == text)
        return 0;
    REQUIRE(text[len] == '\n');
    char *whole = filler_from(*sentence, len + 60);
    while (before < len && text[before] == whole[before])
        before++;
    for (int64_t missing = 0; missing < 30; missing++) {
        if (whole[len + missing - 1] != '.')
            continue;
        int64_t behind = len;
        while (behind > 0 && text[behind - 1] == whole[behind - 1 + missing])
            behind--;
        if (behind > before)
            continue;
        for (int64_t i = 0; i < len + missing; i++)
            *sentence += whole[i] == '.';
        free(whole);
        return missing;
    }
    ck_abort_msg("no filler: %.200s", text);
    return 0;
}

/* The parts stand in their order, each whole, and the key is as deep as asked for. */
static void check_text(const struct tokenizer *tokenizer, int64_t length, int64_t depth) {
    struct passkey_prompt prompt = build(tokenizer, length, depth, 3);
    char *text = text_of(tokenizer, prompt.ids, prompt.count - prompt.answer);
    const char *before = skip(text, INTRODUCTION), *fact = strstr(text, fact_of(&prompt).text);
    ck_assert_ptr_nonnull(fact);
    const char *behind = fact + strlen(fact_of(&prompt).text);
    const char *question = strstr(behind, QUESTION);
    ck_assert_ptr_nonnull(question);
    ck_assert_str_eq(question, QUESTION);
    int64_t sentence = 0;
    int64_t missing = check_filler(before, fact, &sentence);
    REQUIRE(check_filler(behind, question, &sentence) == 0 || missing == 0);
    double filler = (double)(fact - before + question - behind);
    ck_assert_double_eq_tol((double)(fact - before) / filler, (double)depth / 100, 40 / filler);
    free(text);

    text = text_of(tokenizer, prompt.ids + prompt.count - prompt.answer, prompt.answer);
    ck_assert_str_eq(text + (*text == ' '), prompt.key);
    free(text);
    passkey_prompt_free(&prompt);
}

static void check_texts(const struct tokenizer *tokenizer) {
    static const int64_t lengths[] = {256, 300, 1000, 1001, 1002, 1003, 5000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int64_t depth = 0; depth <= 100; depth += 20)
            check_text(tokenizer, lengths[i], depth);
}

/* Where nothing is cut the ids are those of the text, as they come from the tokenizer. */
static void check_ids(const struct tokenizer *tokenizer) {
    int64_t count = 0;
    for (int round = 0; round < 4; round++) { /* the key depends on the length */
        struct passkey_prompt prompt = build(tokenizer, count ? count : 400, 0, 0);
        struct tokens tokens;
        struct path text = path_of(INTRODUCTION "%s" FILLER " " FILLER "\n" QUESTION " %s",
                                   fact_of(&prompt).text, prompt.key);
        REQUIRE(tokenizer_encode(tokenizer, text.text, (int64_t)strlen(text.text), true, &tokens) ==
                STATUS_OK);
        bool same = prompt.count == tokens.count;
        if (same)
            ck_assert_mem_eq(prompt.ids, tokens.ids, (size_t)tokens.count * sizeof *tokens.ids);
        count = tokens.count;
        tokens_free(&tokens);
        passkey_prompt_free(&prompt);
        if (same)
            return;
    }
    ck_abort_msg("no length found at which nothing is cut");
}

static void check_tokenizer(const char *name) {
    struct path dir;
    if (!shared(name, &dir))
        return;
    struct tokenizer *tokenizer = open_tokenizer(dir.text);
    check_lengths(tokenizer);
    check_texts(tokenizer);
    check_ids(tokenizer);
    tokenizer_close(&tokenizer);
}

START_TEST(demo_model) {
    struct tokenizer *tokenizer = open_demo();
    check_lengths(tokenizer);
    check_texts(tokenizer);
    check_ids(tokenizer);
    tokenizer_close(&tokenizer);
}
END_TEST

START_TEST(llama2) {
    check_tokenizer("vocab/llama-2");
}
END_TEST

START_TEST(qwen2) {
    check_tokenizer("vocab/qwen2");
}
END_TEST

START_TEST(stories260k) {
    check_tokenizer("models/stories260K-hf");
}
END_TEST

/* One token a character, no digits, line breaks unknown: the lengths hold all the same. */
START_TEST(characters) {
    struct path dir;
    if (!shared("models/babyllama-105-hf", &dir))
        return;
    struct tokenizer *tokenizer = open_tokenizer(dir.text);
    check_lengths(tokenizer);
    tokenizer_close(&tokenizer);
}
END_TEST

START_TEST(keys_by_chance) {
    struct tokenizer *tokenizer = open_demo();
    char seen[200][PASSKEY_DIGITS + 1];
    int equal = 0;
    for (int i = 0; i < 200; i++) {
        struct passkey_prompt a = build(tokenizer, 300, 50, i), b = build(tokenizer, 300, 50, i);
        ck_assert_str_eq(a.key, b.key);
        ck_assert_mem_eq(a.ids, b.ids, 300 * sizeof *a.ids);
        REQUIRE(strlen(a.key) == PASSKEY_DIGITS && a.key[0] != '0');
        REQUIRE(strspn(a.key, "0123456789") == PASSKEY_DIGITS);
        memcpy(seen[i], a.key, sizeof a.key);
        for (int j = 0; j < i; j++)
            equal += strcmp(seen[i], seen[j]) == 0;
        passkey_prompt_free(&a);
        passkey_prompt_free(&b);
    }
    ck_assert_int_le(equal, 4); /* 0.2 expected of 200 draws among 90,000 */
    tokenizer_close(&tokenizer);
}
END_TEST

START_TEST(each_number_of_a_trial_counts) {
    static const struct passkey_trial trials[] = {
        {1, 300, 50, 0}, {2, 300, 50, 0}, {1, 301, 50, 0}, {1, 300, 51, 0}, {1, 300, 50, 1}};
    struct tokenizer *tokenizer = open_demo();
    char keys[5][PASSKEY_DIGITS + 1];
    for (int i = 0; i < 5; i++) {
        struct passkey_prompt prompt;
        REQUIRE(passkey_prompt_build(tokenizer, &trials[i], &prompt) == STATUS_OK);
        memcpy(keys[i], prompt.key, sizeof prompt.key);
        passkey_prompt_free(&prompt);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(keys[i], keys[j]);
    }
    tokenizer_close(&tokenizer);
}
END_TEST

/* Each digit is a token of its own here, so every key needs the same least length. */
START_TEST(least) {
    struct tokenizer *tokenizer = open_demo();
    int64_t length = least_length(tokenizer, 50);
    struct passkey_trial trial = {.length = length - 1, .depth = 50};
    struct passkey_prompt prompt;
    REQUIRE(passkey_prompt_build(tokenizer, &trial, &prompt) == STATUS_USAGE);
    passkey_prompt_free(&prompt);
    for (int64_t more = 0; more < 16; more++) {
        prompt = build(tokenizer, length + more, 50, 0);
        REQUIRE(prompt.count == length + more);
        passkey_prompt_free(&prompt);
    }
    tokenizer_close(&tokenizer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("passkey_prompt");
    suite_add(suite, "prompts",
              (const TTest *const[]){demo_model, llama2, qwen2, stories260k, characters,
                                     keys_by_chance, each_number_of_a_trial_counts, least, NULL});
    return suite_run(suite);
}
