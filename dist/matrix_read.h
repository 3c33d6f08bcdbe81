/* A tensor's rows from the files into memory, in the type and order in which a rank holds them: a
 * bounded number at a time, so that what is stored otherwise never lies in memory as a whole. */
#ifndef QUIRE_DIST_MATRIX_READ_H
#define QUIRE_DIST_MATRIX_READ_H

#include "kernels/matrix.h"
#include "partition/layout.h"
#include "partition/weights.h"

/* A tensor of the files. Where `pairs` is not 0 it is a head's rows, whose rotated pairs stand side
 * by side there: row i of the first half of a head is the file's row 2 i, of the second half row
 * 2 i + 1. Ranges of rows below are those of the model. */
struct matrix_source {
    struct weights *weights; /* borrowed */
    const char *name;        /* borrowed */
    int64_t pairs;
};

/* Reads rows x cols into `data` as `type` (matrix_bytes): MATRIX_F32 with every stored value,
 * MATRIX_BF16 rounded; in blocks, cols a range of whole ones, quantised, or as they are where the
 * file has them of this type (`stored`). A vector has no columns. Local; on all threads. */
enum status matrix_read(const struct matrix_source *source, struct range rows, struct range cols,
                        enum matrix_type type, bool stored, void *data);

#endif
