/* The committed tokens of a reading back into the cache: each rank reads its own tokens, layers and
 * heads. Part of reading.h. */
#include "dist/attend.h"
#include "dist/reading.h"

#include <fcntl.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

/* Tokens that the kernel is asked to read ahead, of each layer and head. */
#define AHEAD_TOKENS 8192

static enum status damaged(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                           int64_t block, uint64_t found, uint64_t expected) {
    char field[128];
    int64_t end = (block + 1) * READING_BLOCK;
    snprintf(field, sizeof field,
             "%s, layer %" PRId64 ", KV head %" PRId64 ", tokens %" PRId64 " to %" PRId64,
             is_value ? "values" : "keys", layer, head, block * READING_BLOCK,
             (end < r->commit.tokens ? end : r->commit.tokens) - 1);
    enum status status;
#pragma omp critical(reading_message)
    status = status_fail(r->path, field,
                         "found a checksum of %016" PRIx64 ", expected %016" PRIx64
                         "; the block is damaged, take another copy or read the text again",
                         found, expected);
    return status;
}

static enum status unread(const struct reading *r, const char *what, int error) {
    enum status status;
#pragma omp critical(reading_message)
    status = reading_io_failed(r->path, r->dist->world.rank, what, error);
    return status;
}

/* Compares what the rows of a run made of whole blocks with the file's checksums, and the block
 * that the reading ends in with that of the commit. */
static enum status check_sums(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                              struct range run, const uint64_t *sums, int64_t whole) {
    uint64_t expected[CHUNK_MAX / READING_BLOCK + 1];
    int64_t first = run.first / READING_BLOCK, end = range_end(run);
    int error = reading_read_at(r->descriptor, expected, whole * (int64_t)sizeof *sums,
                                reading_sum_place(r, is_value, layer, head, first));
    for (int64_t b = 0; b < whole && !error; b++)
        if (sums[b] != expected[b])
            return damaged(r, is_value, layer, head, first + b, sums[b], expected[b]);
    if (!error && end == r->commit.tokens && end % READING_BLOCK) {
        uint64_t sum = reading_stream_sum(reading_stream_of(r, is_value, layer, head));
        error =
            reading_read_at(r->descriptor, expected, sizeof *expected,
                            reading_last_place(r, is_value, r->commit.sequence % 2, layer, head));
        if (!error && sum != *expected)
            return damaged(r, is_value, layer, head, end / READING_BLOCK, sum, *expected);
    }
    return error ? unread(r, "checksums", error) : STATUS_OK;
}

/* One head's rows of a run of tokens: row n of `out`, whose rows stand `stride` apart, is the
 * run's n-th. */
static enum status read_run(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                            struct range run, unsigned char *rows, float *out, int64_t stride) {
    int64_t d = r->header.head_dim, row_bytes = reading_row_bytes(r->type, d);
    uint64_t sums[CHUNK_MAX / READING_BLOCK + 1];
    int error = reading_read_at(r->descriptor, rows, run.count * row_bytes,
                                reading_row_place(r, is_value, layer, head, run.first));
    if (error)
        return unread(r, is_value ? "values" : "keys", error);
    int64_t whole = reading_stream_put(reading_stream_of(r, is_value, layer, head), run.first,
                                       run.count, rows, row_bytes, sums);
    TRY(check_sums(r, is_value, layer, head, run, sums, whole));
    reading_unpack(r->type, rows, run.count, d, out, stride);
    return STATUS_OK;
}

/* The n-th run of consecutive tokens of [first, first + count) that this rank owns, and how many
 * of its tokens come before it. False behind the last. */
static bool own_run(const struct reading *r, struct range tokens, struct range *run,
                    int64_t *before) {
    const struct cyclic c = r->sequence->cache.cyclic;
    int64_t part = r->dist->place.sp, end = range_end(tokens);
    int64_t next = run->count ? range_end(*run) : tokens.first;
    *before += run->count;
    int64_t token = cyclic_global(c, part, cyclic_count(c, part, next));
    if (token >= end)
        return false;
    int64_t block_end = (token / c.block + 1) * c.block;
    *run = (struct range){token, (block_end < end ? block_end : end) - token};
    while (range_end(*run) < end && cyclic_owner(c, range_end(*run)) == part)
        run->count += end - range_end(*run) < c.block ? end - range_end(*run) : c.block;
    return true;
}

/* This rank's tokens among `tokens`, of one layer and head, into row after row of `out`. */
static enum status read_head(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                             struct range tokens, unsigned char *rows, float *out) {
    int64_t stride = r->heads.count * r->header.head_dim, before = 0;
    struct range run = {0, 0};
    while (own_run(r, tokens, &run, &before))
        TRY(read_run(r, is_value, layer, head, run, rows, out + before * stride, stride));
    return STATUS_OK;
}

/* A thread's memory for a chunk of one layer. */
struct load_room {
    unsigned char *rows;  /* [chunk] of one head */
    float *keys, *values; /* [chunk, heads * d] */
};

