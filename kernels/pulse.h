/* A long kernel lets others do something now and then: the master thread calls pulse_beat between
 * pieces of its work, and whoever is above may have messages move on meanwhile (MPI moves them only
 * while it is called). One pulse per process; kernels know nothing of what it does. */
#ifndef QUIRE_KERNELS_PULSE_H
#define QUIRE_KERNELS_PULSE_H

#include <stdbool.h>

/* From now on beats call `beat`, until pulse_stop. Not from within a kernel. */
void pulse_start(void (*beat)(void *context), void *context);
void pulse_stop(void);

/* True while somebody wants beats: work in long pieces is then better cut, to a millisecond or so.
 */
bool pulse_wanted(void);

/* To be called from any thread; those but the master do nothing. */
void pulse_beat(void);

#endif
