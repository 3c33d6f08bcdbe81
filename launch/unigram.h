/* Unigram: of all ways to cut a text into pieces, the one whose scores sum up to the most. Both
 * kinds of tokenizer share it (SentencePiece's unigram_model.cc, and after it Hugging Face's
 * unigram/model.rs); they differ in the precision of the sums, which decides between near ties. */
#ifndef QUIRE_LAUNCH_UNIGRAM_H
#define QUIRE_LAUNCH_UNIGRAM_H

#include "launch/trie.h"
#include <stdbool.h>

/* While the best way is looked for, the best way to cut what stands before a byte of the text, and
 * its last piece; in the end, the piece of the best way that begins at a byte. */
struct unigram_node {
    double score; /* of the whole way */
    int32_t len;  /* bytes of the piece, 0 where none ends (begins) */
    int32_t id;
};

/* One is reused for all words of a text. */
struct unigram_path {
    struct unigram_node *nodes; /* [len + 1] */
    int64_t capacity;
};
void unigram_path_close(struct unigram_path *path);

struct unigram {
    struct trie trie;
    const double *scores; /* by id; borrowed */
    double unknown_score; /* of a character without a piece */
    int32_t unknown;      /* its id */
    bool in_floats;       /* sums are rounded to 32 bits */
};

/* Cuts a text [len >= 1, valid UTF-8]. barred: by id, pieces that are not taken; NULL: none. The
 * first piece is nodes[0].len bytes long, the next one begins behind it, and so on up to len. */
enum status unigram_run(const struct unigram *unigram, const bool *barred, const char *text,
                        int64_t len, struct unigram_path *path);

#endif
