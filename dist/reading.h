/* A reading on disk: the keys and values of a text in one HDF5 file (READING.md), written by all
 * ranks while the text is read, committed now and then, opened again on any mesh. A kill at any
 * instant leaves the last commit as it was. */
#ifndef QUIRE_DIST_READING_H
#define QUIRE_DIST_READING_H

#include "dist/reading_format.h"
#include "dist/sequence.h"

struct reading_stream; /* the checksum of a block that is not whole yet */

struct reading {
    struct dist *dist; /* borrowed */
    char *path;        /* owned */
    struct reading_header header;
    struct reading_places places;
    struct reading_commit commit; /* the last one */
    enum kv_type type;
    int descriptor; /* of this rank */
    int lock;       /* rank 0 of a writing job; else -1 */
    bool writes;    /* it may be continued */
    bool created;   /* by this job */
    int damaged;    /* commit records that are damaged, though not the last one's every copy */
    double seconds_writing; /* keys and values, by this rank, commits not counted */

    /* with a sequence at hand */
    struct sequence *sequence; /* borrowed */
    struct range layers, heads;
    struct reading_stream *streams; /* owned, [keys, values][layers][heads] */
    unsigned char *rows;            /* owned, [heads][chunk] rows */
    int64_t ids_put;                /* rank 0: ids that are in the file */
    enum status status;             /* of this rank's writing so far */
    struct probe keeper;
};

/* Opens PATH on all ranks. With `create` the job writes: it takes the lock, goes on with a file
 * that is there, which must be of the same model, options and text as *create says, or creates it
 * (in PATH.partial, which is renamed once it is whole). Of a complete reading nothing is locked.
 * Without `create` the file must be there; `writes`: it is locked, to be continued.
 * Collective(world); all arguments count on rank 0 alone but path. reading_close frees a
 * half-opened one too. */
enum status reading_open(struct dist *dist, const char *path, const struct reading_header *create,
                         bool has_offsets, bool writes, struct reading **reading);

/* Closes, gives the lock back. A file that this job created and never committed to stays: it is a
 * reading without a commit. Accepts NULL. Local. */
void reading_close(struct reading **reading);

/* Puts the committed tokens into an empty sequence, every block held against its checksum, so that
 * it stands where the reading stands; from then on a reading that writes takes every token that the
 * sequence reads. Collective(world). Errors: a damaged block, by name. */
enum status reading_attach(struct reading *reading, struct sequence *sequence);

/* The ids of all known tokens on rank 0, [commit.known], owned by the caller; *byte_offsets NULL
 * where the file has none (may be asked for as NULL). Local, rank 0. */
enum status reading_ids(const struct reading *reading, int32_t **ids, int64_t **byte_offsets);

/* Makes all that the sequence has read the last commit: data and checksums to disk on all ranks,
 * then the record. ids [known] and byte_offsets [known] (NULL: none) count on rank 0: the tokens
 * from the text's beginning, of which the sequence has read all, or all but the last.
 * Collective(world). On failure the commit before stays the last. */
enum status reading_commit(struct reading *reading, const int32_t *ids, const int64_t *byte_offsets,
                           int64_t known);

/* Says on stderr that commit records are damaged and what is taken. Where reading->damaged. */
void reading_warn_damaged(const struct reading *reading);

/* Bytes of the file's data that are committed. */
int64_t reading_committed_bytes(const struct reading *reading);

/* -- for the files of the reading alone -- */

/* Header, places and last commit of the file that is there. Local. */
enum status reading_state(struct reading *reading);

/* pread and pwrite of all bytes; 0 or the errno. EIO: the end of the file came first. */
int reading_read_at(int fd, void *data, int64_t bytes, int64_t at);
int reading_write_at(int fd, const void *data, int64_t bytes, int64_t at);

/* Words a failed read or write of this rank. */
enum status reading_io_failed(const char *path, int rank, const char *what, int error);

/* Takes rows [count] of consecutive tokens from `first` on; the checksums of the blocks that they
 * make whole go to sums, in order. Returns how many. */
struct reading_stream *reading_streams_open(int64_t count);
void reading_streams_close(struct reading_stream *streams, int64_t count);
int64_t reading_stream_put(struct reading_stream *stream, int64_t first, int64_t count,
                           const unsigned char *rows, int64_t row_bytes, uint64_t *sums);
uint64_t reading_stream_sum(const struct reading_stream *stream);
struct reading_stream *reading_stream_of(const struct reading *reading, bool is_value,
                                         int64_t layer, int64_t head);

/* The checksum of ids [count] and, unless NULL, their byte offsets. */
uint64_t reading_ids_sum(const int32_t *ids, const int64_t *byte_offsets, int64_t count);

/* Place in the file of a token's row, of a block's checksum, of a slot's checksum of the last
 * block; layer and head of the whole model. */
int64_t reading_row_place(const struct reading *reading, bool is_value, int64_t layer, int64_t head,
                          int64_t token);
int64_t reading_sum_place(const struct reading *reading, bool is_value, int64_t layer, int64_t head,
                          int64_t block);
int64_t reading_last_place(const struct reading *reading, bool is_value, int64_t slot,
                           int64_t layer, int64_t head);

#endif
