/* A prefix tree of the strings of a vocabulary: all those that a place of a text begins with, in
 * one walk. */
#ifndef QUIRE_LAUNCH_TRIE_H
#define QUIRE_LAUNCH_TRIE_H

#include "partition/status.h"
#include <stdint.h>

struct trie_edge {
    int32_t from, to; /* nodes; from is -1 where the slot is empty */
    unsigned char byte;
};

struct trie {
    struct trie_edge *edges; /* [slot_count] hash table, at most half full */
    int32_t *ids;            /* [node_count] of the string that ends at a node, -1: none */
    int64_t slot_count, node_count, node_capacity;
};

/* Adds a string [len >= 1] under an id; of equal strings the last one stays. */
enum status trie_add(struct trie *trie, const char *text, int64_t len, int32_t id);
void trie_close(struct trie *trie);

/* Walks one byte on from a node, 0 at the start: the next node, -1 when no string goes on so. */
int32_t trie_step(const struct trie *trie, int32_t node, unsigned char byte);

#endif
