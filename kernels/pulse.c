#include "kernels/pulse.h"

#include <omp.h>
#include <stddef.h>

static void (*beat_now)(void *);
static void *beat_context;

void pulse_start(void (*beat)(void *context), void *context) {
    beat_now = beat;
    beat_context = context;
}

void pulse_stop(void) {
    beat_now = NULL;
}

bool pulse_wanted(void) {
    return beat_now != NULL;
}

void pulse_beat(void) {
    if (beat_now && omp_get_thread_num() == 0)
        beat_now(beat_context);
}
