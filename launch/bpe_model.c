#include "launch/bpe_model.h"

#include "launch/unicode.h"
#include "partition/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* -- the table of merges ----------------------------------------------------------------------- */

static int64_t slot_of(const struct bpe_model *model, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t mask = (uint64_t)model->merge_slots - 1;
    uint64_t slot = (key * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (model->merges[slot].left >= 0 &&
           (model->merges[slot].left != left || model->merges[slot].right != right))
        slot = (slot + 1) & mask;
    return (int64_t)slot;
}

static enum status merges_open(struct bpe_model *model, int64_t count) {
    for (model->merge_slots = 16; model->merge_slots < count * 2;)
        model->merge_slots *= 2;
    model->merges = malloc((size_t)model->merge_slots * sizeof *model->merges);
    model->borders = calloc(1, sizeof *model->borders);
    if (!model->merges || !model->borders)
        return status_no_memory("merges", model->merge_slots * (long long)sizeof *model->merges);
    for (int64_t i = 0; i < model->merge_slots; i++)
        model->merges[i].left = -1;
    return STATUS_OK;
}

/* A word while it is encoded. */
struct encoding {
    const struct bpe_model *model;
    const bool *barred; /* by id; NULL: none */
    const char *text;
    const int64_t *origin;
    struct bpe_word *word;
    struct token_list *out;
    uint32_t last; /* last character of the symbol put last */
};

static bool join(const void *data, const char *text, const struct bpe_symbol *left,
                 const struct bpe_symbol *right, int32_t *rank, int32_t *id) {
    (void)text;
    const struct encoding *e = data;
    const struct bpe_merge *merge = &e->model->merges[slot_of(e->model, left->id, right->id)];
    *rank = merge->rank;
    *id = merge->id;
    return merge->left >= 0 && !(e->barred && e->barred[merge->id]);
}

/* -- reading ----------------------------------------------------------------------------------- */

static enum status read_vocabulary(struct bpe_model *model, const json_t *json) {
    const json_t *vocab = json_object_get(json, "vocab");
    if (!json_is_object(vocab))
        return status_fail(model->file, "vocab", "found %s, expected an object; %s",
                           json_words(vocab).text, published);
    for (void *item = json_object_iter((json_t *)vocab); item;
         item = json_object_iter_next((json_t *)vocab, item)) {
        const json_t *id = json_object_iter_value(item);
        const char *text = json_object_iter_key(item);
        if (!json_is_integer(id))
            return status_fail(model->file, "vocab", "found %s for \"%.64s\", expected an id; %s",
                               json_words(id).text, text, published);
        TRY(vocabulary_add(&model->vocabulary, model->file, "vocab", text,
                           (int64_t)json_object_iter_key_len(item), json_integer_value(id)));
    }
    return STATUS_OK;
}

/* A merge as ["a", "b"] or as "a b". */
struct merge_text {
    const char *left, *right;
    int64_t left_len, right_len;
};

static enum status read_merge(const struct bpe_model *model, const json_t *json, int64_t index,
                              struct merge_text *merge) {
    const json_t *left = json_array_get(json, 0), *right = json_array_get(json, 1);
    if (json_array_size(json) == 2 && json_is_string(left) && json_is_string(right)) {
        *merge = (struct merge_text){json_string_value(left), json_string_value(right),
                                     (int64_t)json_string_length(left),
                                     (int64_t)json_string_length(right)};
        return STATUS_OK;
    }
    const char *text = json_string_value(json);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return status_fail(model->file, "merges", "found %s at %lld, expected two pieces; %s",
                           json_words(json).text, (long long)index, published);
    int64_t left_len = space - text;
    *merge = (struct merge_text){text, space + 1, left_len,
                                 (int64_t)json_string_length(json) - left_len - 1};
    return STATUS_OK;
}

static enum status add_merge(struct bpe_model *model, const struct merge_text *merge, int32_t rank,
                             char **joined, int64_t *joined_capacity) {
    int64_t len = merge->left_len + merge->right_len;
    TRY(array_reserve(joined, joined_capacity, len, 1));
    memcpy(*joined, merge->left, (size_t)merge->left_len);
    memcpy(*joined + merge->left_len, merge->right, (size_t)merge->right_len);
    struct bpe_merge found = {
        .left = vocabulary_find(&model->vocabulary, merge->left, merge->left_len),
        .right = vocabulary_find(&model->vocabulary, merge->right, merge->right_len),
        .rank = rank,
        .id = vocabulary_find(&model->vocabulary, *joined, len)};
    if (found.left < 0 || found.right < 0 || found.id < 0 || !merge->left_len || !merge->right_len)
        return status_fail(model->file, "merges",
                           "found a merge of \"%.*s\" and \"%.*s\" at %d, expected both and what "
                           "they make in the vocabulary; %s",
                           (int)(merge->left_len < 64 ? merge->left_len : 64), merge->left,
                           (int)(merge->right_len < 64 ? merge->right_len : 64), merge->right,
                           (int)rank, published);
    int length;
    bpe_borders_join(model->borders, bpe_last_character(merge->left, merge->left_len),
                     bpe_character(merge->right, merge->right_len, &length));
    model->merges[slot_of(model, found.left, found.right)] = found;
    return STATUS_OK;
}

static enum status read_merges(struct bpe_model *model, const json_t *json) {
    const json_t *merges = json_object_get(json, "merges"), *item;
    if (!json_is_array(merges) || json_array_size(merges) > INT32_MAX)
        return status_fail(model->file, "merges", "found %s, expected a list; %s",
                           json_words(merges).text, published);
    TRY(merges_open(model, (int64_t)json_array_size(merges)));
    char *joined = NULL;
    int64_t joined_capacity = 0;
    enum status status = STATUS_OK;
    size_t i;
    json_array_foreach(merges, i, item) {
        /* The first line of merges.txt, where a converter kept it. */
        if (json_is_string(item) && !strncmp(json_string_value(item), "#version", 8))
            continue;
        struct merge_text merge = {0};
        TRY_TO(done, read_merge(model, item, (int64_t)i, &merge));
        TRY_TO(done, add_merge(model, &merge, (int32_t)i, &joined, &joined_capacity));
    }
done:
    free(joined);
    return status;
}

/* Options that change the algorithm and that no model of the supported kinds has. */
static enum status refuse_others(const struct bpe_model *model, const json_t *json) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *type = "BPE";
    double dropout = 0;
    TRY(json_text(model->file, json, "type", false, &type));
    if (strcmp(type, "BPE") != 0)
        return status_fail(
            model->file, "type",
            "found \"%s\", expected \"BPE\" or \"Unigram\"; use a model with one of these", type);
    for (int i = 0; i < 2; i++) {
        const char *affix = "";
        TRY(json_text(model->file, json, affixes[i], false, &affix));
        if (affix[0])
            return status_fail(model->file, affixes[i],
                               "found \"%s\", expected none; use a model without it", affix);
    }
    TRY(json_real_in(model->file, json, "dropout", false, 0, 1, &dropout));
    if (dropout != 0)
        return status_fail(model->file, "dropout",
                           "found %g, expected none; set it to null in the file", dropout);
    return STATUS_OK;
}

