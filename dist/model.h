/* One rank's share of a model's weights, in one allocation: norms in f32, matrices in a type that
 * the products take. What it holds of which layer follows from share_of alone. Constant once
 * loaded; sequences borrow it. */
#ifndef QUIRE_DIST_MODEL_H
#define QUIRE_DIST_MODEL_H

#include "dist/dist.h"
#include "kernels/compute.h"
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
    enum matrix_type plain;       /* of matrices without blocks */
    enum matrix_type blocks;      /* of those in blocks, where the format has any */
    struct weight_format format;  /* of both */
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

/* How matrices are held. */
struct weight_format model_format(enum compute compute, enum weights_type weights);

/* Reads this rank's share. The matrices in f32 hold every stored value exactly, in bf16 what is
 * stored as F32 or F16 is rounded; in blocks they are quantised from the stored values. The
 * embedding table, whose rows are only looked up, is in blocks only where it is the head too.
 * Local: ranks agree on the status afterwards. model_close frees a half-loaded one too. */
enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       enum compute compute, enum weights_type type, struct model *model);
void model_close(struct model *model);

#endif
