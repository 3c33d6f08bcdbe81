#include "kernels/cpu_tiles.h"

#include "kernels/amx_tile.h"
#include <asm/prctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define XFEATURE_TILE_DATA 18 /* state component, Intel SDM volume 1, 13.1 */

bool tiles_granted(void) {
    unsigned long granted = 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0 &&
           syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &granted) == 0 &&
           (granted >> XFEATURE_TILE_DATA & 1) != 0;
}

#define KEPT_ROUNDS 16
#define KEPT_WORDS (TILE_ROWS * TILE_ROW_BYTES / 4)

/* Four registers, loaded, left alone for a while, and stored. */
static void tiles_wait(const uint32_t loaded[4][KEPT_WORDS], uint32_t stored[4][KEPT_WORDS]) {
    const struct timespec wait = {0, 50000};
    tile_load(0, loaded[0], TILE_ROW_BYTES);
    tile_load(1, loaded[1], TILE_ROW_BYTES);
    tile_load(2, loaded[2], TILE_ROW_BYTES);
    tile_load(3, loaded[3], TILE_ROW_BYTES);
    nanosleep(&wait, NULL);
    tile_store(0, stored[0], TILE_ROW_BYTES);
    tile_store(1, stored[1], TILE_ROW_BYTES);
    tile_store(2, stored[2], TILE_ROW_BYTES);
    tile_store(3, stored[3], TILE_ROW_BYTES);
}

bool tiles_kept(void) {
    static uint32_t loaded[4][KEPT_WORDS], stored[4][KEPT_WORDS];
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 4; t++) {
        config.rows[t] = TILE_ROWS;
        config.row_bytes[t] = TILE_ROW_BYTES;
    }
    bool kept = true;
    tile_configure(&config);
    for (uint32_t round = 0; round < KEPT_ROUNDS && kept; round++) {
        for (uint32_t i = 0; i < 4 * KEPT_WORDS; i++)
            loaded[i / KEPT_WORDS][i % KEPT_WORDS] = (round + 1) << 16 | i;
        tiles_wait(loaded, stored);
        kept = memcmp(loaded, stored, sizeof loaded) == 0;
    }
    tile_release();
    return kept;
}
