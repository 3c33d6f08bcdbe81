/* Weights that stand in no file: random numbers by tensor, row and column, the same on every mesh
 * and in every slice. They make a model of any shape at hand, to measure how fast it goes. Values
 * are bf16, as most models are published in. Behind weights.h, which hands reads on to here. */
#ifndef QUIRE_PARTITION_WEIGHTS_RANDOM_H
#define QUIRE_PARTITION_WEIGHTS_RANDOM_H

#include "partition/layout.h"
#include <stdint.h>

/* Rows x cols of tensor `name` into out [rows.count, cols.count] as f32, or bf16. Matrices are
 * uniform with a variance of 1/hidden, so that activations keep their size from layer to layer.
 * A vector (cols.count 0) is out [rows.count]: near 0 where it is a bias (".bias"), else near 1 as
 * the weights of a norm. On all threads. */
void weights_random_f32(const char *name, int64_t hidden, struct range rows, struct range cols,
                        float *out);
void weights_random_bf16(const char *name, int64_t hidden, struct range rows, struct range cols,
                         uint16_t *out);

#endif
