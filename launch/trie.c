#include "launch/trie.h"

#include "launch/tokenizer_pieces.h"
#include <stdlib.h>

void trie_close(struct trie *trie) {
    free(trie->edges);
    free(trie->ids);
    *trie = (struct trie){0};
}

/* The slot of an edge, or the empty one where it belongs. */
static int64_t slot_of(const struct trie *trie, int32_t from, unsigned char byte) {
    uint64_t key = (uint64_t)(uint32_t)from << 8 | byte;
    int64_t mask = trie->slot_count - 1;
    int64_t slot = (int64_t)(key * 0x9e3779b97f4a7c15u >> 24) & mask;
    while (trie->edges[slot].from >= 0 &&
           (trie->edges[slot].from != from || trie->edges[slot].byte != byte))
        slot = (slot + 1) & mask;
    return slot;
}

int32_t trie_step(const struct trie *trie, int32_t node, unsigned char byte) {
    if (trie->slot_count == 0)
        return -1;
    const struct trie_edge *edge = &trie->edges[slot_of(trie, node, byte)];
    return edge->from >= 0 ? edge->to : -1;
}

static enum status grow(struct trie *trie) {
    if (trie->node_count * 2 < trie->slot_count)
        return STATUS_OK;
    int64_t old_count = trie->slot_count, count = old_count ? old_count * 2 : 4096;
    struct trie_edge *old = trie->edges;
    struct trie_edge *edges = malloc((size_t)count * sizeof *edges);
    if (!edges)
        return status_no_memory("a vocabulary", count * (long long)sizeof *edges);
    for (int64_t i = 0; i < count; i++)
        edges[i].from = -1;
    trie->edges = edges;
    trie->slot_count = count;
    for (int64_t i = 0; i < old_count; i++)
        if (old[i].from >= 0)
            edges[slot_of(trie, old[i].from, old[i].byte)] = old[i];
    free(old);
    return STATUS_OK;
}

static enum status add_node(struct trie *trie) {
    if (trie->node_count == INT32_MAX)
        return status_no_memory("a vocabulary", INT64_MAX);
    TRY(array_reserve(&trie->ids, &trie->node_capacity, trie->node_count + 1, sizeof *trie->ids));
    trie->ids[trie->node_count++] = -1;
    return STATUS_OK;
}

enum status trie_add(struct trie *trie, const char *text, int64_t len, int32_t id) {
    int32_t node = 0;
    if (trie->node_count == 0)
        TRY(add_node(trie));
    for (int64_t i = 0; i < len; i++) {
        TRY(grow(trie));
        struct trie_edge *edge = &trie->edges[slot_of(trie, node, (unsigned char)text[i])];
        if (edge->from < 0) {
            *edge = (struct trie_edge){node, (int32_t)trie->node_count, (unsigned char)text[i]};
            TRY(add_node(trie));
        }
        node = edge->to;
    }
    trie->ids[node] = id;
    return STATUS_OK;
}
