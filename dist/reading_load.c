/* The committed tokens of a reading back into the cache: each rank reads its own tokens, layers and
 * heads. Part of reading.h. */
#include "dist/reading.h"

#include "kernels/elementwise.h"
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

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

/* -- rotary tables ------------------------------------------------------------------------------
 */

/* Tokens whose tables are made at a time, for all layers and heads: strips of the file that are
 * read in its order, at the pace of the disk. */
#define WINDOW_TOKENS 16384

#define WINDOW_BLOCKS (WINDOW_TOKENS / READING_BLOCK)

/* What a thread reads at a time, of one head. */
#define PIECE_BYTES ((int64_t)1 << 20)

/* Positions whose angles are computed at a time. */
#define POSITIONS 2048

/* Of a layer's tables: cosines and sines near, those of far keys. */
enum { NEAR_COS, NEAR_SIN, FAR_COS, FAR_SIN, TABLES };

struct load {
    struct reading *r;
    struct range tokens;   /* of this window */
    float *tables;         /* owned, [rotary embedding][TABLES][WINDOW_TOKENS, pairs] */
    uint64_t *sums;        /* owned, [strips][WINDOW_BLOCKS] what the file says of the blocks */
    int64_t piece;         /* tokens of a piece, whole blocks */
    unsigned char *rooms;  /* owned, of each thread: rows of a piece, then scratch */
    int64_t room, scratch; /* bytes of a room, and where scratch begins in it */
};

static float *table_of(const struct load *l, int64_t embedding, int table) {
    int64_t pairs = rotary_pairs(&l->r->sequence->model->shape);
    return l->tables + (embedding * TABLES + table) * WINDOW_TOKENS * pairs;
}

/* The first token whose near rotation a layer of this rank keeps. */
static int64_t first_near(const struct load *l) {
    const struct reading *r = l->r;
    int64_t first = r->commit.tokens;
    for (int64_t i = 0; i < r->layers.count; i++) {
        int64_t kept = cache_kept(&r->sequence->cache, i, r->commit.tokens).near;
        first = kept < first ? kept : first;
    }
    return first;
}

/* The tables of one kind for the window's tokens from `first` on. */
static void make_tables(const struct load *l, int64_t first, bool far) {
    const struct sequence *s = l->r->sequence;
    int64_t pairs = rotary_pairs(&s->model->shape);
    int64_t row = first > l->tokens.first ? first - l->tokens.first : 0;
    int64_t positions[POSITIONS];
    for (; row < l->tokens.count; row += POSITIONS) {
        int64_t rest = l->tokens.count - row, n = rest < POSITIONS ? rest : POSITIONS;
        for (int64_t i = 0; i < n; i++) {
            int64_t token = l->tokens.first + row + i;
            positions[i] = far ? scheme_far_key(&s->options.scheme, token) : token;
        }
        for (int64_t e = 0; e < rotary_count(&s->model->shape); e++)
            rope_tables(positions, n, s->frequencies + e * pairs, pairs, s->rope_factor[e],
                        table_of(l, e, far ? FAR_COS : NEAR_COS) + row * pairs,
                        table_of(l, e, far ? FAR_SIN : NEAR_SIN) + row * pairs);
    }
}

static struct rotary layer_tables(const struct load *l, int64_t layer) {
    const struct sequence *s = l->r->sequence;
    int64_t embedding = sequence_embedding(s, layer), e = embedding < 0 ? 0 : embedding;
    struct rotary tables = {.pairs = embedding < 0 ? 0 : rotary_pairs(&s->model->shape),
                            .near_cos = table_of(l, e, NEAR_COS),
                            .near_sin = table_of(l, e, NEAR_SIN)};
    if (sequence_layer_scheme(s, layer).rule == ZONE_GROUPED) {
        tables.far_cos = table_of(l, e, FAR_COS);
        tables.far_sin = table_of(l, e, FAR_SIN);
    }
    return tables;
}

/* -- rows ---------------------------------------------------------------------------------------
 */

/* One head's keys or values in the file; layer and head of the whole model. */
struct strip {
    int64_t index; /* among this rank's, in the order of the file */
    bool is_value;
    int64_t layer, head;
};

static int64_t strip_count(const struct reading *r) {
    return 2 * r->layers.count * r->heads.count;
}

static struct strip strip_at(const struct reading *r, int64_t index) {
    int64_t heads = r->heads.count, of_kind = r->layers.count * heads;
    return (struct strip){index, index >= of_kind, r->layers.first + index % of_kind / heads,
                          r->heads.first + index % heads};
}

/* The checksums of all strips' blocks in the window; that of a block which is not whole, and in
 * which the reading ends, from the commit's own place. */
