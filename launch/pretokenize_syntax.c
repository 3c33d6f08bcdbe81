#include "launch/pretokenize_syntax.h"

#include "launch/pretokenize_class.h"
#include <stdlib.h>
#include <string.h>

/* Puts bytes in front of what was written since `begin`. */
static enum status put_before(struct pattern_text *text, int64_t begin, const char *bytes) {
    int64_t len = (int64_t)strlen(bytes);
    TRY(pattern_put_bytes(text, bytes, len));
    memmove(text->bytes + begin + len, text->bytes + begin, (size_t)(text->len - len - begin));
    memcpy(text->bytes + begin, bytes, (size_t)len);
    return STATUS_OK;
}

static enum status put_boundary(struct pattern_text *out, bool negated) {
    struct pattern_text word = {0};
    enum status status = STATUS_OK;
    TRY_TO(done, pattern_put_word(&word));
    for (int i = 0; i < 2; i++) {
        bool behind = i == 0, ahead = negated == behind;
        TRY_TO(done, pattern_put(out, "%s(?<%c[", i ? "|" : "(?:", behind ? '=' : '!'));
        TRY_TO(done, pattern_put_bytes(out, word.bytes, word.len));
        TRY_TO(done, pattern_put(out, "])(?%c[", ahead ? '=' : '!'));
        TRY_TO(done, pattern_put_bytes(out, word.bytes, word.len));
        TRY_TO(done, pattern_put(out, "])"));
    }
    TRY_TO(done, pattern_put(out, ")"));
done:
    free(word.bytes);
    return status;
}

static enum status read_escape(struct translation *t) {
    int letter = translation_peek(t, 1);
    t->atom = t->out.len;
    if (letter == 'b' || letter == 'B') {
        t->at += 2;
        return put_boundary(&t->out, letter == 'B');
    }
    if (letter > 0 && strchr("AzZGKRX123456789", letter)) {
        t->at += 2;
        return pattern_put(&t->out, "\\%c", letter);
    }
    if (letter > 0 && strchr("kgyY", letter))
        return translation_refuse(t, "a reference or a text boundary");
    if (letter == 'N' || letter == 'O') {
        t->at += 2;
        return pattern_put(&t->out, letter == 'N' ? "[^\\n]" : "(?s:.)");
    }
    struct pattern_text set = {0};
    bool negated, is_set;
    t->at++;
    enum status status = translation_read_set(t, &set, &negated, &is_set);
    if (status == STATUS_OK && is_set) {
        status = pattern_put(&t->out, negated ? "[^" : "[");
        if (status == STATUS_OK)
            status = pattern_put_bytes(&t->out, set.bytes, set.len);
        if (status == STATUS_OK)
            status = pattern_put(&t->out, "]");
    } else if (status == STATUS_OK) {
        int32_t point;
        t->at--;
        status = translation_read_character(t, &point);
        if (status == STATUS_OK)
            status = pattern_put(&t->out, "\\x{%x}", (unsigned)point);
    }
    free(set.bytes);
    return status;
}

/* The options of (?im-im) or (?im-im:, up to the closing sign; Ruby's m is PCRE2's s. Options
 * within an alternative reach further in one of the two, so they must open a group or the pattern.
 */
static enum status read_options(struct translation *t, bool opens, int64_t begin) {
    TRY(pattern_put(&t->out, "(?"));
    while (translation_peek(t, 0) >= 0 && strchr("im-", translation_peek(t, 0))) {
        TRY(pattern_put(&t->out, "%c",
                        translation_peek(t, 0) == 'm' ? 's' : translation_peek(t, 0)));
        t->at++;
    }
    int end = translation_peek(t, 0);
    if (end != ':' && end != ')')
        return translation_refuse(t, "an unknown group");
    if (end == ')' && !opens) {
        t->at = begin;
        return translation_refuse(t, "options that begin amid an alternative");
    }
    t->at++;
    return pattern_put(&t->out, "%c", end);
}

