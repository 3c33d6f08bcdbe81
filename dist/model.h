/* One rank's share of a model's weights, in one allocation: norms in f32, matrices in the type that
 * the products take. What it holds of which layer follows from share_of alone. Constant once
 * loaded; sequences borrow it. */
#ifndef QUIRE_DIST_MODEL_H
#define QUIRE_DIST_MODEL_H

#include "dist/dist.h"
#include "kernels/matrix.h"
#include "partition/shape.h"
#include "partition/share.h"
#include "partition/weights.h"

/* Legend: D hidden, d head_dim, h own query heads, r own k/v rows, f own FFN columns, v own
 * vocabulary rows. Borrowed slices of the model's allocation, row-major as the checkpoint's
 * linear layers [out, in]. */
struct layer_weights {
    const float *attention_norm; /* [D] replicated */
    struct matrix q;             /* [h*d, D] rows of the own heads */
    struct matrix k, v;          /* [r, D] own rows of the tp group's KV heads */
    struct matrix o;             /* [D, h*d] columns of the own heads */
    const float *ffn_norm;       /* [D] replicated */
    struct matrix gate, up;      /* [f, D] own rows */
    struct matrix down;          /* [D, f] own columns */
};

struct model {
    struct shape shape;
    struct share share;
    struct dist *dist;            /* borrowed */
    enum matrix_type type;        /* of all matrices */
    void *data;                   /* owned: all of the below */
    struct matrix embedding;      /* [v, D] own rows; without data unless the stage embeds */
    const float *final_norm;      /* [D]; NULL unless the stage predicts */
    struct matrix head;           /* [v, D] own rows (the embedding's when tied); likewise */
    struct layer_weights *layers; /* owned, [share.layers.count] */
    double *rope_frequencies;     /* owned, [d/2] radians per position */
};

/* Checks that every tensor of the model, this rank's and the others', is in the files with its
 * shape. Reads nothing. Local. */
enum status model_check(const struct weights *weights, const struct shape *shape);

/* Reads this rank's share, the matrices as `type`: f32 holds every stored value exactly, bf16
 * rounds what is stored as F32 or F16. Local: ranks agree on the status afterwards. model_close
 * frees a half-loaded one too. */
enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       enum matrix_type type, struct model *model);
void model_close(struct model *model);

#endif
