#include "launch/tokenizer_pieces.h"

#include <stdlib.h>
#include <string.h>

enum status array_reserve(void *array, int64_t *capacity, int64_t need, size_t size) {
    if (need <= *capacity)
        return STATUS_OK;
    int64_t room = *capacity + *capacity / 2 + 16;
    if (room < need)
        room = need;
    if (room > INT64_MAX / 2 / (int64_t)size)
        return status_no_memory("a text", INT64_MAX);
    void *elements;
    memcpy(&elements, array, sizeof elements);
    elements = realloc(elements, (size_t)room * size);
    if (!elements)
        return status_no_memory("a text", (long long)room * (long long)size);
    memcpy(array, &elements, sizeof elements);
    *capacity = room;
    return STATUS_OK;
}

enum status pieces_open(const char *text, int64_t len, struct pieces *pieces) {
    *pieces = (struct pieces){0};
    TRY(array_reserve(&pieces->text, &pieces->text_capacity, len, sizeof *pieces->text));
    TRY(array_reserve(&pieces->origin, &pieces->origin_capacity, len, sizeof *pieces->origin));
    if (len > 0)
        memcpy(pieces->text, text, (size_t)len);
    for (int64_t i = 0; i < len; i++)
        pieces->origin[i] = i;
    pieces->len = len;
    return pieces_cut(pieces, 0, len, -1);
}

void pieces_close(struct pieces *pieces) {
    free(pieces->text);
    free(pieces->origin);
    free(pieces->list);
    *pieces = (struct pieces){0};
}

static enum status reserve(struct pieces *pieces, int64_t more) {
    int64_t need = pieces->len + more;
    TRY(array_reserve(&pieces->text, &pieces->text_capacity, need, sizeof *pieces->text));
    return array_reserve(&pieces->origin, &pieces->origin_capacity, need, sizeof *pieces->origin);
}

enum status pieces_put(struct pieces *pieces, const char *bytes, int64_t len,
                       const int64_t *origin) {
    if (len == 0)
        return STATUS_OK;
    TRY(reserve(pieces, len));
    memcpy(pieces->text + pieces->len, bytes, (size_t)len);
    memcpy(pieces->origin + pieces->len, origin, (size_t)len * sizeof *origin);
    pieces->len += len;
    return STATUS_OK;
}

enum status pieces_put_from(struct pieces *pieces, const char *bytes, int64_t len, int64_t origin) {
    TRY(reserve(pieces, len));
    for (int64_t i = 0; i < len; i++) {
        pieces->text[pieces->len + i] = bytes[i];
        pieces->origin[pieces->len + i] = origin;
    }
    pieces->len += len;
    return STATUS_OK;
}

enum status pieces_cut(struct pieces *pieces, int64_t begin, int64_t end, int32_t id) {
    if (begin == end && id < 0)
        return STATUS_OK;
    TRY(array_reserve(&pieces->list, &pieces->list_capacity, pieces->count + 1,
                      sizeof *pieces->list));
    pieces->list[pieces->count++] = (struct piece){begin, end, id};
    return STATUS_OK;
}

enum status pieces_rewrite(struct pieces *pieces, piece_rewrite *rewrite, const void *step) {
    struct pieces out = {0};
    enum status status = STATUS_OK;
    TRY_TO(done, reserve(&out, pieces->len + pieces->len / 8));
    for (int64_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->list[i];
        const char *text = pieces->text + piece->begin;
        const int64_t *origin = pieces->origin + piece->begin;
        int64_t len = piece->end - piece->begin, begin = out.len;
        if (piece->id >= 0)
            TRY_TO(done, pieces_put(&out, text, len, origin));
        else
            TRY_TO(done, rewrite(step, text, origin, len, &out));
        TRY_TO(done, pieces_cut(&out, begin, out.len, piece->id));
    }
    struct pieces old = *pieces;
    *pieces = out;
    out = old;
done:
    pieces_close(&out);
    return status;
}

enum status token_list_put(struct token_list *list, int32_t id, int64_t offset) {
    TRY(array_reserve(&list->ids, &list->id_capacity, list->count + 1, sizeof *list->ids));
    TRY(array_reserve(&list->offsets, &list->offset_capacity, list->count + 1,
                      sizeof *list->offsets));
    if (list->count && offset < list->offsets[list->count - 1])
        offset = list->offsets[list->count - 1];
    list->ids[list->count] = id;
    list->offsets[list->count++] = offset;
    return STATUS_OK;
}

void token_list_close(struct token_list *list) {
    free(list->ids);
    free(list->offsets);
    *list = (struct token_list){0};
}
