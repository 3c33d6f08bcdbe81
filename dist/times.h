/* Where a rank's time in the forward pass goes. One part runs at a time, so the parts of a phase
 * add up to the time spent in the pass; what happens outside of it (files, text, printing) is in
 * none. */
#ifndef QUIRE_DIST_TIMES_H
#define QUIRE_DIST_TIMES_H

#include <mpi.h>
#include <stdbool.h>

enum time_phase { TIME_READING, TIME_GENERATING, TIME_PHASES };

enum time_part {
    TIME_PRODUCTS,      /* matrix products of the layers */
    TIME_ATTENTION,     /* queries against keys */
    TIME_ELEMENTWISE,   /* all other arithmetic of the layers: norms, rotation, activations, sums */
    TIME_HEAD,          /* from the residual stream to losses or tokens */
    TIME_COMMUNICATION, /* messages between ranks */
    TIME_WAITING,       /* for the last rank to come to a collective, or for the stage before */
    TIME_OUTSIDE,       /* not in the forward pass: not counted */
    TIME_PARTS = TIME_OUTSIDE
};

struct times {
    double seconds[TIME_PHASES][TIME_PARTS + 1];
    enum time_phase phase; /* set by whoever goes from reading to generating */
    enum time_part part;   /* since `since`, MPI_Wtime */
    double since;
    bool apart; /* a barrier before each collective tells waiting from communication; without it,
                 * waiting counts as communication */
};

/* All zero but that the clock runs, outside. Local, as the others. */
void times_start(struct times *times);

/* From here on the time goes to `part`; returns the one before, to be entered again behind it. */
enum time_part times_enter(struct times *times, enum time_part part);

/* Before a collective over `comm`: where `apart`, waits until all its ranks are here.
 * Collective(comm). */
void times_wait(struct times *times, MPI_Comm comm);

/* Sum of the arithmetic parts of a phase. */
double times_computation(const struct times *times, enum time_phase phase);

#endif
