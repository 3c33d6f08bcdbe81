/* Whether Linux lets this process use the tiles of AMX, and keeps what is in them. Private to
 * cpu.c, which asks where the processor has tiles. */
#ifndef QUIRE_KERNELS_CPU_TILES_H
#define QUIRE_KERNELS_CPU_TILES_H

#include <stdbool.h>

/* Asks for the permission (Linux, Documentation/arch/x86/xstate.rst). It holds for all threads of
 * the process, those that run already too, and for forked children, but not behind an exec. Denied
 * by kernels before 5.16, and where a thread has a signal stack too small for the tiles: hence
 * before libraries start theirs. */
bool tiles_granted(void);

/* Whether the registers hold what was loaded into them while the thread waits and others run, which
 * some virtual machines do not see to. Takes about two milliseconds; granted before. */
bool tiles_kept(void);

#endif
