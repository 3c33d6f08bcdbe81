#include "dist/fill.h"

#include "dist/attend.h"

/* Uniform numbers of variance 1, from the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)
 * as a counter-based generator. */
static float random_value(uint64_t counter) {
    uint64_t x = counter + 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (float)(int32_t)(x >> 32) * (0x1p-31f * 1.7320508f);
}

/* Keys and values [own tokens, k*d] of a layer, as attend_put_keys takes them: of the tokens from
 * `first` on that this rank holds, its n-th ones. */
static void fill_tokens(const struct sequence *s, int64_t layer, int64_t first, int64_t count,
                        float *keys, float *values) {
    const struct model *m = s->model;
    int64_t d = m->shape.head_dim, width = m->share.kv_heads.count * d;
    int64_t layer_all = m->share.layers.first + layer;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; n++) {
        int64_t token = cyclic_global(s->cache.cyclic, s->cache.part, first + n);
        int64_t row = (token * m->shape.layers + layer_all) * m->shape.kv_heads * d;
        for (int64_t i = 0; i < width; i++) {
            uint64_t counter = 2 * (uint64_t)(row + m->share.kv_heads.first * d + i);
            keys[n * width + i] = random_value(counter);
            values[n * width + i] = random_value(counter + 1);
        }
    }
}

/* The next T tokens, at most a chunk. */
static void fill_chunk(struct sequence *s, int64_t T) {
    const struct model *m = s->model;
    int64_t first = cyclic_count(s->cache.cyclic, s->cache.part, s->tokens);
    int64_t count = cyclic_count(s->cache.cyclic, s->cache.part, s->tokens + T) - first;
    bool split = m->dist->sp.size > 1; /* else these arrays are not there, and kv_own has room */
    float *keys = split ? s->work.keys : s->work.kv_own;
    float *values =
        split ? s->work.values : s->work.kv_own + T * m->share.kv_heads.count * m->shape.head_dim;
    attend_prepare(s, T);
    for (int64_t layer = 0; layer < m->share.layers.count; layer++) {
        fill_tokens(s, layer, first, count, keys, values);
        attend_put_keys(s, layer, (struct range){0, T}, keys, values);
    }
    s->tokens += T;
    s->chunk_rows = 0;
}

void sequence_fill(struct sequence *s, int64_t tokens) {
    for (int64_t done = 0; done < tokens;) {
        int64_t rest = tokens - done, T = rest < s->options.chunk ? rest : s->options.chunk;
        fill_chunk(s, T);
        done += T;
    }
}
