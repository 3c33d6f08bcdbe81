/* Activations into HDF5, written by all ranks in global token order and readable with h5py: the
 * datasets /tokens, /byte_offsets, /logits and /layers/000/resid_pre ..., shapes as site_name's
 * sites have them. The file has its name only when it is complete: until then it is PATH.partial,
 * and beside it PATH.reading keeps what the model made of the text so far, as quire ingest would.
 * Commits are the reading's: what a commit covers is in both files, so that a capture that was cut
 * off goes on, on any mesh. */
#ifndef QUIRE_DIST_CAPTURE_H
#define QUIRE_DIST_CAPTURE_H

#include "dist/probe.h"
#include "dist/reading.h"
#include "dist/sequence.h"
#include <stdbool.h>

struct capture_options {
    const char *path;
    unsigned sites;        /* bit 1 << enum site */
    const int64_t *layers; /* sorted; layer_count 0: all */
    int64_t layer_count;
    struct range tokens; /* of the text */
    int64_t stride;      /* every stride-th token of them, >= 1 */
    int64_t gzip;        /* level of the complete file, 0: not compressed */
    bool shuffle;        /* its bytes shuffled before */
    const char *model_name;
    const char *dtype; /* of the weights, as stored */
};

struct capture; /* opaque */

/* Goes on with PATH.partial and PATH.reading, which must be of the same text, model and options, or
 * creates them; `header` is the reading's, for the tokens up to the end of the range. Writes token
 * ids [of the text] and, unless NULL on rank 0, byte offsets. Needs only the dist and the shape, so
 * that it can fail before weights are read. Collective(world). Errors: a directory that cannot be
 * written, no space, another capture. */
enum status capture_open(struct dist *dist, const struct shape *shape,
                         const struct sequence_options *sequence,
                         const struct capture_options *options, const struct reading_header *header,
                         const int32_t *ids, const int64_t *byte_offsets, struct capture **capture);

/* The reading beside it; borrowed. Tokens of its last commit are captured already. */
struct reading *capture_reading(struct capture *capture);

/* The probe to give to the sequence; borrowed from the capture. */
const struct probe *capture_probe(struct capture *capture);

/* Commits all that the sequence has read (reading_commit). Collective(world). */
enum status capture_commit(struct capture *capture, const int32_t *ids,
                           const int64_t *byte_offsets);

/* Gives the complete file its name, compressed if it is to be, and removes what stood beside it.
 * Collective(world). */
enum status capture_finish(struct capture *capture);

/* Frees. Files that this run created and never committed to are removed. Collective(world). Accepts
 * NULL. */
void capture_close(struct capture **capture);

#endif
