#include "tests/tile_product.h"

#include "kernels/amx_tile.h"

#ifdef QUIRE_TILES
#define TILE_PRODUCT tile_product_model
#else
#define TILE_PRODUCT tile_product_machine
#endif

void TILE_PRODUCT(const struct tile_config *config, struct tile_matrix a, struct tile_matrix b,
                  struct tile_matrix c) {
    tile_configure(config);
    tile_load(0, c.data, c.stride);
    tile_load(1, a.data, a.stride);
    tile_load(2, b.data, b.stride);
    tile_dot(0, 1, 2);
    tile_store(0, c.data, c.stride);
    tile_zero(1);
    tile_release();
}
