#include "dist/reading_verify.h"

#include "dist/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* Blocks that are read at a time. */
#define BLOCKS_AT_ONCE 64

enum status reading_look(const char *path, struct reading **reading) {
    struct reading *r = calloc(1, sizeof *r);
    *reading = r;
    if (!r)
        return status_no_memory("reading", (long long)sizeof *r);
    r->descriptor = r->lock = -1;
    r->path = strdup(path);
    if (!r->path)
        return status_no_memory("path", (long long)strlen(path));
    TRY(reading_state(r));
    reading_kv_type(&r->header, &r->type);
    r->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (r->descriptor < 0)
        return status_fail(path, NULL, "found %s, expected a reading; check the path",
                           strerror(errno));
    return STATUS_OK;
}

/* One layer's and head's keys or values. */
struct strip {
    bool is_value;
    int64_t layer, head;
};

static struct strip strip_at(const struct reading *r, int64_t index) {
    int64_t of_kind = r->header.layers * r->header.kv_heads;
    return (struct strip){index >= of_kind, index % of_kind / r->header.kv_heads,
                          index % r->header.kv_heads};
}

static int64_t block_tokens(const struct reading *r, int64_t block) {
    int64_t rest = r->commit.tokens - block * READING_BLOCK;
    return rest < READING_BLOCK ? rest : READING_BLOCK;
}

/* The checksum that the file has of a block. */
static int expected_sum(const struct reading *r, struct strip s, int64_t block, uint64_t *sum) {
    bool whole = block_tokens(r, block) == READING_BLOCK;
    int64_t place =
        whole ? reading_sum_place(r, s.is_value, s.layer, s.head, block)
              : reading_last_place(r, s.is_value, r->commit.sequence % 2, s.layer, s.head);
    return reading_read_at(r->descriptor, sum, sizeof *sum, place);
}

/* Reads blocks [first, first + count) of a strip to `rows` and compares them. *bad: the first that
 * differs, -1: none. Returns the errno of a failed read, 0 without. */
static int read_blocks(const struct reading *r, struct strip s, int64_t first, int64_t count,
                       unsigned char *rows, int64_t *bad) {
    int64_t row_bytes = reading_row_bytes(r->type, r->header.head_dim);
    int64_t tokens = (count - 1) * READING_BLOCK + block_tokens(r, first + count - 1);
    int error =
        reading_read_at(r->descriptor, rows, tokens * row_bytes,
                        reading_row_place(r, s.is_value, s.layer, s.head, first * READING_BLOCK));
    *bad = -1;
    for (int64_t b = 0; b < count && !error; b++) {
        uint64_t sum;
        error = expected_sum(r, s, first + b, &sum);
        size_t bytes = (size_t)(block_tokens(r, first + b) * row_bytes);
        if (!error && sum != XXH3_64bits(rows + b * READING_BLOCK * row_bytes, bytes)) {
            *bad = first + b;
            return 0;
        }
    }
    return error;
}

static enum status strip_failed(const struct reading *r, struct strip s, int64_t bad, int error) {
    char field[128];
    int64_t first = bad * READING_BLOCK;
    if (error)
        return status_fail(r->path, s.is_value ? "values" : "keys",
                           "found %s, expected the data; check the disk", strerror(error));
    snprintf(field, sizeof field,
             "%s, layer %" PRId64 ", KV head %" PRId64 ", tokens %" PRId64 " to %" PRId64,
             s.is_value ? "values" : "keys", s.layer, s.head, first,
             first + block_tokens(r, bad) - 1);
    return status_fail(r->path, field,
                       "found another checksum than expected; the block is damaged, take another "
                       "copy or read the text again");
}

static size_t room_bytes(const struct reading *r) {
    return (size_t)(BLOCKS_AT_ONCE * READING_BLOCK *
                    reading_row_bytes(r->type, r->header.head_dim));
}

/* All blocks of a strip, as far as the first that is bad. */
static int check_strip(const struct reading *r, struct strip s, unsigned char *rows, int64_t *bad) {
    int64_t blocks = reading_blocks(r->commit.tokens);
    int error = 0;
    *bad = -1;
    for (int64_t b = 0; b < blocks && *bad < 0 && !error; b += BLOCKS_AT_ONCE)
        error = read_blocks(r, s, b, blocks - b < BLOCKS_AT_ONCE ? blocks - b : BLOCKS_AT_ONCE,
                            rows, bad);
    return error;
}

