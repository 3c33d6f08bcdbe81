/* One kernel with all that it works on, ready to be run again and again: a product of activations
 * with weights, or attention over cached keys and values. What it reads lies one behind the other
 * in a memory larger than the caches, as layer after layer does in a model. */
#ifndef QUIRE_LAUNCH_BENCH_LOAD_H
#define QUIRE_LAUNCH_BENCH_LOAD_H

#include "kernels/attention.h"
#include "kernels/compute.h"
#include "kernels/gemm.h"
#include "kernels/matrix.h"
#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

struct load_product {
    enum matrix_type weights;
    enum compute compute; /* of many tokens; few meet weights in blocks in 8-bit integers */
    int64_t T, N, K;      /* y [T, N] = x [T, K] w [N, K]^T */
};

/* Attention of the last `tokens` of `keys` tokens. */
struct load_attention {
    enum isa isa;
    enum compute compute;
    enum kv_type kv;
    bool grouped; /* two zones: LOAD_WINDOW near keys; else plain */
    int64_t tokens, keys, head_dim;
    int64_t group; /* query heads to a KV head */
    int64_t heads; /* KV heads */
};

#define LOAD_WINDOW 1024

struct load {
    bool is_attention;
    struct load_product product;
    struct load_attention attention;
    const char *memory; /* borrowed */
    int64_t memory_bytes;
    int64_t at; /* of the next weights in it */
    void *data; /* owned: activations, or rows and tasks */
    float *x, *y;
    struct gemm_scratch scratch;
    struct attention_task *tasks;
};

/* Takes memory [bytes] for weights, or keys and values; finite numbers stand there. A product whose
 * weights are larger is made with fewer rows. Local. */
enum status load_open_product(const struct load_product *product, const void *memory, int64_t bytes,
                              struct load *load);
/* The same: fewer heads are taken where all do not fit. */
enum status load_open_attention(const struct load_attention *attention, const void *memory,
                                int64_t bytes, struct load *load);
void load_close(struct load *load);

/* Runs it once, on all threads. False without memory for the kernel's own needs. */
bool load_run(struct load *load);

/* Of one run: operations, an addition and a multiplication counting two; bytes of weights, or of
 * keys and values. */
double load_operations(const struct load *load);
double load_bytes(const struct load *load);

#endif
