#include "partition/share.h"

#include "partition/weight_format.h"

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
        .expert_ffn = range_part(shape->expert_ffn, stage_ranks, stage_rank),
        .vocab = range_part(shape->vocab, stage_ranks, stage_rank),
        .embeds = place.pp == 0,
        .predicts = place.pp == mesh.pp - 1,
        .routes = stage_rank == 0,
    };
    s.group_heads = heads_of(shape, s.kv_heads);
    s.heads = share_heads(&s, mesh, place.sp);
    s.kv_rows = share_kv_rows(shape, &s, mesh, place.sp);
    return s;
}

int64_t share_parameters(const struct shape *shape, const struct share *share) {
    return (int64_t)tensors_count(shape, share, false);
}

int64_t share_f32_bytes(const struct shape *shape, const struct share *share) {
    unsigned __int128 bytes = tensors_count(shape, share, true) * 4;
    bytes = (bytes + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

int64_t share_weight_bytes(const struct shape *shape, const struct share *share,
                           const struct weight_format *format) {
    unsigned __int128 bytes = tensors_matrix_bytes(shape, share, format);
    bytes += (unsigned __int128)share_f32_bytes(shape, share);
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}