static enum status verify_strips(const struct reading *r) {
    int64_t strips = 2 * r->header.layers * r->header.kv_heads;
    int64_t first_wrong = strips, wrong_block = -1;
    int wrong_error = 0, no_room = 0;
#pragma omp parallel
    {
        unsigned char *rows = malloc(room_bytes(r));
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < strips; i++) {
            int64_t bad = -1;
            int error = rows ? check_strip(r, strip_at(r, i), rows, &bad) : 0;
#pragma omp critical
            {
                no_room |= !rows;
                if ((bad >= 0 || error) && i < first_wrong) {
                    first_wrong = i;
                    wrong_block = bad;
                    wrong_error = error;
                }
            }
        }
        free(rows);
    }
    if (no_room)
        return status_no_memory("blocks", (long long)room_bytes(r));
    return first_wrong < strips
               ? strip_failed(r, strip_at(r, first_wrong), wrong_block, wrong_error)
               : STATUS_OK;
}

static enum status verify_ids(const struct reading *r) {
    int32_t *ids = NULL;
    int64_t *offsets = NULL, known = r->commit.known;
    enum status status = reading_ids(r, &ids, &offsets);
    for (int64_t b = 0; b < reading_blocks(known) && status == STATUS_OK; b++) {
        int64_t at = b * READING_BLOCK, n = known - at < READING_BLOCK ? known - at : READING_BLOCK;
        uint64_t found = reading_ids_sum(ids + at, offsets ? offsets + at : NULL, n), expected;
        int64_t place = n == READING_BLOCK ? r->places.sums_tokens + b * (int64_t)sizeof found
                                           : r->places.last_tokens +
                                                 r->commit.sequence % 2 * (int64_t)sizeof found;
        char field[64];
        snprintf(field, sizeof field, "ids of tokens %" PRId64 " to %" PRId64, at, at + n - 1);
        if (reading_read_at(r->descriptor, &expected, sizeof expected, place) || found != expected)
            status = status_fail(r->path, field,
                                 "found a checksum of %016" PRIx64
                                 " that differs, expected it alike; the block is damaged, take "
                                 "another copy or read the text again",
                                 found);
    }
    free(ids);
    free(offsets);
    return status;
}

enum status reading_verify(struct reading *r, int64_t *blocks) {
    for (;;) {
        int64_t sequence = r->commit.sequence;
        *blocks = 2 * r->header.layers * r->header.kv_heads * reading_blocks(r->commit.tokens) +
                  reading_blocks(r->commit.known);
        enum status status = verify_ids(r);
        if (status == STATUS_OK)
            status = verify_strips(r);
        if (status == STATUS_OK)
            return STATUS_OK;
        /* Two commits later the slot's own checksums are others. */
        char text[STATUS_TEXT_MAX];
        snprintf(text, sizeof text, "%s", status_text());
        if (reading_state(r) != STATUS_OK || r->commit.sequence == sequence) {
            status_adopt(text);
            return status;
        }
    }
}

/* -- export ------------------------------------------------------------------------------------ */

/* Where the exported rows go: T tokens of one layer, as [T, Hk, d]. */
struct target {
    hid_t keys, values;
    struct range tokens;
};

static herr_t write_rows(hid_t dataset, int64_t first, int64_t count, int64_t heads, int64_t d,
                         const float *rows) {
    hsize_t start[3] = {(hsize_t)first, 0, 0};
    hsize_t size[3] = {(hsize_t)count, (hsize_t)heads, (hsize_t)d};
    hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(3, size, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL);
    herr_t wrong = H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, rows);
    H5Sclose(memory);
    H5Sclose(space);
    return wrong;
}

static enum status not_written(const char *path) {
    return status_fail(path, "-o",
                       "found no way to write it, expected a place with room; choose another");
}

/* Blocks [first, first + count) of all heads of one layer, those rows of them that are asked for.
 */
static enum status export_blocks(const struct reading *r, const char *path, int64_t layer,
                                 bool is_value, int64_t first, int64_t count,
                                 const struct target *target, unsigned char *rows, float *out) {
    int64_t d = r->header.head_dim, heads = r->header.kv_heads;
    struct range read = {first * READING_BLOCK, count * READING_BLOCK};
    struct range kept = range_intersect(read, target->tokens);
    for (int64_t h = 0; h < heads; h++) {
        struct strip s = {is_value, layer, h};
        int64_t bad, skipped = kept.first - read.first;
        int error = read_blocks(r, s, first, count, rows, &bad);
        if (error || bad >= 0)
            return strip_failed(r, s, bad, error);
        reading_unpack(r->type, rows + skipped * reading_row_bytes(r->type, d), kept.count, d,
                       out + h * d, heads * d);
    }
    if (write_rows(is_value ? target->values : target->keys, kept.first - target->tokens.first,
                   kept.count, heads, d, out) < 0)
        return not_written(path);
    return STATUS_OK;
}