static int read_sums(const struct load *l) {
    const struct reading *r = l->r;
    int64_t first = l->tokens.first / READING_BLOCK, whole = l->tokens.count / READING_BLOCK;
    int error = 0;
    for (int64_t i = 0; i < strip_count(r) && !error; i++) {
        struct strip s = strip_at(r, i);
        uint64_t *sums = l->sums + i * WINDOW_BLOCKS;
        error = reading_read_at(r->descriptor, sums, whole * (int64_t)sizeof *sums,
                                reading_sum_place(r, s.is_value, s.layer, s.head, first));
        if (!error && l->tokens.count % READING_BLOCK)
            error = reading_read_at(
                r->descriptor, sums + whole, sizeof *sums,
                reading_last_place(r, s.is_value, r->commit.sequence % 2, s.layer, s.head));
    }
    return error;
}

/* Holds a run's rows against the checksums. A block that is not whole goes through its stream, so
 * that the next tokens can go on with it. */
static enum status check_rows(const struct load *l, struct strip s, struct range run,
                              const unsigned char *rows) {
    const struct reading *r = l->r;
    int64_t row_bytes = reading_row_bytes(r->type, r->header.head_dim);
    const uint64_t *expected =
        l->sums + s.index * WINDOW_BLOCKS + (run.first - l->tokens.first) / READING_BLOCK;
    for (int64_t t = 0; t < run.count; t += READING_BLOCK, rows += READING_BLOCK * row_bytes) {
        uint64_t sum;
        if (run.count - t < READING_BLOCK) {
            struct reading_stream *stream = reading_stream_of(r, s.is_value, s.layer, s.head);
            reading_stream_put(stream, run.first + t, run.count - t, rows, row_bytes, &sum);
            sum = reading_stream_sum(stream);
        } else
            sum = XXH3_64bits(rows, (size_t)(READING_BLOCK * row_bytes));
        if (sum != expected[t / READING_BLOCK])
            return damaged(r, s.is_value, s.layer, s.head, (run.first + t) / READING_BLOCK, sum,
                           expected[t / READING_BLOCK]);
    }
    return STATUS_OK;
}

/* A run's rows into the cache, as far as it keeps them. `scratch` [2 * KV_GROUP * d]. */
static void put_rows(const struct load *l, struct strip s, struct range run,
                     const unsigned char *rows, float *scratch) {
    const struct reading *r = l->r;
    struct cache *cache = &r->sequence->cache;
    int64_t d = r->header.head_dim, row_bytes = reading_row_bytes(r->type, d), count;
    int64_t layer = s.layer - r->layers.first, head = s.head - r->heads.first;
    struct rotary tables = layer_tables(l, layer);
    struct cache_kept kept = cache_kept(cache, layer, r->commit.tokens);
    float *x = scratch + KV_GROUP * d;
    for (int64_t token = run.first; token < range_end(run);
         token += count, rows += count * row_bytes) {
        count = cache_run(cache, token, range_end(run) - token);
        if (token < (s.is_value ? kept.values : kept.keys))
            continue;
        reading_unpack(r->type, rows, count, d, x, d);
        if (s.is_value)
            cache_put_values(cache, layer, token, count, head, x);
        else
            cache_put_keys(cache, layer, token, count, head, x, token >= kept.near, &tables,
                           token - l->tokens.first, scratch);
    }
}

/* The next run of consecutive tokens of `tokens` that this rank owns, behind *run. False behind the
 * last. */
static bool own_run(const struct reading *r, struct range tokens, struct range *run) {
    const struct cyclic c = r->sequence->cache.cyclic;
    int64_t part = r->dist->place.sp, end = range_end(tokens);
    int64_t next = run->count ? range_end(*run) : tokens.first;
    int64_t token = cyclic_global(c, part, cyclic_count(c, part, next));
    if (token >= end)
        return false;
    int64_t block_end = (token / c.block + 1) * c.block;
    *run = (struct range){token, (block_end < end ? block_end : end) - token};
    while (range_end(*run) < end && cyclic_owner(c, range_end(*run)) == part)
        run->count += end - range_end(*run) < c.block ? end - range_end(*run) : c.block;
    return true;
}

/* This rank's tokens of a piece, [own tokens] rows one after another. */
static int read_piece(const struct reading *r, struct strip s, struct range piece,
                      unsigned char *rows) {
    int64_t row_bytes = reading_row_bytes(r->type, r->header.head_dim);
    struct range run = {0, 0};
    int error = 0;
    for (; !error && own_run(r, piece, &run); rows += run.count * row_bytes)
        error = reading_read_at(r->descriptor, rows, run.count * row_bytes,
                                reading_row_place(r, s.is_value, s.layer, s.head, run.first));
    return error;
}

