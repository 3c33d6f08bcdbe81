#include "launch/pretokenize.h"

#include "launch/tokenizer_parts.h"
#include "launch/unicode.h"
#include "partition/json.h"
#include <stdlib.h>
#include <string.h>

enum kind { SPLIT, SPLIT_CHARACTERS, PREFIX_SPACE, BYTES, METASPACE };
enum behavior { ISOLATED, REMOVED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct step {
    enum kind kind;
    enum behavior behavior;  /* SPLIT, SPLIT_CHARACTERS */
    bool invert;             /* SPLIT: what the pattern does not match is the delimiter */
    struct pattern *pattern; /* SPLIT, owned */
    int32_t character;       /* SPLIT_CHARACTERS: this one, or any number when -1 */
    enum prepend prepend;    /* METASPACE */
    char replacement[4];     /* METASPACE */
    int replacement_len;
};

struct pretokenizer {
    struct step *steps; /* [count] */
    int64_t count, capacity;
};

/* GPT-2's pattern, which ByteLevel has unless told otherwise. */
static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* -- reading ----------------------------------------------------------------------------------- */

static enum status add(struct pretokenizer *p, struct step step) {
    enum status status = array_reserve(&p->steps, &p->capacity, p->count + 1, sizeof *p->steps);
    if (status != STATUS_OK) {
        pattern_close(&step.pattern);
        return status;
    }
    p->steps[p->count++] = step;
    return STATUS_OK;
}

/* Finds a name in a list of `count`; refuses others. */
static enum status choose(const char *file, const char *field, const char *name,
                          const char *const *names, int count, int *chosen) {
    for (*chosen = 0; *chosen < count; ++*chosen)
        if (!strcmp(name, names[*chosen]))
            return STATUS_OK;
    return status_fail(file, field,
                       "found \"%s\", expected one that is known (\"%s\" and the like); "
                       "use another tokenizer",
                       name, names[0]);
}

static enum status read_behavior(const char *file, const json_t *json, bool required,
                                 enum behavior *behavior) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = "Isolated";
    int chosen;
    TRY(json_text(file, json, "behavior", required, &name));
    TRY(choose(file, "behavior", name, names, 5, &chosen));
    *behavior = (enum behavior)chosen;
    return STATUS_OK;
}

static enum status read_split(struct pretokenizer *p, const char *file, const json_t *json) {
    struct step step = {.kind = SPLIT};
    TRY(read_behavior(file, json, true, &step.behavior));
    TRY(json_bool(file, json, "invert", false, &step.invert));
    TRY(pattern_open(file, "pattern", json_object_get(json, "pattern"), &step.pattern));
    return add(p, step);
}

static enum status read_byte_level(struct pretokenizer *p, const char *file, const json_t *json) {
    bool add_prefix_space = true, use_regex = true;
    TRY(json_bool(file, json, "add_prefix_space", true, &add_prefix_space));
    TRY(json_bool(file, json, "use_regex", false, &use_regex));
    if (add_prefix_space)
        TRY(add(p, (struct step){.kind = PREFIX_SPACE}));
    if (use_regex) {
        struct step step = {.kind = SPLIT};
        TRY(pattern_open_regex(file, "pattern", gpt2, (int64_t)strlen(gpt2), &step.pattern));
        TRY(add(p, step));
    }
    return add(p, (struct step){.kind = BYTES});
}

