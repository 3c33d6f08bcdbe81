/* The tensors that a model of a given shape is made of: one list, from which the weights are
 * checked, counted and loaded. A tensor has a role here; what it is called in a file is a table of
 * names per family and file format (family.h has that of Hugging Face's files). Pure arithmetic. */
#ifndef QUIRE_PARTITION_TENSORS_H
#define QUIRE_PARTITION_TENSORS_H

#include "partition/share.h"

struct weight_format;

enum tensor_role {
    TENSOR_EMBEDDING,
    TENSOR_FINAL_NORM,
    TENSOR_HEAD,
    /* of each layer */
    TENSOR_ATTENTION_NORM,
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_Q_NORM,
    TENSOR_K_NORM,
    TENSOR_O,
    TENSOR_ATTENTION_POST_NORM,
    TENSOR_FFN_NORM,
    TENSOR_GATE,
    TENSOR_UP,
    TENSOR_DOWN,
    TENSOR_ROUTER,
    TENSOR_EXPERT_GATE,
    TENSOR_EXPERT_UP,
    TENSOR_EXPERT_DOWN,
    TENSOR_FFN_POST_NORM,
    TENSOR_ROLES
};

/* Names by role, '#' for the layer's number and '*' for the expert's, ".weight" and ".bias" left
 * out. Q, K and V of one name are stored in this order in one tensor, one below the other; so are
 * gate and up, and all experts where their name has no '*'. */
struct tensor_names {
    bool norms_less_one; /* RMSNorm weights are stored less one */
    bool pairs_adjacent; /* rows of Q and K: the two of a rotated pair follow each other */
    const char *prefix;  /* of every name; NULL: none */
    const char *of[TENSOR_ROLES];
};

/* A tensor of one layer or of the whole model, and what a rank holds of it. */
struct tensor_slice {
    enum tensor_role role;
    bool bias;          /* the role's bias, a vector */
    bool f32;           /* vectors, and the router: held in f32 whatever the format of the rest */
    bool looked_up;     /* row by row, never multiplied */
    int stored;         /* the file's type in blocks, see shape.h; 0: without */
    int64_t copies;     /* experts; 1 for everything else */
    int64_t rows, cols; /* of the whole tensor; cols 0: a vector */
    struct range own_rows, own_cols;
};

#define TENSOR_SLICES_MAX 32
struct tensor_list {
    int64_t count;
    struct tensor_slice slices[TENSOR_SLICES_MAX];
};

/* The tensors of layer `layer` of the model, and those outside the layers: embedding table, final
 * norm, head (absent when tied), in the order in which they are loaded. Slices that a rank holds
 * nothing of have empty ranges. */
void tensors_of_layer(const struct shape *shape, const struct share *share, int64_t layer,
                      struct tensor_list *list);
void tensors_of_tables(const struct shape *shape, const struct share *share,
                       struct tensor_list *list);

static inline bool tensor_is_norm(enum tensor_role role) {
    return role == TENSOR_FINAL_NORM || role == TENSOR_ATTENTION_NORM || role == TENSOR_Q_NORM ||
           role == TENSOR_K_NORM || role == TENSOR_ATTENTION_POST_NORM || role == TENSOR_FFN_NORM ||
           role == TENSOR_FFN_POST_NORM;
}

static inline int64_t tensor_own_elements(const struct tensor_slice *slice) {
    return slice->own_rows.count * (slice->cols ? slice->own_cols.count : 1);
}

/* Where a slice's tensor stands in a file. */
struct tensor_place {
    char name[160];
    int64_t rows, cols; /* of the file's tensor, which may hold others beside; cols 0: a vector */
    int64_t row_first;  /* the role's first row in it */
    int64_t pairs;      /* rows of a head whose rotated pairs are adjacent; 0: none */
};
struct tensor_place tensor_place(const struct tensor_names *names, const struct shape *shape,
                                 const struct tensor_slice *slice, int64_t layer, int64_t copy);

/* Parameters that a rank with this share holds, a tied head counted once, or those alone that are
 * f32 whatever the format. Up to 2^93 for shapes within their limits. */
unsigned __int128 tensors_count(const struct shape *shape, const struct share *share,
                                bool f32_alone);

/* Bytes of the others in this format. */
unsigned __int128 tensors_matrix_bytes(const struct shape *shape, const struct share *share,
                                       const struct weight_format *format);

#endif
