/* One product of tiles, c += a b, in registers of the given sizes: 0 is c, 1 is a, 2 is b. Compiled
 * for the model, and for the processor's own tiles (to be called at ISA_AMX alone). */
#ifndef QUIRE_TESTS_TILE_PRODUCT_H
#define QUIRE_TESTS_TILE_PRODUCT_H

#include "kernels/amx_tile.h"

struct tile_matrix {
    void *data;
    int64_t stride; /* bytes from one row to the next */
};

typedef void tile_product_function(const struct tile_config *config, struct tile_matrix a,
                                   struct tile_matrix b, struct tile_matrix c);

tile_product_function tile_product_model, tile_product_machine;

#endif
