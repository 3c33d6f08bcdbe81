/* Tokens and texts against the reference implementations: Hugging Face tokenizers and SentencePiece
 * made what fixtures/tokenizer/ expects (make.py there), llama.cpp what stands beside the
 * vocabularies of the shared data. */
#include "launch/tokenizer.h"
#include "testing.h"
#include <jansson.h>
#include <stdint.h>

/* -- tokenizers in directories of their own -----------------------------------------------------
 */

struct opened {
    struct path dir;
    struct tokenizer *tokenizer;
};

static struct opened open_dir(struct path dir) {
    struct opened opened = {.dir = dir};
    ck_assert_msg(tokenizer_open(dir.text, &opened.tokenizer) == STATUS_OK, "%s", status_text());
    return opened;
}

static void close_dir(struct opened *opened) {
    tokenizer_close(&opened->tokenizer);
    ck_assert_ptr_null(opened->tokenizer);
    files_remove(opened->dir);
}

/* A tokenizer file under the name that a model directory gives it. */
static struct opened open_file(const char *path) {
    struct path dir = files_new();
    size_t len = strlen(path);
    bool is_json = len > 5 && !strcmp(path + len - 5, ".json");
    file_copy(path, dir.text, is_json ? "tokenizer.json" : "tokenizer.model");
    return open_dir(dir);
}

static struct opened open_json(const json_t *json) {
    struct path dir = files_new();
    char *text = json_dumps(json, JSON_COMPACT);
    ck_assert_ptr_nonnull(text);
    file_write_text(dir.text, "tokenizer.json", text);
    free(text);
    return open_dir(dir);
}

static json_t *load_json(const char *path) {
    json_error_t error;
    json_t *json = json_load_file(path, JSON_ALLOW_NUL, &error);
    ck_assert_msg(json != NULL, "%s: %s", path, error.text);
    return json;
}

static json_t *demo_json(void) {
    return load_json(path_of("%s/launch/demo-model/tokenizer.json", QUIRE_SOURCE_DIR).text);
}

static struct opened open_demo(void) {
    json_t *json = demo_json();
    struct opened opened = open_json(json);
    json_decref(json);
    return opened;
}

/* Llama 3's tokenizer.json from its parts, in the form in which the models ship it. */
static bool open_llama3(struct opened *opened) {
    static const char pattern[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    struct path encoder, merges_path;
    if (!shared("vocab/llama-3.2/encoder.json", &encoder) ||
        !shared("vocab/llama-3.2/vocab.bpe", &merges_path))
        return false;
    size_t len;
    char *lines = file_load(merges_path.text, &len);
    json_t *merges = json_array();
    for (char *next = lines, *line; (line = strsep(&next, "\n"));)
        if (*line && strncmp(line, "#version", 8) != 0)
            json_array_append_new(merges, json_string(line));
    free(lines);
    json_t *added = json_array();
    static const char *const names[] = {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"};
    for (int i = 0; i < 3; i++)
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b}", "id", 128000 + i, "content",
                                               names[i], "special", 1, "normalized", 0));
    json_t *json = json_pack(
        "{s:s, s:o, s:n, s:{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b, s:b}]},"
        " s:{s:s, s:[{s:s}, {s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}],"
        " s:{s:{s:s, s:[i], s:[s]}}}]}, s:{s:s}, s:{s:s, s:b, s:o, s:o}}",
        "version", "1.0", "added_tokens", added, "normalizer", "pre_tokenizer", "type", "Sequence",
        "pretokenizers", "type", "Split", "pattern", "Regex", pattern, "behavior", "Isolated",
        "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0,
        "post_processor", "type", "Sequence", "processors", "type", "ByteLevel", "type",
        "TemplateProcessing", "single", "SpecialToken", "id", names[0], "type_id", 0, "Sequence",
        "id", "A", "type_id", 0, "special_tokens", names[0], "id", names[0], "ids", 128000,
        "tokens", names[0], "decoder", "type", "ByteLevel", "model", "type", "BPE", "ignore_merges",
        1, "vocab", load_json(encoder.text), "merges", merges);
    ck_assert_ptr_nonnull(json);
    *opened = open_json(json);
    json_decref(json);
    return true;
}

