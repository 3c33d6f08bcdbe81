/* The machine's own speed, taken again and again between the measurements that are held against it:
 * all ranks at once, what they do together counted in one. */
#ifndef QUIRE_LAUNCH_BENCH_SPEED_H
#define QUIRE_LAUNCH_BENCH_SPEED_H

#include "launch/samples.h"
#include "launch/session.h"

/* What is measured: operations per second in f32 and bf16, bytes per second. */
enum speed { SPEED_F32, SPEED_BF16, SPEED_READ, SPEED_COUNT };

struct bench_speed {
    const struct session *session; /* borrowed */
    int64_t threads;               /* of all ranks together */
    void *memory;                  /* owned: to read, far larger than the caches */
    int64_t bytes;                 /* of it, this rank's */
    struct samples all[SPEED_COUNT];
};

/* Takes the memory, before the session compares what is free with what it needs.
 * Collective(world). */
enum status bench_speed_open(const struct session *session, struct bench_speed *speed);
void bench_speed_close(struct bench_speed *speed);

/* One sample with all threads, which also goes to `all`; 0 for bf16 at a level without.
 * Collective(world); the same on all ranks. */
enum status bench_speed_sample(struct bench_speed *speed, enum speed what, double *rate);

/* The same at a level, with a number of threads up to `threads` spread evenly over the ranks; it is
 * not kept. */
double bench_speed_with(const struct bench_speed *speed, enum speed what, enum isa isa,
                        int64_t threads);

/* The type of arithmetic whose peak the session's products are held against. */
enum speed bench_speed_of(enum compute compute);

#endif
