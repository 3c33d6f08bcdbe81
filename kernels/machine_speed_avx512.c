/* Thirty-two registers of 64 bytes. */
#define LANE_BYTES 64
#define SUMS 16
#define REGISTER(x) "v"(x)
#define LEVEL(name) name##_avx512
#include "kernels/machine_speed_vector.h"
