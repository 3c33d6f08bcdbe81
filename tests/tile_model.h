/* The tiles of AMX-BF16 in plain C, as the Intel SDM describes them (volume 2: LDTILECFG,
 * TILELOADD, TILESTORED, TILEZERO, TILERELEASE, TDPBF16PS): what kernels/amx_tile.h offers, for
 * files compiled with QUIRE_TILES naming this header. Each thread has registers of its own.
 *
 * Where the processor would raise a fault, tile_fault is called with the reason; it aborts unless a
 * test has put something else in its place. The instruction then does nothing. */
#ifndef QUIRE_TESTS_TILE_MODEL_H
#define QUIRE_TESTS_TILE_MODEL_H

#include "kernels/amx_tile.h"
#include <stdbool.h>
#include <stdint.h>

void tile_configure(const struct tile_config *config);
void tile_release(void);
void tile_zero(int t);
void tile_load(int t, const void *from, int64_t stride);
void tile_store(int t, void *to, int64_t stride);
void tile_dot(int c, int a, int b);

extern void (*tile_fault)(const char *reason);

/* Whether this thread's registers are configured: after a release they are not. */
bool tile_configured(void);

#endif
