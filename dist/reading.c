#include "dist/reading.h"

#include "dist/h5.h"
#include "dist/reading_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* -- creating and opening: rank 0's part ------------------------------------------------------- */

static enum status no_room(const char *path, int64_t bytes, int64_t free_bytes) {
    return status_fail(path, "size",
                       "found room for %" PRId64 " bytes, expected %" PRId64
                       " before the first token; take another disk, a smaller --reserve or --kv "
                       "bf16",
                       free_bytes, bytes);
}

static int64_t free_bytes_at(int fd) {
    struct statvfs space;
    return fstatvfs(fd, &space) == 0 ? (int64_t)space.f_bavail * (int64_t)space.f_frsize
                                     : INT64_MAX;
}

static enum status reserve_space(const char *path, int fd) {
    int failed = h5_reserve(fd);
    struct stat about = {0};
    if (failed == ENOSPC && fstat(fd, &about) == 0)
        return no_room(path, about.st_size, free_bytes_at(fd));
    if (failed)
        return status_fail(path, "size",
                           "found %s, expected room for the file before the first token; check "
                           "the disk and its quota, or take another",
                           strerror(failed));
    return STATUS_OK;
}

static enum status create_file(const struct reading *r, const char *partial,
                               const struct reading_header *header, bool has_offsets) {
    int64_t bytes = reading_bytes(header), room = free_bytes_at(r->lock);
    enum status status = bytes > room ? no_room(r->path, bytes, room) : STATUS_OK;
    if (status == STATUS_OK)
        status = reading_format_create(partial, header, has_offsets);
    if (status == STATUS_OK)
        status = reserve_space(r->path, r->lock);
    if (status == STATUS_OK)
        status = h5_publish(partial, r->path);
    if (status != STATUS_OK)
        unlink(partial);
    return status;
}

enum status reading_state(struct reading *r) {
    unsigned char slots[READING_COMMIT_BYTES];
    TRY(reading_format_open(r->path, &r->header, &r->places));
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : reading_read_at(fd, slots, sizeof slots, r->places.commits);
    if (fd >= 0)
        close(fd);
    if (error)
        return status_fail(r->path, "commits",
                           "found %s, expected the commit records; check the file",
                           strerror(error));
    return reading_commit_choose(r->path, &r->header, slots, &r->commit, &r->damaged);
}

static enum status check_alike(const struct reading *r, const struct reading_header *expected) {
    return reading_header_compare(r->path, &r->header, expected, true,
                                  "start with the arguments of the reading, or choose another -o");
}

static bool is_complete(const struct reading *r) {
    return r->header.text_tokens > 0 && reading_is_complete(&r->header, &r->commit);
}

static enum status lock_or_create(struct reading *r, const struct reading_header *create,
                                  bool has_offsets) {
    bool is_new;
    size_t size = strlen(r->path) + sizeof ".partial";
    char *partial = malloc(size);
    if (!partial)
        return status_no_memory("path", (long long)size);
    snprintf(partial, size, "%s.partial", r->path);
    enum status status = reading_lock(r->path, partial, &r->lock, &is_new);
    if (status == STATUS_OK && is_new && create)
        status = create_file(r, partial, create, has_offsets);
    r->created = status == STATUS_OK && is_new;
    free(partial);
    return status;
}

static enum status open_leader(struct reading *r, const struct reading_header *create,
                               bool has_offsets, bool writes) {
    bool there = access(r->path, F_OK) == 0;
    r->writes = writes || create;
    if (there || !create) {
        TRY(reading_state(r));
        if (create)
            TRY(check_alike(r, create));
        if (create && is_complete(r))
            r->writes = false;
        if (!r->writes)
            return STATUS_OK;
    }
    TRY(h5_check_path(r->path, "-o"));
    TRY(lock_or_create(r, create, has_offsets));
    TRY(reading_state(r)); /* the job that was waited for may have gone on */
    if (create)
        TRY(check_alike(r, create));
    reading_lock_share(r->lock);
    return STATUS_OK;
}

/* -- all ranks --------------------------------------------------------------------------------- */

