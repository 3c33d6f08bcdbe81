/* Plain x86-64: sixteen registers of 16 bytes; a product needs one of them for itself. */
#define LANE_BYTES 16
#define SUMS 8
#define REGISTER(x) "x"(x)
#define LEVEL(name) name##_generic
#include "kernels/machine_speed_vector.h"
