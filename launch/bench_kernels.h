/* The kernels in the sizes of a model, each held against the machine: products by type of the
 * weights, attention by type of the cache, and by instruction level where the kernel has several.
 */
#ifndef QUIRE_LAUNCH_BENCH_KERNELS_H
#define QUIRE_LAUNCH_BENCH_KERNELS_H

#include "launch/bench_load.h"
#include "launch/bench_speed.h"

struct bench_kernel {
    char name[40];  /* "product_bf16", "attention_prefill_grouped_kv_bf16" */
    char shape[64]; /* "T=512 N=5632 K=2048" */
    enum isa isa;
    enum speed peak;                   /* the arithmetic that it is held against */
    double operations, bytes;          /* of one run on one rank */
    struct samples runs;               /* per second, all ranks together */
    struct samples peaks[SPEED_COUNT]; /* of the machine at this level, taken in turns with it */
};

struct bench_kernels {
    struct bench_kernel *rows; /* owned */
    int64_t count;
};

/* Measures them, each rank its own data at the same time: all, or (`few`) the products with the
 * largest of the layers' weights alone. Collective(world). */
enum status bench_kernels_run(const struct session *session, struct bench_speed *speed, bool few,
                              struct bench_kernels *kernels);

/* `more` rows behind those that are there, all zero, the first in *rows. Local. */
enum status bench_kernels_add(struct bench_kernels *kernels, int64_t more,
                              struct bench_kernel **rows);
void bench_kernels_free(struct bench_kernels *kernels);

/* Of the medians: operations and bytes per second; and the runs as part of what the machine could
 * do, which either its peak or its memory bounds (*by_memory). 0 without samples. */
double bench_kernel_operations(const struct bench_kernel *kernel);
double bench_kernel_bytes(const struct bench_kernel *kernel);
double bench_kernel_of_peak(const struct bench_kernel *kernel, bool *by_memory);

#endif
