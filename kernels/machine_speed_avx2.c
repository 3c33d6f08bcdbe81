/* Sixteen registers of 32 bytes. */
#define LANE_BYTES 32
#define SUMS 12
#define REGISTER(x) "x"(x)
#define LEVEL(name) name##_avx2
#include "kernels/machine_speed_vector.h"