static enum status read_unknown(struct bpe_model *model, const json_t *json) {
    const char *unknown = NULL;
    model->unknown = -1;
    TRY(json_text(model->file, json, "unk_token", false, &unknown));
    if (!unknown || !unknown[0])
        return STATUS_OK;
    int64_t len = (int64_t)strlen(unknown);
    int length;
    model->has_unknown = true;
    model->unknown = vocabulary_find(&model->vocabulary, unknown, len);
    model->unknown_first = bpe_character(unknown, len, &length);
    model->unknown_last = bpe_last_character(unknown, len);
    return STATUS_OK;
}

enum status bpe_model_read(const char *file, const json_t *json, struct bpe_model *model) {
    *model = (struct bpe_model){.file = file};
    if (!json_is_object(json))
        return status_fail(file, NULL, "found %s, expected an object; %s", json_words(json).text,
                           published);
    TRY(refuse_others(model, json));
    TRY(json_bool(file, json, "byte_fallback", false, &model->byte_fallback));
    TRY(json_bool(file, json, "fuse_unk", false, &model->fuse_unknown));
    TRY(json_bool(file, json, "ignore_merges", false, &model->ignore_merges));
    TRY(read_vocabulary(model, json));
    TRY(read_merges(model, json));
    TRY(read_unknown(model, json));
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        model->bytes[byte] = vocabulary_find(&model->vocabulary, name, 6);
    }
    for (int byte = 0; byte < 128; byte++)
        model->plain[byte] = vocabulary_find(&model->vocabulary, &(char){(char)byte}, 1);
    return STATUS_OK;
}

