#include "dist/cache.h"

#include "kernels/elementwise.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t block_bytes(const struct cache *c) {
    return (size_t)(c->cyclic.block * kv_row_bytes(c->type, c->head_dim));
}

static size_t array_bytes(const struct cache *c, int64_t blocks) {
    return (size_t)blocks * block_bytes(c);
}

/* A large page of x86-64: what is read in order at the speed of memory should lie on such pages. */
#define PAGE ((size_t)2 << 20)

/* Zeroed memory that takes none until it is written to, on a large page's border (which is a cache
 * line's too). NULL without memory; array_close wants the same size. */
static unsigned char *array_open(size_t bytes) {
    size_t asked = bytes + 1;
    char *all =
        mmap(NULL, asked + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t lead = (PAGE - (size_t)all % PAGE) % PAGE, page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = (lead + asked + page - 1) / page * page,
           whole = (asked + PAGE + page - 1) / page * page;
    if (lead)
        munmap(all, lead);
    if (end < whole)
        munmap(all + end, whole - end);
    if (bytes >= PAGE)
        madvise(all + lead, asked, MADV_HUGEPAGE); /* without such pages it is as before */
    return (unsigned char *)all + lead;
}

static void array_close(unsigned char *array, size_t bytes) {
    if (array)
        munmap(array, bytes + 1);
}

/* Slot of a layer's and head's part of an array, a ring of `slots` from block `first` on, for local
 * block b. */
static unsigned char *slot_at(const struct cache *c, unsigned char *array, int64_t first,
                              int64_t slots, int64_t head, int64_t b) {
    return array + (size_t)(first + head * slots + b % slots) * block_bytes(c);
}

/* Every layer behind the one before it. */
static void lay_out(struct cache *c, const struct shape *shape, struct range layers,
                    const struct plan_request *request) {
    struct plan_blocks at = {0, 0, 0};
    for (int64_t l = 0; l < c->layers; l++) {
        struct scheme scheme = scheme_of_layer(&request->scheme, shape, layers.first + l);
        struct plan_blocks b = plan_layer_blocks(request, scheme, c->cyclic.parts, c->part);
        c->layout[l] = (struct cache_layer){.blocks = b, .first = at};
        at.near += c->heads * b.near;
        at.far += c->heads * b.far;
        at.values += c->heads * b.values;
    }
    c->blocks = at;
}

enum status cache_open(const struct shape *shape, const struct share *share, struct mesh mesh,
                       int64_t sp, const struct plan_request *request, enum kv_type type,
                       struct cache *cache) {
    memset(cache, 0, sizeof *cache);
    cache->type = type;
    cache->cyclic = (struct cyclic){.block = request->block, .parts = mesh.sp};
    cache->part = sp;
    cache->layers = share->layers.count;
    cache->heads = share->kv_heads.count;
    cache->head_dim = shape->head_dim;
    cache->layout = calloc((size_t)cache->layers + 1, sizeof *cache->layout);
    if (!cache->layout)
        return status_no_memory("KV cache", cache->layers * (int64_t)sizeof *cache->layout);
    lay_out(cache, shape, share->layers, request);
    cache->keys_near = array_open(array_bytes(cache, cache->blocks.near));
    cache->keys_far = array_open(array_bytes(cache, cache->blocks.far));
    cache->values = array_open(array_bytes(cache, cache->blocks.values));
    if (!cache->keys_near || !cache->keys_far || !cache->values)
        return status_no_memory("KV cache", cache_bytes(cache));
    return STATUS_OK;
}

void cache_close(struct cache *cache) {
    array_close(cache->keys_near, array_bytes(cache, cache->blocks.near));
    array_close(cache->keys_far, array_bytes(cache, cache->blocks.far));
    array_close(cache->values, array_bytes(cache, cache->blocks.values));
    free(cache->layout);
    memset(cache, 0, sizeof *cache);
}

int64_t cache_bytes(const struct cache *c) {
    return (int64_t)(array_bytes(c, c->blocks.near) + array_bytes(c, c->blocks.far) +
                     array_bytes(c, c->blocks.values));
}

/* A head's rows of tokens that lie `width` apart, [count, d] together. */
static void rows_gather(const float *from, int64_t count, int64_t width, int64_t d, float *to) {
    for (int64_t t = 0; t < count; t++)
        memcpy(to + t * d, from + t * width, (size_t)d * sizeof *to);
}

static void rows_rotate(const float *x, int64_t count, int64_t d, const float *cosines,
                        const float *sines, int64_t pairs, float *out) {
    for (int64_t t = 0; t < count; t++)
        rope_rotate(x + t * d, cosines + t * pairs, sines + t * pairs, pairs, d, 1.0f, out + t * d);
}

int64_t cache_run(const struct cache *c, int64_t token, int64_t limit) {
    int64_t rest = KV_GROUP - token % c->cyclic.block % KV_GROUP;
    return limit < rest ? limit : rest;
}

/* Where a token stands in a ring of `slots` blocks from block `first` on. */
struct place {
    unsigned char *block;
    int64_t slot;
};

static struct place place_of(const struct cache *c, unsigned char *array, int64_t first,
                             int64_t slots, int64_t head, int64_t token) {
    int64_t local = cyclic_local(c->cyclic, token);
    return (struct place){slot_at(c, array, first, slots, head, local / c->cyclic.block),
                          local % c->cyclic.block};
}

void cache_put_keys(struct cache *c, int64_t layer, int64_t token, int64_t count, int64_t head,
                    const float *keys, bool near, const struct rotary *tables, int64_t row,
                    float *scratch) {
    struct plan_blocks first = c->layout[layer].first, slots = c->layout[layer].blocks;
    int64_t d = c->head_dim, at = row * tables->pairs;
    if (near) {
        struct place to = place_of(c, c->keys_near, first.near, slots.near, head, token);
        rows_rotate(keys, count, d, tables->near_cos + at, tables->near_sin + at, tables->pairs,
                    scratch);
        kv_put_keys(c->type, to.block, to.slot, count, d, scratch);
    }
    if (slots.far) {
        struct place to = place_of(c, c->keys_far, first.far, slots.far, head, token);
        rows_rotate(keys, count, d, tables->far_cos + at, tables->far_sin + at, tables->pairs,
                    scratch);
        kv_put_keys(c->type, to.block, to.slot, count, d, scratch);
    }
}

void cache_put_values(struct cache *c, int64_t layer, int64_t token, int64_t count, int64_t head,
                      const float *values) {
    struct plan_blocks first = c->layout[layer].first, slots = c->layout[layer].blocks;
    struct place to = place_of(c, c->values, first.values, slots.values, head, token);
    kv_put_values(c->type, to.block, to.slot, count, c->head_dim, values);
}

void cache_put(struct cache *c, int64_t layer, int64_t token, int64_t count, int64_t head,
               const float *keys, const float *values, const struct rotary *tables, int64_t row,
               float *scratch) {
    int64_t d = c->head_dim, width = c->heads * d;
    float *x = scratch;
    rows_gather(keys + head * d, count, width, d, x);
    kv_round(c->type, count, d, x);
    cache_put_keys(c, layer, token, count, head, x, true, tables, row, scratch + count * d);
    rows_gather(values + head * d, count, width, d, x);
    cache_put_values(c, layer, token, count, head, x);
}

/* The first token of the oldest block in a ring. */
static int64_t first_kept(const struct cache *c, int64_t slots, int64_t tokens) {
    int64_t blocks =
        (cyclic_count(c->cyclic, c->part, tokens) + c->cyclic.block - 1) / c->cyclic.block;
    int64_t oldest = blocks > slots ? blocks - slots : 0;
    return cyclic_global(c->cyclic, c->part, oldest * c->cyclic.block);
}

struct cache_kept cache_kept(const struct cache *c, int64_t layer, int64_t tokens) {
    struct plan_blocks slots = c->layout[layer].blocks;
    int64_t near = first_kept(c, slots.near, tokens);
    return (struct cache_kept){.keys = slots.far ? first_kept(c, slots.far, tokens) : near,
                               .near = near,
                               .values = first_kept(c, slots.values, tokens)};
}

struct kv_view cache_view(const struct cache *c, int64_t layer, int64_t head, int64_t tokens) {
    struct plan_blocks first = c->layout[layer].first, slots = c->layout[layer].blocks;
    struct kv_view view = {
        .type = c->type,
        .head_dim = c->head_dim,
        .block = c->cyclic.block,
        .parts = c->cyclic.parts,
        .part = c->part,
        .tokens = tokens,
        .ring_near = slots.near,
        .ring_values = slots.values,
    };
    if (slots.near)
        view.keys_near = slot_at(c, c->keys_near, first.near, slots.near, head, 0);
    if (slots.far)
        view.keys_far = slot_at(c, c->keys_far, first.far, slots.far, head, 0);
    if (slots.values)
        view.values = slot_at(c, c->values, first.values, slots.values, head, 0);
    return view;
}