/* -- comparing ----------------------------------------------------------------------------------
 */

static struct tokens encode(const struct tokenizer *tokenizer, const char *text, int64_t len) {
    struct tokens tokens;
    ck_assert_msg(tokenizer_encode(tokenizer, text, len, false, &tokens) == STATUS_OK, "%s",
                  status_text());
    for (int64_t i = 0; i < tokens.count; i++) {
        REQUIRE(tokens.ids[i] >= 0 && tokens.ids[i] < tokenizer_size(tokenizer));
        REQUIRE(tokens.offsets[i] >= (i ? tokens.offsets[i - 1] : 0) && tokens.offsets[i] <= len);
    }
    return tokens;
}

/* Decodes token by token; what comes out of each step must be whole characters. Owned by the
 * caller. */
static char *decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count,
                    int64_t *len) {
    struct decoder *decoder;
    char *text = NULL;
    *len = 0;
    ck_assert_int_eq(decoder_open(tokenizer, &decoder), STATUS_OK);
    for (int64_t i = 0; i <= count; i++) {
        const char *part;
        int64_t part_len;
        REQUIRE((i < count ? decoder_put(decoder, ids[i], &part, &part_len)
                           : decoder_end(decoder, &part, &part_len)) == STATUS_OK);
        REQUIRE(text_valid_utf8(part, part_len) == part_len);
        text = realloc(text, (size_t)(*len + part_len) + 1);
        memcpy(text + *len, part, (size_t)part_len);
        *len += part_len;
    }
    text[*len] = '\0';
    decoder_close(&decoder);
    ck_assert_ptr_null(decoder);
    return text;
}

static void check_ids(const struct tokens *tokens, const json_t *expected, const char *of,
                      const char *text) {
    ck_assert_msg(tokens->count == (int64_t)json_array_size(expected),
                  "%s: \"%s\": %lld tokens, expected %zu", of, text, (long long)tokens->count,
                  json_array_size(expected));
    for (int64_t i = 0; i < tokens->count; i++) {
        json_int_t id = json_integer_value(json_array_get(expected, (size_t)i));
        if (tokens->ids[i] != id)
            ck_abort_msg("%s: \"%s\": token %lld is %d, expected %lld", of, text, (long long)i,
                         tokens->ids[i], (long long)id);
    }
}

/* expected: {"ids": [...], "decoded": [...]} beside a list of texts. */
static void check_texts(const struct tokenizer *tokenizer, const json_t *texts,
                        const json_t *expected, const char *of) {
    const json_t *ids = json_object_get(expected, "ids"), *item;
    const json_t *decoded = json_object_get(expected, "decoded");
    size_t i;
    ck_assert_uint_gt(json_array_size(texts), 20);
    ck_assert_uint_eq(json_array_size(ids), json_array_size(texts));
    json_array_foreach(texts, i, item) {
        const char *text = json_string_value(item);
        struct tokens tokens = encode(tokenizer, text, (int64_t)json_string_length(item));
        check_ids(&tokens, json_array_get(ids, i), of, text);
        int64_t len;
        char *back = decode(tokenizer, tokens.ids, tokens.count, &len);
        const json_t *wanted = json_array_get(decoded, i);
        ck_assert_msg(len == (int64_t)json_string_length(wanted) &&
                          !memcmp(back, json_string_value(wanted), (size_t)len),
                      "%s: \"%s\" decodes to \"%s\", expected \"%s\"", of, text, back,
                      json_string_value(wanted));
        free(back);
        tokens_free(&tokens);
    }
}

