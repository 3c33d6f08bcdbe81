#include "launch/chat.h"
#include "partition/json.h"
#include "tests/testing.h"

#include <jansson.h>

/* A tokenizer.json of single characters with the special tokens that the templates write. */
static const char *const specials[] = {"<BOS>",        "<EOS>",  "<|im_end|>",
                                       "<|im_start|>", "[INST]", "[/INST]"};
enum { SPECIALS = sizeof specials / sizeof *specials, FIRST_SPECIAL = 256 };

static struct tokenizer *open_tokenizer(struct path dir, const char *chat_template) {
    json_t *vocab = json_object(), *added = json_array();
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        json_object_set_new(vocab, name, json_integer(byte));
    }
    for (int i = 0; i < SPECIALS; i++)
        json_array_append_new(added,
                              json_pack("{s:i,s:s,s:b,s:b}", "id", FIRST_SPECIAL + i, "content",
                                        specials[i], "special", 1, "normalized", 0));
    json_t *root =
        json_pack("{s:o,s:{s:b,s:o,s:[]},s:{s:s}}", "added_tokens", added, "model", "byte_fallback",
                  1, "vocab", vocab, "merges", "decoder", "type", "ByteFallback");
    json_t *config =
        json_pack("{s:s,s:{s:s}}", "bos_token", "<BOS>", "eos_token", "content", "<EOS>");
    if (chat_template)
        json_object_set_new(config, "chat_template", json_string(chat_template));
    ck_assert_int_eq(json_dump_file(root, path_of("%s/tokenizer.json", dir.text).text, 0), 0);
    ck_assert_int_eq(json_dump_file(config, path_of("%s/tokenizer_config.json", dir.text).text, 0),
                     0);
    json_decref(root);
    json_decref(config);
    struct tokenizer *tokenizer;
    ck_assert_msg(tokenizer_open(dir.text, &tokenizer) == STATUS_OK, "%s", status_text());
    return tokenizer;
}

