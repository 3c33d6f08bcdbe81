/* Tokenizer files that are broken, that lie or that ask for what is not known: one clear message
 * and no crash. And what tokenizer_config.json says of the tokens around a text. */
#include "launch/tokenizer.h"
#include "testing.h"
#include <jansson.h>
#include <stdint.h>

static const char text[] =
    "Hello  world's <s> \xc3\xa9\xcc\x81 123 \xe4\xb8\xad\n\n the \xf0\x9f\x91\xa9 ";

static json_t *demo_json(void) {
    json_error_t error;
    json_t *json = json_load_file(
        path_of("%s/launch/demo-model/tokenizer.json", QUIRE_SOURCE_DIR).text, 0, &error);
    ck_assert_ptr_nonnull(json);
    return json;
}

static void write_json(struct path dir, const char *name, const json_t *json) {
    char *dumped = json_dumps(json, JSON_COMPACT);
    ck_assert_ptr_nonnull(dumped);
    file_write_text(dir.text, name, dumped);
    free(dumped);
}

/* Opens what stands in dir; if that works, a text goes through it and back. Otherwise the message
 * is one line that names a file of dir. */
static enum status try_dir(struct path dir) {
    struct tokenizer *tokenizer;
    enum status status = tokenizer_open(dir.text, &tokenizer);
    if (status != STATUS_OK) {
        REQUIRE(tokenizer == NULL);
        REQUIRE(strstr(status_text(), dir.text) == status_text());
        REQUIRE(!strchr(status_text(), '\n'));
        return status;
    }
    struct tokens tokens;
    if (tokenizer_encode(tokenizer, text, sizeof text - 1, true, &tokens) == STATUS_OK) {
        struct decoder *decoder;
        const char *part;
        int64_t len;
        REQUIRE(decoder_open(tokenizer, &decoder) == STATUS_OK);
        for (int64_t i = 0; i < tokens.count; i++) {
            REQUIRE(tokens.ids[i] >= 0 && tokens.ids[i] < tokenizer_size(tokenizer));
            REQUIRE(decoder_put(decoder, tokens.ids[i], &part, &len) == STATUS_OK);
        }
        REQUIRE(decoder_end(decoder, &part, &len) == STATUS_OK);
        decoder_close(&decoder);
        tokens_free(&tokens);
    }
    tokenizer_close(&tokenizer);
    return status;
}

static void check_refused(struct path dir, const char *message) {
    ck_assert_msg(try_dir(dir) == STATUS_FAILED, "expected \"%s\", but it opened", message);
    ck_assert_msg(strstr(status_text(), message) != NULL, "expected \"%s\", found \"%s\"", message,
                  status_text());
}

/* -- tokenizer.json -----------------------------------------------------------------------------
 */

/* Puts a value where the path says ("model.vocab.x"; "model.merges.-" appends to a list). */
static void set(json_t *root, const char *path, const char *value) {
    json_error_t error;
    json_t *json = json_loads(value, JSON_DECODE_ANY, &error);
    ck_assert_msg(json != NULL, "%s", value);
    char copy[128], *rest = copy, *name;
    snprintf(copy, sizeof copy, "%s", path);
    while ((name = strsep(&rest, ".")) && rest)
        root = json_object_get(root, name);
    ck_assert_ptr_nonnull(root);
    if (json_is_array(root))
        json_array_append_new(root, json);
    else
        json_object_set_new(root, name, json);
}

