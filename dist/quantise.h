/* Weight matrices quantised while they are read: a bounded number of rows at a time, so that the
 * stored values never lie in memory as a whole. */
#ifndef QUIRE_DIST_QUANTISE_H
#define QUIRE_DIST_QUANTISE_H

#include "kernels/matrix.h"
#include "partition/layout.h"
#include "partition/weights.h"

/* Reads rows x cols of a tensor, cols a range of whole blocks, into `data` as `type`
 * (matrix_bytes). Local; on all threads. */
enum status quantise_read(struct weights *weights, const char *name, struct range rows,
                          struct range cols, enum matrix_type type, void *data);

#endif
