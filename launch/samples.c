#include "launch/samples.h"

#include <stdlib.h>
#include <string.h>

enum status samples_add(struct samples *s, double value) {
    if (s->count == s->room) {
        int64_t room = s->room ? 2 * s->room : 16;
        double *values = realloc(s->values, (size_t)room * sizeof *values);
        if (!values)
            return status_no_memory("samples", room * (int64_t)sizeof *values);
        s->values = values;
        s->room = room;
    }
    s->values[s->count++] = value;
    return STATUS_OK;
}

void samples_free(struct samples *s) {
    free(s->values);
    memset(s, 0, sizeof *s);
}

/* How many of the samples are below a value, and how many equal to it. */
static int64_t rank_of(const struct samples *s, double value, int64_t *equal) {
    int64_t below = 0;
    *equal = 0;
    for (int64_t i = 0; i < s->count; i++) {
        below += s->values[i] < value;
        *equal += s->values[i] == value;
    }
    return below;
}

/* The sample at `place` of the sorted order. Samples are few: no copy is sorted. */
static double sorted_at(const struct samples *s, int64_t place) {
    for (int64_t i = 0; i < s->count; i++) {
        int64_t equal, below = rank_of(s, s->values[i], &equal);
        if (place >= below && place < below + equal)
            return s->values[i];
    }
    return 0;
}

double samples_median(const struct samples *s) {
    return (sorted_at(s, (s->count - 1) / 2) + sorted_at(s, s->count / 2)) / 2;
}

double samples_least(const struct samples *s) {
    return sorted_at(s, 0);
}

double samples_most(const struct samples *s) {
    return sorted_at(s, s->count - 1);
}
