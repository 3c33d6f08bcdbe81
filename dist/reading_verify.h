/* A reading looked at by one process, without ranks, a sequence or a lock: what it holds, whether
 * its checksums are right, some of it as plain datasets. */
#ifndef QUIRE_DIST_READING_VERIFY_H
#define QUIRE_DIST_READING_VERIFY_H

#include "dist/reading.h"
#include "partition/layout.h"

/* Header, places and the last commit of the reading at PATH, for reading_close. Local. */
enum status reading_look(const char *path, struct reading **reading);

/* Holds all that is committed against its checksums: the ids, then keys and values by layer, KV
 * head and block. Names the first block that is damaged. *blocks: how many were held. While another
 * job goes on with the file, its commit of the moment is what is verified. Local. */
enum status reading_verify(struct reading *reading, int64_t *blocks);

/* Writes keys and values of these committed tokens and layers (sorted; layer_count 0: all) to a new
 * HDF5 file, float32, as capture lays them: /tokens, /byte_offsets, /layers/000/k, v [T, Hk, d].
 * Every block is held against its checksum. Local. */
enum status reading_export(const struct reading *reading, const char *path, struct range tokens,
                           const int64_t *layers, int64_t layer_count);

#endif
