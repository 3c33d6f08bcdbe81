/* How captured activations lie in their HDF5 file: one process's view. All datasets are of their
 * final size from the start, contiguous, so that afterwards only raw data change; compressing comes
 * at the end, in a copy. */
#ifndef QUIRE_DIST_CAPTURE_FILE_H
#define QUIRE_DIST_CAPTURE_FILE_H

#include "dist/capture.h"
#include <hdf5.h>

/* Tokens that are captured: every stride-th of the range. */
int64_t capture_count(const struct capture_options *options);

/* Numbers of one token at a site: rows of its dataset. */
int64_t capture_width(const struct shape *shape, enum site site);

bool capture_has(const struct capture_options *options, const struct shape *shape, int64_t layer,
                 enum site site);

/* Makes the file at `path` with every dataset, and /tokens and /byte_offsets (NULL: none) written;
 * takes its blocks on the disk. ids_hash is that of the text's ids. Errors: no space, a place that
 * cannot be written. Local. */
enum status capture_file_create(const char *path, const struct shape *shape,
                                const struct sequence_options *sequence,
                                const struct capture_options *options, const char *ids_hash,
                                const int32_t *ids, const int64_t *byte_offsets);

/* Where the datasets begin, [layers + 1][SITE_COUNT], the last row for the logits; -1: not
 * captured. Refuses a file that was made with other options. Local. */
enum status capture_file_open(const char *path, const struct shape *shape,
                              const struct capture_options *options, int64_t *places);

/* Whether a capture of this selection of that text is at `path`. Local. */
bool capture_file_holds(const char *path, const struct capture_options *options,
                        const char *ids_hash);

/* Writes the file's content to another, its datasets in chunks, with gzip of this level (0: none)
 * and shuffled bytes before it. Local. */
enum status capture_file_compress(const char *from, const char *to, int64_t gzip, bool shuffle);

#endif
