#define PCRE2_CODE_UNIT_WIDTH 8
#include "launch/pretokenize_pattern.h"

#include "launch/pretokenize_syntax.h"
#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
    const char *file; /* owned by this, for messages */
    char *literal;    /* [literal_len], NULL for a regular expression */
    int64_t literal_len;
    pcre2_code *code;
};

struct matcher {
    const struct pattern *pattern;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* A match may need one step back for every byte of a long run of white space, and a few such walks
 * for every alternative; more than that is a pattern that explodes. */
#define STEPS_LEAST 10000000
#define STEPS_PER_BYTE 64
#define JIT_STACK_MAX (64 << 20)

static enum status compile(const char *file, const char *field, const char *source, int64_t len,
                           pcre2_code **code) {
    char *translation;
    int64_t translation_len;
    TRY(pattern_translate(file, field, source, len, &translation, &translation_len));
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) {
        free(translation);
        return status_no_memory(field, translation_len);
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    int error;
    PCRE2_SIZE offset;
    *code = pcre2_compile((PCRE2_SPTR)translation, (PCRE2_SIZE)translation_len,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                          &offset, context);
    pcre2_compile_context_free(context);
    free(translation);
    if (!*code) {
        char reason[160];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        return status_fail(file, field,
                           "found a regular expression that does not compile (%s), expected one "
                           "that does; restore the file as it was published",
                           reason);
    }
    /* Without the just-in-time compiler matching is slower and nothing else. */
    pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    return STATUS_OK;
}

static enum status pattern_new(const char *file, const char *field, struct pattern **pattern) {
    *pattern = calloc(1, sizeof **pattern);
    if (*pattern)
        (*pattern)->file = strdup(file);
    if (!*pattern || !(*pattern)->file) {
        pattern_close(pattern);
        return status_no_memory(field, (long long)sizeof **pattern);
    }
    return STATUS_OK;
}

enum status pattern_open_regex(const char *file, const char *field, const char *source, int64_t len,
                               struct pattern **pattern) {
    TRY(pattern_new(file, field, pattern));
    enum status status = compile(file, field, source, len, &(*pattern)->code);
    if (status != STATUS_OK)
        pattern_close(pattern);
    return status;
}

enum status pattern_open(const char *file, const char *field, const json_t *json,
                         struct pattern **pattern) {
    const json_t *literal = json_object_get(json, "String"),
                 *regex = json_object_get(json, "Regex");
    const json_t *text = literal ? literal : regex;
    *pattern = NULL;
    if (!json_is_string(text) || (literal && regex) || json_string_length(text) == 0)
        return status_fail(file, field,
                           "found no text to look for, expected {\"String\": ...} or "
                           "{\"Regex\": ...}; restore the file as it was published");
    const char *bytes = json_string_value(text);
    int64_t len = (int64_t)json_string_length(text);
    if (regex)
        return pattern_open_regex(file, field, bytes, len, pattern);
    TRY(pattern_new(file, field, pattern));
    (*pattern)->literal = malloc((size_t)len);
    if (!(*pattern)->literal) {
        pattern_close(pattern);
        return status_no_memory(field, len);
    }
    memcpy((*pattern)->literal, bytes, (size_t)len);
    (*pattern)->literal_len = len;
    return STATUS_OK;
}

void pattern_close(struct pattern **pattern) {
    if (!*pattern)
        return;
    pcre2_code_free((*pattern)->code);
    free((*pattern)->literal);
    free((char *)(*pattern)->file);
    free(*pattern);
    *pattern = NULL;
}

const char *pattern_literal(const struct pattern *pattern, int64_t *len) {
    *len = pattern->literal_len;
    return pattern->literal;
}

enum status spans_put(struct spans *spans, int64_t begin, int64_t end, bool is_match) {
    TRY(array_reserve(&spans->list, &spans->capacity, spans->count + 1, sizeof *spans->list));
    spans->list[spans->count++] = (struct span){begin, end, is_match};
    return STATUS_OK;
}

enum status matcher_open(const struct pattern *pattern, struct matcher **matcher) {
    *matcher = calloc(1, sizeof **matcher);
    if (!*matcher)
        return status_no_memory("a pattern", (long long)sizeof **matcher);
    (*matcher)->pattern = pattern;
    if (pattern->literal)
        return STATUS_OK;
    (*matcher)->data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    (*matcher)->context = pcre2_match_context_create(NULL);
    (*matcher)->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL);
    if (!(*matcher)->data || !(*matcher)->context) {
        matcher_close(matcher);
        return status_no_memory("a pattern", 1024);
    }
    if ((*matcher)->stack)
        pcre2_jit_stack_assign((*matcher)->context, NULL, (*matcher)->stack);
    return STATUS_OK;
}

