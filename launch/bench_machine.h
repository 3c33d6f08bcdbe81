/* The machine itself: its peaks and its memory, for each number of threads. */
#ifndef QUIRE_LAUNCH_BENCH_MACHINE_H
#define QUIRE_LAUNCH_BENCH_MACHINE_H

#include "launch/bench_speed.h"

struct bench_machine_row {
    int64_t threads; /* of all ranks together */
    struct samples rates[SPEED_COUNT];
};

struct bench_machine {
    struct bench_machine_row *rows; /* owned; threads ascending, the last has all */
    int64_t count;
};

/* Measures 1 to 8 threads, then twice as many each time, and all. Collective(world). */
enum status bench_machine_run(const struct session *session, struct bench_speed *speed,
                              struct bench_machine *machine);
void bench_machine_free(struct bench_machine *machine);

/* What the processor calls itself, "" where Linux does not say. Static storage. */
const char *bench_processor(void);

#endif
