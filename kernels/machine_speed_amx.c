/* Products of tiles: four sums of 16 x 16, 32 products each, which is as many as hide the latency
 * of one. */
#include "kernels/amx_tile.h"
#include "kernels/machine_speed_level.h"

#define STEPS 5000

int64_t speed_bf16_amx(void) {
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.rows[t] = TILE_ROWS;
        config.row_bytes[t] = TILE_ROW_BYTES;
    }
    tile_configure(&config); /* all zero */
    for (int step = 0; step < STEPS; step++) {
        tile_dot(0, 4, 6);
        tile_dot(1, 4, 7);
        tile_dot(2, 5, 6);
        tile_dot(3, 5, 7);
    }
    tile_release();
    return (int64_t)STEPS * 4 * 16 * 16 * 32 * 2;
}
