/* Activations into HDF5, written by all ranks in global token order and readable with h5py: the
 * datasets /tokens, /byte_offsets, /logits and /layers/000/resid_pre ..., shapes as site_name's
 * sites have them. All datasets are made and the file's blocks reserved before the first token;
 * ranks then write independently. The file has its name only when it is complete: until then it is
 * PATH.partial. */
#ifndef QUIRE_DIST_CAPTURE_H
#define QUIRE_DIST_CAPTURE_H

#include "dist/probe.h"
#include "dist/sequence.h"
#include <stdbool.h>

struct capture_options {
    const char *path;
    unsigned sites;        /* bit 1 << enum site */
    const int64_t *layers; /* sorted; layer_count 0: all */
    int64_t layer_count;
    struct range tokens; /* of the text */
    const char *model_name;
    const char *dtype; /* of the weights, as stored */
};

struct capture; /* opaque */

/* Creates PATH.partial with every dataset; writes token ids [range] and, unless NULL on rank 0,
 * byte offsets. Needs only the dist and the shape, so that it can fail before weights are read.
 * Collective(world). Errors: a directory that cannot be written, no space. */
enum status capture_open(struct dist *dist, const struct shape *shape,
                         const struct sequence_options *sequence,
                         const struct capture_options *options, const int32_t *ids,
                         const int64_t *byte_offsets, struct capture **capture);

/* The probe to give to the sequence; borrowed from the capture. */
const struct probe *capture_probe(struct capture *capture);

/* Whether writing failed here so far; ranks agree with status_agree. Local. */
enum status capture_status(const struct capture *capture);

/* Flushes to disk, closes, and gives the file its name. Collective(world). */
enum status capture_finish(struct capture *capture);

/* Frees; a file that was not finished is removed. Collective(world). Accepts NULL. */
void capture_close(struct capture **capture);

#endif
