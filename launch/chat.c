#include "launch/chat.h"

#include "launch/chat_template.h"
#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- finding one ------------------------------------------------------------------------------- */

const struct chat_template *chat_find(const char *name) {
    for (int64_t i = 0; i < chat_template_count; i++)
        if (!strcmp(chat_templates[i].name, name))
            return &chat_templates[i];
    return NULL;
}

const char *chat_name(const struct chat_template *chat) {
    return chat->name;
}

const char *chat_names(void) {
    static char names[512];
    size_t len = 0;
    for (int64_t i = 0; i < chat_template_count && len < sizeof names; i++)
        if (chat_find(chat_templates[i].name) == &chat_templates[i])
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len ? ", " : "",
                                    chat_templates[i].name);
    return names;
}

static bool matches(const struct chat_template *chat, const char *text) {
    for (int i = 0; i < CHAT_MARKS_MAX && chat->marks[i]; i++)
        if (!strstr(text, chat->marks[i]))
            return false;
    for (int i = 0; i < CHAT_MARKS_MAX && chat->absent[i]; i++)
        if (strstr(text, chat->absent[i]))
            return false;
    return true;
}

/* Templates write the same strings in two ways: with " or ', with \n or a newline. */
static void unify(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (from[0] == '\\' && from[1] == 'n') {
            *to++ = '\n';
            from++;
        } else {
            *to++ = *from == '"' ? '\'' : *from;
        }
    }
    *to = '\0';
}

/* More than one row can match only where they render alike. */
const struct chat_template *chat_recognise(const char *text) {
    char *copy = strdup(text);
    const struct chat_template *found = NULL;
    if (!copy)
        return NULL;
    unify(copy);
    for (int64_t i = 0; i < chat_template_count && !found; i++)
        if (matches(&chat_templates[i], copy))
            found = &chat_templates[i];
    free(copy);
    return found;
}

enum status chat_choose(const struct tokenizer *tokenizer, const char *model, const char *name,
                        const struct chat_template **chat) {
    const char *own = tokenizer_chat_template(tokenizer);
    *chat = name ? chat_find(name) : own ? chat_recognise(own) : NULL;
    if (*chat)
        return STATUS_OK;
    if (name)
        return status_usage("--chat-template", "found \"%.100s\", expected one of %s", name,
                            chat_names());
    return status_fail(model, "chat_template",
                       "found %s, expected that of one of %s; name one with --chat-template",
                       own ? "one that is not known" : "none", chat_names());
}

/* -- rendering --------------------------------------------------------------------------------- */

void chat_text_close(struct chat_text *text) {
    free(text->text);
    *text = (struct chat_text){0};
}

static enum status put(struct chat_text *text, const char *bytes, int64_t len) {
    TRY(array_reserve(&text->text, &text->capacity, text->len + len + 1, 1));
    if (len)
        memcpy(text->text + text->len, bytes, (size_t)len);
    text->len += len;
    return STATUS_OK;
}

static enum status put_token(struct chat_text *text, const char *token, const char *what) {
    if (!token)
        return status_fail("--chat", what,
                           "found no such token in the tokenizer's files, expected one, which the "
                           "template writes; name another with --chat-template");
    return put(text, token, (int64_t)strlen(token));
}

/* Appends a string of the template. */
static enum status put_string(struct chat_text *text, const struct tokenizer *tokenizer,
                              const char *string) {
    for (const char *end; *(end = strchrnul(string, *CHAT_EOS)); string = end + 1) {
        TRY(put(text, string, end - string));
        TRY(put_token(text, tokenizer_eos(tokenizer), "eos_token"));
    }
    return put(text, string, (int64_t)strlen(string));
}

/* Words between begin and end, with or without the white space at either side. */
struct words {
    const char *bytes;
    int64_t len;
};

/* White space as Python's strip() has it: that of Unicode, and the four separators of ASCII. */
static bool is_space(int32_t point) {
    return unicode_is_space(point) || (point >= 0x1c && point <= 0x1f);
}

static struct words trim(struct words words, bool left, bool right) {
    int length;
    while (left && words.len && is_space(unicode_decode(words.bytes, &length))) {
        words.bytes += length;
        words.len -= length;
    }
    while (right && words.len) {
        int64_t last = words.len - 1;
        while (last > 0 && (words.bytes[last] & 0xc0) == 0x80)
            last--;
        if (!is_space(unicode_decode(words.bytes + last, &length)))
            break;
        words.len = last;
    }
    return words;
}

static enum status put_words(struct chat_text *text, struct words words) {
    text->users[text->count++] = (struct text_range){text->len, text->len + words.len};
    return put(text, words.bytes, words.len);
}

/* What stands up to the user's text. */
static enum status put_opening(const struct chat_template *chat, const struct tokenizer *tokenizer,
                               const char *system, struct chat_text *text) {
    bool trims = chat->trim == CHAT_TRIM_EACH;
    if (system && chat->system == CHAT_SYSTEM_NONE)
        return status_usage("--system",
                            "found a system text, expected none: the template %s has no "
                            "place for it",
                            chat->name);
    if (chat->has_bos)
        TRY(put_token(text, tokenizer_bos(tokenizer), "bos_token"));
    if (!system)
        system = chat->system_default;
    if (chat->system == CHAT_SYSTEM_IN_USER)
        TRY(put_string(text, tokenizer, chat->user_open));
    if (system) {
        struct words words = {system, (int64_t)strlen(system)};
        TRY(put_string(text, tokenizer, chat->system_open));
        TRY(put_words(text, trim(words, trims, trims)));
        TRY(put_string(text, tokenizer, chat->system_close));
    }
    if (chat->system != CHAT_SYSTEM_IN_USER)
        TRY(put_string(text, tokenizer, chat->user_open));
    return STATUS_OK;
}

enum status chat_render(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        enum chat_part part, const char *system, const char *user, int64_t len,
                        struct chat_text *text) {
    bool trims = chat->trim != CHAT_TRIM_NONE, has_system = system || chat->system_default;
    struct words words = {user, len};
    *text = (struct chat_text){0};
    enum status status = STATUS_OK;
    if (part != CHAT_CLOSING)
        status = put_opening(chat, tokenizer, system, text);
    /* Where the body is trimmed, a system text stands in front of the user's. */
    bool left = trims && part != CHAT_CLOSING && !(chat->trim == CHAT_TRIM_BODY && has_system);
    if (status == STATUS_OK)
        status = put_words(text, trim(words, left, trims && part != CHAT_OPENING));
    if (status == STATUS_OK && part != CHAT_OPENING)
        status = put_string(text, tokenizer, chat->user_close);
    if (status == STATUS_OK && part != CHAT_OPENING)
        status = put_string(text, tokenizer, chat->answer_open);
    if (status != STATUS_OK)
        chat_text_close(text);
    return status;
}

enum status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        enum chat_part part, const char *system, const char *user, int64_t len,
                        struct chat_text *text, struct tokens *tokens) {
    TRY(chat_render(chat, tokenizer, part, system, user, len, text));
    const struct encode_rules rules = {.behind = part == CHAT_CLOSING,
                                       .specials = true,
                                       .controls = true,
                                       .plain = text->users,
                                       .plain_count = text->count};
    enum status status = tokenizer_encode_by(tokenizer, text->text, text->len, &rules, tokens);
    if (status != STATUS_OK)
        chat_text_close(text);
    return status;
}
