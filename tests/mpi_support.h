/* What the MPI tests share: models opened on a given mesh, whole runs that end in logits on rank 0,
 * and verdicts that all ranks hold, so that no rank waits for one that has failed. */
#ifndef QUIRE_TESTS_MPI_SUPPORT_H
#define QUIRE_TESTS_MPI_SUPPORT_H

#include "dist/model.h"
#include "dist/sequence.h"
#include "partition/shape.h"
#include <check.h>
#include <mpi.h>

/* A model opened for a test, with all that it borrows. */
struct opened {
    struct dist dist;
    struct model model;
};

/* Opens DIR on `comm` with this mesh, computing and held in f32 or as said; a failure ends the
 * job with its message. Collective(comm). */
void opened_open(MPI_Comm comm, const char *dir, struct mesh mesh, struct opened *opened);
void opened_open_as(MPI_Comm comm, const char *dir, struct mesh mesh, enum compute compute,
                    enum weights_type type, struct opened *opened);
void opened_close(struct opened *opened);

/* The next mesh of `ranks` ranks with at most `stages` stages, in some order; *mesh starts as
 * zeros. False behind the last. */
bool mesh_next(int64_t ranks, int64_t stages, struct mesh *mesh);

/* Reads ids [T] through a new sequence and returns the logits [T, V], on rank 0 of the model's
 * world (NULL elsewhere); owned by the caller. Collective. */
float *logits_of(struct opened *opened, const struct sequence_options *options, const int32_t *ids,
                 int64_t T);

/* max |a - b| / max |b| over n elements. */
double distance(const float *a, const float *b, int64_t n);

/* rank 0's value, everywhere. */
double agreed(MPI_Comm comm, double value);

/* Options of a sequence with small blocks, so that short texts spread over the ranks. */
struct sequence_options test_sequence(struct scheme scheme, int64_t capacity, int64_t chunk);

struct scheme test_scheme(int64_t group, int64_t window); /* group 0: all near */

/* Makes a new directory on rank 0, in TMPDIR or /tmp; every rank gets its path. */
#define DIRECTORY_MAX 256
void directory_make(char path[DIRECTORY_MAX]);

/* Removes it with everything in it, once all ranks are here. */
void directory_remove(const char *path);

/* Where the data shared between checkouts lies (QUIRE_SHARED, else ../shared), or NULL. */
const char *shared_dir(void);

/* Runs the suite in no-fork mode, prints on rank 0 alone, returns the exit status. */
int suite_main(int argc, char **argv, Suite *(*suite)(void));

#endif
