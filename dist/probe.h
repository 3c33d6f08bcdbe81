/* Where the forward pass lets others look: named sites, in the order of a layer. The pass hands
 * each rank's part of an activation to the probe of its sequence; who holds what is said by the
 * part. */
#ifndef QUIRE_DIST_PROBE_H
#define QUIRE_DIST_PROBE_H

#include "partition/layout.h"
#include <stdint.h>

enum site {
    SITE_RESID_PRE,  /* [T, D] residual stream entering the layer */
    SITE_Q,          /* [T, H, d] queries before rotation */
    SITE_K,          /* [T, Hk, d] keys before rotation */
    SITE_V,          /* [T, Hk, d] values */
    SITE_ATTN_OUT,   /* [T, D] attention's part after the output projection */
    SITE_RESID_MID,  /* [T, D] residual stream between attention and FFN */
    SITE_MLP_OUT,    /* [T, D] the FFN's part */
    SITE_RESID_POST, /* [T, D] residual stream leaving the layer */
    SITE_LOGITS,     /* [T, V] of the whole model; layer is not used */
    SITE_COUNT
};

/* "resid_pre", "q", ... */
const char *site_name(enum site site);

/* A rectangle of one activation: tokens x columns, columns counted over the flattened rest (for q:
 * H*d). No two ranks hand over the same element. */
struct site_part {
    enum site site;
    int64_t layer;       /* of the whole model */
    struct range tokens; /* global */
    struct range columns;
    const float *data; /* [tokens.count, columns.count] contiguous, borrowed during the call */
};

struct probe {
    void (*put)(void *context, const struct site_part *part);
    void *context;
};

#endif