START_TEST(test_what_is_not_known_is_refused_by_name) {
    static const char *const cases[][3] = {
        {"model", "5", "tokenizer.json: model: found 5"},
        {"model", "null", "tokenizer.json: model: found n"},
        {"model.type", "\"WordPiece\"", "model.type: found \"WordPiece\", expected \"BPE\""},
        {"model.vocab", "[]", "model.vocab: found a list"},
        {"model.vocab", "{}", "model.merges: found a merge"},
        {"model.vocab.zz", "-1", "model.vocab: found id -1 of \"zz\""},
        {"model.vocab.zz", "16777216", "model.vocab: found id 16777216"},
        {"model.vocab.zz", "1099511627776", "model.vocab: found id 1099511627776"},
        {"model.vocab.zz", "5", "model.vocab: found id 5 twice"},
        {"model.vocab.zz", "2000.5", "model.vocab: found 2000.5 for \"zz\""},
        {"model.vocab.zz", "\"7\"", "model.vocab: found \"7\" for \"zz\""},
        {"model.merges", "{}", "model.merges: found an object"},
        {"model.merges.-", "[\"q\",\"zz\"]", "found a merge of \"q\" and \"zz\""},
        {"model.merges.-", "[\"q\",\"q\"]", "found a merge of \"q\" and \"q\""},
        {"model.merges.-", "[\"\",\"q\"]", "found a merge of \"\" and \"q\""},
        {"model.merges.-", "[\"q\"]", "model.merges: found a list of 1 at 767"},
        {"model.merges.-", "\"a b c\"", "model.merges: found \"a b c\""},
        {"model.merges.-", "7", "model.merges: found 7"},
        {"model.dropout", "0.1", "model.dropout: found 0.1"},
        {"model.continuing_subword_prefix", "\"##\"", "continuing_subword_prefix: found \"##\""},
        {"model.end_of_word_suffix", "\"</w>\"", "end_of_word_suffix: found \"</w>\""},
        {"model.byte_fallback", "1", "model.byte_fallback: found 1"},
        {"normalizer", "7", "normalizer: found 7"},
        {"normalizer", "{\"type\":\"BertNormalizer\"}",
         "normalizer.type: found \"BertNormalizer\""},
        {"normalizer", "{\"type\":\"BertNormalizer\"}", "normalizer.type: found \"BertNormalizer\""},
        {"normalizer", "{\"type\":\"Sequence\"}", "normalizer.normalizers: found nothing"},
        {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"StripAccents\"}]}",
         "normalizer.type: found \"StripAccents\""},
        {"normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}",
         "normalizer.pattern: found a regular expression"},
        {"normalizer", "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}",
         "normalizer.pattern: found no text"},
        {"pre_tokenizer", "{}", "pre_tokenizer.type: found nothing"},
        {"pre_tokenizer", "{\"type\":\"BertPreTokenizer\"}",
         "pre_tokenizer.type: found \"BertPreTokenizer\""},
        {"pre_tokenizer", "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false}",
         "pre_tokenizer.pattern: found no text"},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Thrown\"}",
         "pre_tokenizer.behavior: found \"Thrown\""},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(*ACCEPT)\"},\"behavior\":\"Isolated\"}",
         "pre_tokenizer.pattern: found (* at byte 0"},
        {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}",
         "pre_tokenizer.replacement: found \"ab\""},
        {"post_processor", "{\"type\":\"RobertaProcessing\"}",
         "post_processor.type: found \"RobertaProcessing\""},
        {"post_processor", "{\"type\":\"BertProcessing\"}",
         "post_processor.type: found \"BertProcessing\""},
        {"post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}",
         "post_processor.single: found a template without the text"},
        {"post_processor",
         "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
         "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[9999]}}}",
         "post_processor.special_tokens: found id 9999"},
        {"decoder", "{\"type\":\"WordPiece\"}", "decoder.type: found \"WordPiece\""},
        {"decoder", "{\"type\":\"Strip\",\"content\":\"\",\"start\":1,\"stop\":0}",
         "decoder.content: found \"\""},
        {"decoder", "{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}",
         "decoder.start: found -1"},
        {"added_tokens", "5", "added_tokens: found 5"},
        {"added_tokens.-", "{\"id\":1}", "added_tokens: found an object"},
        {"added_tokens.-", "{\"id\":1099511627776,\"content\":\"x\"}",
         "added_tokens.id: found 1099511627776"},
        {"version", "\"2.0\"", "version: found \"2.0\""},
    };
    struct path dir = files_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = demo_json();
        set(json, cases[i][0], cases[i][1]);
        write_json(dir, "tokenizer.json", json);
        check_refused(dir, cases[i][2]);
        json_decref(json);
    }
    files_remove(dir);
}
END_TEST

