#include "launch/tokenizer_added.h"

#include "launch/unicode.h"
#include "partition/json.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

static enum status read_flags(const char *file, const json_t *json, struct added_token *token) {
    TRY(json_bool(file, json, "special", false, &token->special));
    token->normalized = !token->special;
    TRY(json_bool(file, json, "normalized", false, &token->normalized));
    TRY(json_bool(file, json, "lstrip", false, &token->left_strip));
    TRY(json_bool(file, json, "rstrip", false, &token->right_strip));
    return json_bool(file, json, "single_word", false, &token->single_word);
}

/* A content that comes again replaces what was said of it. */
static enum status put(const char *file, struct added_tokens *added,
                       const struct added_token *token, const char *content) {
    int32_t known = vocabulary_find(&added->contents, content, token->content_len);
    if (known >= 0) {
        char *same = added->list[known].content;
        bool special = token->special || added->list[known].special;
        added->list[known] = *token;
        added->list[known].content = same;
        added->list[known].special = special;
        return STATUS_OK;
    }
    TRY(vocabulary_add(&added->contents, file, "content", content, token->content_len,
                       added->count));
    TRY(array_reserve(&added->list, &added->capacity, added->count + 1, sizeof *added->list));
    char *copy = malloc((size_t)token->content_len + 1);
    if (!copy)
        return status_no_memory("an added token", token->content_len);
    memcpy(copy, content, (size_t)token->content_len + 1);
    added->list[added->count] = *token;
    added->list[added->count++].content = copy;
    return STATUS_OK;
}

/* next: the id of the next token that has none yet; -1 where the file's own count. */
static enum status read_one(const char *file, const json_t *json,
                            const struct vocabulary *vocabulary, int64_t *next,
                            struct added_tokens *added) {
    const json_t *content = json_object_get(json, "content");
    struct added_token token = {0};
    int64_t stated = 0;
    if (!json_is_object(json) || !json_is_string(content))
        return status_fail(file, NULL,
                           "found %s, expected objects with a content; "
                           "restore the file as it was published",
                           json_words(json).text);
    TRY(json_int(file, json, "id", true, 0, VOCABULARY_ID_LIMIT - 1, &stated));
    TRY(read_flags(file, json, &token));
    const char *text = json_string_value(content);
    token.content_len = (int64_t)json_string_length(content);
    if (token.content_len == 0)
        return STATUS_OK;
    const struct added_token *known = added_tokens_find(added, text, token.content_len);
    token.id = known ? known->id : vocabulary_find(vocabulary, text, token.content_len);
    if (token.id < 0)
        token.id = (int32_t)(*next < 0 ? stated : (*next)++);
    if (token.id >= VOCABULARY_ID_LIMIT)
        return status_fail(file, NULL,
                           "found more than %lld tokens, expected fewer; "
                           "restore the file as it was published",
                           (long long)VOCABULARY_ID_LIMIT);
    return put(file, added, &token, text);
}

static int compare_ids(const void *left, const void *right, void *data) {
    const struct added_token *list = data;
    int32_t a = list[*(const int32_t *)left].id, b = list[*(const int32_t *)right].id;
    return (a > b) - (a < b);
}

static enum status sort_ids(struct added_tokens *added) {
    added->by_id = malloc((size_t)(added->count + 1) * sizeof *added->by_id);
    if (!added->by_id)
        return status_no_memory("added tokens", (added->count + 1) * (long long)sizeof(int32_t));
    for (int32_t i = 0; i < (int32_t)added->count; i++)
        added->by_id[i] = i;
    qsort_r(added->by_id, (size_t)added->count, sizeof *added->by_id, compare_ids, added->list);
    return STATUS_OK;
}

/* What a token looks like in a text that was rewritten: its content, rewritten. */
static enum status show(const struct normalizer *normalizer, struct added_token *token) {
    struct pieces pieces;
    enum status status = pieces_open(token->content, token->content_len, &pieces);
    if (status == STATUS_OK && token->normalized)
        status = normalizer_apply(normalizer, false, &pieces);
    if (status == STATUS_OK) {
        token->shown = pieces.text;
        token->shown_len = pieces.len;
        pieces.text = NULL;
    }
    pieces_close(&pieces);
    return status;
}

static enum status look_for(struct added_tokens *added, const struct added_token *token,
                            int32_t index) {
    if (token->shown_len == 0)
        return STATUS_OK;
    TRY(phrases_add(token->normalized ? &added->normalized : &added->raw, token->shown,
                    token->shown_len, index));
    if (token->special)
        return STATUS_OK;
    return phrases_add(token->normalized ? &added->normalized_plain : &added->raw_plain,
                       token->shown, token->shown_len, index);
}

enum status added_tokens_read(const char *file, const json_t *json,
                              const struct vocabulary *vocabulary, enum added_ids ids,
                              const struct normalizer *normalizer, struct added_tokens *added) {
    if (json && !json_is_null(json) && !json_is_array(json))
        return status_fail(file, NULL,
                           "found %s, expected a list; restore the file as it was published",
                           json_words(json).text);
    const json_t *item;
    size_t k;
    int64_t next = ids == ADDED_IDS_NEXT ? vocabulary->count : -1;
    json_array_foreach(json, k, item) TRY(read_one(file, item, vocabulary, &next, added));
    TRY(sort_ids(added));
    for (int32_t i = 0; i < (int32_t)added->count; i++) {
        struct added_token *token = &added->list[i];
        TRY(show(normalizer, token));
        TRY(look_for(added, token, i));
    }
    phrases_sort(&added->raw);
    phrases_sort(&added->raw_plain);
    phrases_sort(&added->normalized);
    phrases_sort(&added->normalized_plain);
    return STATUS_OK;
}

