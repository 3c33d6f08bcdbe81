/* One rank's share of a model's weights, in one allocation: norms in f32, matrices in the type that
 * the products take. What it holds of which layer follows from share_of alone. Constant once
 * loaded; sequences borrow it. */
#ifndef QUIRE_DIST_MODEL_H
#define QUIRE_DIST_MODEL_H

#include "dist/dist.h"
#include "kernels/compute.h"
#include "kernels/matrix.h"
#include "partition/shape.h"
#include "partition/share.h"
#include "partition/weight_format.h"
#include "partition/weights.h"

/* A norm; bias NULL where the kind has none. */
struct norm {
    const float *weight, *bias; /* [D] replicated */
};

/* y = x W^T + b. A bias is there where the model has one: of the own rows, or whole where the
 * columns are split, to be added behind the sum over the ranks. */
struct linear {
    struct matrix weight;
    const float *bias;
};

/* down(act(gate x) * up x); gate without rows where the model has none. */
struct ffn {
    struct linear gate, up; /* [f, D] own rows */
    struct linear down;     /* [D, f] own columns */
};

/* Legend: D hidden, d head_dim, h own query heads, r own k/v rows, f own FFN columns, v own
 * vocabulary rows, E experts. Borrowed slices of the model's allocation, row-major as the
 * checkpoint's linear layers [out, in]. What a family lacks is zero. */
struct layer_weights {
    struct norm attention_norm, attention_post_norm;
    struct linear q;              /* [h*d, D] rows of the own heads */
    struct linear k, v;           /* [r, D] own rows of the tp group's KV heads */
    const float *q_norm, *k_norm; /* [d] each, or over the full width: own parts [h*d], [r] */
    struct linear o;              /* [D, h*d] columns of the own heads */
    struct norm ffn_norm, ffn_post_norm;
    struct ffn ffn;
    struct matrix router; /* [E, D] f32, on the rank that routes */
    struct ffn *experts;  /* [E], NULL in a layer without; borrowed from the model's */
};

struct model {
    struct shape shape;
    struct share share;
    struct dist *dist; /* borrowed */
    enum compute compute;
    enum weights_type weights;
    struct weight_format format;  /* of the matrices, by these two */
    void *data;                   /* owned: all of the below */
    int64_t bytes;                /* of it in use, as share_weight_bytes plans them */
    struct matrix embedding;      /* [v, D] own rows; without data unless the stage embeds */
    struct norm final_norm;       /* empty unless the stage predicts */
    struct linear head;           /* [v, D] own rows (the embedding's when tied); likewise */
    struct layer_weights *layers; /* owned, [share.layers.count] */
    struct ffn *experts;          /* owned, of all layers */
};

/* Checks that every tensor of the model, this rank's and the others', is in the files with its
 * shape. Reads nothing. Local. */
enum status model_check(const struct weights *weights, const struct shape *shape);

/* Calls `put` for each tensor in the files that the model does not use, by name. Local. */
enum status model_list_unused(const struct weights *weights, const struct shape *shape,
                              void (*put)(void *context, const char *name), void *context);

/* The type that the embedding table is stored in, "" where it is lacking. Borrowed. */
const char *model_dtype(const struct weights *weights, const struct shape *shape);

/* How matrices are held, and the type of one. */
struct weight_format model_format(enum compute compute, enum weights_type weights);
enum matrix_type model_held(enum compute compute, enum weights_type weights,
                            const struct tensor_slice *slice);

/* Reads this rank's share. The matrices in f32 hold every stored value exactly, in bf16 what is
 * stored as F32 or F16 is rounded; those that a GGUF has in blocks stay as they are, unless `type`
 * asks for others; in these all are quantised from the stored values. The embedding table, whose
 * rows are only looked up, is in blocks only where it is the head too. Local: ranks agree on the
 * status afterwards. model_close frees a half-loaded one too. */
enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       enum compute compute, enum weights_type type, struct model *model);
void model_close(struct model *model);

#endif