static enum status export_layer(const struct reading *r, const char *path, hid_t file,
                                int64_t layer, struct range tokens, unsigned char *rows,
                                float *out) {
    char name[32];
    int64_t first = tokens.first / READING_BLOCK, end = reading_blocks(range_end(tokens));
    hsize_t dims[3] = {(hsize_t)tokens.count, (hsize_t)r->header.kv_heads,
                       (hsize_t)r->header.head_dim};
    static const char axes[] = "token, key/value head, head dimension";
    snprintf(name, sizeof name, "layers/%03" PRId64, layer);
    hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    struct target t = {h5_make_dataset(group, "k", H5T_IEEE_F32LE, 3, dims, axes),
                       h5_make_dataset(group, "v", H5T_IEEE_F32LE, 3, dims, axes), tokens};
    enum status status = t.keys < 0 || t.values < 0 ? not_written(path) : STATUS_OK;
    for (int is_value = 0; is_value < 2; is_value++)
        for (int64_t b = first; b < end && status == STATUS_OK; b += BLOCKS_AT_ONCE)
            status =
                export_blocks(r, path, layer, is_value, b,
                              end - b < BLOCKS_AT_ONCE ? end - b : BLOCKS_AT_ONCE, &t, rows, out);
    herr_t wrong = t.keys >= 0 ? H5Dclose(t.keys) : 0; /* which may be what writes the last rows */
    wrong |= t.values >= 0 ? H5Dclose(t.values) : 0;
    if (group >= 0)
        H5Gclose(group);
    return status == STATUS_OK && wrong < 0 ? not_written(path) : status;
}

static void put_attribute(void *file, const char *name, const char *text, const int64_t *number) {
    if (text)
        h5_put_text(*(hid_t *)file, name, text);
    else
        h5_put_number(*(hid_t *)file, name, *number);
}

static herr_t export_column(hid_t file, const char *name, hid_t stored, hid_t given,
                            struct range tokens, const void *values) {
    hsize_t dims[1] = {(hsize_t)tokens.count};
    hid_t dataset = h5_make_dataset(file, name, stored, 1, dims, "token");
    if (dataset < 0)
        return -1;
    herr_t wrong = H5Dwrite(dataset, given, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    return wrong | H5Dclose(dataset);
}

static herr_t export_ids(hid_t file, struct range tokens, const int32_t *ids,
                         const int64_t *offsets) {
    herr_t wrong =
        export_column(file, "tokens", H5T_STD_I32LE, H5T_NATIVE_INT32, tokens, ids + tokens.first);
    if (offsets)
        wrong |= export_column(file, "byte_offsets", H5T_STD_I64LE, H5T_NATIVE_INT64, tokens,
                               offsets + tokens.first);
    return wrong;
}

static bool is_kept(int64_t layer, const int64_t *layers, int64_t layer_count) {
    for (int64_t i = 0; i < layer_count; i++)
        if (layers[i] == layer)
            return true;
    return layer_count == 0;
}

static enum status export_all(const struct reading *r, const char *path, hid_t file,
                              struct range tokens, const int64_t *layers, int64_t layer_count) {
    int32_t *ids = NULL;
    int64_t *offsets = NULL;
    unsigned char *rows = malloc(room_bytes(r));
    float *out =
        malloc((size_t)(BLOCKS_AT_ONCE * READING_BLOCK * r->header.kv_heads * r->header.head_dim) *
               sizeof *out);
    enum status status =
        rows && out ? reading_ids(r, &ids, &offsets) : status_no_memory("blocks", 0);
    if (status == STATUS_OK && export_ids(file, tokens, ids, offsets) < 0)
        status = not_written(path);
    hid_t group = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group >= 0)
        H5Gclose(group);
    for (int64_t layer = 0; layer < r->header.layers && status == STATUS_OK; layer++)
        if (is_kept(layer, layers, layer_count))
            status = export_layer(r, path, file, layer, tokens, rows, out);
    free(ids);
    free(offsets);
    free(rows);
    free(out);
    return status;
}

enum status reading_export(const struct reading *r, const char *path, struct range tokens,
                           const int64_t *layers, int64_t layer_count) {
    size_t size = strlen(path) + sizeof ".partial";
    char *partial = malloc(size);
    if (!partial)
        return status_no_memory("path", (long long)size);
    snprintf(partial, size, "%s.partial", path);
    enum status status = h5_check_path(path, "-o");
    hid_t file = -1;
    if (status == STATUS_OK) {
        file = H5Fcreate(partial, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        status = file < 0 ? not_written(path) : STATUS_OK;
    }
    if (status == STATUS_OK) {
        reading_header_walk(&r->header, put_attribute, &file);
        h5_put_number(file, "first_token", tokens.first);
        status = export_all(r, path, file, tokens, layers, layer_count);
    }
    herr_t wrong = file >= 0 ? H5Fflush(file, H5F_SCOPE_GLOBAL) : 0;
    if (file >= 0)
        wrong |= H5Fclose(file);
    if (wrong < 0 && status == STATUS_OK)
        status = not_written(path);
    if (status == STATUS_OK)
        status = h5_publish(partial, path);
    else if (file >= 0)
        unlink(partial);
    free(partial);
    return status;
}
