/* The products at the levels below the run's own. Most are libraries', which keep to one level for
 * a whole process: each level is measured by a process of its own, this program started anew. */
#ifndef QUIRE_LAUNCH_BENCH_LEVELS_H
#define QUIRE_LAUNCH_BENCH_LEVELS_H

#include "launch/bench_kernels.h"

/* Adds the products of each lower level, the highest first. Does nothing in a job of several ranks:
 * the processes would need their cores. Collective(world). */
enum status bench_levels_run(const struct session *session, struct bench_kernels *kernels);

/* Whether this process is one of those, which measures a few products alone. */
bool bench_levels_within(void);

#endif