static uint64_t hash(const struct tokens *tokens) {
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (int64_t i = 0; i < tokens->count; i++)
        for (int shift = 0; shift < 32; shift += 8)
            value = (value ^ ((uint32_t)tokens->ids[i] >> shift & 0xff)) * UINT64_C(0x100000001b3);
    return value;
}

/* One string over and over, which must neither fail nor take for ever. */
static void check_runs(const struct tokenizer *tokenizer, const json_t *runs,
                       const json_t *expected, const char *of) {
    const json_t *item;
    size_t i;
    json_array_foreach(runs, i, item) {
        const char *unit = json_string_value(json_array_get(item, 0));
        size_t len = strlen(unit), count = (size_t)json_integer_value(json_array_get(item, 1));
        char *text = malloc(len * count);
        ck_assert_ptr_nonnull(text);
        for (size_t k = 0; k < count; k++)
            memcpy(text + k * len, unit, len);
        struct tokens tokens = encode(tokenizer, text, (int64_t)(len * count));
        const json_t *wanted = json_array_get(expected, i);
        char found[17];
        snprintf(found, sizeof found, "%016llx", (unsigned long long)hash(&tokens));
        ck_assert_msg(tokens.count == json_integer_value(json_array_get(wanted, 0)) &&
                          !strcmp(found, json_string_value(json_array_get(wanted, 1))),
                      "%s: %zu times \"%s\": other tokens than expected", of, count, unit);
        tokens_free(&tokens);
        free(text);
    }
}

/* -- the fixtures -------------------------------------------------------------------------------
 */

static void check_reference(const struct tokenizer *tokenizer, const json_t *reference,
                            const char *name) {
    const json_t *expected = json_object_get(json_object_get(reference, "expected"), name);
    ck_assert_ptr_nonnull(expected);
    check_texts(tokenizer, json_object_get(reference, "texts"), expected, name);
    check_runs(tokenizer, json_object_get(reference, "runs"), json_object_get(expected, "runs"),
               name);
}

START_TEST(test_demo_tokens_are_the_references) {
    json_t *reference = load_json(fixture("fixtures/tokenizer/reference.json").text);
    struct opened demo = open_demo();
    check_reference(demo.tokenizer, reference, "demo");
    ck_assert_int_eq(tokenizer_size(demo.tokenizer), 1024);
    ck_assert_str_eq(tokenizer_kind(demo.tokenizer), "tokenizer.json, byte-level BPE");
    close_dir(&demo);
    json_decref(reference);
}
END_TEST

/* The reference knows offsets of characters only, so ours are held against the character. */
START_TEST(test_demo_offsets_are_the_references) {
    json_t *reference = load_json(fixture("fixtures/tokenizer/reference.json").text);
    struct opened demo = open_demo();
    const json_t *texts = json_object_get(reference, "texts"), *item;
    size_t i;
    json_array_foreach(texts, i, item) {
        const char *text = json_string_value(item);
        const json_t *expected = json_array_get(json_object_get(reference, "offsets"), i);
        struct tokens tokens = encode(demo.tokenizer, text, (int64_t)json_string_length(item));
        ck_assert_int_eq(tokens.count, (int64_t)json_array_size(expected));
        for (int64_t k = 0; k < tokens.count; k++) {
            int64_t offset = tokens.offsets[k];
            while (offset > 0 && ((unsigned char)text[offset] & 0xc0) == 0x80)
                offset--;
            ck_assert_int_eq(offset, json_integer_value(json_array_get(expected, (size_t)k)));
        }
        tokens_free(&tokens);
    }
    close_dir(&demo);
    json_decref(reference);
}
END_TEST

