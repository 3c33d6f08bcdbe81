/* Commit records: which of them is the newest that is whole. Part of reading_format.h. */
#include "dist/reading_format.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

/* As it lies in the file, little-endian; twice in a slot, so that one wrong byte loses nothing. */
struct record {
    char magic[8];
    uint64_t sequence, tokens, known, chunk, time;
    uint64_t pp, tp, sp;
    uint64_t header; /* hash of the attributes */
    uint64_t reserved[5];
    uint64_t sum; /* XXH3 of all before */
};

#define RECORD_MAGIC "quirecmt"
#define COPIES 2
#define COPY_BYTES (READING_SLOT_BYTES / COPIES)

static uint64_t record_sum(const struct record *r) {
    return XXH3_64bits(r, offsetof(struct record, sum));
}

void reading_commit_encode(const struct reading_header *header, const struct reading_commit *c,
                           unsigned char slot[READING_SLOT_BYTES]) {
    struct record r = {.sequence = (uint64_t)c->sequence,
                       .tokens = (uint64_t)c->tokens,
                       .known = (uint64_t)c->known,
                       .chunk = (uint64_t)header->chunk,
                       .time = (uint64_t)c->time,
                       .pp = (uint64_t)c->mesh.pp,
                       .tp = (uint64_t)c->mesh.tp,
                       .sp = (uint64_t)c->mesh.sp,
                       .header = reading_header_hash(header)};
    memcpy(r.magic, RECORD_MAGIC, sizeof r.magic);
    r.sum = record_sum(&r);
    memset(slot, 0, READING_SLOT_BYTES);
    for (int i = 0; i < COPIES; i++)
        memcpy(slot + i * COPY_BYTES, &r, sizeof r);
}

static bool is_empty(const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool record_is_valid(const struct reading_header *h, const struct record *r, int slot) {
    uint64_t capacity = (uint64_t)h->capacity;
    return memcmp(r->magic, RECORD_MAGIC, sizeof r->magic) == 0 && r->sum == record_sum(r) &&
           r->sequence > 0 && r->sequence < INT64_MAX && r->sequence % 2 == (uint64_t)slot &&
           r->tokens <= r->known && r->known <= capacity;
}

/* Nothing but a part of the very first record, in the first copy of slot 1: its writer was stopped
 * in the middle, and there was no commit yet. */
static bool first_is_torn(const unsigned char slots[READING_COMMIT_BYTES]) {
    return is_empty(slots, READING_SLOT_BYTES) &&
           is_empty(slots + READING_SLOT_BYTES + COPY_BYTES, COPY_BYTES);
}

enum status reading_commit_choose(const char *path, const struct reading_header *header,
                                  const unsigned char slots[READING_COMMIT_BYTES],
                                  struct reading_commit *commit, int *damaged) {
    uint64_t hash = reading_header_hash(header), other = hash;
    *damaged = 0;
    memset(commit, 0, sizeof *commit);
    for (int copy = 0; copy < 2 * COPIES; copy++) {
        struct record r;
        memcpy(&r, slots + copy * COPY_BYTES, sizeof r);
        if (!record_is_valid(header, &r, copy / COPIES)) {
            *damaged += !is_empty(slots + copy * COPY_BYTES, sizeof r);
        } else if (r.header != hash) {
            other = r.header;
        } else if ((int64_t)r.sequence > commit->sequence) {
            *commit =
                (struct reading_commit){.sequence = (int64_t)r.sequence,
                                        .tokens = (int64_t)r.tokens,
                                        .known = (int64_t)r.known,
                                        .time = (int64_t)r.time,
                                        .mesh = {(int64_t)r.pp, (int64_t)r.tp, (int64_t)r.sp}};
        }
    }
    if (other != hash)
        return status_fail(path, "attributes",
                           "found a checksum of %016" PRIx64 ", expected %016" PRIx64
                           " as in the commit record; the file is damaged, take a copy that is "
                           "whole",
                           hash, other);
    if (*damaged && !commit->sequence && !first_is_torn(slots))
        return status_fail(path, "commits",
                           "found commit records with wrong checksums, expected one that is valid; "
                           "the file is damaged, take a copy that is whole");
    return STATUS_OK;
}

bool reading_is_complete(const struct reading_header *header, const struct reading_commit *commit) {
    return commit->tokens >= header->text_tokens && commit->sequence > 0;
}
