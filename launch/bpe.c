#include "launch/bpe.h"

#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>

void bpe_word_close(struct bpe_word *word) {
    free(word->symbols);
    free(word->heap);
    *word = (struct bpe_word){0};
}

enum status bpe_put(struct bpe_word *word, int64_t begin, int64_t len, int32_t id, bool frozen) {
    TRY(array_reserve(&word->symbols, &word->capacity, word->count + 1, sizeof *word->symbols));
    word->symbols[word->count++] =
        (struct bpe_symbol){.begin = begin, .len = len, .id = id, .frozen = frozen};
    return STATUS_OK;
}

static bool before(const struct bpe_pair *left, const struct bpe_pair *right) {
    return left->rank != right->rank ? left->rank < right->rank : left->left < right->left;
}

static void sift_down(struct bpe_pair *heap, int64_t count, int64_t at) {
    struct bpe_pair moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void sift_up(struct bpe_pair *heap, int64_t at) {
    struct bpe_pair moved = heap[at];
    while (at > 0 && before(&moved, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moved;
}

/* The pair that begins at a symbol, if the model joins it, appended behind the heap. */
static enum status put_pair(struct bpe_word *word, bpe_join *join, const void *model,
                            const char *text, int64_t left, bool *put) {
    *put = false;
    if (left < 0 || word->symbols[left].next < 0)
        return STATUS_OK;
    const struct bpe_symbol *a = &word->symbols[left], *b = &word->symbols[a->next];
    struct bpe_pair pair = {.left = left, .len = a->len + b->len};
    if (a->frozen || b->frozen || !join(model, text, a, b, &pair.rank, &pair.id))
        return STATUS_OK;
    TRY(array_reserve(&word->heap, &word->heap_capacity, word->heap_count + 1, sizeof *word->heap));
    word->heap[word->heap_count++] = pair;
    *put = true;
    return STATUS_OK;
}

/* Joins the pair on top of the heap, unless one of its two was joined elsewhere in the meantime:
 * symbols only grow, so their bytes tell. */
static bool join_top(struct bpe_word *word, struct bpe_pair top) {
    struct bpe_symbol *left = &word->symbols[top.left];
    if (left->len == 0 || left->next < 0)
        return false;
    struct bpe_symbol *right = &word->symbols[left->next];
    if (left->len + right->len != top.len)
        return false;
    left->id = top.id;
    left->len = top.len;
    left->next = right->next;
    right->len = 0;
    if (left->next >= 0)
        word->symbols[left->next].previous = top.left;
    return true;
}

enum status bpe_run(struct bpe_word *word, bpe_join *join, const void *model, const char *text) {
    bool put;
    for (int64_t i = 0; i < word->count; i++) {
        word->symbols[i].previous = i - 1;
        word->symbols[i].next = i + 1 < word->count ? i + 1 : -1;
    }
    word->heap_count = 0;
    for (int64_t i = 0; i + 1 < word->count; i++)
        TRY(put_pair(word, join, model, text, i, &put));
    for (int64_t i = word->heap_count / 2 - 1; i >= 0; i--)
        sift_down(word->heap, word->heap_count, i);
    while (word->heap_count) {
        struct bpe_pair top = word->heap[0];
        word->heap[0] = word->heap[--word->heap_count];
        sift_down(word->heap, word->heap_count, 0);
        if (!join_top(word, top))
            continue;
        TRY(put_pair(word, join, model, text, word->symbols[top.left].previous, &put));
        if (put)
            sift_up(word->heap, word->heap_count - 1);
        TRY(put_pair(word, join, model, text, top.left, &put));
        if (put)
            sift_up(word->heap, word->heap_count - 1);
    }
    return STATUS_OK;
}

static uint64_t border(uint32_t left, uint32_t right) {
    uint64_t value = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return value >> (64 - BPE_BORDER_BITS);
}

void bpe_borders_join(struct bpe_borders *borders, uint32_t left, uint32_t right) {
    uint64_t bit = border(left, right);
    borders->bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

bool bpe_borders_joined(const struct bpe_borders *borders, uint32_t left, uint32_t right) {
    uint64_t bit = border(left, right);
    return borders->bits[bit / 64] >> bit % 64 & 1;
}

uint32_t bpe_character(const char *text, int64_t len, int *length) {
    *length = unicode_length((unsigned char)text[0]);
    if (*length > len)
        *length = (int)len;
    uint32_t bytes = 0;
    for (int i = 0; i < *length; i++)
        bytes = bytes << 8 | (unsigned char)text[i];
    return bytes;
}

uint32_t bpe_last_character(const char *text, int64_t len) {
    int64_t at = len - 1;
    while (at > 0 && len - at < 4 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    int length;
    return bpe_character(text + at, len - at, &length);
}
