/* The variants of the small operations by instruction level. Private to the kernels; n any number.
 */
#ifndef QUIRE_KERNELS_ELEMENTWISE_LEVEL_H
#define QUIRE_KERNELS_ELEMENTWISE_LEVEL_H

#include <stdint.h>

/* gate[i] = silu(gate[i]) * up[i], by one thread. */
typedef void silu_multiply_function(float *gate, const float *up, int64_t n);

silu_multiply_function silu_multiply_generic, silu_multiply_avx2, silu_multiply_avx512;

#endif