void bpe_model_close(struct bpe_model *model) {
    vocabulary_close(&model->vocabulary);
    free(model->merges);
    free(model->borders);
    *model = (struct bpe_model){0};
}

/* -- encoding ---------------------------------------------------------------------------------- */

static enum status flush(struct encoding *e) {
    struct bpe_word *word = e->word;
    if (word->count == 0)
        return STATUS_OK;
    if (word->count > 1)
        TRY(bpe_run(word, join, e, e->text));
    else
        word->symbols[0].next = -1;
    for (int64_t i = 0; i >= 0; i = word->symbols[i].next)
        TRY(token_list_put(e->out, word->symbols[i].id, e->origin[word->symbols[i].begin]));
    word->count = 0;
    return STATUS_OK;
}

/* Appends a symbol whose string has these first and last characters; where nothing can be joined
 * across, what came before is finished first. */
static enum status put(struct encoding *e, int64_t begin, int64_t len, int32_t id, uint32_t first,
                       uint32_t last) {
    if (e->word->count && !bpe_borders_joined(e->model->borders, e->last, first))
        TRY(flush(e));
    e->last = last;
    return bpe_put(e->word, begin, len, id, false);
}

static enum status put_bytes(struct encoding *e, int64_t begin, int length, bool *put_them) {
    *put_them = e->model->byte_fallback;
    for (int i = 0; i < length; i++)
        if (e->model->bytes[(unsigned char)e->text[begin + i]] < 0)
            *put_them = false;
    for (int i = 0; *put_them && i < length; i++)
        TRY(put(e, begin + i, 1, e->model->bytes[(unsigned char)e->text[begin + i]], '<', '>'));
    return STATUS_OK;
}

/* Unknown characters wait, since more may join them; bytes that come in between overtake them, as
 * they do in the reference. */
struct unknown {
    int64_t begin, len; /* len 0: none waits */
};

static enum status put_unknown(struct encoding *e, struct unknown *unknown) {
    if (!unknown->len)
        return STATUS_OK;
    int64_t len = unknown->len;
    unknown->len = 0;
    return put(e, unknown->begin, len, e->model->unknown, e->model->unknown_first,
               e->model->unknown_last);
}

static enum status add_unknown(struct encoding *e, struct unknown *unknown, int64_t begin,
                               int64_t len) {
    if (!e->model->has_unknown)
        return STATUS_OK;
    if (e->model->unknown < 0)
        return status_fail(e->model->file, "unk_token",
                           "found a text that needs it, expected it in the vocabulary; %s",
                           published);
    if (unknown->len && e->model->fuse_unknown) {
        unknown->len += len;
        return STATUS_OK;
    }
    TRY(put_unknown(e, unknown));
    *unknown = (struct unknown){begin, len};
    return STATUS_OK;
}

/* The token that a string is by itself, -1 for none. */
static int32_t find(const struct encoding *e, const char *text, int64_t len) {
    int32_t id = len == 1 && (unsigned char)text[0] < 128
                     ? e->model->plain[(unsigned char)text[0]]
                     : vocabulary_find(&e->model->vocabulary, text, len);
    return id >= 0 && e->barred && e->barred[id] ? -1 : id;
}

enum status bpe_model_encode(const struct bpe_model *model, const bool *barred, const char *text,
                             const int64_t *origin, int64_t len, struct bpe_word *word,
                             struct token_list *out) {
    struct encoding e = {
        .model = model, .barred = barred, .text = text, .origin = origin, .word = word, .out = out};
    if (model->ignore_merges) {
        int32_t id = find(&e, text, len);
        if (id >= 0)
            return token_list_put(out, id, origin[0]);
    }
    struct unknown unknown = {0};
    word->count = 0;
    int length;
    for (int64_t at = 0; at < len; at += length) {
        uint32_t character = bpe_character(text + at, len - at, &length);
        int32_t id = find(&e, text + at, length);
        if (id >= 0) {
            TRY(put_unknown(&e, &unknown));
            TRY(put(&e, at, length, id, character, character));
            continue;
        }
        bool put_them;
        TRY(put_bytes(&e, at, length, &put_them));
        if (!put_them)
            TRY(add_unknown(&e, &unknown, at, length));
    }
    TRY(put_unknown(&e, &unknown));
    return flush(&e);
}