START_TEST(test_shared_vocabularies_tokens_are_the_references) {
    json_t *reference = load_json(fixture("fixtures/tokenizer/reference.json").text);
    const char *name;
    json_t *expected;
    json_object_foreach(json_object_get(reference, "expected"), name, expected) {
        struct path path;
        struct opened opened;
        if (!strcmp(name, "demo"))
            continue;
        if (!strcmp(name, "vocab/llama-3.2")) {
            if (!open_llama3(&opened))
                continue;
        } else if (shared(name, &path)) {
            opened = open_file(path.text);
        } else {
            continue;
        }
        check_reference(opened.tokenizer, reference, name);
        close_dir(&opened);
    }
    json_decref(reference);
}
END_TEST

START_TEST(test_other_parts_tokens_are_the_references) {
    json_t *root = load_json(fixture("fixtures/tokenizer/variants.json").text);
    const json_t *variants = json_object_get(root, "variants"), *variant;
    size_t i;
    ck_assert_uint_gt(json_array_size(variants), 20);
    json_array_foreach(variants, i, variant) {
        json_t *json = demo_json();
        json_object_update(json, json_object_get(variant, "change"));
        struct opened opened = open_json(json);
        check_texts(opened.tokenizer, json_object_get(root, "texts"), variant,
                    json_string_value(json_object_get(variant, "name")));
        close_dir(&opened);
        json_decref(json);
    }
    json_decref(root);
}
END_TEST

START_TEST(test_sentencepiece_tokens_are_the_references) {
    json_t *root = load_json(fixture("fixtures/tokenizer/sentencepiece.json").text);
    const char *name;
    json_t *expected;
    json_object_foreach(json_object_get(root, "models"), name, expected) {
        struct path path = path_of("%s/tests/fixtures/tokenizer/%s.model", QUIRE_SOURCE_DIR, name);
        struct opened opened = open_file(path.text);
        check_texts(opened.tokenizer, json_object_get(root, "texts"), expected, name);
        ck_assert_str_eq(tokenizer_kind(opened.tokenizer),
                         strstr(name, "unigram") ? "tokenizer.model, SentencePiece Unigram"
                                                 : "tokenizer.model, SentencePiece BPE");
        close_dir(&opened);
    }
    json_decref(root);
}
END_TEST

START_TEST(test_unigram_tokens_are_the_references) {
    json_t *root = load_json(fixture("fixtures/tokenizer/unigram.json").text);
    const json_t *tokenizers = json_object_get(root, "tokenizers"), *one;
    size_t i;
    ck_assert_uint_ge(json_array_size(tokenizers), 4);
    json_array_foreach(tokenizers, i, one) {
        struct opened opened = open_json(json_object_get(one, "tokenizer"));
        check_texts(opened.tokenizer, json_object_get(root, "texts"), one,
                    json_string_value(json_object_get(one, "name")));
        ck_assert_str_eq(tokenizer_kind(opened.tokenizer), "tokenizer.json, Unigram");
        close_dir(&opened);
    }
    json_decref(root);
}
END_TEST

/* Where special tokens do not count, no text becomes one, not even by pieces of the vocabulary: the
 * Unigram here has <s> among its pieces. Within marked ranges alone the same holds. */
START_TEST(test_special_tokens_can_be_ordinary_text) {
    static const char text[] = "<s> The<s>said";
    static const struct text_range second = {7, 10};
    const struct encode_rules rules[] = {{.specials = false},
                                         {.specials = true, .plain = &second, .plain_count = 1}};
    json_t *root = load_json(fixture("fixtures/tokenizer/unigram.json").text), *one;
    size_t i;
    json_array_foreach(json_object_get(root, "tokenizers"), i, one) {
        struct opened opened = open_json(json_object_get(one, "tokenizer"));
        for (int way = 0; way < 2; way++) {
            struct tokens tokens;
            int begins = 0, said = 0;
            ck_assert_int_eq(
                tokenizer_encode_by(opened.tokenizer, text, sizeof text - 1, &rules[way], &tokens),
                STATUS_OK);
            for (int64_t k = 0; k < tokens.count; k++) {
                begins += tokens.ids[k] == 1;
                said += tokens.ids[k] == tokenizer_size(opened.tokenizer) - 1;
            }
            ck_assert_int_eq(begins, way);
            ck_assert_int_eq(said, 1); /* an added token that is not special */
            tokens_free(&tokens);
        }
        close_dir(&opened);
    }
    json_decref(root);
}
END_TEST

