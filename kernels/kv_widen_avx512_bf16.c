#include "kernels/kv_vector_bf16.h"

static void keys_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        uint16_t *keys = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t block = 0; block < d; block += KV_SCALED, scales += KV_GROUP) {
            __m512 low, high;
            kv_key_scales(scales, &low, &high);
            int64_t block_end = block + KV_SCALED < d ? block + KV_SCALED : d;
            for (int64_t i = block; i < block_end; i += 2) {
                const int8_t *at = group + i * KV_GROUP;
                _mm_prefetch((const char *)at + KV_AHEAD, _MM_HINT_T0);
                __m256i whole = _mm256_loadu_si256((const void *)at);
                _mm512_storeu_si512(keys + i * KV_GROUP, (__m512i)kv_scaled(whole, low, high));
            }
        }
    }
}

static void values_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        uint16_t *values = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t p = 0; p < KV_GROUP / 2; p++, values += 2 * d, group += 2 * d)
            for (int64_t i = 0; i < d; i += KV_SCALED, scales += 2) {
                __m512 scale = kv_value_scales(scales);
                _mm_prefetch((const char *)group + 2 * i + KV_AHEAD, _MM_HINT_T0);
                for (int64_t k = i; k < d && k < i + KV_SCALED; k += 16) {
                    __mmask32 there = kv_bytes_there(d - k);
                    __m256i whole = _mm256_maskz_loadu_epi8(there, group + 2 * k);
                    _mm512_mask_storeu_epi16(values + 2 * k, there,
                                             (__m512i)kv_scaled(whole, scale, scale));
                }
            }
    }
}

const struct kv_widener kv_widen_avx512_bf16 = {KV_BF16, keys_widen, values_widen};