static enum status read_metaspace(struct pretokenizer *p, const char *file, const json_t *json) {
    static const char *const names[] = {"always", "first", "never"};
    struct step step = {.kind = METASPACE};
    const char *replacement = NULL, *scheme = "always";
    bool prefix = true, split = true;
    int chosen;
    TRY(json_text(file, json, "replacement", true, &replacement));
    TRY(json_text(file, json, "prepend_scheme", false, &scheme));
    TRY(json_bool(file, json, "add_prefix_space", false, &prefix));
    TRY(json_bool(file, json, "split", false, &split));
    TRY(choose(file, "prepend_scheme", scheme, names, 3, &chosen));
    step.replacement_len = unicode_length((unsigned char)replacement[0]);
    if (!replacement[0] || (int)strlen(replacement) != step.replacement_len)
        return status_fail(file, "replacement",
                           "found \"%s\", expected one character; "
                           "restore the file as it was published",
                           replacement);
    memcpy(step.replacement, replacement, (size_t)step.replacement_len);
    step.prepend = prefix ? (enum prepend)chosen : PREPEND_NEVER;
    TRY(add(p, step));
    if (!split)
        return STATUS_OK;
    int length;
    return add(p, (struct step){.kind = SPLIT_CHARACTERS,
                                .behavior = MERGED_WITH_NEXT,
                                .character = unicode_decode(replacement, &length)});
}

static enum status read_digits(struct pretokenizer *p, const char *file, const json_t *json) {
    bool individual = false;
    TRY(json_bool(file, json, "individual_digits", false, &individual));
    return add(p, (struct step){.kind = SPLIT_CHARACTERS,
                                .behavior = individual ? ISOLATED : CONTIGUOUS,
                                .character = -1});
}

/* Words, and runs of what is neither word nor white space; the rest goes. */
static enum status read_whitespace(struct pretokenizer *p, const char *file, const json_t *json) {
    static const char words[] = "\\w+|[^\\w\\s]+";
    struct step step = {.kind = SPLIT, .behavior = REMOVED, .invert = true};
    (void)json;
    TRY(pattern_open_regex(file, "pattern", words, (int64_t)strlen(words), &step.pattern));
    return add(p, step);
}

static enum status read_whitespace_split(struct pretokenizer *p, const char *file,
                                         const json_t *json) {
    struct step step = {.kind = SPLIT, .behavior = REMOVED};
    (void)json;
    TRY(pattern_open_regex(file, "pattern", "\\s", 2, &step.pattern));
    return add(p, step);
}

static enum status read_punctuation(struct pretokenizer *p, const char *file, const json_t *json) {
    static const char marks[] = "[\\p{P}!-/:-@\\[-`{-~]";
    struct step step = {.kind = SPLIT};
    TRY(read_behavior(file, json, false, &step.behavior));
    TRY(pattern_open_regex(file, "pattern", marks, (int64_t)strlen(marks), &step.pattern));
    return add(p, step);
}

static enum status read_part(void *owner, const char *file, const char *type, const json_t *json,
                             bool *taken) {
    static const struct {
        const char *name;
        enum status (*read)(struct pretokenizer *p, const char *file, const json_t *json);
    } kinds[] = {{"Split", read_split},
                 {"ByteLevel", read_byte_level},
                 {"Metaspace", read_metaspace},
                 {"Digits", read_digits},
                 {"Whitespace", read_whitespace},
                 {"WhitespaceSplit", read_whitespace_split},
                 {"Punctuation", read_punctuation}};
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++)
        if (!strcmp(type, kinds[i].name))
            return kinds[i].read(owner, file, json);
    *taken = false;
    return STATUS_OK;
}

static const struct part_reader reader = {
    .list = "pretokenizers",
    .known = "Split, ByteLevel, Metaspace, Digits, Whitespace, WhitespaceSplit or Punctuation",
    .read = read_part};

enum status pretokenizer_open(const char *file, const json_t *json,
                              struct pretokenizer **pretokenizer) {
    *pretokenizer = calloc(1, sizeof **pretokenizer);
    if (!*pretokenizer)
        return status_no_memory("a pre-tokenizer", (long long)sizeof **pretokenizer);
    if (!json || json_is_null(json))
        return STATUS_OK;
    enum status status = parts_read(file, json, &reader, *pretokenizer);
    if (status != STATUS_OK)
        pretokenizer_close(pretokenizer);
    return status;
}

