/* To f32 at one vector level: included once by kv_widen_LEVEL.c, behind vector_LEVEL.h. */
#include "kernels/half.h"
#include "kernels/kv_widen.h"

#define AHEAD 12288

static void keys_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        float *keys = (float *)to + g * KV_GROUP * d;
        for (int64_t i = 0; i < d; i += 2) {
            __builtin_prefetch(group + i * KV_GROUP + AHEAD);
            for (int64_t lane = 0; lane < KV_GROUP; lane += LANES) {
                vector scale = halves_load(scales + i / KV_SCALED * KV_GROUP + lane);
                vector_words pairs = bytes_load(group + i * KV_GROUP + 2 * lane);
                vector_store(keys + i * KV_GROUP + lane, scale * bytes_first(pairs));
                vector_store(keys + (i + 1) * KV_GROUP + lane, scale * bytes_second(pairs));
            }
        }
    }
}

/* The rest of a row that is no whole vector, in plain steps. */
static void values_rest(int64_t d, int64_t i, const int8_t *pair, const uint16_t *scales,
                        float *values) {
    for (; i < d; i++)
        for (int64_t odd = 0; odd < 2; odd++)
            values[odd * d + i] = f16_to_f32(scales[i / KV_SCALED * 2 + odd]) * pair[2 * i + odd];
}

static void values_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        for (int64_t p = 0; p < KV_GROUP / 2; p++) {
            const int8_t *pair = group + p * 2 * d;
            const uint16_t *scales = kv_widen_scales(group, d) + p * 2 * kv_scales(d);
            float *values = (float *)to + (g * KV_GROUP + 2 * p) * d;
            int64_t i = 0;
            for (; i + LANES <= d; i += LANES) {
                if (2 * i % 64 == 0)
                    __builtin_prefetch(pair + 2 * i + AHEAD);
                vector_words pairs = bytes_load(pair + 2 * i);
                const uint16_t *both = scales + i / KV_SCALED * 2;
                vector_store(values + i, vector_set(f16_to_f32(both[0])) * bytes_first(pairs));
                vector_store(values + d + i, vector_set(f16_to_f32(both[1])) * bytes_second(pairs));
            }
            values_rest(d, i, pair, scales, values);
        }
    }
}