START_TEST(test_broken_json_is_refused) {
    static const struct {
        const char *bytes, *message;
    } cases[] = {{"", "expected well-formed JSON"},
                 {"[]", "found a list of 0, expected an object"},
                 {"{\"a\":\"\xff\"}", "expected well-formed JSON"},
                 {"{\"a\":1,\"a\":2}", "duplicate"},
                 {"{\"a\":99999999999999999999}", "expected well-formed JSON"},
                 {"{}", "model: found nothing"}};
    struct path dir = files_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_write_text(dir.text, "tokenizer.json", cases[i].bytes);
        check_refused(dir, cases[i].message);
    }
    char deep[10000];
    memset(deep, '[', sizeof deep);
    file_write(dir.text, "tokenizer.json", deep, sizeof deep);
    check_refused(dir, "expected well-formed JSON");
    files_remove(dir);
}
END_TEST

/* A pattern that needs more steps the longer the text is, without bound: no answer, but an end. */
START_TEST(test_exploding_pattern_gives_up) {
    struct path dir = files_new();
    json_t *json = demo_json();
    set(json, "pre_tokenizer",
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+[bc]\"},\"behavior\":\"Isolated\"}");
    write_json(dir, "tokenizer.json", json);
    json_decref(json);
    char run[64];
    memset(run, 'a', sizeof run);
    struct tokenizer *tokenizer;
    struct tokens tokens;
    ck_assert_int_eq(tokenizer_open(dir.text, &tokenizer), STATUS_OK);
    ck_assert_int_eq(tokenizer_encode(tokenizer, run, 4, false, &tokens), STATUS_OK);
    tokens_free(&tokens);
    ck_assert_int_eq(tokenizer_encode(tokenizer, run, sizeof run, false, &tokens), STATUS_FAILED);
    ck_assert_ptr_nonnull(strstr(status_text(), "gives up on this text"));
    tokenizer_close(&tokenizer);
    files_remove(dir);
}
END_TEST

/* -- tokenizer.model ----------------------------------------------------------------------------
 */

/* Fields behind a whole model count as part of it: more pieces, other options. */
START_TEST(test_models_that_lie_are_refused) {
    static const struct {
        const char *bytes;
        size_t len;
        const char *message;
    } cases[] = {
        {"\x12\x02\x18\x03", 4, "trainer_spec.model_type: found WORD, expected BPE or UNIGRAM"},
        {"\x12\x02\x18\x04", 4, "trainer_spec.model_type: found CHAR, expected BPE"},
        {"\x12\x02\x18\x63", 4, "trainer_spec.model_type: found an unknown type"},
        {"\x12\x03\x98\x02\x00", 5, "of type BYTE, expected"},
        {"\x0a\x03\x0a\x01"
         "e",
         5, "pieces: found \"e\" twice"},
        {"\x0a\x00", 2, "pieces: found piece 460 of 0 bytes"},
        {"\x0a\x03\x0a\x01\xff", 5, "pieces: found piece 460 of 1 bytes"},
        {"\x0a\x03\x0a\x01\x00", 5, "pieces: found piece 460 of 1 bytes"},
        {"\x0a\x08\x0a\x01\x7f\x15\x00\x00\xc0\x7f", 10, "and score nan"},
        {"\x0a\x06\x0a\x02\x01\x02\x18\x02", 8, "pieces: found two of type UNKNOWN"},
        {"\x0a\x07\x0a\x03zzq\x18\x06", 9, "pieces: found \"zzq\" of type BYTE"},
        {"\x1a\x09\x12\x07\xff\xff\xff\xff"
         "abc",
         11, "normalizer_spec.precompiled_charsmap: found 7 bytes with an array of 4294967295"},
        {"\x1a\x07\x12\x05\x04\x00\x00\x00"
         "a",
         9, "normalizer_spec.precompiled_charsmap: found 5 bytes"},
        {"\x2a\x05\x12\x03"
         "abc",
         7, "denormalizer_spec.precompiled_charsmap: found a compiled map"},
        {"\x0a\xff\xff\xff\xff\x7f", 6, "found a length beyond the end"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "found a length beyond the end"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, "found a number of more than 64"},
        {"\x08\xff", 2, "found an unfinished number"},
        {"\x15\x00\x00", 3, "found an unfinished number"},
        {"\x0b", 1, "found a field of an unknown kind"},
        {"\x00", 1, "found a field without a number"},
    };
    struct path dir = files_new();
    size_t len;
    char *model = file_load(fixture("fixtures/tokenizer/bytes.model").text, &len);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *whole = malloc(len + cases[i].len);
        ck_assert_ptr_nonnull(whole);
        memcpy(whole, model, len);
        memcpy(whole + len, cases[i].bytes, cases[i].len);
        file_write(dir.text, "tokenizer.model", whole, len + cases[i].len);
        check_refused(dir, cases[i].message);
        free(whole);
    }
    file_write_text(dir.text, "tokenizer.model", "");
    check_refused(dir, "pieces: found none");
    file_write_text(dir.text, "tokenizer.model", "version https://example.org\noid sha256:00\n");
    check_refused(dir, "expected a SentencePiece model");
    free(model);
    files_remove(dir);
}
END_TEST

