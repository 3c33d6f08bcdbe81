/* The libraries that this program runs with, as they state themselves at run time. */
#ifndef QUIRE_LAUNCH_VERSIONS_H
#define QUIRE_LAUNCH_VERSIONS_H

#include <stdint.h>

struct library_version {
    const char *name; /* "openmpi", "openblas", ... */
    char version[128];
};

#define LIBRARY_COUNT 7

/* May be called before MPI_Init. */
void versions_list(struct library_version libraries[LIBRARY_COUNT]);

/* "quire 0.1.0" and a line for each library, to stdout. */
void versions_print(void);

#endif