/* -- llama.cpp's vectors ------------------------------------------------------------------------
 */

/* NAME.inp holds texts between separators, NAME.out the ids of one text a line. */
static void check_vectors(const struct tokenizer *tokenizer, const char *name) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    struct path input, output;
    if (!shared(path_of("vocab/llama.cpp/ggml-vocab-%s.gguf.inp", name).text, &input) ||
        !shared(path_of("vocab/llama.cpp/ggml-vocab-%s.gguf.out", name).text, &output))
        return;
    size_t input_len, output_len;
    char *texts = file_load(input.text, &input_len), *lines = file_load(output.text, &output_len);
    char *text = texts, *next_line = lines;
    int checked = 0;
    /* The last separator ends the file. */
    for (; text && text < texts + input_len; checked++) {
        char *end = strstr(text, separator), *line = strsep(&next_line, "\n");
        ck_assert_ptr_nonnull(line);
        int64_t len = end ? end - text : (int64_t)strlen(text);
        struct tokens tokens = encode(tokenizer, text, len);
        int64_t back_len;
        char *back = decode(tokenizer, tokens.ids, tokens.count, &back_len);
        ck_assert_msg(back_len == len && !memcmp(back, text, (size_t)len), "%s, text %d: %s", name,
                      checked, back);
        free(back);
        for (int64_t i = 0; i < tokens.count; i++) {
            long id = strtol(line, &line, 10);
            ck_assert_msg(id == tokens.ids[i], "%s, text %d: token %lld is %d, expected %ld", name,
                          checked, (long long)i, tokens.ids[i], id);
        }
        ck_assert_uint_eq(strspn(line, " "), strlen(line));
        tokens_free(&tokens);
        text = end ? end + sizeof separator - 1 : NULL;
    }
    ck_assert_int_eq(checked, 46);
    free(texts);
    free(lines);
}

START_TEST(test_llama_cpp_agrees) {
    static const char *const files[][2] = {
        {"vocab/llama-2/tokenizer.json", "llama-spm"},
        {"vocab/llama-2/tokenizer.model", "llama-spm"},
        {"vocab/llama.cpp/ggml-vocab-llama-spm.gguf", "llama-spm"},
        {"vocab/llama.cpp/ggml-vocab-phi-3.gguf", "phi-3"},
        {"vocab/llama.cpp/ggml-vocab-gpt-2.gguf", "gpt-2"},
        {"vocab/qwen2/tokenizer.json", "qwen2"},
        {"vocab/llama-3.2", "llama-bpe"}};
    struct opened opened;
    struct path path;
    for (int i = 0; i < (int)(sizeof files / sizeof *files); i++)
        if (shared(files[i][0], &path)) {
            struct tokenizer *tokenizer;
            ck_assert_msg(tokenizer_open(path.text, &tokenizer) == STATUS_OK, "%s", status_text());
            check_vectors(tokenizer, files[i][1]);
            tokenizer_close(&tokenizer);
        }
    if (open_llama3(&opened)) {
        check_vectors(opened.tokenizer, "llama-bpe");
        close_dir(&opened);
    }
}
END_TEST

/* What the vocabulary's publishers say of it. */
START_TEST(test_mistral_says_hello) {
    static const int32_t expected[] = {22557, 28725, 586, 1141, 349};
    struct path path;
    if (!shared("vocab/mistral/tokenizer.model.v1", &path))
        return;
    struct opened opened = open_file(path.text);
    struct tokens tokens = encode(opened.tokenizer, "Hello, my name is", 17);
    ck_assert_int_eq(tokens.count, 5);
    ck_assert_mem_eq(tokens.ids, expected, sizeof expected);
    tokens_free(&tokens);
    close_dir(&opened);
}
END_TEST

