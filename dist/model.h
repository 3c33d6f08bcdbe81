/* One rank's share of a model's weights, in f32, in one allocation: what it holds of which layer
 * follows from share_of alone. Constant once loaded; sequences borrow it. */
#ifndef QUIRE_DIST_MODEL_H
#define QUIRE_DIST_MODEL_H

#include "dist/dist.h"
#include "partition/shape.h"
#include "partition/share.h"
#include "partition/weights.h"

/* Legend: D hidden, d head_dim, h own query heads, r own k/v rows, f own FFN columns, v own
 * vocabulary rows. Borrowed slices of the model's allocation, row-major as the checkpoint's
 * linear layers [out, in]. */
struct layer_weights {
    float *attention_norm; /* [D] replicated */
    float *q;              /* [h*d, D] rows of the own heads */
    float *k, *v;          /* [r, D] own rows of the tp group's KV heads */
    float *o;              /* [D, h*d] columns of the own heads */
    float *ffn_norm;       /* [D] replicated */
    float *gate, *up;      /* [f, D] own rows */
    float *down;           /* [D, f] own columns */
};

struct model {
    struct shape shape;
    struct share share;
    struct dist *dist;            /* borrowed */
    float *data;                  /* owned: all of the below */
    float *embedding;             /* [v, D] own rows; NULL unless the stage embeds */
    float *final_norm;            /* [D]; NULL unless the stage predicts */
    float *head;                  /* [v, D] own rows (the embedding's when tied); NULL likewise */
    struct layer_weights *layers; /* owned, [share.layers.count] */
    double *rope_frequencies;     /* owned, [d/2] radians per position */
};

/* Checks that every tensor of the model, this rank's and the others', is in the files with its
 * shape. Reads nothing. Local. */
enum status model_check(const struct weights *weights, const struct shape *shape);

/* Reads this rank's share. Local: ranks agree on the status afterwards. model_close frees a
 * half-loaded one too. */
enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       struct model *model);
void model_close(struct model *model);

#endif
