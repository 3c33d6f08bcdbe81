/* How a reading lies in its HDF5 file (READING.md): the attributes that say what was read and how,
 * the places of the raw data, and the commit records. One process's view of it; no MPI here but in
 * the struct names. reading.h is what ranks do with it together. */
#ifndef QUIRE_DIST_READING_FORMAT_H
#define QUIRE_DIST_READING_FORMAT_H

#include "kernels/kv.h"
#include "partition/identity.h"
#include "partition/mesh.h"
#include "partition/status.h"
#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#define READING_VERSION 1

/* Tokens of one layer and KV head under one checksum. */
#define READING_BLOCK 64

/* What the file's attributes say; plain data, the same on all ranks. */
struct reading_header {
    /* the model and how it was computed: all of it must be alike for the reading to be used */
    char model_identity[IDENTITY_SIZE];
    int64_t layers, kv_heads, head_dim;
    int64_t context; /* trained, tokens */
    char rope[96];
    char weights[16]; /* type that the matrices were held in */
    char compute[16];
    char kv[16];
    char method[16];       /* "plain" or "self_extend" */
    int64_t group, window; /* 0 under plain attention */
    int64_t chunk;
    /* the text */
    char text_hash[IDENTITY_SIZE]; /* of its bytes, or of its ids where they were given */
    char ids_hash[IDENTITY_SIZE];  /* of its ids */
    int64_t text_bytes;            /* -1: ids were given */
    int64_t text_tokens;           /* of the whole text; 0: a conversation, which has no end */
    int64_t capacity;              /* tokens that the file has room for */
    /* for people to read */
    char text_name[256], model[256], family[32], dtype[16], mesh[64], quire_version[32];
};

/* Where the raw data begin in the file, bytes; -1: not there. */
struct reading_places {
    int64_t commits;
    int64_t tokens, byte_offsets;
    int64_t keys, values;
    int64_t sums_tokens, sums_keys, sums_values; /* of whole blocks */
    int64_t last_tokens, last_keys, last_values; /* of a block that is not whole, by slot */
};

/* A commit: how far the reading is. All zero: none yet. */
struct reading_commit {
    int64_t sequence; /* 1, 2, ...: it lies in slot sequence % 2 */
    int64_t tokens;   /* whose keys and values are there */
    int64_t known;    /* whose ids are there: one more, when the last was not read yet */
    int64_t time;     /* seconds since 1970 */
    struct mesh mesh; /* that wrote it */
};

#define READING_SLOT_BYTES 4096
#define READING_COMMIT_BYTES (2 * READING_SLOT_BYTES)

/* Bytes of one token's key or value of one head as the file holds it. */
int64_t reading_row_bytes(enum kv_type type, int64_t head_dim);

/* The KV type that a header names; false when it is not known. */
bool reading_kv_type(const struct reading_header *header, enum kv_type *type);

/* Packs rows [count, d] of a float array whose rows stand `stride` apart as the file holds them,
 * rounded to the type; and back, exactly. */
void reading_pack(enum kv_type type, const float *rows, int64_t stride, int64_t count, int64_t d,
                  unsigned char *out);
void reading_unpack(enum kv_type type, const unsigned char *rows, int64_t count, int64_t d,
                    float *out, int64_t stride);

/* Whole blocks and the block that is not whole: those that hold tokens of [0, tokens). */
static inline int64_t reading_blocks(int64_t tokens) {
    return (tokens + READING_BLOCK - 1) / READING_BLOCK;
}

/* Bytes that the raw data of a reading take in the file. */
int64_t reading_bytes(const struct reading_header *header);

/* Writes the file's structure, without a token: afterwards only raw data change. Local. */
enum status reading_format_create(const char *path, const struct reading_header *header,
                                  bool has_offsets);

/* Reads the attributes and the places. Refuses what is no reading, a newer version, a file that is
 * cut short, and a structure that does not fit its attributes. Takes no lock. Local. */
enum status reading_format_open(const char *path, struct reading_header *header,
                                struct reading_places *places);

/* Refuses, naming the first field that differs, a file whose header `found` is not the one
 * expected: with `text` also another text, capacity or chunk. `remedy` ends the message. */
enum status reading_header_compare(const char *path, const struct reading_header *found,
                                   const struct reading_header *expected, bool text,
                                   const char *remedy);

/* Walks the attributes for reports: number is NULL for a text and the other way round. */
void reading_header_walk(const struct reading_header *header,
                         void (*visit)(void *context, const char *name, const char *text,
                                       const int64_t *number),
                         void *context);

/* XXH3 of all attributes as text, which a commit record carries. */
uint64_t reading_header_hash(const struct reading_header *header);

/* A slot's bytes for a commit. */
void reading_commit_encode(const struct reading_header *header, const struct reading_commit *commit,
                           unsigned char slot[READING_SLOT_BYTES]);

/* The newest commit of the two slots' bytes; zeros where there is none. *damaged: records that are
 * neither empty nor valid. Refuses records that belong to other attributes than the header's. */
enum status reading_commit_choose(const char *path, const struct reading_header *header,
                                  const unsigned char slots[READING_COMMIT_BYTES],
                                  struct reading_commit *commit, int *damaged);

/* Complete: nothing of the text is missing. */
bool reading_is_complete(const struct reading_header *header, const struct reading_commit *commit);

#endif
