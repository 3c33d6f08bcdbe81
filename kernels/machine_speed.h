/* What the processor can do at most: multiply-adds in f32 and bf16, and reading memory. Whatever
 * else is measured is held against these, taken in the same minute, for machines differ and drift.
 * Each measurement runs for the time given on OpenMP threads of its own number and returns what all
 * of them did together, for one second. */
#ifndef QUIRE_KERNELS_MACHINE_SPEED_H
#define QUIRE_KERNELS_MACHINE_SPEED_H

#include "kernels/cpu.h"
#include <stdint.h>

/* f32 operations, a multiplication and an addition counting two, by the widest instructions of the
 * level, from registers. threads >= 0; 0 gives 0. */
double speed_f32(enum isa isa, int threads, double seconds);

/* bf16 operations summed in f32; 0 at levels that have none. */
double speed_bf16(enum isa isa, int threads, double seconds);

/* Bytes read in order, each thread its own part of memory [bytes], by the fastest of several
 * numbers of streams. The memory should be far larger than the caches, written to before, and on
 * large pages (speed_memory). */
double speed_read(enum isa isa, int threads, double seconds, const void *memory, int64_t bytes);

/* Memory to read: `bytes` (rounded up to whole large pages) of random bf16 values in (-1, 1), which
 * read as pairs are finite f32 values too. NULL without memory; to be freed with free. */
void *speed_memory(int64_t bytes);

/* Bytes that are far beyond this machine's caches: what one node's memory to read should have. */
int64_t speed_memory_bytes(void);

#endif