void added_tokens_close(struct added_tokens *added) {
    for (int64_t i = 0; i < added->count; i++) {
        free(added->list[i].content);
        free(added->list[i].shown);
    }
    free(added->list);
    free(added->by_id);
    vocabulary_close(&added->contents);
    phrases_close(&added->raw);
    phrases_close(&added->raw_plain);
    phrases_close(&added->normalized);
    phrases_close(&added->normalized_plain);
    *added = (struct added_tokens){0};
}

const struct added_token *added_tokens_get(const struct added_tokens *added, int64_t id) {
    int64_t low = 0, high = added->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (added->list[added->by_id[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == added->count || added->list[added->by_id[low]].id != id)
        return NULL;
    return &added->list[added->by_id[low]];
}

const struct added_token *added_tokens_find(const struct added_tokens *added, const char *content,
                                            int64_t len) {
    int32_t index = vocabulary_find(&added->contents, content, len);
    return index < 0 ? NULL : &added->list[index];
}

/* -- cutting ----------------------------------------------------------------------------------- */

/* The beginning of the last character of text[0 .. end), end > 0. */
static int64_t character_before(const char *text, int64_t end) {
    int64_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static bool stands_alone(const char *text, int64_t len, int64_t begin, int64_t end) {
    int length;
    if (begin > 0 && unicode_is_word(unicode_decode(text + character_before(text, begin), &length)))
        return false;
    return end == len || !unicode_is_word(unicode_decode(text + end, &length));
}

/* White space to the left, back to what the last token left; and to the right. */
static int64_t stretch_left(const char *text, int64_t done, int64_t begin) {
    int length;
    while (begin > done) {
        int64_t at = character_before(text, begin);
        if (!unicode_is_space(unicode_decode(text + at, &length)))
            break;
        begin = at;
    }
    return begin;
}

static int64_t stretch_right(const char *text, int64_t len, int64_t end) {
    int length;
    while (end < len && unicode_is_space(unicode_decode(text + end, &length)))
        end += length;
    return end;
}

/* One cutting of a text. */
struct cutting {
    const struct added_tokens *added;
    const struct phrases *all, *plain; /* with the special tokens, and without */
    const struct encode_rules *rules;
    const struct pieces *pieces;
    struct pieces out;
};

/* True when no byte of the original text from `begin` to `last` is one of those where special
 * tokens are ordinary text. */
static bool is_free(const struct encode_rules *rules, int64_t begin, int64_t last) {
    int64_t low = 0, high = rules->plain_count;
    while (low < high) { /* the first range that ends behind `begin` */
        int64_t middle = low + (high - low) / 2;
        if (rules->plain[middle].end <= begin)
            low = middle + 1;
        else
            high = middle;
    }
    return low == rules->plain_count || rules->plain[low].begin > last;
}

/* The token that the text at `at`, before `end`, begins with. */
static const struct phrase *match(const struct cutting *c, int64_t at, int64_t end) {
    const char *text = c->pieces->text + at;
    const int64_t *origin = c->pieces->origin + at;
    if (!c->rules->specials)
        return phrases_match(c->plain, text, end - at, INT_MAX);
    const struct phrase *found = phrases_match(c->all, text, end - at, INT_MAX);
    if (!found || !c->added->list[found->id].special || c->rules->plain_count == 0 ||
        is_free(c->rules, origin[0], origin[found->len - 1]))
        return found;
    return phrases_match(c->plain, text, end - at, INT_MAX);
}

static enum status cut_piece(struct cutting *c, const struct piece *piece) {
    const char *text = c->pieces->text + piece->begin;
    int64_t len = piece->end - piece->begin, done = 0;
    for (int64_t at = 0; at < len;) {
        const struct phrase *phrase = match(c, piece->begin + at, piece->end);
        if (!phrase) {
            at++;
            continue;
        }
        const struct added_token *token = &c->added->list[phrase->id];
        int64_t begin = at, end = at + phrase->len;
        at = end;
        if (token->single_word && !stands_alone(text, len, begin, end))
            continue;
        if (token->left_strip)
            begin = stretch_left(text, done, begin);
        if (token->right_strip)
            end = stretch_right(text, len, end);
        if (done < begin)
            TRY(pieces_cut(&c->out, piece->begin + done, piece->begin + begin, -1));
        TRY(pieces_cut(&c->out, piece->begin + begin, piece->begin + end, token->id));
        done = end;
    }
    return done < len ? pieces_cut(&c->out, piece->begin + done, piece->end, -1) : STATUS_OK;
}

enum status added_tokens_cut(const struct added_tokens *added, bool is_rewritten,
                             const struct encode_rules *rules, struct pieces *pieces) {
    struct cutting c = {.added = added,
                        .all = is_rewritten ? &added->normalized : &added->raw,
                        .plain = is_rewritten ? &added->normalized_plain : &added->raw_plain,
                        .rules = rules,
                        .pieces = pieces};
    if ((rules->specials ? c.all : c.plain)->count == 0)
        return STATUS_OK;
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->list[i];
        if (piece->id >= 0)
            TRY_TO(done, pieces_cut(&c.out, piece->begin, piece->end, piece->id));
        else
            TRY_TO(done, cut_piece(&c, piece));
    }
    struct pieces old = *pieces;
    pieces->list = c.out.list;
    pieces->count = c.out.count;
    pieces->list_capacity = c.out.list_capacity;
    c.out = (struct pieces){.list = old.list};
done:
    pieces_close(&c.out);
    return status;
}
