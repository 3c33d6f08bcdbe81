/* One level's measurements in plain C over vectors of LANE_BYTES, of which SUMS stay in registers.
 * To be included by the file of each level, which names the functions LEVEL(speed_f32) and
 * LEVEL(speed_read). */
#include "kernels/machine_speed_level.h"

typedef float lanes __attribute__((vector_size(LANE_BYTES)));
typedef int64_t words __attribute__((vector_size(LANE_BYTES), may_alias));

#define STEPS 20000

/* As many independent sums as hide the latency of one multiply-add. The empty statements make the
 * compiler believe that a sum is used and a factor changed, so that no sum is left out and no
 * product taken once for all. */
int64_t LEVEL(speed_f32)(void) {
    lanes x = (lanes){0} + 0.5f, y = (lanes){0} + 1e-6f, sums[SUMS] = {x};
    for (int step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+" REGISTER(x), "+" REGISTER(y));
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++) {
            sums[i] += x * y;
            __asm__ volatile("" : "+" REGISTER(sums[i]));
        }
    }
    return (int64_t)STEPS * SUMS * LANE_BYTES / (int64_t)sizeof(float) * 2;
}

/* Streams side by side, some lines asked for ahead of each. */
static inline __attribute__((always_inline)) int64_t read_streams(const char *from, int64_t bytes,
                                                                  int streams, int64_t ahead) {
    int64_t part = bytes / streams, sum = 0;
    words sums[4] = {{0}};
    for (int64_t at = 0; at < part; at += 256)
        for (int s = 0; s < streams; s++) {
            const char *line = from + s * part + at;
            for (int64_t b = 0; ahead && b < 256; b += 64)
                __builtin_prefetch(line + ahead + b);
#pragma GCC unroll 16
            for (int64_t i = 0; i < 256 / LANE_BYTES; i++)
                sums[i % 4] += *(const words *)(line + i * LANE_BYTES);
        }
    sums[0] += sums[1] + sums[2] + sums[3];
    for (int i = 0; i < LANE_BYTES / 8; i++)
        sum += sums[0][i];
    return sum;
}

int64_t LEVEL(speed_read)(const char *from, int64_t bytes, int streams) {
    return streams == 1   ? read_streams(from, bytes, 1, 0)
           : streams == 2 ? read_streams(from, bytes, 2, 0)
                          : read_streams(from, bytes, 4, 2048);
}
