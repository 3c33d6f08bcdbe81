/* The measurements of one level: a step of each is long against a look at the clock. Private to
 * machine_speed*.c; each level's file compiles machine_speed_vector.h with its own instructions. */
#ifndef QUIRE_KERNELS_MACHINE_SPEED_LEVEL_H
#define QUIRE_KERNELS_MACHINE_SPEED_LEVEL_H

#include <stdint.h>

/* Operations done. */
int64_t speed_f32_generic(void);
int64_t speed_f32_avx2(void);
int64_t speed_f32_avx512(void);
int64_t speed_bf16_avx512(void);
int64_t speed_bf16_amx(void);

/* Reads [bytes], a multiple of SPEED_PIECE; returns a sum of it, so that nothing is left out. */
int64_t speed_read_generic(const char *from, int64_t bytes, int streams);
int64_t speed_read_avx2(const char *from, int64_t bytes, int streams);
int64_t speed_read_avx512(const char *from, int64_t bytes, int streams);

/* Bytes that one step reads: whole lines for each of the streams. */
#define SPEED_PIECE ((int64_t)4 << 20)

#endif
