#include "dist/capture.h"

#include "dist/capture_file.h"
#include "dist/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct capture {
    struct dist *dist;
    struct shape shape;
    struct capture_options options;  /* borrowed strings and lists */
    char *partial, *packed, *beside; /* owned: PATH.partial, PATH.packed, PATH.reading */
    struct reading *reading;         /* owned, of `beside` */
    int64_t *places;                 /* owned, [layers + 1][SITE_COUNT], see capture_file_open */
    int descriptor;
    enum status status;
    struct probe probe;
    bool published; /* a run before this one got as far as the file's name */
    bool finished;
};

static char *path_with(const char *path, const char *end) {
    size_t size = strlen(path) + strlen(end) + 1;
    char *whole = malloc(size);
    if (whole)
        snprintf(whole, size, "%s%s", path, end);
    return whole;
}

/* The token's row in the datasets, -1: it is not captured. */
static int64_t row_of(const struct capture *c, int64_t token) {
    int64_t at = token - c->options.tokens.first;
    bool kept = range_has(c->options.tokens, token) && at % c->options.stride == 0;
    return kept ? at / c->options.stride : -1;
}

/* Rows [first, first + count) of the part go to consecutive rows of the dataset. */
static int write_rows(const struct capture *c, int64_t place, const struct site_part *part,
                      int64_t first, int64_t count, int64_t row) {
    int64_t width = capture_width(&c->shape, part->site), columns = part->columns.count;
    const float *data = part->data + first * columns;
    int64_t at = place + (row * width + part->columns.first) * (int64_t)sizeof *data;
    if (columns == width)
        return reading_write_at(c->descriptor, data, count * width * (int64_t)sizeof *data, at);
    int error = 0;
    for (int64_t t = 0; t < count && !error; t++)
        error = reading_write_at(c->descriptor, data + t * columns, columns * (int64_t)sizeof *data,
                                 at + t * width * (int64_t)sizeof *data);
    return error;
}

static void capture_put(void *context, const struct site_part *part) {
    struct capture *c = context;
    int64_t layer = part->site == SITE_LOGITS ? c->shape.layers : part->layer;
    int64_t place = c->places[layer * SITE_COUNT + part->site];
    int error = 0;
    if (place < 0 || c->status != STATUS_OK || part->columns.count == 0)
        return;
    for (int64_t t = 0, run; t < part->tokens.count && !error; t += run) {
        int64_t row = row_of(c, part->tokens.first + t);
        for (run = 1; row >= 0 && t + run < part->tokens.count &&
                      row_of(c, part->tokens.first + t + run) == row + run;)
            run++;
        if (row >= 0)
            error = write_rows(c, place, part, t, run, row);
    }
    if (error)
        c->status =
            reading_io_failed(c->partial, c->dist->world.rank, site_name(part->site), error);
}

/* -- opening ----------------------------------------------------------------------------------- */

/* Rank 0: the file with the activations, beside a reading that is open. */
static enum status open_leader(struct capture *c, const struct sequence_options *sequence,
                               const int32_t *ids, const int64_t *byte_offsets) {
    const struct reading_header *h = &c->reading->header;
    const struct reading_commit *commit = &c->reading->commit;
    bool there = access(c->partial, F_OK) == 0;
    c->published = commit->sequence && !there && reading_is_complete(h, commit) &&
                   capture_file_holds(c->options.path, &c->options, h->ids_hash);
    if (c->published)
        return STATUS_OK;
    if (commit->sequence && !there)
        return status_fail(c->beside, NULL,
                           "found it without %s, expected both or none; remove it to start anew",
                           c->partial);
    if (!commit->sequence)
        TRY(capture_file_create(c->partial, &c->shape, sequence, &c->options, h->ids_hash, ids,
                                byte_offsets));
    return capture_file_open(c->partial, &c->shape, &c->options, c->places);
}