/* -- damage of all kinds ------------------------------------------------------------------------
 */

static uint32_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Some bytes become others, or the file ends early. */
static size_t damage(char *bytes, size_t len, bool is_json, uint64_t *state) {
    static const char signs[] = "{}[]\",:0123456789ntf\\u-.e ";
    for (uint32_t count = 1 + next_random(state) % 4; count; count--) {
        uint32_t value = next_random(state);
        bytes[next_random(state) % len] =
            is_json && value & 1 ? signs[value / 2 % (sizeof signs - 1)] : (char)(value >> 8);
    }
    return next_random(state) % 5 ? len : next_random(state) % len;
}

static void check_damaged(struct path dir, const char *from, const char *name, int rounds) {
    size_t len;
    uint64_t state = 1;
    int opened = 0;
    char *whole = file_load(from, &len), *bytes = malloc(len);
    ck_assert_ptr_nonnull(bytes);
    for (int i = 0; i < rounds; i++) {
        memcpy(bytes, whole, len);
        size_t left = damage(bytes, len, strstr(name, ".json") != NULL, &state);
        file_write(dir.text, name, bytes, left);
        opened += try_dir(dir) == STATUS_OK;
    }
    /* The damage is small enough to get past the first check now and then. */
    ck_assert_int_gt(opened, 0);
    ck_assert_int_lt(opened, rounds);
    free(bytes);
    free(whole);
}

START_TEST(test_damaged_files_do_no_harm) {
    struct path dir = files_new();
    check_damaged(dir, fixture("fixtures/tokenizer/rules.model").text, "tokenizer.model", 1500);
    check_damaged(dir, fixture("fixtures/tokenizer/bytes.model").text, "tokenizer.model", 1500);
    check_damaged(dir, path_of("%s/launch/demo-model/tokenizer.json", QUIRE_SOURCE_DIR).text,
                  "tokenizer.json", 500);
    files_remove(dir);
}
END_TEST

START_TEST(test_cut_files_are_refused) {
    static const char *const names[] = {"tokenizer.model", "tokenizer.json"};
    struct path dir = files_new();
    for (int i = 0; i < 2; i++) {
        struct path path = i ? path_of("%s/launch/demo-model/tokenizer.json", QUIRE_SOURCE_DIR)
                             : fixture("fixtures/tokenizer/suffix.model");
        size_t len;
        char *bytes = file_load(path.text, &len);
        /* The model's last field is one that it could do without. */
        for (size_t cut = 0; cut < len - 64; cut += i ? 997 : 7) {
            file_write(dir.text, names[i], bytes, cut);
            REQUIRE(try_dir(dir) == STATUS_FAILED);
        }
        free(bytes);
    }
    files_remove(dir);
}
END_TEST

