#include "launch/unigram.h"

#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>

void unigram_path_close(struct unigram_path *path) {
    free(path->nodes);
    *path = (struct unigram_path){0};
}

/* Offers a piece [begin, end) that brings the whole to `sum`; of equal sums the first one stays. */
static void offer(const struct unigram *unigram, struct unigram_path *path, int64_t begin,
                  int64_t end, int32_t id, double sum) {
    struct unigram_node *node = &path->nodes[end];
    if (unigram->in_floats)
        sum = (double)(float)sum;
    if (node->len && !(sum > node->score))
        return;
    node->score = sum;
    node->len = (int32_t)(end - begin);
    node->id = id;
}

/* The best path is found backwards: each node's piece is moved to where that piece begins. */
static void turn_round(struct unigram_path *path, int64_t len) {
    struct unigram_node next = path->nodes[len];
    for (int64_t end = len; end > 0;) {
        int64_t begin = end - next.len;
        struct unigram_node before = path->nodes[begin];
        path->nodes[begin] = next;
        next = before;
        end = begin;
    }
}

enum status unigram_run(const struct unigram *unigram, const bool *barred, const char *text,
                        int64_t len, struct unigram_path *path) {
    TRY(array_reserve(&path->nodes, &path->capacity, len + 1, sizeof *path->nodes));
    memset(path->nodes, 0, (size_t)(len + 1) * sizeof *path->nodes);
    int length;
    for (int64_t begin = 0; begin < len; begin += length) {
        double before = path->nodes[begin].score;
        bool has_single = false;
        int32_t node = 0;
        length = unicode_length((unsigned char)text[begin]);
        if (length > len - begin)
            length = (int)(len - begin);
        for (int64_t end = begin; end < len;) {
            node = trie_step(&unigram->trie, node, (unsigned char)text[end++]);
            if (node < 0)
                break;
            int32_t id = unigram->trie.ids[node];
            if (id < 0 || (barred && barred[id]))
                continue;
            offer(unigram, path, begin, end, id, before + unigram->scores[id]);
            has_single = has_single || end - begin == length;
        }
        if (!has_single)
            offer(unigram, path, begin, begin + length, unigram->unknown,
                  before + unigram->unknown_score);
    }
    turn_round(path, len);
    return STATUS_OK;
}