static enum status open_own(struct capture *c) {
    if (c->published)
        return STATUS_OK;
    c->descriptor = open(c->partial, O_RDWR | O_CLOEXEC);
    if (c->descriptor < 0)
        return status_fail(c->partial, NULL,
                           "found %s on rank %d, expected the file of rank 0; put it where all "
                           "nodes see it",
                           strerror(errno), c->dist->world.rank);
    return STATUS_OK;
}

static enum status open_files(struct capture *c, const struct sequence_options *sequence,
                              const struct reading_header *header, const int32_t *ids,
                              const int64_t *byte_offsets) {
    MPI_Comm world = c->dist->world.comm;
    bool leads = c->dist->world.rank == 0;
    TRY(status_agree(world, leads ? h5_check_path(c->options.path, "-o") : STATUS_OK));
    TRY(reading_open(c->dist, c->beside, header, byte_offsets != NULL, true, &c->reading));
    TRY(status_agree(world, leads ? open_leader(c, sequence, ids, byte_offsets) : STATUS_OK));
    MPI_Bcast(&c->published, sizeof c->published, MPI_BYTE, 0, world);
    MPI_Bcast(c->places, (int)((c->shape.layers + 1) * SITE_COUNT), MPI_INT64_T, 0, world);
    return status_agree(world, open_own(c));
}

enum status capture_open(struct dist *dist, const struct shape *shape,
                         const struct sequence_options *sequence,
                         const struct capture_options *options, const struct reading_header *header,
                         const int32_t *ids, const int64_t *byte_offsets,
                         struct capture **capture) {
    struct capture *c = calloc(1, sizeof *c);
    *capture = c;
    if (c) {
        c->dist = dist;
        c->shape = *shape;
        c->options = *options;
        c->descriptor = -1;
        c->partial = path_with(options->path, ".partial");
        c->packed = path_with(options->path, ".packed");
        c->beside = path_with(options->path, ".reading");
        c->places = malloc((size_t)((shape->layers + 1) * SITE_COUNT) * sizeof *c->places);
        c->probe = (struct probe){capture_put, c};
    }
    bool room = c && c->partial && c->packed && c->beside && c->places;
    TRY(status_agree(dist->world.comm, room ? STATUS_OK : status_no_memory("capture", 0)));
    return open_files(c, sequence, header, ids, byte_offsets);
}

struct reading *capture_reading(struct capture *capture) {
    return capture->reading;
}

const struct probe *capture_probe(struct capture *capture) {
    return &capture->probe;
}

/* -- committing -------------------------------------------------------------------------------- */

enum status capture_commit(struct capture *c, const int32_t *ids, const int64_t *byte_offsets) {
    if (c->status == STATUS_OK && fdatasync(c->descriptor) != 0)
        c->status = reading_io_failed(c->partial, c->dist->world.rank, "commit", errno);
    TRY(status_agree(c->dist->world.comm, c->status));
    return reading_commit(c->reading, ids, byte_offsets, c->reading->sequence->tokens);
}

static enum status publish(const struct capture *c) {
    const struct capture_options *o = &c->options;
    bool packs = !c->published && (o->gzip || o->shuffle);
    if (packs)
        TRY(capture_file_compress(c->partial, c->packed, o->gzip, o->shuffle));
    if (!c->published)
        TRY(h5_publish(packs ? c->packed : c->partial, o->path));
    if (packs)
        unlink(c->partial);
    unlink(c->beside);
    return STATUS_OK;
}

enum status capture_finish(struct capture *c) {
    c->finished = true;
    return status_agree(c->dist->world.comm, c->dist->world.rank == 0 ? publish(c) : STATUS_OK);
}

void capture_close(struct capture **capture) {
    struct capture *c = *capture;
    if (!c)
        return;
    bool unused = c->reading && c->reading->created && !c->reading->commit.sequence;
    bool removes = unused && !c->finished && c->dist->world.rank == 0;
    if (c->descriptor >= 0)
        close(c->descriptor);
    if (removes) {
        unlink(c->partial);
        unlink(c->beside);
    }
    reading_close(&c->reading);
    free(c->partial);
    free(c->packed);
    free(c->beside);
    free(c->places);
    free(c);
    *capture = NULL;
}