/* -- streams and whole texts --------------------------------------------------------------------
 */

static void check_round_trip(const struct tokenizer *tokenizer, const char *path) {
    size_t len;
    int64_t back_len;
    char *text = file_load(path, &len);
    struct tokens tokens = encode(tokenizer, text, (int64_t)len);
    char *back = decode(tokenizer, tokens.ids, tokens.count, &back_len);
    ck_assert_uint_eq((size_t)back_len, len);
    ck_assert_int_eq(memcmp(back, text, len), 0);
    free(back);
    tokens_free(&tokens);
    free(text);
}

START_TEST(test_texts_come_back) {
    struct opened demo = open_demo();
    struct opened bytes = open_file(fixture("fixtures/tokenizer/bytes.model").text);
    struct path readme = path_of("%s/launch/demo-model/README.md", QUIRE_SOURCE_DIR), book;
    check_round_trip(demo.tokenizer, readme.text);
    check_round_trip(bytes.tokenizer, readme.text);
    check_round_trip(demo.tokenizer, fixture("testing.h").text);
    if (shared("books/sherlock-holmes.txt", &book)) {
        check_round_trip(demo.tokenizer, book.text);
        check_round_trip(bytes.tokenizer, book.text);
    }
    close_dir(&demo);
    close_dir(&bytes);
}
END_TEST

/* A byte piece <0xXX> of the models here follows <unk>, <s>, </s> and the user-defined symbols. */
static int32_t byte_piece(const struct tokenizer *tokenizer, unsigned char byte) {
    struct tokens nul = encode(tokenizer, "\x01", 1);
    int32_t id = nul.ids[nul.count - 1] - 1 + byte;
    tokens_free(&nul);
    return id;
}

