/* What a model's arithmetic comes to, whoever does it and however: the operations of reading and
 * the bytes of generating that rates are held against. Sums are in doubles, for they may exceed 64
 * bits. Pure arithmetic. */
#ifndef QUIRE_PARTITION_WORK_H
#define QUIRE_PARTITION_WORK_H

#include "partition/plan.h"

/* Pairs of a query and a key that it sees, for the tokens at positions first .. first+tokens-1:
 * each sees itself and all before it, or the window's last under ZONE_MASKED. */
double work_pairs(const struct scheme *scheme, int64_t first, int64_t tokens);

/* Operations, an addition and a multiplication counting two, of reading `tokens` tokens from the
 * beginning: two for each weight of the layers' products and each token, two for each weight of the
 * head (for the last token alone), and 4 * head_dim for each pair and query head of each layer. */
double work_prefill(const struct shape *shape, const struct scheme *scheme, int64_t tokens);

/* Bytes that the tokens at positions first .. first+tokens-1, one by one, must read: all weights
 * but the embedding table (a tied one is the head's) as the request has them, and the keys and
 * values of each pair. */
double work_decode(const struct shape *shape, const struct plan_request *request, int64_t first,
                   int64_t tokens);

#endif