static json_t *load_cases(void) {
    json_error_t error;
    json_t *root = json_load_file(fixture("fixtures/chat/chat.json").text, 0, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    return root;
}

/* Each byte is a token of its own number, special tokens follow: what was read, as text. */
static void check_tokens(const struct chat_text *text, const struct tokens *tokens) {
    int64_t at = 0;
    for (int64_t i = 0; i < tokens->count; i++) {
        int32_t id = tokens->ids[i];
        if (id < FIRST_SPECIAL) {
            REQUIRE((unsigned char)text->text[at++] == id);
            continue;
        }
        const char *special = specials[id - FIRST_SPECIAL];
        int64_t len = (int64_t)strlen(special);
        REQUIRE(at + len <= text->len && !memcmp(text->text + at, special, (size_t)len));
        for (int64_t k = 0; k < text->count; k++)
            REQUIRE(at + len <= text->users[k].begin || at >= text->users[k].end);
        at += len;
    }
    ck_assert_int_eq(at, text->len);
}

static void check_case(const struct chat_template *chat, const struct tokenizer *tokenizer,
                       const json_t *one) {
    const char *system = json_string_value(json_object_get(one, "system"));
    const char *user = json_string_value(json_object_get(one, "user"));
    const char *expected = json_string_value(json_object_get(one, "text"));
    struct chat_text text;
    struct tokens tokens;
    enum status status = chat_encode(chat, tokenizer, CHAT_WHOLE, system, user,
                                     (int64_t)strlen(user), &text, &tokens);
    if (!expected) {
        ck_assert_int_eq(status, STATUS_USAGE);
        ck_assert_msg(strstr(status_text(), "--system: found a system text") != NULL, "%s",
                      status_text());
        return;
    }
    ck_assert_msg(status == STATUS_OK, "%s", status_text());
    ck_assert_msg(
        (int64_t)strlen(expected) == text.len && !memcmp(text.text, expected, (size_t)text.len),
        "%s: \"%.*s\", expected \"%s\"", chat_name(chat), (int)text.len, text.text, expected);
    check_tokens(&text, &tokens);
    tokens_free(&tokens);
    chat_text_close(&text);
}

START_TEST(templates_are_recognised_and_render_alike) {
    struct path dir = files_new();
    json_t *all = load_cases(), *one, *item;
    size_t i, k;
    ck_assert_uint_ge(json_array_size(all), 25);
    json_array_foreach(all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        struct tokenizer *tokenizer =
            open_tokenizer(dir, json_string_value(json_object_get(one, "template")));
        const struct chat_template *own, *named;
        ck_assert_msg(chat_choose(tokenizer, dir.text, NULL, &own) == STATUS_OK, "%s: %s", name,
                      status_text());
        ck_assert_str_eq(chat_name(own), name);
        ck_assert_int_eq(chat_choose(tokenizer, dir.text, name, &named), STATUS_OK);
        json_array_foreach(json_object_get(one, "cases"), k, item) {
            check_case(own, tokenizer, item);
            check_case(named, tokenizer, item);
        }
        tokenizer_close(&tokenizer);
    }
    json_decref(all);
    files_remove(dir);
}
END_TEST

/* A text in two parts is the whole, wherever it is cut. */
START_TEST(parts_join_to_the_whole) {
    static const char user[] = "  One two.\n Three?  ";
    struct path dir = files_new();
    struct tokenizer *tokenizer = open_tokenizer(dir, NULL);
    json_t *all = load_cases(), *one;
    size_t i;
    json_array_foreach(all, i, one) {
        const struct chat_template *chat =
            chat_find(json_string_value(json_object_get(one, "name")));
        struct chat_text whole, front, back;
        int64_t cut = 11, len = (int64_t)strlen(user);
        ck_assert_int_eq(chat_render(chat, tokenizer, CHAT_WHOLE, NULL, user, len, &whole), 0);
        ck_assert_int_eq(chat_render(chat, tokenizer, CHAT_OPENING, NULL, user, cut, &front), 0);
        ck_assert_int_eq(
            chat_render(chat, tokenizer, CHAT_CLOSING, NULL, user + cut, len - cut, &back), 0);
        ck_assert_int_eq(front.len + back.len, whole.len);
        ck_assert(!memcmp(whole.text, front.text, (size_t)front.len));
        ck_assert(!memcmp(whole.text + front.len, back.text, (size_t)back.len));
        chat_text_close(&whole);
        chat_text_close(&front);
        chat_text_close(&back);
    }
    json_decref(all);
    tokenizer_close(&tokenizer);
    files_remove(dir);
}
END_TEST

static void refuse(struct path dir, const char *chat_template, const char *name, enum status kind,
                   const char *words) {
    const struct chat_template *chat;
    struct tokenizer *tokenizer = open_tokenizer(dir, chat_template);
    ck_assert_int_eq(chat_choose(tokenizer, dir.text, name, &chat), kind);
    ck_assert_msg(strstr(status_text(), words) != NULL, "%s", status_text());
    ck_assert_msg(strstr(status_text(), "chatml, ") != NULL, "%s", status_text());
    tokenizer_close(&tokenizer);
}

START_TEST(unknown_templates_are_refused) {
    static const char chatml[] =
        "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
        "'<|im_end|>' + '\\n'}}{{ '<|im_start|>assistant\\n' }}";
    struct path dir = files_new();
    char changed[512];
    refuse(dir, NULL, NULL, STATUS_FAILED, "chat_template: found none, expected");
    refuse(dir, "{{ messages }}", NULL, STATUS_FAILED, "found one that is not known, expected");
    refuse(dir, NULL, "chat-ml", STATUS_USAGE, "--chat-template: found \"chat-ml\", expected");
    snprintf(changed, sizeof changed, "{{ bos_token }}%s", chatml);
    refuse(dir, changed, NULL, STATUS_FAILED, "not known");
    snprintf(changed, sizeof changed, "{{ 'You are a pirate.' }}%s", chatml);
    refuse(dir, changed, NULL, STATUS_FAILED, "not known");
    struct tokenizer *tokenizer = open_tokenizer(dir, chatml);
    const struct chat_template *chat;
    ck_assert_int_eq(chat_choose(tokenizer, dir.text, NULL, &chat), STATUS_OK);
    ck_assert_str_eq(chat_name(chat), "chatml");
    tokenizer_close(&tokenizer);
    files_remove(dir);
}
END_TEST

/* The template in a file of its own counts more; of several by name the default does. */
START_TEST(where_templates_stand) {
    struct path dir = files_new();
    struct tokenizer *tokenizer = open_tokenizer(dir, "in the configuration");
    ck_assert_str_eq(tokenizer_chat_template(tokenizer), "in the configuration");
    ck_assert_str_eq(tokenizer_bos(tokenizer), "<BOS>");
    ck_assert_str_eq(tokenizer_eos(tokenizer), "<EOS>");
    tokenizer_close(&tokenizer);
    file_write_text(dir.text, "tokenizer_config.json",
                    "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"t\"}, "
                    "{\"name\": \"default\", \"template\": \"d\"}]}");
    ck_assert_int_eq(tokenizer_open(dir.text, &tokenizer), STATUS_OK);
    ck_assert_str_eq(tokenizer_chat_template(tokenizer), "d");
    ck_assert_ptr_null(tokenizer_bos(tokenizer));
    tokenizer_close(&tokenizer);
    file_write_text(dir.text, "chat_template.jinja", "alone");
    ck_assert_int_eq(tokenizer_open(dir.text, &tokenizer), STATUS_OK);
    ck_assert_str_eq(tokenizer_chat_template(tokenizer), "alone");
    tokenizer_close(&tokenizer);
    files_remove(dir);
}
END_TEST

START_TEST(published_templates) {
    static const char *const files[][2] = {
        {"vocab/qwen2", "qwen2"}, {"vocab/llama.cpp/ggml-vocab-phi-3.gguf", "phi-3-first"}};
    for (int i = 0; i < 2; i++) {
        struct path path;
        struct tokenizer *tokenizer;
        const struct chat_template *chat;
        if (!shared(files[i][0], &path))
            continue;
        ck_assert_msg(tokenizer_open(path.text, &tokenizer) == STATUS_OK, "%s", status_text());
        ck_assert_msg(chat_choose(tokenizer, path.text, NULL, &chat) == STATUS_OK, "%s",
                      status_text());
        ck_assert_str_eq(chat_name(chat), files[i][1]);
        tokenizer_close(&tokenizer);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("chat");
    TCase *cases = tcase_create("templates");
    tcase_add_test(cases, templates_are_recognised_and_render_alike);
    tcase_add_test(cases, parts_join_to_the_whole);
    tcase_add_test(cases, unknown_templates_are_refused);
    tcase_add_test(cases, where_templates_stand);
    tcase_add_test(cases, published_templates);
    suite_add_tcase(suite, cases);
    return suite_run(suite);
}
