/* A text on its way from characters to tokens: the bytes as the steps so far have rewritten them,
 * where in the original text each byte comes from, and the pieces into which the text is cut. */
#ifndef QUIRE_LAUNCH_TOKENIZER_PIECES_H
#define QUIRE_LAUNCH_TOKENIZER_PIECES_H

#include "partition/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes room for `need` elements of `size` bytes in the growing array at *array (the address of a
 * pointer to the elements), which has room for *capacity. */
enum status array_reserve(void *array, int64_t *capacity, int64_t need, size_t size);

/* Bytes [begin, end) of the text: an added token (its id), or text still to be encoded (-1). */
struct piece {
    int64_t begin, end;
    int32_t id;
};

struct pieces {
    char *text;         /* [len] */
    int64_t *origin;    /* [len] offset into the original text; never falls within a piece */
    struct piece *list; /* [count] in text order */
    int64_t len, count;
    int64_t text_capacity, origin_capacity, list_capacity;
};

/* One piece that is the whole original text; an empty text has none. */
enum status pieces_open(const char *text, int64_t len, struct pieces *pieces);
void pieces_close(struct pieces *pieces);

/* Appends bytes, each with its own origin [len], or all with the same one. */
enum status pieces_put(struct pieces *pieces, const char *bytes, int64_t len,
                       const int64_t *origin);
enum status pieces_put_from(struct pieces *pieces, const char *bytes, int64_t len, int64_t origin);

/* Appends a piece to the list; one that is empty and no added token is left out. */
enum status pieces_cut(struct pieces *pieces, int64_t begin, int64_t end, int32_t id);

/* Writes one piece of a text to the end of out; `step` is whatever the function needs. */
typedef enum status piece_rewrite(const void *step, const char *text, const int64_t *origin,
                                  int64_t len, struct pieces *out);

/* Rewrites every piece that is still text; added tokens stay. */
enum status pieces_rewrite(struct pieces *pieces, piece_rewrite *rewrite, const void *step);

/* Tokens while they are collected; struct tokens without the room to grow. */
struct token_list {
    int32_t *ids;
    int64_t *offsets;
    int64_t count;
    int64_t id_capacity, offset_capacity;
};

/* Appends a token. Offsets never fall: one below the last becomes the last. */
enum status token_list_put(struct token_list *list, int32_t id, int64_t offset);
void token_list_close(struct token_list *list);

#endif
