#include "dist/times.h"

#include <string.h>

void times_start(struct times *times) {
    memset(times, 0, sizeof *times);
    times->part = TIME_OUTSIDE;
    times->since = MPI_Wtime();
}

enum time_part times_enter(struct times *times, enum time_part part) {
    enum time_part before = times->part;
    double now = MPI_Wtime();
    times->seconds[times->phase][before] += now - times->since;
    times->part = part;
    times->since = now;
    return before;
}

void times_wait(struct times *times, MPI_Comm comm) {
    if (!times->apart)
        return;
    enum time_part before = times_enter(times, TIME_WAITING);
    MPI_Barrier(comm);
    times_enter(times, before);
}

double times_computation(const struct times *times, enum time_phase phase) {
    const double *s = times->seconds[phase];
    return s[TIME_PRODUCTS] + s[TIME_ATTENTION] + s[TIME_ELEMENTWISE] + s[TIME_HEAD];
}
