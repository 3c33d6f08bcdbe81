#include "partition/share.h"

/* The query heads that read these KV heads. */
static struct range heads_of(const struct shape *shape, struct range kv_heads) {
    int64_t group = shape_group(shape);
    struct range r = {kv_heads.first * group, kv_heads.count * group};
    return r;
}

struct range share_heads(const struct share *share, struct mesh mesh, int64_t sp) {
    return range_subpart(share->group_heads, mesh.sp, sp);
}

struct range share_kv_rows(const struct shape *shape, const struct share *share, struct mesh mesh,
                           int64_t sp) {
    struct range rows = {share->kv_heads.first * shape->head_dim,
                         share->kv_heads.count * shape->head_dim};
    return range_subpart(rows, mesh.sp, sp);
}

struct share share_of(const struct shape *shape, struct mesh mesh, int64_t rank) {
    struct mesh_place place = mesh_place(mesh, rank);
    int64_t stage_ranks = mesh_stage_ranks(mesh), stage_rank = place.tp * mesh.sp + place.sp;
    struct share s = {
        .layers = range_part(shape->layers, mesh.pp, place.pp),
        .kv_heads = range_part(shape->kv_heads, mesh.tp, place.tp),
        .ffn = range_part(shape->ffn, stage_ranks, stage_rank),
        .vocab = range_part(shape->vocab, stage_ranks, stage_rank),
        .embeds = place.pp == 0,
        .predicts = place.pp == mesh.pp - 1,
    };
    s.group_heads = heads_of(shape, s.kv_heads);
    s.heads = share_heads(&s, mesh, place.sp);
    s.kv_rows = share_kv_rows(shape, &s, mesh, place.sp);
    return s;
}

int64_t share_parameters(const struct shape *shape, const struct share *share) {
    int64_t D = shape->hidden, d = shape->head_dim;
    int64_t layer = 2 * D                            /* norms */
                    + 2 * share->heads.count * d * D /* q, o */
                    + 2 * share->kv_rows.count * D   /* k, v */
                    + 3 * share->ffn.count * D;      /* gate, up, down */
    int64_t tables = share->embeds + share->predicts;
    if (shape->tied && tables == 2)
        tables = 1;
    return share->layers.count * layer + tables * share->vocab.count * D +
           (share->predicts ? D : 0);
}

int64_t share_norm_parameters(const struct shape *shape, const struct share *share) {
    return (2 * share->layers.count + (share->predicts ? 1 : 0)) * shape->hidden;
}

static struct range whole(int64_t n) {
    struct range r = {0, n};
    return r;
}

static struct range times(struct range r, int64_t n) {
    struct range out = {r.first * n, r.count * n};
    return out;
}

/* A layer's matrices: q, k, v, o, gate, up, down. */
static __int128 layer_bytes(const struct shape *shape, const struct share *share,
                            const struct weight_format *format) {
    int64_t D = shape->hidden, d = shape->head_dim, F = shape->ffn;
    struct range heads = times(share->heads, d);
    __int128 q = weight_bytes(format, D, true, heads.count, whole(D));
    __int128 kv = weight_bytes(format, D, true, share->kv_rows.count, whole(D));
    __int128 o = weight_bytes(format, shape->heads * d, true, D, heads);
    __int128 gate = weight_bytes(format, D, true, share->ffn.count, whole(D));
    __int128 down = weight_bytes(format, F, true, D, share->ffn);
    return q + 2 * kv + o + 2 * gate + down;
}

int64_t share_weight_bytes(const struct shape *shape, const struct share *share,
                           const struct weight_format *format) {
    int64_t D = shape->hidden, rows = share->vocab.count;
    int64_t norms = share_norm_parameters(shape, share) * 4;
    __int128 bytes = (norms + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    bytes += share->layers.count * layer_bytes(shape, share, format);
    if (share->embeds)
        bytes += weight_bytes(format, D, shape->tied, rows, whole(D));
    if (share->predicts && !(shape->tied && share->embeds))
        bytes += weight_bytes(format, D, true, rows, whole(D));
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}
