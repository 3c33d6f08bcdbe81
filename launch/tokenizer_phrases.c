#include "launch/tokenizer_phrases.h"

#include "launch/tokenizer_pieces.h"
#include <stdlib.h>
#include <string.h>

enum status phrases_add(struct phrases *phrases, const char *text, int64_t len, int32_t id) {
    TRY(array_reserve(&phrases->list, &phrases->capacity, phrases->count + 1,
                      sizeof *phrases->list));
    char *copy = malloc((size_t)len);
    if (!copy)
        return status_no_memory("an added token", len);
    memcpy(copy, text, (size_t)len);
    phrases->list[phrases->count++] = (struct phrase){copy, len, id};
    return STATUS_OK;
}

static int compare_text(const struct phrase *left, const struct phrase *right) {
    int64_t common = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->text, right->text, (size_t)common);
    return order ? order : (left->len > right->len) - (left->len < right->len);
}

static int compare(const void *left, const void *right) {
    const struct phrase *a = left, *b = right;
    int order = compare_text(a, b);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

void phrases_sort(struct phrases *phrases) {
    if (phrases->count)
        qsort(phrases->list, (size_t)phrases->count, sizeof *phrases->list, compare);
    int64_t kept = 0;
    for (int64_t i = 0; i < phrases->count; i++) {
        if (kept && compare_text(&phrases->list[kept - 1], &phrases->list[i]) == 0)
            free((char *)phrases->list[i].text);
        else
            phrases->list[kept++] = phrases->list[i];
    }
    phrases->count = kept;
    int64_t next = 0;
    for (int byte = 0; byte <= 256; byte++) {
        while (next < kept && (unsigned char)phrases->list[next].text[0] < byte)
            next++;
        phrases->first[byte] = next;
    }
}

void phrases_close(struct phrases *phrases) {
    for (int64_t i = 0; i < phrases->count; i++)
        free((char *)phrases->list[i].text);
    free(phrases->list);
    *phrases = (struct phrases){0};
}

/* Narrows list[*low .. *high), which agree in their first `depth` bytes and are longer than that,
 * to those with this byte next. */
static void narrow(const struct phrases *phrases, int64_t depth, unsigned char byte, int64_t *low,
                   int64_t *high) {
    int64_t begin = *low, end = *high;
    while (begin < end) {
        int64_t middle = begin + (end - begin) / 2;
        if ((unsigned char)phrases->list[middle].text[depth] < byte)
            begin = middle + 1;
        else
            end = middle;
    }
    *low = begin;
    end = *high;
    while (begin < end) {
        int64_t middle = begin + (end - begin) / 2;
        if ((unsigned char)phrases->list[middle].text[depth] <= byte)
            begin = middle + 1;
        else
            end = middle;
    }
    *high = begin;
}

const struct phrase *phrases_match(const struct phrases *phrases, const char *text, int64_t len,
                                   int most) {
    if (phrases->count == 0 || len == 0)
        return NULL;
    int64_t low = phrases->first[(unsigned char)text[0]];
    int64_t high = phrases->first[(unsigned char)text[0] + 1];
    const struct phrase *found = NULL;
    for (int64_t depth = 1; low < high; depth++) {
        /* The shortest of those that agree so far stands first. */
        if (phrases->list[low].len == depth) {
            found = &phrases->list[low++];
            if (--most == 0)
                break;
        }
        if (depth == len)
            break;
        narrow(phrases, depth, (unsigned char)text[depth], &low, &high);
    }
    return found;
}