START_TEST(test_missing_files_are_refused) {
    struct path dir = files_new();
    ck_assert(!tokenizer_exists(dir.text));
    check_refused(dir, "found neither tokenizer.json nor tokenizer.model");
    ck_assert_int_eq(mkdir(path_of("%s/tokenizer.model", dir.text).text, 0700), 0);
    ck_assert(tokenizer_exists(dir.text));
    check_refused(dir, "tokenizer.model: found a directory");
    files_remove(dir);
}
END_TEST

/* -- the tokens around a text -------------------------------------------------------------------
 */

#define BOS_A "{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}"
#define EOS "{\"SpecialToken\":{\"id\":\"</s>\"}}"
#define TEMPLATE(single)                                                                           \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"special_tokens\":"                 \
    "{\"<s>\":{\"ids\":[1024]},\"</s>\":{\"ids\":[1025]}}}"
#define CLASS(name) "\"tokenizer_class\":\"" name "\""
#define NAMES "\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}"

static void write_config(struct path dir, const char *config) {
    if (config)
        file_write_text(dir.text, "tokenizer_config.json", config);
    else
        unlink(path_of("%s/tokenizer_config.json", dir.text).text);
}

/* front and back: the ids expected, -1 for none. */
static void check_specials(struct path dir, const char *config, int front, int back) {
    struct tokenizer *tokenizer;
    struct tokens empty, around, plain;
    write_config(dir, config);
    ck_assert_msg(tokenizer_open(dir.text, &tokenizer) == STATUS_OK, "%s", status_text());
    ck_assert_int_eq(tokenizer_encode(tokenizer, "", 0, true, &empty), STATUS_OK);
    ck_assert_int_eq(tokenizer_encode(tokenizer, "xyz", 3, true, &around), STATUS_OK);
    ck_assert_int_eq(tokenizer_encode(tokenizer, "xyz", 3, false, &plain), STATUS_OK);
    int64_t before = front >= 0, behind = back >= 0;
    ck_assert_msg(empty.count == before + behind, "%s: %lld tokens around nothing", config,
                  (long long)empty.count);
    ck_assert_int_eq(around.count, before + plain.count + behind);
    ck_assert_mem_eq(around.ids + before, plain.ids, (size_t)plain.count * sizeof *plain.ids);
    if (before) {
        ck_assert_int_eq(empty.ids[0], front);
        ck_assert_int_eq(around.ids[0], front);
        ck_assert_int_eq(around.offsets[0], 0);
    }
    if (behind) {
        ck_assert_int_eq(empty.ids[before], back);
        ck_assert_int_eq(around.ids[around.count - 1], back);
        ck_assert_int_eq(around.offsets[around.count - 1], 3);
    }
    tokens_free(&empty);
    tokens_free(&around);
    tokens_free(&plain);
    tokenizer_close(&tokenizer);
}

