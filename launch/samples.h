/* Repeated measurements of one thing, and what is said of them: median, least and most. */
#ifndef QUIRE_LAUNCH_SAMPLES_H
#define QUIRE_LAUNCH_SAMPLES_H

#include "partition/status.h"
#include <stdint.h>

struct samples {
    double *values; /* owned, in the order taken */
    int64_t count, room;
};

/* Errors: memory. */
enum status samples_add(struct samples *samples, double value);
void samples_free(struct samples *samples);

/* The middle one, the mean of the middle two of an even number; all three are 0 without samples. */
double samples_median(const struct samples *samples);
double samples_least(const struct samples *samples);
double samples_most(const struct samples *samples);

#endif
