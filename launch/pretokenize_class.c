#include "launch/pretokenize_class.h"

#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* White space, spelt out because PCRE2's \s counts U+180E in. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d} "                                                                               \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

enum status pattern_put_bytes(struct pattern_text *text, const char *bytes, int64_t len) {
    TRY(array_reserve(&text->bytes, &text->capacity, text->len + len + 1, 1));
    memcpy(text->bytes + text->len, bytes, (size_t)len);
    text->len += len;
    text->bytes[text->len] = '\0';
    return STATUS_OK;
}

enum status pattern_put(struct pattern_text *text, const char *format, ...) {
    char bytes[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(bytes, sizeof bytes, format, args);
    va_end(args);
    return pattern_put_bytes(text, bytes, len < (int)sizeof bytes ? len : (int)sizeof bytes - 1);
}

enum status translation_refuse(const struct translation *t, const char *what) {
    return status_fail(t->file, t->field,
                       "found %s at byte %lld of the regular expression, expected a construct that "
                       "is known; use a tokenizer with a simpler pattern",
                       what, (long long)t->at);
}

int translation_peek(const struct translation *t, int64_t ahead) {
    return t->at + ahead < t->len ? (unsigned char)t->source[t->at + ahead] : -1;
}

int pattern_digit(int c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

int32_t translation_read_digits(struct translation *t, int base, int most) {
    int32_t value = 0;
    for (int i = 0; i < most && pattern_digit(translation_peek(t, 0)) >= 0 &&
                    pattern_digit(translation_peek(t, 0)) < base;
         i++)
        value = value * base + pattern_digit((unsigned char)t->source[t->at++]);
    return value;
}

/* -- properties -------------------------------------------------------------------------------- */

/* The characters of general categories beginning with `category` that PCRE2 does not know yet. */
static enum status put_newer(struct pattern_text *text, const char *category) {
    for (int i = 0; i < unicode_newer_count; i++)
        if (!strncmp(unicode_newer[i].category, category, strlen(category)))
            TRY(pattern_put(text, "\\x{%x}-\\x{%x}", (unsigned)unicode_newer[i].first,
                            (unsigned)unicode_newer[i].last));
    return STATUS_OK;
}

static enum status put_category(struct pattern_text *text, const char *category) {
    TRY(pattern_put(text, "\\p{%s}", category));
    return put_newer(text, category);
}

/* The reference counts six superscripts and fractions of Latin-1 as word characters. */
enum status pattern_put_word(struct pattern_text *text) {
    TRY(pattern_put(text,
                    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"));
    TRY(put_newer(text, "L"));
    TRY(put_newer(text, "M"));
    TRY(put_newer(text, "Nd"));
    return put_newer(text, "Pc");
}

static enum status put_alphabetic(struct pattern_text *text) {
    TRY(pattern_put(text, "\\p{Alphabetic}"));
    TRY(put_newer(text, "L"));
    TRY(put_newer(text, "Nl"));
    return put_newer(text, "Mc");
}

static enum status put_punctuation_and_symbols(struct pattern_text *text) {
    TRY(put_category(text, "P"));
    return put_category(text, "S");
}

/* General categories by their short and long names, compared without case, spaces, - and _. */
static const char *const categories[][2] = {{"L", "letter"},
                                            {"Lu", "uppercaseletter"},
                                            {"Ll", "lowercaseletter"},
                                            {"Lt", "titlecaseletter"},
                                            {"Lm", "modifierletter"},
                                            {"Lo", "otherletter"},
                                            {"M", "mark"},
                                            {"Mn", "nonspacingmark"},
                                            {"Mc", "spacingmark"},
                                            {"Me", "enclosingmark"},
                                            {"N", "number"},
                                            {"Nd", "decimalnumber"},
                                            {"Nl", "letternumber"},
                                            {"No", "othernumber"},
                                            {"P", "punctuation"},
                                            {"Pc", "connectorpunctuation"},
                                            {"Pd", "dashpunctuation"},
                                            {"Ps", "openpunctuation"},
                                            {"Pe", "closepunctuation"},
                                            {"Pi", "initialpunctuation"},
                                            {"Pf", "finalpunctuation"},
                                            {"Po", "otherpunctuation"},
                                            {"S", "symbol"},
                                            {"Sm", "mathsymbol"},
                                            {"Sc", "currencysymbol"},
                                            {"Sk", "modifiersymbol"},
                                            {"So", "othersymbol"},
                                            {"Z", "separator"},
                                            {"Zs", "spaceseparator"},
                                            {"Zl", "lineseparator"},
                                            {"Zp", "paragraphseparator"},
                                            {"C", "other"},
                                            {"Cc", "control"},
                                            {"Cf", "format"},
                                            {"Cn", "unassigned"},
                                            {"Co", "privateuse"},
                                            {"Cs", "surrogate"}};

/* The characters of a property or POSIX class as items of a class, in positive form. */
static enum status put_property(struct translation *t, struct pattern_text *text,
                                const char *name) {
    static const struct {
        const char *name;
        enum status (*put)(struct pattern_text *);
    } special[] = {{"word", pattern_put_word},
                   {"alpha", put_alphabetic},
                   {"alphabetic", put_alphabetic},
                   {"punct", put_punctuation_and_symbols}};
    for (int i = 0; i < (int)(sizeof special / sizeof *special); i++)
        if (!strcasecmp(name, special[i].name))
            return special[i].put(text);
    for (int i = 0; i < (int)(sizeof categories / sizeof *categories); i++)
        if (!strcasecmp(name, categories[i][0]) || !strcasecmp(name, categories[i][1]))
            return put_category(text, categories[i][0]);
    if (!strcasecmp(name, "space") || !strcasecmp(name, "whitespace"))
        return pattern_put(text, SPACE);
    if (!strcasecmp(name, "digit"))
        return put_category(text, "Nd");
    if (!strcasecmp(name, "upper") || !strcasecmp(name, "uppercase")) {
        TRY(pattern_put(text, "\\p{Uppercase}"));
        return put_newer(text, "Lu");
    }
    if (!strcasecmp(name, "lower") || !strcasecmp(name, "lowercase")) {
        TRY(pattern_put(text, "\\p{Lowercase}"));
        return put_newer(text, "Ll");
    }
    if (!strcasecmp(name, "alnum")) {
        TRY(put_alphabetic(text));
        return put_category(text, "Nd");
    }
    /* A script by its name, which the reference means as Script, not as Script_Extensions. A name
     * that PCRE2 does not know is refused when the pattern is compiled. */
    for (const char *c = name; *c; c++)
        if (*c < '0' || *c > 'z')
            return translation_refuse(t, "an unusual property");
    TRY(pattern_put(text, "\\p{sc:%s}", name));
    if (!strcasecmp(name, "Han"))
        return pattern_put(text, "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}");
    return STATUS_OK;
}

/* Reads the rest of \p{...}, \P{...}, [:...:] up to `end` into name, without what does not count.
 */
static enum status read_name(struct translation *t, const char *end, char name[64], bool *negated) {
    int len = 0;
    while (t->at < t->len && strncmp(t->source + t->at, end, strlen(end)) != 0) {
        char c = t->source[t->at++];
        if (c == '^' && len == 0)
            *negated = !*negated;
        else if (c != ' ' && c != '-' && c != '_' && c != '^')
            name[len++] = c;
        if (len == 63 || c == '\0')
            return translation_refuse(t, "an unusual property");
    }
    if (t->at >= t->len || len == 0)
        return translation_refuse(t, "an unfinished property");
    name[len] = '\0';
    t->at += (int64_t)strlen(end);
    return STATUS_OK;
}

/* -- escapes ----------------------------------------------------------------------------------- */

enum status translation_read_character(struct translation *t, int32_t *point) {
    int length;
    if (translation_peek(t, 0) != '\\') {
        *point = unicode_decode(t->source + t->at, &length);
        t->at += length;
        return STATUS_OK;
    }
    t->at++;
    if (t->at >= t->len)
        return translation_refuse(t, "an unfinished escape");
    static const char names[] = "abefnrtv", values[] = "\a\b\033\f\n\r\t\v";
    const char *name = strchr(names, translation_peek(t, 0));
    if (name && *name) {
        *point = values[name - names];
        t->at++;
        return STATUS_OK;
    }
    if (translation_peek(t, 0) == 'x' && translation_peek(t, 1) == '{') {
        t->at += 2;
        *point = translation_read_digits(t, 16, 6);
        if (translation_peek(t, 0) != '}')
            return translation_refuse(t, "an unfinished \\x{...}");
        t->at++;
    } else if (translation_peek(t, 0) == 'x' || translation_peek(t, 0) == 'u') {
        bool is_short = translation_peek(t, 0) == 'x';
        t->at++;
        *point = translation_read_digits(t, 16, is_short ? 2 : 4);
        if (is_short && *point > 0x7f)
            return translation_refuse(t, "a single byte beyond ASCII");
    } else if (translation_peek(t, 0) >= '0' && translation_peek(t, 0) <= '7') {
        *point = translation_read_digits(t, 8, 3);
    } else if (translation_peek(t, 0) && strchr("cCM", translation_peek(t, 0))) {
        return translation_refuse(t, "a control character");
    } else {
        *point = unicode_decode(t->source + t->at, &length);
        t->at += length;
    }
    if (*point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
        return translation_refuse(t, "a number that is no character");
    return STATUS_OK;
}

enum status translation_read_set(struct translation *t, struct pattern_text *text, bool *negated,
                                 bool *is_set) {
    int letter = translation_peek(t, 0);
    *negated = letter >= 'A' && letter <= 'Z';
    *is_set = letter > 0 && strchr("sSdDwWhHpP", letter);
    if (!*is_set)
        return STATUS_OK;
    t->at++;
    switch (letter | 32) {
    case 's':
        return pattern_put(text, SPACE);
    case 'd':
        return put_category(text, "Nd");
    case 'w':
        return pattern_put_word(text);
    case 'h':
        return pattern_put(text, "0-9a-fA-F");
    default:
        break;
    }
    if (translation_peek(t, 0) != '{')
        return translation_refuse(t, "\\p without braces");
    t->at++;
    char name[64];
    TRY(read_name(t, "}", name, negated));
    return put_property(t, text, name);
}

/* -- classes ----------------------------------------------------------------------------------- */

/* A class is written as one of PCRE2's where it can be. A negated set or class within it becomes an
 * alternative beside it, since PCRE2 cannot nest them; an intersection becomes lookaheads. */
struct class_parts {
    struct pattern_text items;        /* what goes between the brackets */
    struct pattern_text alternatives; /* |[...]|[...] */
    struct pattern_text ahead;        /* (?=...)(?=...) of the operands before && */
    bool is_negated;
};

static enum status put_set(struct class_parts *parts, const struct pattern_text *set,
                           bool negated) {
    if (!negated)
        return pattern_put_bytes(&parts->items, set->bytes, set->len);
    TRY(pattern_put(&parts->alternatives, "|[^"));
    TRY(pattern_put_bytes(&parts->alternatives, set->bytes, set->len));
    return pattern_put(&parts->alternatives, "]");
}

static enum status read_class_set(struct translation *t, struct class_parts *parts, bool *is_set) {
    struct pattern_text set = {0};
    bool negated = false;
    enum status status = STATUS_OK;
    *is_set = false;
    if (translation_peek(t, 0) == '\\') {
        t->at++;
        TRY_TO(done, translation_read_set(t, &set, &negated, is_set));
        if (!*is_set)
            t->at--;
    } else if (translation_peek(t, 0) == '[' && translation_peek(t, 1) == ':') {
        char name[64];
        t->at += 2;
        TRY_TO(done, read_name(t, ":]", name, &negated));
        TRY_TO(done, put_property(t, &set, name));
        *is_set = true;
    } else if (translation_peek(t, 0) == '[') {
        t->at++;
        TRY_TO(done, pattern_put(&parts->alternatives, "|"));
        TRY_TO(done, translation_read_class(t, &parts->alternatives));
        *is_set = true;
        goto done;
    }
    if (*is_set)
        TRY_TO(done, put_set(parts, &set, negated));
done:
    free(set.bytes);
    return status;
}

static enum status read_class_range(struct translation *t, struct class_parts *parts) {
    int32_t first, last;
    TRY(translation_read_character(t, &first));
    last = first;
    bool is_range = translation_peek(t, 0) == '-' && translation_peek(t, 1) >= 0 &&
                    translation_peek(t, 1) != ']' && translation_peek(t, 1) != '[';
    if (is_range && translation_peek(t, 1) == '\\' && translation_peek(t, 2) > 0 &&
        strchr("sSdDwWhHpP", translation_peek(t, 2)))
        is_range = false;
    if (is_range) {
        t->at++;
        TRY(translation_read_character(t, &last));
        if (last < first)
            return translation_refuse(t, "a range that runs backwards");
    }
    return pattern_put(&parts->items, "\\x{%x}-\\x{%x}", (unsigned)first, (unsigned)last);
}

/* What the operand read so far matches, one character, as an expression. */
static enum status put_operand(struct translation *t, struct class_parts *parts,
                               struct pattern_text *out) {
    if (parts->items.len == 0 && parts->alternatives.len == 0)
        return translation_refuse(t, "an empty class");
    bool grouped = parts->alternatives.len > 0;
    if (grouped)
        TRY(pattern_put(out, "(?:"));
    if (parts->items.len) {
        TRY(pattern_put(out, "["));
        TRY(pattern_put_bytes(out, parts->items.bytes, parts->items.len));
        TRY(pattern_put(out, "]"));
    }
    if (grouped) {
        int64_t skip = parts->items.len ? 0 : 1;
        TRY(pattern_put_bytes(out, parts->alternatives.bytes + skip,
                              parts->alternatives.len - skip));
        TRY(pattern_put(out, ")"));
    }
    parts->items.len = parts->alternatives.len = 0;
    return STATUS_OK;
}

static enum status put_class(struct translation *t, struct class_parts *parts,
                             struct pattern_text *out) {
    bool plain = parts->ahead.len == 0 && parts->alternatives.len == 0;
    if (plain && parts->items.len) {
        TRY(pattern_put(out, parts->is_negated ? "[^" : "["));
        TRY(pattern_put_bytes(out, parts->items.bytes, parts->items.len));
        return pattern_put(out, "]");
    }
    TRY(pattern_put(out, parts->is_negated ? "(?:(?!" : "(?:"));
    if (parts->ahead.len)
        TRY(pattern_put_bytes(out, parts->ahead.bytes, parts->ahead.len));
    TRY(put_operand(t, parts, out));
    return pattern_put(out, parts->is_negated ? ")(?s:.))" : ")");
}

enum status translation_read_class(struct translation *t, struct pattern_text *out) {
    struct class_parts parts = {.is_negated = translation_peek(t, 0) == '^'};
    enum status status = STATUS_OK;
    if (++t->depth > TRANSLATION_DEPTH_MAX)
        return translation_refuse(t, "classes too deep within each other");
    t->at += parts.is_negated;
    for (bool first = true;; first = false) {
        bool is_set;
        if (t->at >= t->len) {
            status = translation_refuse(t, "an unfinished class");
            goto done;
        }
        if (translation_peek(t, 0) == ']' && !first)
            break;
        if (translation_peek(t, 0) == '&' && translation_peek(t, 1) == '&') {
            t->at += 2;
            TRY_TO(done, pattern_put(&parts.ahead, "(?="));
            TRY_TO(done, put_operand(t, &parts, &parts.ahead));
            TRY_TO(done, pattern_put(&parts.ahead, ")"));
            continue;
        }
        TRY_TO(done, read_class_set(t, &parts, &is_set));
        if (!is_set)
            TRY_TO(done, read_class_range(t, &parts));
    }
    t->at++;
    TRY_TO(done, put_class(t, &parts, out));
done:
    t->depth--;
    free(parts.items.bytes);
    free(parts.alternatives.bytes);
    free(parts.ahead.bytes);
    return status;
}