void pretokenizer_close(struct pretokenizer **pretokenizer) {
    if (!*pretokenizer)
        return;
    for (int64_t i = 0; i < (*pretokenizer)->count; i++)
        pattern_close(&(*pretokenizer)->steps[i].pattern);
    free((*pretokenizer)->steps);
    free(*pretokenizer);
    *pretokenizer = NULL;
}

bool pretokenizer_is_byte_level(const struct pretokenizer *pretokenizer) {
    for (int64_t i = 0; i < pretokenizer->count; i++)
        if (pretokenizer->steps[i].kind == BYTES)
            return true;
    return false;
}

/* -- bytes as characters ----------------------------------------------------------------------- */

/* GPT-2's alphabet: printable characters of Latin-1 stand for themselves, the other bytes follow
 * from U+0100 on in their order. */
static bool is_printable(int32_t point) {
    return (point >= '!' && point <= '~') || (point >= 0xa1 && point <= 0xff && point != 0xad);
}

int32_t byte_level_character(unsigned char byte) {
    if (is_printable(byte))
        return byte;
    return byte <= 0x20 ? 0x100 + byte : byte <= 0xa0 ? 0x100 + 0x21 + byte - 0x7f : 0x143;
}

int byte_level_byte(int32_t point) {
    if (point < 0x100)
        return is_printable(point) ? point : -1;
    if (point <= 0x120)
        return point - 0x100;
    if (point <= 0x142)
        return point - 0x121 + 0x7f;
    return point == 0x143 ? 0xad : -1;
}

static enum status rewrite_bytes(const void *step, const char *text, const int64_t *origin,
                                 int64_t len, struct pieces *out) {
    (void)step;
    int64_t room = out->len + 2 * len;
    TRY(array_reserve(&out->text, &out->text_capacity, room, sizeof *out->text));
    TRY(array_reserve(&out->origin, &out->origin_capacity, room, sizeof *out->origin));
    for (int64_t i = 0; i < len; i++) {
        int length =
            unicode_encode(byte_level_character((unsigned char)text[i]), out->text + out->len);
        for (int k = 0; k < length; k++)
            out->origin[out->len++] = origin[i];
    }
    return STATUS_OK;
}

/* -- what stands in front ---------------------------------------------------------------------- */

static enum status rewrite_prefix_space(const void *step, const char *text, const int64_t *origin,
                                        int64_t len, struct pieces *out) {
    (void)step;
    if (text[0] != ' ')
        TRY(pieces_put_from(out, " ", 1, origin[0]));
    return pieces_put(out, text, len, origin);
}

static enum status rewrite_metaspace(const void *data, const char *text, const int64_t *origin,
                                     int64_t len, struct pieces *out) {
    const struct step *step = data;
    bool begins = text[0] == ' ' || (len >= step->replacement_len &&
                                     !memcmp(text, step->replacement, step->replacement_len));
    if (!begins &&
        (step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && origin[0] == 0)))
        TRY(pieces_put_from(out, step->replacement, step->replacement_len, origin[0]));
    for (int64_t done = 0; done < len;) {
        const char *space = memchr(text + done, ' ', (size_t)(len - done));
        int64_t end = space ? space - text : len;
        TRY(pieces_put(out, text + done, end - done, origin + done));
        if (space)
            TRY(pieces_put_from(out, step->replacement, step->replacement_len, origin[end]));
        done = end + 1;
    }
    return STATUS_OK;
}

/* -- splitting --------------------------------------------------------------------------------- */

/* Each character that counts is a match of its own. */
static enum status cut_characters(const struct step *step, const char *text, int64_t len,
                                  struct spans *spans) {
    int64_t done = 0;
    spans->count = 0;
    for (int64_t at = 0; at < len;) {
        int length;
        int32_t point = unicode_decode(text + at, &length);
        if (step->character < 0 ? unicode_is_number(point) : point == step->character) {
            if (at > done)
                TRY(spans_put(spans, done, at, false));
            TRY(spans_put(spans, at, at + length, true));
            done = at + length;
        }
        at += length;
    }
    if (done < len)
        TRY(spans_put(spans, done, len, false));
    return STATUS_OK;
}

