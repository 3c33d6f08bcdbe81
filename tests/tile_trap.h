/* Runs code that was compiled for the tiles of AMX on a processor that has none: what the tile
 * instructions are, the model in tile_model.h does, whenever the processor refuses one. So the
 * machine code itself is tested, with its operands and its order, if slowly. */
#ifndef QUIRE_TESTS_TILE_TRAP_H
#define QUIRE_TESTS_TILE_TRAP_H

/* From now on, for all threads. Any other illegal instruction ends the process as before. */
void tiles_trap(void);

#endif