static enum status put_piece(const struct load *l, struct strip s, struct range piece,
                             const unsigned char *rows, float *scratch) {
    int64_t row_bytes = reading_row_bytes(l->r->type, l->r->header.head_dim);
    struct range run = {0, 0};
    for (; own_run(l->r, piece, &run); rows += run.count * row_bytes) {
        TRY(check_rows(l, s, run, rows));
        put_rows(l, s, run, rows, scratch);
    }
    return STATUS_OK;
}

/* A piece of a window, in the order of the file: strip after strip. */
struct piece {
    struct strip strip;
    struct range tokens;
};

static int64_t piece_count(const struct load *l) {
    return strip_count(l->r) * ((l->tokens.count + l->piece - 1) / l->piece);
}

static struct piece piece_at(const struct load *l, int64_t index) {
    int64_t of_strip = (l->tokens.count + l->piece - 1) / l->piece;
    int64_t first = index % of_strip * l->piece, rest = l->tokens.count - first;
    return (struct piece){
        strip_at(l->r, index / of_strip),
        {l->tokens.first + first, rest < l->piece ? rest : l->piece},
    };
}

/* Takes the next piece and reads it: one thread at a time, so that the disk sees one long read and
 * runs ahead. False behind the last, and when one failed. */
static bool take_piece(const struct load *l, int64_t *next, struct piece *piece,
                       unsigned char *rows, enum status *status) {
    bool taken = false;
#pragma omp critical(reading_order)
    if (*status != STATUS_OK)
        *next = piece_count(l);
    else if (*next < piece_count(l)) {
        *piece = piece_at(l, (*next)++);
        int error = read_piece(l->r, piece->strip, piece->tokens, rows);
        taken = error == 0;
        if (error) {
            *status = unread(l->r, piece->strip.is_value ? "values" : "keys", error);
            *next = piece_count(l);
        }
    }
    return taken;
}

/* A thread's share of a window: while it works on a piece, others read. Pieces need nothing of each
 * other. */
static enum status load_share(const struct load *l, int64_t *next, unsigned char *room) {
    enum status status = STATUS_OK;
    struct piece piece;
    while (take_piece(l, next, &piece, room, &status))
        status =
            put_piece(l, piece.strip, piece.tokens, room, (float *)(void *)(room + l->scratch));
    return status;
}

static enum status load_window(const struct load *l) {
    int64_t next = 0;
    int worst = STATUS_OK, error = read_sums(l);
    if (error)
        return unread(l->r, "checksums", error);
#pragma omp parallel reduction(max : worst)
    worst = load_share(l, &next, l->rooms + omp_get_thread_num() * l->room);
    return (enum status)worst;
}

static enum status load_own(struct load *l) {
    const struct reading *r = l->r;
    int64_t end = r->commit.tokens, near = first_near(l);
    for (int64_t first = 0, n; first < end; first += n) {
        n = end - first < WINDOW_TOKENS ? end - first : WINDOW_TOKENS;
        l->tokens = (struct range){first, n};
        make_tables(l, near, false);
        if (r->sequence->options.scheme.rule == ZONE_GROUPED)
            make_tables(l, 0, true);
        TRY(load_window(l));
    }
    r->sequence->tokens = end;
    return STATUS_OK;
}

/* Makes room for the tables and the threads, and loads. */
static enum status load_with_room(struct reading *r) {
    const struct shape *shape = &r->sequence->model->shape;
    int64_t d = r->header.head_dim, block = READING_BLOCK * reading_row_bytes(r->type, d);
    int64_t blocks = PIECE_BYTES > block ? PIECE_BYTES / block : 1;
    int64_t tables = rotary_count(shape) * TABLES * WINDOW_TOKENS * rotary_pairs(shape);
    struct load l = {.r = r, .piece = blocks * READING_BLOCK, .scratch = blocks * block};
    l.room = l.scratch + 2 * KV_GROUP * d * (int64_t)sizeof(float);
    int64_t rooms = omp_get_max_threads() * l.room;
    l.tables = malloc((size_t)tables * sizeof *l.tables + 1);
    l.sums = malloc((size_t)(strip_count(r) * WINDOW_BLOCKS) * sizeof *l.sums + 1);
    l.rooms = malloc((size_t)rooms);
    enum status status =
        l.tables && l.sums && l.rooms
            ? load_own(&l)
            : status_no_memory("reading", tables * (int64_t)sizeof *l.tables + rooms);
    free(l.tables);
    free(l.sums);
    free(l.rooms);
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
