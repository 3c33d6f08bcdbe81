#include "launch/pretokenize_syntax.h"

#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Classes and groups within each other; real patterns have two or three. */
#define DEPTH_MAX 64

/* White space, spelt out because PCRE2's \s counts U+180E in. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d} "                                                                               \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

struct text {
    char *bytes;
    int64_t len, capacity;
};

struct translation {
    const char *file, *field, *source;
    int64_t len, at;
    struct text out;
    int64_t atom; /* where in out the last thing that a quantifier can apply to begins, or -1 */
    int depth;
};

static enum status put_bytes(struct text *text, const char *bytes, int64_t len) {
    TRY(array_reserve(&text->bytes, &text->capacity, text->len + len + 1, 1));
    memcpy(text->bytes + text->len, bytes, (size_t)len);
    text->len += len;
    text->bytes[text->len] = '\0';
    return STATUS_OK;
}

static enum status put(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum status put(struct text *text, const char *format, ...) {
    char bytes[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(bytes, sizeof bytes, format, args);
    va_end(args);
    return put_bytes(text, bytes, len < (int)sizeof bytes ? len : (int)sizeof bytes - 1);
}

/* Puts bytes in front of what was written since `begin`. */
static enum status put_before(struct text *text, int64_t begin, const char *bytes) {
    int64_t len = (int64_t)strlen(bytes);
    TRY(put_bytes(text, bytes, len));
    memmove(text->bytes + begin + len, text->bytes + begin, (size_t)(text->len - len - begin));
    memcpy(text->bytes + begin, bytes, (size_t)len);
    return STATUS_OK;
}

static enum status refuse(const struct translation *t, const char *what) {
    return status_fail(t->file, t->field,
                       "found %s at byte %lld of the regular expression, expected a construct that "
                       "is known; use a tokenizer with a simpler pattern",
                       what, (long long)t->at);
}

static int peek(const struct translation *t, int64_t ahead) {
    return t->at + ahead < t->len ? (unsigned char)t->source[t->at + ahead] : -1;
}

/* -- properties ---------------------------------------------------------------------------------
 */

/* The characters of general categories beginning with `category` that PCRE2 does not know yet. */
static enum status put_newer(struct text *text, const char *category) {
    for (int i = 0; i < unicode_newer_count; i++)
        if (!strncmp(unicode_newer[i].category, category, strlen(category)))
            TRY(put(text, "\\x{%x}-\\x{%x}", (unsigned)unicode_newer[i].first,
                    (unsigned)unicode_newer[i].last));
    return STATUS_OK;
}

static enum status put_category(struct text *text, const char *category) {
    TRY(put(text, "\\p{%s}", category));
    return put_newer(text, category);
}

/* The reference counts six superscripts and fractions of Latin-1 as word characters. */
static enum status put_word(struct text *text) {
    TRY(put(text, "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"));
    TRY(put_newer(text, "L"));
    TRY(put_newer(text, "M"));
    TRY(put_newer(text, "Nd"));
    return put_newer(text, "Pc");
}

static enum status put_alphabetic(struct text *text) {
    TRY(put(text, "\\p{Alphabetic}"));
    TRY(put_newer(text, "L"));
    TRY(put_newer(text, "Nl"));
    return put_newer(text, "Mc");
}

static enum status put_punctuation_and_symbols(struct text *text) {
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
static enum status put_property(struct translation *t, struct text *text, const char *name) {
    static const struct {
        const char *name;
        enum status (*put)(struct text *);
    } special[] = {{"word", put_word},
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
        return put(text, SPACE);
    if (!strcasecmp(name, "digit"))
        return put_category(text, "Nd");
    if (!strcasecmp(name, "upper") || !strcasecmp(name, "uppercase")) {
        TRY(put(text, "\\p{Uppercase}"));
        return put_newer(text, "Lu");
    }
    if (!strcasecmp(name, "lower") || !strcasecmp(name, "lowercase")) {
        TRY(put(text, "\\p{Lowercase}"));
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
            return refuse(t, "an unusual property");
    TRY(put(text, "\\p{sc:%s}", name));
    if (!strcasecmp(name, "Han"))
        return put(text, "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}");
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
            return refuse(t, "an unusual property");
    }
    if (t->at >= t->len || len == 0)
        return refuse(t, "an unfinished property");
    name[len] = '\0';
    t->at += (int64_t)strlen(end);
    return STATUS_OK;
}

/* -- escapes ------------------------------------------------------------------------------------
 */

static int hex_value(int c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

static int32_t read_digits(struct translation *t, int base, int most) {
    int32_t value = 0;
    for (int i = 0; i < most && hex_value(peek(t, 0)) >= 0 && hex_value(peek(t, 0)) < base; i++)
        value = value * base + hex_value((unsigned char)t->source[t->at++]);
    return value;
}

/* One character, plain or escaped, that stands for itself; `at` stands on it. */
static enum status read_character(struct translation *t, int32_t *point) {
    int length;
    if (peek(t, 0) != '\\') {
        *point = unicode_decode(t->source + t->at, &length);
        t->at += length;
        return STATUS_OK;
    }
    t->at++;
    if (t->at >= t->len)
        return refuse(t, "an unfinished escape");
    static const char names[] = "abefnrtv", values[] = "\a\b\033\f\n\r\t\v";
    const char *name = strchr(names, peek(t, 0));
    if (name && *name) {
        *point = values[name - names];
        t->at++;
        return STATUS_OK;
    }
    if (peek(t, 0) == 'x' && peek(t, 1) == '{') {
        t->at += 2;
        *point = read_digits(t, 16, 6);
        if (peek(t, 0) != '}')
            return refuse(t, "an unfinished \\x{...}");
        t->at++;
    } else if (peek(t, 0) == 'x' || peek(t, 0) == 'u') {
        bool is_short = peek(t, 0) == 'x';
        t->at++;
        *point = read_digits(t, 16, is_short ? 2 : 4);
        if (is_short && *point > 0x7f)
            return refuse(t, "a single byte beyond ASCII");
    } else if (peek(t, 0) >= '0' && peek(t, 0) <= '7') {
        *point = read_digits(t, 8, 3);
    } else if (peek(t, 0) && strchr("cCM", peek(t, 0))) {
        return refuse(t, "a control character");
    } else {
        *point = unicode_decode(t->source + t->at, &length);
        t->at += length;
    }
    if (*point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
        return refuse(t, "a number that is no character");
    return STATUS_OK;
}

/* Items of a class for the escape whose letter `at` stands on, positive, if it is one of the short
 * ones for a set of characters. */
static enum status read_set(struct translation *t, struct text *text, bool *negated, bool *is_set) {
    int letter = peek(t, 0);
    *negated = letter >= 'A' && letter <= 'Z';
    *is_set = letter > 0 && strchr("sSdDwWhHpP", letter);
    if (!*is_set)
        return STATUS_OK;
    t->at++;
    switch (letter | 32) {
    case 's':
        return put(text, SPACE);
    case 'd':
        return put_category(text, "Nd");
    case 'w':
        return put_word(text);
    case 'h':
        return put(text, "0-9a-fA-F");
    default:
        break;
    }
    if (peek(t, 0) != '{')
        return refuse(t, "\\p without braces");
    t->at++;
    char name[64];
    TRY(read_name(t, "}", name, negated));
    return put_property(t, text, name);
}

/* -- classes ------------------------------------------------------------------------------------
 */

/* A class is written as one of PCRE2's where it can be. A negated set or class within it becomes an
 * alternative beside it, since PCRE2 cannot nest them; an intersection becomes lookaheads. */
struct class_parts {
    struct text items;        /* what goes between the brackets */
    struct text alternatives; /* |[...]|[...] */
    struct text ahead;        /* (?=...)(?=...) of the operands before && */
    bool is_negated;
};

static enum status read_class(struct translation *t, struct text *out);

static enum status put_set(struct class_parts *parts, const struct text *set, bool negated) {
    if (!negated)
        return put_bytes(&parts->items, set->bytes, set->len);
    TRY(put(&parts->alternatives, "|[^"));
    TRY(put_bytes(&parts->alternatives, set->bytes, set->len));
    return put(&parts->alternatives, "]");
}

static enum status read_class_set(struct translation *t, struct class_parts *parts, bool *is_set) {
    struct text set = {0};
    bool negated = false;
    enum status status = STATUS_OK;
    *is_set = false;
    if (peek(t, 0) == '\\') {
        t->at++;
        TRY_TO(done, read_set(t, &set, &negated, is_set));
        if (!*is_set)
            t->at--;
    } else if (peek(t, 0) == '[' && peek(t, 1) == ':') {
        char name[64];
        t->at += 2;
        TRY_TO(done, read_name(t, ":]", name, &negated));
        TRY_TO(done, put_property(t, &set, name));
        *is_set = true;
    } else if (peek(t, 0) == '[') {
        t->at++;
        TRY_TO(done, put(&parts->alternatives, "|"));
        TRY_TO(done, read_class(t, &parts->alternatives));
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
    TRY(read_character(t, &first));
    last = first;
    bool is_range = peek(t, 0) == '-' && peek(t, 1) >= 0 && peek(t, 1) != ']' && peek(t, 1) != '[';
    if (is_range && peek(t, 1) == '\\' && peek(t, 2) > 0 && strchr("sSdDwWhHpP", peek(t, 2)))
        is_range = false;
    if (is_range) {
        t->at++;
        TRY(read_character(t, &last));
        if (last < first)
            return refuse(t, "a range that runs backwards");
    }
    return put(&parts->items, "\\x{%x}-\\x{%x}", (unsigned)first, (unsigned)last);
}

/* What the operand read so far matches, one character, as an expression. */
static enum status put_operand(struct translation *t, struct class_parts *parts, struct text *out) {
    if (parts->items.len == 0 && parts->alternatives.len == 0)
        return refuse(t, "an empty class");
    bool grouped = parts->alternatives.len > 0;
    if (grouped)
        TRY(put(out, "(?:"));
    if (parts->items.len) {
        TRY(put(out, "["));
        TRY(put_bytes(out, parts->items.bytes, parts->items.len));
        TRY(put(out, "]"));
    }
    if (grouped) {
        int64_t skip = parts->items.len ? 0 : 1;
        TRY(put_bytes(out, parts->alternatives.bytes + skip, parts->alternatives.len - skip));
        TRY(put(out, ")"));
    }
    parts->items.len = parts->alternatives.len = 0;
    return STATUS_OK;
}

static enum status put_class(struct translation *t, struct class_parts *parts, struct text *out) {
    bool plain = parts->ahead.len == 0 && parts->alternatives.len == 0;
    if (plain && parts->items.len) {
        TRY(put(out, parts->is_negated ? "[^" : "["));
        TRY(put_bytes(out, parts->items.bytes, parts->items.len));
        return put(out, "]");
    }
    TRY(put(out, parts->is_negated ? "(?:(?!" : "(?:"));
    if (parts->ahead.len)
        TRY(put_bytes(out, parts->ahead.bytes, parts->ahead.len));
    TRY(put_operand(t, parts, out));
    return put(out, parts->is_negated ? ")(?s:.))" : ")");
}

/* Reads a class behind its opening bracket, the closing one included. */
static enum status read_class(struct translation *t, struct text *out) {
    struct class_parts parts = {.is_negated = peek(t, 0) == '^'};
    enum status status = STATUS_OK;
    if (++t->depth > DEPTH_MAX)
        return refuse(t, "classes too deep within each other");
    t->at += parts.is_negated;
    for (bool first = true;; first = false) {
        bool is_set;
        if (t->at >= t->len) {
            status = refuse(t, "an unfinished class");
            goto done;
        }
        if (peek(t, 0) == ']' && !first)
            break;
        if (peek(t, 0) == '&' && peek(t, 1) == '&') {
            t->at += 2;
            TRY_TO(done, put(&parts.ahead, "(?="));
            TRY_TO(done, put_operand(t, &parts, &parts.ahead));
            TRY_TO(done, put(&parts.ahead, ")"));
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

/* -- outside of classes -------------------------------------------------------------------------
 */

static enum status put_boundary(struct text *out, bool negated) {
    struct text word = {0};
    enum status status = STATUS_OK;
    TRY_TO(done, put_word(&word));
    for (int i = 0; i < 2; i++) {
        bool behind = i == 0, ahead = negated == behind;
        TRY_TO(done, put(out, "%s(?<%c[", i ? "|" : "(?:", behind ? '=' : '!'));
        TRY_TO(done, put_bytes(out, word.bytes, word.len));
        TRY_TO(done, put(out, "])(?%c[", ahead ? '=' : '!'));
        TRY_TO(done, put_bytes(out, word.bytes, word.len));
        TRY_TO(done, put(out, "])"));
    }
    TRY_TO(done, put(out, ")"));
done:
    free(word.bytes);
    return status;
}

static enum status read_escape(struct translation *t) {
    int letter = peek(t, 1);
    t->atom = t->out.len;
    if (letter == 'b' || letter == 'B') {
        t->at += 2;
        return put_boundary(&t->out, letter == 'B');
    }
    if (letter > 0 && strchr("AzZGKRX123456789", letter)) {
        t->at += 2;
        return put(&t->out, "\\%c", letter);
    }
    if (letter > 0 && strchr("kgyY", letter))
        return refuse(t, "a reference or a text boundary");
    if (letter == 'N' || letter == 'O') {
        t->at += 2;
        return put(&t->out, letter == 'N' ? "[^\\n]" : "(?s:.)");
    }
    struct text set = {0};
    bool negated, is_set;
    t->at++;
    enum status status = read_set(t, &set, &negated, &is_set);
    if (status == STATUS_OK && is_set) {
        status = put(&t->out, negated ? "[^" : "[");
        if (status == STATUS_OK)
            status = put_bytes(&t->out, set.bytes, set.len);
        if (status == STATUS_OK)
            status = put(&t->out, "]");
    } else if (status == STATUS_OK) {
        int32_t point;
        t->at--;
        status = read_character(t, &point);
        if (status == STATUS_OK)
            status = put(&t->out, "\\x{%x}", (unsigned)point);
    }
    free(set.bytes);
    return status;
}

/* The options of (?im-im) or (?im-im:, up to the closing sign; Ruby's m is PCRE2's s. Options
 * within an alternative reach further in one of the two, so they must open a group or the pattern.
 */
static enum status read_options(struct translation *t, bool opens, int64_t begin) {
    TRY(put(&t->out, "(?"));
    while (peek(t, 0) >= 0 && strchr("im-", peek(t, 0))) {
        TRY(put(&t->out, "%c", peek(t, 0) == 'm' ? 's' : peek(t, 0)));
        t->at++;
    }
    int end = peek(t, 0);
    if (end != ':' && end != ')')
        return refuse(t, "an unknown group");
    if (end == ')' && !opens) {
        t->at = begin;
        return refuse(t, "options that begin amid an alternative");
    }
    t->at++;
    return put(&t->out, "%c", end);
}

static enum status read_group(struct translation *t, bool opens, bool *is_options) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    int64_t begin = t->at;
    *is_options = false;
    if (peek(t, 1) == '*')
        return refuse(t, "(*");
    if (peek(t, 1) != '?') {
        t->at++;
        return put(&t->out, "(");
    }
    for (int i = 0; i < (int)(sizeof known / sizeof *known); i++) {
        int64_t len = (int64_t)strlen(known[i]);
        if (t->at + len <= t->len && !memcmp(t->source + t->at, known[i], (size_t)len)) {
            t->at += len;
            return put(&t->out, "%s", known[i]);
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
    bool has_least = hex_value(peek(t, 0)) >= 0 && hex_value(peek(t, 0)) < 10;
    int32_t least = read_digits(t, 10, 6), most = least;
    bool has_comma = peek(t, 0) == ',';
    t->at += has_comma;
    bool has_most = has_comma && hex_value(peek(t, 0)) >= 0 && hex_value(peek(t, 0)) < 10;
    if (has_most)
        most = read_digits(t, 10, 6);
    *is_interval = peek(t, 0) == '}' && (has_least || has_most) && t->atom >= 0;
    if (!*is_interval) {
        t->at = begin + 1;
        t->atom = t->out.len;
        return put(&t->out, "\\x{7b}");
    }
    t->at++;
    if (has_comma && !has_most)
        TRY(put(&t->out, "{%d,}", (int)least));
    else
        TRY(put(&t->out, "{%d,%d}", (int)least, (int)most));
    if (peek(t, 0) == '+' || (peek(t, 0) == '?' && !has_comma)) {
        TRY(put_before(&t->out, t->atom, "(?:"));
        TRY(put(&t->out, ")"));
    }
    return STATUS_OK;
}

/* Reads one construct. groups[depth] is where in out the open groups begin. */
static enum status read_one(struct translation *t, int64_t groups[DEPTH_MAX], bool *opens) {
    int c = peek(t, 0);
    bool is_part = false, was_opening = *opens;
    *opens = c == '(';
    switch (c) {
    case '\\':
        return read_escape(t);
    case '[':
        t->at++;
        t->atom = t->out.len;
        return read_class(t, &t->out);
    case '(':
        if (t->depth == DEPTH_MAX)
            return refuse(t, "groups too deep within each other");
        groups[t->depth] = t->out.len;
        t->atom = -1;
        TRY(read_group(t, was_opening, &is_part));
        t->depth += !is_part;
        return STATUS_OK;
    case ')':
        if (t->depth == 0)
            return refuse(t, "a ) without (");
        t->atom = groups[--t->depth];
        t->at++;
        return put(&t->out, ")");
    case '{':
        return read_interval(t, &is_part);
    case '|':
    case '^':
    case '$':
        t->atom = c == '|' ? -1 : t->out.len;
        t->at++;
        return put(&t->out, "%c", c);
    case '*':
    case '+':
    case '?':
        t->at++;
        return put(&t->out, "%c", c);
    case '.':
        t->atom = t->out.len;
        t->at++;
        return put(&t->out, ".");
    default:
        break;
    }
    int32_t point;
    t->atom = t->out.len;
    TRY(read_character(t, &point));
    return put(&t->out, "\\x{%x}", (unsigned)point);
}

enum status pattern_translate(const char *file, const char *field, const char *source, int64_t len,
                              char **translation, int64_t *translation_len) {
    struct translation t = {.file = file, .field = field, .source = source, .len = len, .atom = -1};
    int64_t groups[DEPTH_MAX];
    bool opens = true;
    *translation = NULL;
    *translation_len = 0;
    enum status status = put_bytes(&t.out, "", 0);
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