START_TEST(test_template_and_flags_say_what_stands_around_a_text) {
    static const struct {
        const char *processor, *config;
        int front, back;
    } cases[] = {
        {"null", NULL, -1, -1},
        {"null", "{" NAMES "}", -1, -1},
        {"null", "{\"add_bos_token\":true," NAMES "}", 1024, -1},
        {"null", "{\"add_bos_token\":true,\"bos_token\":null}", -1, -1},
        {"null", "{\"add_bos_token\":false,\"add_eos_token\":true," NAMES "}", -1, 1025},
        {"null", "{" CLASS("LlamaTokenizer") "}", 1024, -1},
        {"null", "{" CLASS("LlamaTokenizerFast") ",\"add_bos_token\":false}", -1, -1},
        {TEMPLATE(BOS_A), NULL, 1024, -1},
        {TEMPLATE(BOS_A "," EOS), NULL, 1024, 1025},
        {TEMPLATE(BOS_A), "{" CLASS("PreTrainedTokenizerFast") ",\"add_bos_token\":false}", 1024,
         -1},
        {TEMPLATE(BOS_A), "{" CLASS("LlamaTokenizerFast") ",\"add_bos_token\":false}", -1, -1},
        {TEMPLATE(BOS_A), "{" CLASS("LlamaTokenizer") ",\"add_eos_token\":true," NAMES "}", 1024,
         1025},
        {TEMPLATE("{\"Sequence\":{\"id\":\"A\"}}"), "{\"add_bos_token\":true," NAMES "}", -1, -1},
        {"{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"}," TEMPLATE(BOS_A) "]}",
         NULL, 1024, -1},
        {"{\"type\":\"ByteLevel\"}", "{\"add_bos_token\":true," NAMES "}", 1024, -1},
    };
    struct path dir = files_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = demo_json();
        set(json, "added_tokens.-", "{\"id\":1024,\"content\":\"<s>\",\"special\":true}");
        set(json, "added_tokens.-", "{\"id\":1025,\"content\":\"</s>\",\"special\":true}");
        set(json, "post_processor", cases[i].processor);
        write_json(dir, "tokenizer.json", json);
        check_specials(dir, cases[i].config, cases[i].front, cases[i].back);
        json_decref(json);
    }
    write_config(dir, "{\"add_bos_token\":true,\"bos_token\":\"<nobody>\"}");
    check_refused(dir, "tokenizer_config.json: bos_token: found \"<nobody>\"");
    write_config(dir, "{\"add_bos_token\":\"yes\"}");
    check_refused(dir, "tokenizer_config.json: add_bos_token: found \"yes\"");
    write_config(dir, "{\"bos_token\":{}}");
    check_refused(dir, "tokenizer_config.json: bos_token.content: found nothing");
    write_config(dir, "{");
    check_refused(dir, "tokenizer_config.json: found at line 1");
    files_remove(dir);
}
END_TEST

START_TEST(test_model_alone_begins_texts_with_bos) {
    struct path dir = files_new();
    file_copy(fixture("fixtures/tokenizer/bytes.model").text, dir.text, "tokenizer.model");
    check_specials(dir, NULL, 1, -1);
    check_specials(dir, "{\"add_bos_token\":false}", -1, -1);
    check_specials(dir, "{\"add_eos_token\":true}", 1, 2);
    check_specials(dir, "{\"bos_token\":\"</s>\"}", 2, -1);
    check_specials(dir, "{\"bos_token\":null}", -1, -1);
    check_specials(dir, "{\"add_bos_token\":true," NAMES "}", 1, -1);
    files_remove(dir);
}
END_TEST

/* The demo model's own directory, as it is shipped. */
START_TEST(test_demo_model_adds_nothing) {
    struct path dir = files_new();
    struct path demo = path_of("%s/launch/demo-model", QUIRE_SOURCE_DIR);
    file_copy(path_of("%s/tokenizer.json", demo.text).text, dir.text, "tokenizer.json");
    file_copy(path_of("%s/tokenizer_config.json", demo.text).text, dir.text,
              "tokenizer_config.json");
    struct tokenizer *tokenizer;
    struct tokens tokens;
    ck_assert_int_eq(tokenizer_open(dir.text, &tokenizer), STATUS_OK);
    ck_assert_int_eq(tokenizer_encode(tokenizer, "", 0, true, &tokens), STATUS_OK);
    ck_assert_int_eq(tokens.count, 0);
    tokens_free(&tokens);
    tokenizer_close(&tokenizer);
    files_remove(dir);
}
END_TEST

int main(void) {
    const TTest *const refusals[] = {test_what_is_not_known_is_refused_by_name,
                                     test_broken_json_is_refused,
                                     test_exploding_pattern_gives_up,
                                     test_models_that_lie_are_refused,
                                     test_damaged_files_do_no_harm,
                                     test_cut_files_are_refused,
                                     test_missing_files_are_refused,
                                     NULL};
    const TTest *const specials[] = {test_template_and_flags_say_what_stands_around_a_text,
                                     test_model_alone_begins_texts_with_bos,
                                     test_demo_model_adds_nothing, NULL};
    Suite *suite = suite_create("tokenizer files");
    suite_add(suite, "refusals", refusals);
    suite_add(suite, "specials", specials);
    return suite_run(suite);
}