void matcher_close(struct matcher **matcher) {
    if (!*matcher)
        return;
    pcre2_match_data_free((*matcher)->data);
    pcre2_match_context_free((*matcher)->context);
    pcre2_jit_stack_free((*matcher)->stack);
    free(*matcher);
    *matcher = NULL;
}

static enum status cut_literal(const struct pattern *pattern, const char *text, int64_t len,
                               struct spans *spans) {
    int64_t done = 0;
    while (done < len) {
        const char *found = memmem(text + done, (size_t)(len - done), pattern->literal,
                                   (size_t)pattern->literal_len);
        int64_t begin = found ? found - text : len;
        if (begin > done)
            TRY(spans_put(spans, done, begin, false));
        if (!found)
            break;
        done = begin + pattern->literal_len;
        TRY(spans_put(spans, begin, done, true));
    }
    return STATUS_OK;
}

/* The next match at or behind `at`; *begin is -1 when there is none. */
static enum status find_next(struct matcher *matcher, const char *text, int64_t len, int64_t at,
                             int64_t *begin, int64_t *end) {
    *begin = *end = -1;
    int found = pcre2_match(matcher->pattern->code, (PCRE2_SPTR)text, (PCRE2_SIZE)len,
                            (PCRE2_SIZE)at, PCRE2_NO_UTF_CHECK, matcher->data, matcher->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found =
            pcre2_match(matcher->pattern->code, (PCRE2_SPTR)text, (PCRE2_SIZE)len, (PCRE2_SIZE)at,
                        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, matcher->data, matcher->context);
    if (found == PCRE2_ERROR_NOMATCH)
        return STATUS_OK;
    if (found < 0) {
        char reason[160];
        pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
        return status_fail(matcher->pattern->file, "Regex",
                           "found a regular expression that gives up on this text (%s), expected "
                           "one that matches in steps of the text's length; use another tokenizer",
                           reason);
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(matcher->data);
    /* \K within a lookahead could set the beginning anywhere. */
    if (offsets[0] > offsets[1] || (int64_t)offsets[0] < at)
        return STATUS_OK;
    *begin = (int64_t)offsets[0];
    *end = (int64_t)offsets[1];
    return STATUS_OK;
}

static enum status cut_regex(struct matcher *matcher, const char *text, int64_t len,
                             struct spans *spans) {
    int64_t steps = STEPS_LEAST + STEPS_PER_BYTE * (len < INT32_MAX ? len : INT32_MAX);
    pcre2_set_match_limit(matcher->context, (uint32_t)(steps < UINT32_MAX ? steps : UINT32_MAX));
    int64_t done = 0, at = 0, last = -1;
    while (at <= len) {
        int64_t begin, end;
        TRY(find_next(matcher, text, len, at, &begin, &end));
        if (begin < 0)
            break;
        if (begin == end && end == last) {
            /* An empty match right behind the last one does not count; look one further on. */
            at += at < len ? unicode_length((unsigned char)text[at]) : 1;
            continue;
        }
        if (begin > done)
            TRY(spans_put(spans, done, begin, false));
        TRY(spans_put(spans, begin, end, true));
        done = at = last = end;
    }
    if (done < len)
        TRY(spans_put(spans, done, len, false));
    return STATUS_OK;
}

enum status matcher_cut(struct matcher *matcher, const char *text, int64_t len,
                        struct spans *spans) {
    spans->count = 0;
    if (matcher->pattern->literal)
        return cut_literal(matcher->pattern, text, len, spans);
    return cut_regex(matcher, text, len, spans);
}