static enum status read_group(struct translation *t, bool opens, bool *is_options) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    int64_t begin = t->at;
    *is_options = false;
    if (translation_peek(t, 1) == '*')
        return translation_refuse(t, "(*");
    if (translation_peek(t, 1) != '?') {
        t->at++;
        return pattern_put(&t->out, "(");
    }
    for (int i = 0; i < (int)(sizeof known / sizeof *known); i++) {
        int64_t len = (int64_t)strlen(known[i]);
        if (t->at + len <= t->len && !memcmp(t->source + t->at, known[i], (size_t)len)) {
            t->at += len;
            return pattern_put(&t->out, "%s", known[i]);
        }
    }
    t->at += 2;
    TRY(read_options(t, opens, begin));
    *is_options = t->source[t->at - 1] == ')';
    return STATUS_OK;
}

/* {n}, {n,}, {n,m}, {,m}. A + behind it repeats it again and does not make it possessive; a ?
 * behind {n} makes it optional and not lazy. */
static enum status read_interval(struct translation *t, bool *is_interval) {
    int64_t begin = t->at++;
    bool has_least =
        pattern_digit(translation_peek(t, 0)) >= 0 && pattern_digit(translation_peek(t, 0)) < 10;
    int32_t least = translation_read_digits(t, 10, 6), most = least;
    bool has_comma = translation_peek(t, 0) == ',';
    t->at += has_comma;
    bool has_most = has_comma && pattern_digit(translation_peek(t, 0)) >= 0 &&
                    pattern_digit(translation_peek(t, 0)) < 10;
    if (has_most)
        most = translation_read_digits(t, 10, 6);
    *is_interval = translation_peek(t, 0) == '}' && (has_least || has_most) && t->atom >= 0;
    if (!*is_interval) {
        t->at = begin + 1;
        t->atom = t->out.len;
        return pattern_put(&t->out, "\\x{7b}");
    }
    t->at++;
    if (has_comma && !has_most)
        TRY(pattern_put(&t->out, "{%d,}", (int)least));
    else
        TRY(pattern_put(&t->out, "{%d,%d}", (int)least, (int)most));
    if (translation_peek(t, 0) == '+' || (translation_peek(t, 0) == '?' && !has_comma)) {
        TRY(put_before(&t->out, t->atom, "(?:"));
        TRY(pattern_put(&t->out, ")"));
    }
    return STATUS_OK;
}

/* Reads one construct. groups[depth] is where in out the open groups begin. */
static enum status read_one(struct translation *t, int64_t groups[TRANSLATION_DEPTH_MAX],
                            bool *opens) {
    int c = translation_peek(t, 0);
    bool is_part = false, was_opening = *opens;
    *opens = c == '(';
    switch (c) {
    case '\\':
        return read_escape(t);
    case '[':
        t->at++;
        t->atom = t->out.len;
        return translation_read_class(t, &t->out);
    case '(':
        if (t->depth == TRANSLATION_DEPTH_MAX)
            return translation_refuse(t, "groups too deep within each other");
        groups[t->depth] = t->out.len;
        t->atom = -1;
        TRY(read_group(t, was_opening, &is_part));
        t->depth += !is_part;
        return STATUS_OK;
    case ')':
        if (t->depth == 0)
            return translation_refuse(t, "a ) without (");
        t->atom = groups[--t->depth];
        t->at++;
        return pattern_put(&t->out, ")");
    case '{':
        return read_interval(t, &is_part);
    case '|':
    case '^':
    case '$':
        t->atom = c == '|' ? -1 : t->out.len;
        t->at++;
        return pattern_put(&t->out, "%c", c);
    case '*':
    case '+':
    case '?':
        t->at++;
        return pattern_put(&t->out, "%c", c);
    case '.':
        t->atom = t->out.len;
        t->at++;
        return pattern_put(&t->out, ".");
    default:
        break;
    }
    int32_t point;
    t->atom = t->out.len;
    TRY(translation_read_character(t, &point));
    return pattern_put(&t->out, "\\x{%x}", (unsigned)point);
}

enum status pattern_translate(const char *file, const char *field, const char *source, int64_t len,
                              char **translation, int64_t *translation_len) {
    struct translation t = {.file = file, .field = field, .source = source, .len = len, .atom = -1};
    int64_t groups[TRANSLATION_DEPTH_MAX];
    bool opens = true;
    *translation = NULL;
    *translation_len = 0;
    enum status status = pattern_put_bytes(&t.out, "", 0);
    while (status == STATUS_OK && t.at < t.len)
        status = read_one(&t, groups, &opens);
    if (status != STATUS_OK) {
        free(t.out.bytes);
        return status;
    }
    *translation = t.out.bytes;
    *translation_len = t.out.len;
    return STATUS_OK;
}
