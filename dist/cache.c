#include "dist/cache.h"

#include "kernels/elementwise.h"
#include <stdlib.h>
#include <string.h>

static size_t block_bytes(const struct cache *c) {
    return (size_t)(c->cyclic.block * c->head_dim * kv_type_bytes(c->type));
}

static size_t array_bytes(const struct cache *c, int64_t slots) {
    return (size_t)(c->layers * c->heads * slots) * block_bytes(c);
}

/* Slot of a layer's and head's array, of the ring of `slots`, for local block b. */
static unsigned char *slot_at(const struct cache *c, unsigned char *array, int64_t slots,
                              int64_t layer, int64_t head, int64_t b) {
    return array + (size_t)((layer * c->heads + head) * slots + b % slots) * block_bytes(c);
}

enum status cache_open(const struct shape *shape, const struct share *share, struct mesh mesh,
                       int64_t sp, const struct plan_request *request, enum kv_type type,
                       struct cache *cache) {
    int64_t every = plan_kv_blocks(request->capacity, request->block, mesh.sp, sp);
    int64_t ring = plan_ring_blocks(request->capacity, request->scheme.window, request->chunk,
                                    request->block, mesh.sp, sp);
    enum zone_rule rule = request->scheme.rule;
    memset(cache, 0, sizeof *cache);
    cache->type = type;
    cache->cyclic = (struct cyclic){.block = request->block, .parts = mesh.sp};
    cache->part = sp;
    cache->layers = share->layers.count;
    cache->heads = share->kv_heads.count;
    cache->head_dim = shape->head_dim;
    cache->blocks_near = rule == ZONE_ALL_NEAR ? every : ring;
    cache->blocks_far = rule == ZONE_GROUPED ? every : 0;
    cache->blocks_values = rule == ZONE_MASKED ? ring : every;
    cache->keys_near = calloc(array_bytes(cache, cache->blocks_near) + 1, 1);
    cache->keys_far = calloc(array_bytes(cache, cache->blocks_far) + 1, 1);
    cache->values = calloc(array_bytes(cache, cache->blocks_values) + 1, 1);
    if (!cache->keys_near || !cache->keys_far || !cache->values)
        return status_no_memory("KV cache", cache_bytes(cache));
    return STATUS_OK;
}

void cache_close(struct cache *cache) {
    free(cache->keys_near);
    free(cache->keys_far);
    free(cache->values);
    memset(cache, 0, sizeof *cache);
}

int64_t cache_bytes(const struct cache *c) {
    return (int64_t)(array_bytes(c, c->blocks_near) + array_bytes(c, c->blocks_far) +
                     array_bytes(c, c->blocks_values));
}

void cache_put(struct cache *c, int64_t layer, int64_t token, const float *keys,
               const float *values, const struct rotary *tables, int64_t row, float *scratch) {
    int64_t local = cyclic_local(c->cyclic, token);
    int64_t b = local / c->cyclic.block, slot = local % c->cyclic.block, d = c->head_dim;
    float *key = scratch, *rotated = scratch + d;
    for (int64_t head = 0; head < c->heads; head++) {
        memcpy(key, keys + head * d, (size_t)d * sizeof *key);
        kv_round(c->type, key, d);
        rope_rotate(key, tables->near_cos + row * d / 2, tables->near_sin + row * d / 2, d, 1.0f,
                    rotated);
        kv_put_key(c->type, slot_at(c, c->keys_near, c->blocks_near, layer, head, b), slot, d,
                   rotated);
        if (c->blocks_far) {
            rope_rotate(key, tables->far_cos + row * d / 2, tables->far_sin + row * d / 2, d, 1.0f,
                        rotated);
            kv_put_key(c->type, slot_at(c, c->keys_far, c->blocks_far, layer, head, b), slot, d,
                       rotated);
        }
        kv_put_value(c->type, slot_at(c, c->values, c->blocks_values, layer, head, b), slot, d,
                     values + head * d);
    }
}

struct kv_view cache_view(const struct cache *c, int64_t layer, int64_t head, int64_t tokens) {
    struct kv_view view = {
        .type = c->type,
        .head_dim = c->head_dim,
        .block = c->cyclic.block,
        .parts = c->cyclic.parts,
        .part = c->part,
        .tokens = tokens,
        .ring_near = c->blocks_near,
        .ring_values = c->blocks_values,
    };
    if (c->blocks_near)
        view.keys_near = slot_at(c, c->keys_near, c->blocks_near, layer, head, 0);
    if (c->blocks_far)
        view.keys_far = slot_at(c, c->keys_far, c->blocks_far, layer, head, 0);
    if (c->blocks_values)
        view.values = slot_at(c, c->values, c->blocks_values, layer, head, 0);
    return view;
}
