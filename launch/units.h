/* Sizes and durations in words that people read. */
#ifndef QUIRE_LAUNCH_UNITS_H
#define QUIRE_LAUNCH_UNITS_H

#include <stdint.h>

struct units_text {
    char text[32];
};

/* "48.1 GiB", "512 bytes" */
struct units_text units_bytes(int64_t bytes);

/* "2 h 05 min", "2 min 36 s", "12.3 s", "45 ms" */
struct units_text units_seconds(double seconds);

/* "812.3", "12400": a rate per second, three or more digits. */
struct units_text units_rate(double per_second);

#endif