static void check_bytes(const struct tokenizer *tokenizer, const char *bytes, int32_t last,
                        const char *expected) {
    int32_t ids[16];
    int64_t count = 0, len;
    for (; bytes[count]; count++)
        ids[count] = byte_piece(tokenizer, (unsigned char)bytes[count]);
    if (last >= 0)
        ids[count++] = last;
    char *text = decode(tokenizer, ids, count, &len);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(test_invalid_bytes_decode_to_replacement_characters) {
    struct opened bytes = open_file(fixture("fixtures/tokenizer/bytes.model").text);
    struct tokens letter = encode(bytes.tokenizer, "xe", 2);
    int32_t e = letter.ids[letter.count - 1];
    tokens_free(&letter);
    check_bytes(bytes.tokenizer, "\xe2\x82\xac", -1, "\xe2\x82\xac");
    check_bytes(bytes.tokenizer, "\xe2\x82", -1, "\xef\xbf\xbd\xef\xbf\xbd");
    check_bytes(bytes.tokenizer, "\xe2\x82", e,
                "\xef\xbf\xbd\xef\xbf\xbd"
                "e");
    check_bytes(bytes.tokenizer, "\xff\xe2\x82\xac", e,
                "\xef\xbf\xbd\xe2\x82\xac"
                "e");
    check_bytes(bytes.tokenizer, "\xed\xa0\x80", -1, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_bytes(bytes.tokenizer,
                "\xe2"
                "A",
                -1,
                "\xef\xbf\xbd"
                "A");
    close_dir(&bytes);
}
END_TEST

/* A character in three byte tokens comes out with the third, not before and not later. */
START_TEST(test_characters_come_out_when_they_are_whole) {
    struct opened opened = open_demo();
    struct tokens tokens = encode(opened.tokenizer, "\xe2\x82\xac!", 4);
    struct decoder *decoder;
    int64_t out = 0;
    ck_assert_int_gt(tokens.count, 2);
    ck_assert_int_eq(decoder_open(opened.tokenizer, &decoder), STATUS_OK);
    for (int64_t i = 0; i < tokens.count; i++) {
        const char *text;
        int64_t len;
        ck_assert_int_eq(decoder_put(decoder, tokens.ids[i], &text, &len), STATUS_OK);
        out += len;
        int64_t next = i + 1 < tokens.count ? tokens.offsets[i + 1] : 4;
        ck_assert_int_eq(out, next < 3 ? 0 : next);
    }
    decoder_close(&decoder);
    tokens_free(&tokens);
    close_dir(&opened);
}
END_TEST

START_TEST(test_ids_without_a_token_decode_to_nothing) {
    static const int32_t ids[] = {-1, 1024, INT32_MAX, INT32_MIN, 0};
    struct opened demo = open_demo();
    struct opened rules = open_file(fixture("fixtures/tokenizer/rules.model").text);
    int64_t len;
    char *text = decode(demo.tokenizer, ids, 5, &len); /* 0 is <|endoftext|>, which is special */
    ck_assert_int_eq(len, 0);
    free(text);
    text = decode(rules.tokenizer, ids, 4, &len);
    ck_assert_int_eq(len, 0);
    free(text);
    close_dir(&demo);
    close_dir(&rules);
}
END_TEST

START_TEST(test_valid_utf8_ends_where_it_does) {
    static const struct {
        const char *text;
        int64_t len, valid;
    } cases[] = {{"", 0, 0},
                 {"abcdefghij", 10, 10},
                 {"a\0b", 3, 3},
                 {"\xc3\xa9", 2, 2},
                 {"\xc3", 1, 0},
                 {"ab\xc3", 3, 2},
                 {"\xc0\x80", 2, 0},
                 {"\xc1\xbf", 2, 0},
                 {"\x80", 1, 0},
                 {"\xe0\x80\x80", 3, 0},
                 {"\xe0\xa0\x80", 3, 3},
                 {"\xed\x9f\xbf", 3, 3},
                 {"\xed\xa0\x80", 3, 0},
                 {"\xef\xbf\xbf", 3, 3},
                 {"\xf0\x8f\xbf\xbf", 4, 0},
                 {"\xf0\x90\x80\x80", 4, 4},
                 {"\xf4\x8f\xbf\xbf", 4, 4},
                 {"\xf4\x90\x80\x80", 4, 0},
                 {"\xf5\x80\x80\x80", 4, 0},
                 {"12345678\xe2\x82", 10, 8},
                 {"123456789\xff", 10, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(text_valid_utf8(cases[i].text, cases[i].len), cases[i].valid);
    struct opened demo = open_demo();
    struct tokens tokens;
    ck_assert_int_eq(tokenizer_encode(demo.tokenizer, "ab\xff", 3, true, &tokens), STATUS_FAILED);
    ck_assert_ptr_nonnull(strstr(status_text(), "byte 2"));
    ck_assert_ptr_null(tokens.ids);
    close_dir(&demo);
}
END_TEST

int main(void) {
    const TTest *const references[] = {test_demo_tokens_are_the_references,
                                       test_demo_offsets_are_the_references,
                                       test_shared_vocabularies_tokens_are_the_references,
                                       test_other_parts_tokens_are_the_references,
                                       test_sentencepiece_tokens_are_the_references,
                                       test_unigram_tokens_are_the_references,
                                       test_special_tokens_can_be_ordinary_text,
                                       test_llama_cpp_agrees,
                                       test_mistral_says_hello,
                                       NULL};
    const TTest *const streams[] = {test_texts_come_back,
                                    test_invalid_bytes_decode_to_replacement_characters,
                                    test_characters_come_out_when_they_are_whole,
                                    test_ids_without_a_token_decode_to_nothing,
                                    test_valid_utf8_ends_where_it_does,
                                    NULL};
    Suite *suite = suite_create("tokenizer");
    suite_add(suite, "references", references);
    suite_add(suite, "streams", streams);
    return suite_run(suite);
}