static enum status read_layer(const struct reading *r, int64_t layer, struct range tokens,
                              const struct load_room *room) {
    int64_t heads = r->heads.count, d = r->header.head_dim;
    for (int64_t h = 0; h < heads; h++) {
        int64_t head = r->heads.first + h;
        TRY(read_head(r, false, layer, head, tokens, room->rows, room->keys + h * d));
        TRY(read_head(r, true, layer, head, tokens, room->rows, room->values + h * d));
    }
    return STATUS_OK;
}

/* Has the kernel read what comes next, while this rank works on what is there. */
static void read_ahead(const struct reading *r, int64_t first) {
    int64_t row_bytes = reading_row_bytes(r->type, r->header.head_dim);
    int64_t rest = r->commit.tokens - first, n = rest < AHEAD_TOKENS ? rest : AHEAD_TOKENS;
    if (n <= 0)
        return;
    for (int64_t l = r->layers.first; l < range_end(r->layers); l++)
        for (int is_value = 0; is_value < 2; is_value++)
            for (int64_t h = r->heads.first; h < range_end(r->heads); h++)
                posix_fadvise(r->descriptor, reading_row_place(r, is_value, l, h, first),
                              n * row_bytes, POSIX_FADV_WILLNEED);
}

/* A chunk of all layers. Threads share the layers: what they do of one needs no other. */
static enum status load_chunk(struct reading *r, struct range tokens, struct load_room *rooms,
                              int threads) {
    struct sequence *s = r->sequence;
    enum status worst = STATUS_OK;
    s->tokens = tokens.first;
    attend_prepare(s, tokens.count);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t l = 0; l < r->layers.count; l++) {
        const struct load_room *room = &rooms[omp_get_thread_num()];
        enum status status = read_layer(r, r->layers.first + l, tokens, room);
        if (status == STATUS_OK)
            attend_put_keys(s, l, (struct range){0, tokens.count}, room->keys, room->values);
        else
#pragma omp atomic write
            worst = status;
    }
    return worst;
}

static enum status load_own(struct reading *r, struct load_room *rooms, int threads) {
    int64_t chunk = r->sequence->options.chunk;
    read_ahead(r, 0);
    for (int64_t first = 0; first < r->commit.tokens; first += chunk) {
        int64_t rest = r->commit.tokens - first, T = rest < chunk ? rest : chunk;
        if (first / AHEAD_TOKENS != (first + T) / AHEAD_TOKENS)
            read_ahead(r, ((first + T) / AHEAD_TOKENS) * AHEAD_TOKENS);
        TRY(load_chunk(r, (struct range){first, T}, rooms, threads));
    }
    r->sequence->tokens = r->commit.tokens;
    return STATUS_OK;
}

/* Makes room for the threads, and loads. */
static enum status load_with_room(struct reading *r) {
    int64_t chunk = r->sequence->options.chunk, d = r->header.head_dim;
    int64_t floats = chunk * r->heads.count * d + 16, bytes = chunk * reading_row_bytes(r->type, d);
    int64_t threads =
        omp_get_max_threads() < r->layers.count ? omp_get_max_threads() : r->layers.count + 1;
    int64_t each = 2 * floats * (int64_t)sizeof(float) + bytes / 64 * 64 + 64;
    struct load_room *rooms = calloc((size_t)threads, sizeof *rooms);
    char *memory = aligned_alloc(64, (size_t)((threads * each + 63) / 64 * 64));
    enum status status = rooms && memory ? STATUS_OK : status_no_memory("reading", threads * each);
    for (int64_t t = 0; t < threads && status == STATUS_OK; t++) {
        rooms[t].keys = (float *)(void *)(memory + t * each);
        rooms[t].values = rooms[t].keys + floats;
        rooms[t].rows = (unsigned char *)(rooms[t].values + floats);
    }
    if (status == STATUS_OK)
        status = load_own(r, rooms, (int)threads);
    free(rooms);
    free(memory);
    return status;
}

enum status reading_load(struct reading *r) {
    if (r->header.capacity > r->sequence->options.capacity && r->writes)
        return status_fail(r->path, "capacity",
                           "found %" PRId64 " tokens, expected at most %" PRId64,
                           r->header.capacity, r->sequence->options.capacity);
    return status_agree(r->dist->world.comm, load_with_room(r));
}

enum status reading_ids(const struct reading *r, int32_t **ids, int64_t **byte_offsets) {
    int64_t known = r->commit.known;
    bool wants = byte_offsets && r->places.byte_offsets >= 0;
    int64_t *offsets = wants ? malloc((size_t)known * sizeof *offsets + 1) : NULL;
    *ids = malloc((size_t)known * sizeof **ids + 1);
    if (byte_offsets)
        *byte_offsets = offsets;
    if (!*ids || (wants && !offsets))
        return status_no_memory("token ids", known * 12);
    int error =
        reading_read_at(r->descriptor, *ids, known * (int64_t)sizeof **ids, r->places.tokens);
    if (!error && wants)
        error = reading_read_at(r->descriptor, offsets, known * (int64_t)sizeof *offsets,
                                r->places.byte_offsets);
    return error ? reading_io_failed(r->path, 0, "tokens", error) : STATUS_OK;
}