static enum status open_own(struct reading *r) {
    r->descriptor = open(r->path, (r->writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (r->descriptor < 0)
        return status_fail(
            r->path, NULL,
            "found %s on rank %d, expected the file that rank 0 opened; put it where "
            "all nodes see it",
            strerror(errno), r->dist->world.rank);
    if (r->writes && r->dist->world.rank != 0)
        reading_lock_join(r->descriptor);
    return STATUS_OK;
}

void reading_warn_damaged(const struct reading *r) {
    fprintf(stderr,
            "quire: warning: %s: commits: found %d of 4 records with a wrong checksum, expected "
            "none; taking the last that is intact, at token %" PRId64 "\n",
            r->path, r->damaged, r->commit.tokens);
}

enum status reading_open(struct dist *dist, const char *path, const struct reading_header *create,
                         bool has_offsets, bool writes, struct reading **reading) {
    MPI_Comm world = dist->world.comm;
    struct reading *r = calloc(1, sizeof *r);
    *reading = r;
    if (r) {
        r->dist = dist;
        r->descriptor = r->lock = -1;
        r->path = strdup(path);
    }
    TRY(status_agree(world, r && r->path ? STATUS_OK : status_no_memory("reading", 0)));
    enum status status = STATUS_OK;
    if (dist->world.rank == 0)
        status = open_leader(r, create, has_offsets, writes);
    TRY(status_agree(world, status));
    MPI_Bcast(&r->header, sizeof r->header, MPI_BYTE, 0, world);
    MPI_Bcast(&r->places, sizeof r->places, MPI_BYTE, 0, world);
    MPI_Bcast(&r->commit, sizeof r->commit, MPI_BYTE, 0, world);
    MPI_Bcast(&r->writes, sizeof r->writes, MPI_BYTE, 0, world);
    MPI_Bcast(&r->created, sizeof r->created, MPI_BYTE, 0, world);
    reading_kv_type(&r->header, &r->type);
    if (r->damaged)
        reading_warn_damaged(r);
    return status_agree(world, open_own(r));
}

void reading_close(struct reading **reading) {
    struct reading *r = *reading;
    if (!r)
        return;
    if (r->sequence && r->sequence->keeper == &r->keeper)
        r->sequence->keeper = NULL;
    reading_streams_close(r->streams, 2 * r->layers.count * r->heads.count);
    if (r->descriptor >= 0)
        close(r->descriptor);
    if (r->lock >= 0)
        close(r->lock);
    free(r->rows);
    free(r->path);
    free(r);
    *reading = NULL;
}

int64_t reading_committed_bytes(const struct reading *r) {
    const struct reading_header *h = &r->header;
    return 2 * h->layers * h->kv_heads * r->commit.tokens * reading_row_bytes(r->type, h->head_dim);
}

/* -- writing ----------------------------------------------------------------------------------- */

/* One head's rows of a run of tokens, and the checksums of the blocks that become whole. */
static int put_head(const struct reading *r, bool is_value, int64_t layer, int64_t head,
                    struct range tokens, const float *data, int64_t stride, unsigned char *rows) {
    int64_t d = r->header.head_dim, row_bytes = reading_row_bytes(r->type, d);
    uint64_t sums[CHUNK_MAX / READING_BLOCK + 1];
    reading_pack(r->type, data, stride, tokens.count, d, rows);
    int error = reading_write_at(r->descriptor, rows, tokens.count * row_bytes,
                                 reading_row_place(r, is_value, layer, head, tokens.first));
    int64_t whole = reading_stream_put(reading_stream_of(r, is_value, layer, head), tokens.first,
                                       tokens.count, rows, row_bytes, sums);
    if (!error && whole)
        error = reading_write_at(
            r->descriptor, sums, whole * (int64_t)sizeof *sums,
            reading_sum_place(r, is_value, layer, head, tokens.first / READING_BLOCK));
    return error;
}

/* The keeper: takes a run of tokens of this rank's keys or values. */
static void keep(void *context, const struct site_part *part) {
    struct reading *r = context;
    bool is_value = part->site == SITE_V;
    int64_t d = r->header.head_dim, heads = part->columns.count / d;
    int64_t row_bytes = reading_row_bytes(r->type, d), chunk = r->sequence->options.chunk;
    double start = MPI_Wtime();
    int failed = 0;
    if (r->status != STATUS_OK || heads == 0)
        return;
    if (range_end(part->tokens) > r->header.capacity) {
        r->status = status_fail(r->path, "capacity",
                                "found no room behind %" PRId64
                                " tokens, expected it; start anew with a larger --reserve",
                                r->header.capacity);
        return;
    }
#pragma omp parallel for reduction(max : failed)
    for (int64_t h = 0; h < heads; h++) {
        int error =
            put_head(r, is_value, part->layer, part->columns.first / d + h, part->tokens,
                     part->data + h * d, part->columns.count, r->rows + h * chunk * row_bytes);
        failed = error > failed ? error : failed;
    }
    if (failed)
        r->status = reading_io_failed(r->path, r->dist->world.rank, "keys and values", failed);
    r->seconds_writing += MPI_Wtime() - start;
}

static enum status make_room(struct reading *r) {
    const struct model *m = r->sequence->model;
    int64_t chunk = r->sequence->options.chunk, d = r->header.head_dim;
    r->layers = m->share.layers;
    r->heads = m->share.kv_heads;
    size_t values = (size_t)(r->heads.count * chunk * d) + 1;
    r->streams = reading_streams_open(2 * r->layers.count * r->heads.count);
    r->rows = malloc(2 * values * sizeof(float));
    if (!r->streams || !r->rows)
        return status_no_memory("reading", (long long)(values * 16));
    return STATUS_OK;
}

enum status reading_load(struct reading *reading); /* reading_load.c */

enum status reading_attach(struct reading *r, struct sequence *s) {
    r->sequence = s;
    TRY(status_agree(r->dist->world.comm, make_room(r)));
    TRY(reading_load(r));
    r->ids_put = r->commit.known;
    r->keeper = (struct probe){keep, r};
    if (r->writes)
        s->keeper = &r->keeper;
    return STATUS_OK;
}

/* -- committing -------------------------------------------------------------------------------- */

/* Ids that are new, and the checksums of their blocks; that of the last in the slot's own place. */
static int put_ids(struct reading *r, const int32_t *ids, const int64_t *offsets, int64_t known,
                   int64_t slot) {
    int64_t first = r->ids_put, count = known - first;
    const struct reading_places *p = &r->places;
    const int64_t *kept = p->byte_offsets >= 0 ? offsets : NULL;
    int error = reading_write_at(r->descriptor, ids + first, count * (int64_t)sizeof *ids,
                                 p->tokens + first * (int64_t)sizeof *ids);
    if (!error && kept)
        error = reading_write_at(r->descriptor, kept + first, count * (int64_t)sizeof *kept,
                                 p->byte_offsets + first * (int64_t)sizeof *kept);
    for (int64_t b = first / READING_BLOCK; !error && b < reading_blocks(known); b++) {
        int64_t at = b * READING_BLOCK;
        int64_t n = known - at < READING_BLOCK ? known - at : READING_BLOCK;
        uint64_t sum = reading_ids_sum(ids + at, kept ? kept + at : NULL, n);
        int64_t place = n == READING_BLOCK ? p->sums_tokens + b * (int64_t)sizeof sum
                                           : p->last_tokens + slot * (int64_t)sizeof sum;
        error = reading_write_at(r->descriptor, &sum, sizeof sum, place);
    }
    r->ids_put = known;
    return error;
}

/* The checksums of the block that is not whole, by the rank that owns its tokens. */
static int put_last_sums(const struct reading *r, int64_t tokens, int64_t slot) {
    const struct cyclic cyclic = r->sequence->cache.cyclic;
    int error = 0;
    if (tokens % READING_BLOCK == 0 || cyclic_owner(cyclic, tokens - 1) != r->dist->place.sp)
        return 0;
    for (int is_value = 0; is_value < 2; is_value++)
        for (int64_t l = r->layers.first; l < range_end(r->layers); l++)
            for (int64_t h = r->heads.first; h < range_end(r->heads) && !error; h++) {
                uint64_t sum = reading_stream_sum(reading_stream_of(r, is_value, l, h));
                error = reading_write_at(r->descriptor, &sum, sizeof sum,
                                         reading_last_place(r, is_value, slot, l, h));
            }
    return error;
}

/* Everything that the record will stand for, to disk. */
static enum status put_state(struct reading *r, const int32_t *ids, const int64_t *byte_offsets,
                             const struct reading_commit *next) {
    int64_t slot = next->sequence % 2;
    TRY(r->status);
    int error = put_last_sums(r, next->tokens, slot);
    if (!error && r->dist->world.rank == 0)
        error = put_ids(r, ids, byte_offsets, next->known, slot);
    if (!error && fdatasync(r->descriptor) != 0)
        error = errno;
    if (error)
        r->status = reading_io_failed(r->path, r->dist->world.rank, "commit", error);
    return r->status;
}

static enum status put_record(struct reading *r, const struct reading_commit *next) {
    unsigned char slot[READING_SLOT_BYTES];
    reading_commit_encode(&r->header, next, slot);
    int error = reading_write_at(r->descriptor, slot, sizeof slot,
                                 r->places.commits + next->sequence % 2 * READING_SLOT_BYTES);
    if (!error && fdatasync(r->descriptor) != 0)
        error = errno;
    if (error)
        r->status = reading_io_failed(r->path, 0, "commit record", error);
    return r->status;
}

enum status reading_commit(struct reading *r, const int32_t *ids, const int64_t *byte_offsets,
                           int64_t known) {
    MPI_Comm world = r->dist->world.comm;
    TRY(sequence_check(r->sequence));
    struct reading_commit next = {.sequence = r->commit.sequence + 1,
                                  .tokens = r->sequence->tokens,
                                  .known = known,
                                  .time = time(NULL),
                                  .mesh = r->dist->mesh};
    TRY(status_agree(world, put_state(r, ids, byte_offsets, &next)));
    /* No rank goes on before the record is on disk: the next commit uses the other slot's places.
     */
    TRY(status_agree(world, r->dist->world.rank == 0 ? put_record(r, &next) : STATUS_OK));
    r->commit = next;
    return STATUS_OK;
}
