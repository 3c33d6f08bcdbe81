#include "partition/plan.h"

/* What a rank takes besides its arrays, measured: 20 to 25 MiB resident for the program with Open
 * MPI over shared memory (a network's libraries take some tens more), and per thread up to 15 MiB
 * of buffers in OpenBLAS, which grow with the chunk up to its 8192 tokens. */
static const int64_t program_bytes = (int64_t)64 << 20;
static const int64_t thread_bytes = (int64_t)20 << 20;

enum { RANKS_MAX = 65536 };

/* Sums and products of sizes that a config or a command line made huge stay at the top of the range
 * instead of wrapping round: no machine has that much either way. */
static int64_t plus(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t plan_kv_blocks(int64_t capacity, int64_t block, int64_t sp_size, int64_t sp) {
    int64_t blocks = capacity / block + (capacity % block != 0);
    return range_part(blocks, sp_size, sp).count;
}

/* A run that touches k blocks of one rank has at least the last token of the first, all between and
 * the first token of the last: (k - 1) * S * B - B + 2 tokens, with B = block, S = sp_size. So n
 * tokens touch at most 1 + (n + B - 2) / (S * B). */
int64_t plan_ring_blocks(int64_t capacity, int64_t window, int64_t chunk, int64_t block,
                         int64_t sp_size, int64_t sp) {
    int64_t every = plan_kv_blocks(capacity, block, sp_size, sp);
    int64_t run = smaller(plus(window, chunk), capacity);
    if (run < 1)
        return 0;
    return smaller(every, 1 + (plus(run, block) - 2) / times(sp_size, block));
}

int64_t plan_sum_room(int64_t n, int64_t ranks) {
    int64_t slices = times(range_part(n, ranks, 0).count, ranks);
    int64_t whole = smaller(times(n, ranks), PLAN_SHORT_SUM);
    return slices > whole ? slices : whole;
}

struct plan_blocks plan_layer_blocks(const struct plan_request *request, struct scheme of_layer,
                                     int64_t sp_size, int64_t sp) {
    int64_t every = plan_kv_blocks(request->capacity, request->block, sp_size, sp);
    int64_t ring = plan_ring_blocks(request->capacity, of_layer.window, request->chunk,
                                    request->block, sp_size, sp);
    switch (of_layer.rule) {
    case ZONE_GROUPED:
        return (struct plan_blocks){ring, every, every};
    case ZONE_MASKED:
        return (struct plan_blocks){ring, 0, ring};
    default:
        return (struct plan_blocks){every, 0, every};
    }
}

/* The cache as cache_open in dist/ lays it out: every layer its blocks. */
static int64_t plan_cache(const struct shape *shape, const struct share *share, struct mesh mesh,
                          int64_t sp, const struct plan_request *request) {
    int64_t row =
        shape->head_dim * request->kv_bytes + (shape->head_dim + 31) / 32 * request->kv_scale_bytes;
    int64_t block_bytes = times(request->block, row), sum = 0;
    int64_t layers[] = {[ZONE_ALL_NEAR] = 0, [ZONE_GROUPED] = 0, [ZONE_MASKED] = 0};
    for (int64_t l = share->layers.first; l < range_end(share->layers); l++)
        layers[scheme_of_layer(&request->scheme, shape, l).rule]++;
    for (int rule = 0; rule < 3; rule++) {
        struct scheme scheme = request->scheme;
        scheme.rule = (enum zone_rule)rule;
        struct plan_blocks b = plan_layer_blocks(request, scheme, mesh.sp, sp);
        int64_t blocks = plus(plus(b.near, b.far), b.values);
        sum = plus(sum, times(layers[rule] * share->kv_heads.count, blocks));
    }
    return times(sum, block_bytes);
}

/* Adds an array of floats that starts on a cache line. */
static void add_array(int64_t *bytes, int64_t rows, int64_t width) {
    *bytes = plus(*bytes, times(plus(times(rows, width), 15) / 16, 64));
}

/* The same for an array of the wire's type. */
static void add_wire_array(int64_t *bytes, int64_t wire_bytes, int64_t elements) {
    add_array(bytes, plus(times(elements, wire_bytes), 3) / 4, 1);
}

/* Own columns of the FFN or of an expert, whichever is more. */
static int64_t plan_columns(const struct share *share) {
    return share->ffn.count > share->expert_ffn.count ? share->ffn.count : share->expert_ffn.count;
}

/* Width of the widest activations that a product takes. */
static int64_t plan_widest(const struct shape *shape, const struct share *share) {
    int64_t widest = shape->hidden, heads = share->heads.count * shape->head_dim;
    if (heads > widest)
        widest = heads;
    return plan_columns(share) > widest ? plan_columns(share) : widest;
}

/* What a mixture of experts takes. */
static void add_experts(int64_t *bytes, const struct shape *shape, const struct share *share,
                        int64_t T) {
    if (shape->experts == 0)
        return;
    add_array(bytes, T, 2 * shape->experts_used);            /* routes */
    add_array(bytes, share->routes ? T : 0, shape->experts); /* router_logits */
    add_array(bytes, T, shape->experts_used);                /* expert_order */
    add_array(bytes, 1, shape->experts + 1);                 /* expert_first */
    for (int i = 0; i < 2; i++)                              /* expert_in, expert_out */
        add_array(bytes, T, shape->hidden);
}

/* The buffers of a chunk, as sequence_open in dist/ carves them: legend and order as there. */
static int64_t plan_workspace(const struct shape *shape, const struct share *share,
                              struct mesh mesh, const struct plan_request *request) {
    int64_t T = smaller(request->chunk, request->capacity), D = shape->hidden, d = shape->head_dim;
    int64_t ropes = shape->has_local_rope ? 2 : 1;
    int64_t S = mesh.sp, far = request->scheme.rule == ZONE_GROUPED, split = S > 1;
    int64_t own_q = share->heads.count * d, group_q = share->group_heads.count * d;
    int64_t group_kv = share->kv_heads.count * d, kv_rows = share->kv_rows.count;
    int64_t rows = times(T, share->group_heads.count), bytes = 0, wire = request->wire_bytes;
    int64_t R = mesh_stage_ranks(mesh), partial = d + 8 / wire;
    for (int i = 0; i < 3; i++) /* hidden, normed, partial */
        add_array(&bytes, T, D);
    add_array(&bytes, share->predicts ? 0 : T, D);                             /* passing */
    add_array(&bytes, T, own_q);                                               /* q_own */
    add_array(&bytes, T, group_q);                                             /* q_near */
    add_array(&bytes, T, far * group_q);                                       /* q_far */
    add_array(&bytes, T, 2 * kv_rows);                                         /* kv_own */
    add_wire_array(&bytes, wire, times(T, split * (S * own_q + 2 * kv_rows))); /* exchange_send */
    add_wire_array(&bytes, wire, times(T, split * (group_q + 2 * group_kv)));  /* exchange_all */
    for (int i = 0; i < 2; i++)                                                /* keys, values */
        add_array(&bytes, T, split * group_kv);
    add_array(&bytes, T, group_q); /* attended */
    for (int i = 0; i < 2; i++)    /* row_max, row_sum */
        add_array(&bytes, rows, 1);
    add_wire_array(&bytes, wire, times(rows, split * partial)); /* merge_send */
    add_wire_array(&bytes, wire, times(split * times(S, T), share->heads.count * partial));
    add_array(&bytes, T, own_q); /* merged */
    for (int i = 0; i < 2; i++)  /* gate, up */
        add_array(&bytes, T, plan_columns(share));
    add_array(&bytes, T, shape->head_norm == HEAD_NORM_WIDE ? 2 : 0); /* squares */
    add_experts(&bytes, shape, share, T);
    if (R > 1 && wire == 2) /* sum_send */
        add_wire_array(&bytes, wire, times(T, D));
    if (R > 1) /* sum_all, of two halves */
        add_wire_array(&bytes, wire, times(2, plan_sum_room(times((T + 1) / 2, D), R)));
    add_array(&bytes, T, ropes * (far ? 6 : 2) * shape_rotary_dim(shape) / 2);         /* tables */
    add_array(&bytes, share->predicts ? request->logits_rows : 0, share->vocab.count); /* logits */
    if (request->products)
        bytes = plus(bytes,
                     request->products(request->bf16, weight_any_blocks(&request->weights, shape),
                                       T, plan_widest(shape, share)));
    int64_t positions = times(T, 8 * (shape_group(shape) + 1));
    return plus(bytes, positions);
}

static int64_t plan_overhead(const struct plan_request *request) {
    return plus(program_bytes, times(request->threads, thread_bytes));
}

struct plan plan_rank(const struct shape *shape, struct mesh mesh, int64_t rank,
                      const struct plan_request *request) {
    struct share share = share_of(shape, mesh, rank);
    struct plan plan = {
        .weights = share_weight_bytes(shape, &share, &request->weights),
        .kv = plan_cache(shape, &share, mesh, mesh_place(mesh, rank).sp, request),
        .activations = plan_workspace(shape, &share, mesh, request),
        .overhead = plan_overhead(request),
    };
    plan.total = plus(plus(plan.weights, plan.kv), plus(plan.activations, plan.overhead));
    return plan;
}

/* Every division gives its first part the most, and every term grows with its shares: the first
 * rank of a stage needs the most, unless weights lie in blocks, of which a slice elsewhere may
 * touch one more. */
int64_t plan_largest(const struct shape *shape, struct mesh mesh,
                     const struct plan_request *request) {
    int64_t ranks = weight_any_blocks(&request->weights, shape) ? mesh_stage_ranks(mesh) : 1,
            largest = 0;
    for (int64_t stage = 0; stage < mesh.pp; stage++) {
        struct mesh_place first = {.pp = stage, .tp = 0, .sp = 0};
        for (int64_t i = 0; i < ranks; i++) {
            int64_t total = plan_rank(shape, mesh, mesh_rank(mesh, first) + i, request).total;
            if (total > largest)
                largest = total;
        }
    }
    return largest;
}

/* One by one, because more ranks may need more each: 5 ranks on 4 KV heads cannot split these. */
int64_t plan_smallest_ranks(const struct shape *shape, const struct plan_request *request,
                            int64_t bytes_per_rank) {
    for (int64_t ranks = 1; ranks <= RANKS_MAX; ranks++) {
        struct mesh mesh;
        /* The first rank alone decides for most numbers, and is quickly looked at. */
        if (mesh_complete((struct mesh){0, 0, 0}, ranks, shape, &mesh) == STATUS_OK &&
            plan_rank(shape, mesh, 0, request).total <= bytes_per_rank &&
            plan_largest(shape, mesh, request) <= bytes_per_rank)
            return ranks;
    }
    return 0;
}
