/* What has to be settled before the libraries are loaded, because they look at it once: then the
 * process sets its environment and executes itself again. */
#ifndef QUIRE_LAUNCH_RESTART_H
#define QUIRE_LAUNCH_RESTART_H

#include <stdbool.h>
#include <stdint.h>

/* Before MPI_Init. Does not return where the process starts anew; where that fails, things only run
 * slower. `threads` as asked for, 0: automatic.
 * - OpenBLAS's kernels, where it does not know the processor (gemm_core_wanted).
 * - The binding that Open MPI takes by itself, one core for each rank of a small job: nobody asked
 *   for it, so the rank takes the CPUs of the launcher that started it (and machine_open its share
 * of their cores). Bindings asked for stay, as do those of Slurm.
 * - Whether idle threads spin: where the node's ranks have more threads than CPUs, they do not, and
 *   neither does MPI. Variables that the user set stay. */
void restart_prepared(char **argv, int64_t threads);

/* True where Open MPI's binding gave way. */
bool restart_released(void);

#endif
