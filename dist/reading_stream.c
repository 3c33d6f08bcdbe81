/* Checksums of blocks whose tokens come piece by piece, and where things stand in the file. Part of
 * reading.h. */
#include "dist/reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

struct reading_stream {
    XXH3_state_t *state; /* owned */
};

struct reading_stream *reading_streams_open(int64_t count) {
    struct reading_stream *streams = calloc((size_t)count + 1, sizeof *streams);
    for (int64_t i = 0; streams && i < count; i++) {
        streams[i].state = XXH3_createState();
        if (!streams[i].state) {
            reading_streams_close(streams, i);
            return NULL;
        }
        XXH3_64bits_reset(streams[i].state);
    }
    return streams;
}

void reading_streams_close(struct reading_stream *streams, int64_t count) {
    for (int64_t i = 0; streams && i < count; i++)
        XXH3_freeState(streams[i].state);
    free(streams);
}

int64_t reading_stream_put(struct reading_stream *stream, int64_t first, int64_t count,
                           const unsigned char *rows, int64_t row_bytes, uint64_t *sums) {
    int64_t whole = 0;
    for (int64_t at = 0, n; at < count; at += n) {
        int64_t in_block = (first + at) % READING_BLOCK;
        n = READING_BLOCK - in_block < count - at ? READING_BLOCK - in_block : count - at;
        if (in_block == 0)
            XXH3_64bits_reset(stream->state);
        XXH3_64bits_update(stream->state, rows + at * row_bytes, (size_t)(n * row_bytes));
        if (in_block + n == READING_BLOCK)
            sums[whole++] = XXH3_64bits_digest(stream->state);
    }
    return whole;
}

uint64_t reading_stream_sum(const struct reading_stream *stream) {
    return XXH3_64bits_digest(stream->state);
}

struct reading_stream *reading_stream_of(const struct reading *r, bool is_value, int64_t layer,
                                         int64_t head) {
    return &r->streams[(is_value * r->layers.count + layer - r->layers.first) * r->heads.count +
                       head - r->heads.first];
}

uint64_t reading_ids_sum(const int32_t *ids, const int64_t *byte_offsets, int64_t count) {
    XXH64_hash_t sums[2] = {XXH3_64bits(ids, (size_t)count * sizeof *ids), 0};
    if (!byte_offsets)
        return sums[0];
    sums[1] = XXH3_64bits(byte_offsets, (size_t)count * sizeof *byte_offsets);
    return XXH3_64bits(sums, sizeof sums);
}

int64_t reading_row_place(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                          int64_t token) {
    const struct reading_header *h = &r->header;
    int64_t row = (layer * h->kv_heads + head) * h->capacity + token;
    return (is_value ? r->places.values : r->places.keys) +
           row * reading_row_bytes(r->type, h->head_dim);
}

int64_t reading_sum_place(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                          int64_t block) {
    const struct reading_header *h = &r->header;
    int64_t at = (layer * h->kv_heads + head) * reading_blocks(h->capacity) + block;
    return (is_value ? r->places.sums_values : r->places.sums_keys) +
           at * (int64_t)sizeof(uint64_t);
}

int64_t reading_last_place(const struct reading *r, bool is_value, int64_t slot, int64_t layer,
                           int64_t head) {
    const struct reading_header *h = &r->header;
    int64_t at = (slot * h->layers + layer) * h->kv_heads + head;
    return (is_value ? r->places.last_values : r->places.last_keys) +
           at * (int64_t)sizeof(uint64_t);
}

int reading_read_at(int fd, void *data, int64_t bytes, int64_t at) {
    for (int64_t done = 0; done < bytes;) {
        ssize_t got = pread(fd, (char *)data + done, (size_t)(bytes - done), at + done);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            return EIO;
        done += got > 0 ? got : 0;
    }
    return 0;
}

int reading_write_at(int fd, const void *data, int64_t bytes, int64_t at) {
    for (int64_t done = 0; done < bytes;) {
        ssize_t put = pwrite(fd, (const char *)data + done, (size_t)(bytes - done), at + done);
        if (put < 0 && errno != EINTR)
            return errno;
        done += put > 0 ? put : 0;
    }
    return 0;
}

enum status reading_io_failed(const char *path, int rank, const char *what, int error) {
    return status_fail(path, what,
                       "found %s on rank %d, expected the data on disk; the last commit is intact: "
                       "see to the disk, and start again",
                       strerror(error), rank);
}