/* True when the span at i belongs to the same piece as the one before it. */
static bool joins_previous(const struct step *step, const struct spans *spans, int64_t i) {
    const struct span *list = spans->list;
    switch (step->behavior) {
    case MERGED_WITH_PREVIOUS:
        return list[i].is_match && !list[i - 1].is_match;
    case MERGED_WITH_NEXT:
        return list[i - 1].is_match && !list[i].is_match;
    case CONTIGUOUS:
        return list[i].is_match == list[i - 1].is_match;
    default:
        return false;
    }
}

static enum status put_spans(const struct step *step, struct spans *spans, int64_t offset,
                             struct pieces *out) {
    for (int64_t i = 0; step->invert && i < spans->count; i++)
        spans->list[i].is_match = !spans->list[i].is_match;
    for (int64_t i = 0; i < spans->count;) {
        int64_t begin = spans->list[i].begin, end = spans->list[i].end;
        bool is_removed = step->behavior == REMOVED && spans->list[i].is_match;
        for (i++; i < spans->count && joins_previous(step, spans, i); i++)
            end = spans->list[i].end;
        if (!is_removed)
            TRY(pieces_cut(out, offset + begin, offset + end, -1));
    }
    return STATUS_OK;
}

/* The text stays as it is; only the list of pieces is made anew. */
static enum status split(const struct step *step, struct pieces *pieces) {
    struct pieces out = {0};
    struct spans spans = {0};
    struct matcher *matcher = NULL;
    enum status status = STATUS_OK;
    if (step->pattern)
        TRY_TO(done, matcher_open(step->pattern, &matcher));
    for (int64_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->list[i];
        if (piece->id >= 0) {
            TRY_TO(done, pieces_cut(&out, piece->begin, piece->end, piece->id));
            continue;
        }
        const char *text = pieces->text + piece->begin;
        int64_t len = piece->end - piece->begin;
        TRY_TO(done, step->pattern ? matcher_cut(matcher, text, len, &spans)
                                   : cut_characters(step, text, len, &spans));
        TRY_TO(done, put_spans(step, &spans, piece->begin, &out));
    }
    struct pieces old = *pieces;
    pieces->list = out.list;
    pieces->count = out.count;
    pieces->list_capacity = out.list_capacity;
    out = (struct pieces){.list = old.list};
done:
    matcher_close(&matcher);
    free(spans.list);
    pieces_close(&out);
    return status;
}

/* For a text behind another: its own beginning is no beginning. */
static enum status rewrite_prefix_space_behind(const void *step, const char *text,
                                               const int64_t *origin, int64_t len,
                                               struct pieces *out) {
    return origin[0] ? rewrite_prefix_space(step, text, origin, len, out)
                     : pieces_put(out, text, len, origin);
}

static enum status rewrite_metaspace_behind(const void *data, const char *text,
                                            const int64_t *origin, int64_t len,
                                            struct pieces *out) {
    struct step step = *(const struct step *)data;
    if (origin[0] == 0)
        step.prepend = PREPEND_NEVER;
    return rewrite_metaspace(&step, text, origin, len, out);
}

enum status pretokenizer_apply(const struct pretokenizer *pretokenizer, bool behind,
                               struct pieces *pieces) {
    for (int64_t i = 0; i < pretokenizer->count; i++) {
        const struct step *step = &pretokenizer->steps[i];
        switch (step->kind) {
        case PREFIX_SPACE:
            TRY(pieces_rewrite(pieces, behind ? rewrite_prefix_space_behind : rewrite_prefix_space,
                               step));
            break;
        case BYTES:
            TRY(pieces_rewrite(pieces, rewrite_bytes, step));
            break;
        case METASPACE:
            TRY(pieces_rewrite(pieces, behind ? rewrite_metaspace_behind : rewrite_metaspace,
                               step));
            break;
        default:
            TRY(split(step, pieces));
            break;
        }
    }
    return STATUS_OK;
}
