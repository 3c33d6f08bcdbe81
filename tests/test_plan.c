#include "partition/plan.h"
#include "tests/testing.h"

/* Blocks of rank sp among those that the tokens first .. first + run - 1 touch. */
static int64_t blocks_touched(int64_t first, int64_t run, int64_t block, int64_t size, int64_t sp) {
    int64_t touched = 0;
    for (int64_t b = first / block; run > 0 && b <= (first + run - 1) / block; b++)
        touched += b % size == sp;
    return touched;
}

/* The most that any run of window + chunk tokens below the capacity touches, by trying all. */
static int64_t ring_by_trial(int64_t capacity, int64_t run, int64_t block, int64_t size,
                             int64_t sp) {
    int64_t most = 0;
    if (run > capacity)
        run = capacity;
    for (int64_t first = 0; first + run <= capacity; first++) {
        int64_t touched = blocks_touched(first, run, block, size, sp);
        if (touched > most)
            most = touched;
    }
    return most;
}

START_TEST(ring_blocks) {
    for (int64_t block = 1; block <= 5; block++)
        for (int64_t size = 1; size <= 4; size++)
            for (int64_t capacity = 1; capacity <= 48; capacity++)
                for (int64_t sp = 0; sp < size; sp++) {
                    REQUIRE(plan_kv_blocks(capacity, block, size, sp) ==
                            blocks_touched(0, capacity, block, size, sp));
                    for (int64_t run = 1; run <= capacity + 2; run++)
                        if (plan_ring_blocks(capacity, run / 2, run - run / 2, block, size, sp) !=
                            ring_by_trial(capacity, run, block, size, sp))
                            ck_abort_msg("capacity %lld, run %lld, block %lld, sp %lld of %lld",
                                         (long long)capacity, (long long)run, (long long)block,
                                         (long long)sp, (long long)size);
                }
    REQUIRE(plan_ring_blocks(1000, INT64_MAX, 8, 16, 1, 0) == 63);
    REQUIRE(plan_ring_blocks(1000, 0, 0, 16, 1, 0) == 0);
    REQUIRE(plan_kv_blocks(INT64_MAX, 64, 1, 0) == (INT64_C(1) << 57));
}
END_TEST

/* A ring of that many slots, filled chunk by chunk, still holds what a chunk's queries see near. */
START_TEST(ring_keeps_window) {
    enum { CAPACITY = 90, BLOCK = 4 };
    for (int64_t size = 1; size <= 3; size++)
        for (int64_t window = 1; window <= 30; window += 3)
            for (int64_t chunk = 1; chunk <= 11; chunk += 2)
                for (int64_t sp = 0; sp < size; sp++) {
                    struct cyclic c = {BLOCK, size};
                    int64_t slots = plan_ring_blocks(CAPACITY, window, chunk, BLOCK, size, sp);
                    int64_t held[CAPACITY];
                    memset(held, -1, sizeof held);
                    for (int64_t first = 0; first + chunk <= CAPACITY; first += chunk) {
                        for (int64_t t = first; t < first + chunk; t++)
                            if (cyclic_owner(c, t) == sp)
                                held[cyclic_local(c, t) / BLOCK % slots] = t / BLOCK;
                        int64_t oldest = first - window + 1;
                        for (int64_t t = oldest > 0 ? oldest : 0; t < first + chunk; t++)
                            if (cyclic_owner(c, t) == sp &&
                                held[cyclic_local(c, t) / BLOCK % slots] != t / BLOCK)
                                ck_abort_msg("token %lld lost, window %lld, chunk %lld",
                                             (long long)t, (long long)window, (long long)chunk);
                    }
                }
}
END_TEST

static const struct shape shapes[] = {
    {.layers = 3, .hidden = 6, .heads = 8, .kv_heads = 4, .head_dim = 6, .ffn = 10, .vocab = 7},
    {.layers = 2, .hidden = 4, .heads = 5, .kv_heads = 5, .head_dim = 2, .ffn = 3, .vocab = 2},
    {.layers = 1,
     .hidden = 8,
     .heads = 4,
     .kv_heads = 1,
     .head_dim = 4,
     .ffn = 26,
     .vocab = 64,
     .tied = true},
    {.layers = 5,
     .hidden = 2,
     .heads = 6,
     .kv_heads = 2,
     .head_dim = 2,
     .ffn = 1,
     .vocab = 1,
     .tied = true},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const struct shape llama2_7b = {.layers = 32,
                                       .hidden = 4096,
                                       .heads = 32,
                                       .kv_heads = 32,
                                       .head_dim = 128,
                                       .ffn = 11008,
                                       .vocab = 32000,
                                       .context = 4096};

static struct plan_request request_of(enum zone_rule rule, int64_t capacity) {
    return (struct plan_request){.capacity = capacity,
                                 .chunk = 256,
                                 .block = 64,
                                 .kv_bytes = 4,
                                 .wire_bytes = 4,
                                 .weights = {.plain_bytes = 4},
                                 .logits_rows = 64,
                                 .threads = 1,
                                 .scheme = {rule, 1024, rule == ZONE_GROUPED ? 8 : 1}};
}

static int64_t two_bytes_each(bool bf16, bool blocks, int64_t T, int64_t K) {
    return bf16 || blocks ? 0 : 2 * T * K;
}

/* Known numbers: 6738415616 parameters; 2 (keys, values) * 32 layers * 4096 * 4 bytes a token. */
START_TEST(plan_of_a_known_model) {
    struct mesh one = {1, 1, 1};
    struct plan_request request = request_of(ZONE_ALL_NEAR, 4096);
    struct plan p = plan_rank(&llama2_7b, one, 0, &request);
    ck_assert_int_eq(p.weights, INT64_C(6738415616) * 4);
    ck_assert_int_eq(p.kv, INT64_C(1) << 32);
    ck_assert_int_eq(p.total, p.weights + p.kv + p.activations + p.overhead);
    request.kv_bytes = 2;
    ck_assert_int_eq(plan_rank(&llama2_7b, one, 0, &request).kv, INT64_C(1) << 31);
    /* Two zones: far keys and values of all tokens, near keys of 1 + 1342 / 64 blocks. */
    request = request_of(ZONE_GROUPED, 65536);
    p = plan_rank(&llama2_7b, one, 0, &request);
    ck_assert_int_eq(p.kv, 32 * INT64_C(4096) * 4 * (2 * 65536 + 21 * 64));
    request = request_of(ZONE_MASKED, 65536);
    p = plan_rank(&llama2_7b, one, 0, &request);
    ck_assert_int_eq(p.kv, 32 * INT64_C(4096) * 4 * 2 * 21 * 64);
    /* One token at a time, plain: what is left of the activations can be counted by hand, each
     * array on lines of 16 floats: three of D, q, rotated q, attended and merged of D, k and v of
     * 2 D, one maximum and one sum for 32 heads, gate and up, two tables of 64, 64 rows of logits; and
     * two positions. */
    request = request_of(ZONE_ALL_NEAR, 4096);
    request.chunk = 1;
    p = plan_rank(&llama2_7b, one, 0, &request);
    ck_assert_int_eq(p.activations,
                     4 * (9 * 4096 + 2 * 32 + 2 * 11008 + 2 * 64 + 64 * 32000) + 2 * 8);
    /* In bf16: matrices of two bytes, the 65 norms still of four; and the widest input once more in
     * two. */
    request.weights.plain_bytes = 2;
    request.products = two_bytes_each;
    struct plan half = plan_rank(&llama2_7b, one, 0, &request);
    ck_assert_int_eq(half.weights, (INT64_C(6738415616) - 65 * 4096) * 2 + 65 * 4096 * 4);
    ck_assert_int_eq(half.activations, p.activations + 11008 * 2);
    request.threads = 5;
    ck_assert_int_gt(plan_rank(&llama2_7b, one, 0, &request).overhead, p.overhead);
}
END_TEST

/* Over all ranks of a mesh the cache holds every token of every KV head once, to the block. */
START_TEST(plan_adds_up) {
    for (int i = 0; i < SHAPES; i++)
        for (int64_t pp = 1; pp <= shapes[i].layers; pp++)
            for (int64_t tp = 1; tp <= 6; tp++)
                for (int64_t sp = 1; sp <= 6; sp++) {
                    struct mesh m = {pp, tp, sp};
                    struct plan_request request = request_of(ZONE_ALL_NEAR, 1000);
                    int64_t kv = 0, largest = 0;
                    for (int64_t rank = 0; rank < mesh_ranks(m); rank++) {
                        struct plan p = plan_rank(&shapes[i], m, rank, &request);
                        kv += p.kv;
                        if (p.total > largest)
                            largest = p.total;
                    }
                    REQUIRE(kv == 2 * shapes[i].layers * shapes[i].kv_heads * shapes[i].head_dim *
                                      16 * 64 * 4);
                    REQUIRE(plan_largest(&shapes[i], m, &request) == largest);
                }
}
END_TEST

START_TEST(smallest_ranks) {
    struct plan_request request = request_of(ZONE_GROUPED, 100000);
    for (int64_t gib = 1; gib <= 64; gib *= 2) {
        int64_t room = gib << 30, expected = 0;
        for (int64_t ranks = 1; ranks <= 4096 && !expected; ranks++) {
            struct mesh m;
            ck_assert_int_eq(mesh_complete((struct mesh){0}, ranks, &llama2_7b, &m), STATUS_OK);
            int64_t largest = 0;
            for (int64_t rank = 0; rank < ranks && largest <= room; rank++) {
                int64_t total = plan_rank(&llama2_7b, m, rank, &request).total;
                if (total > largest)
                    largest = total;
            }
            if (largest <= room)
                expected = ranks;
        }
        ck_assert_int_gt(expected, 0);
        ck_assert_int_eq(plan_smallest_ranks(&llama2_7b, &request, room), expected);
    }
    /* The overhead alone is more, on any number of ranks. */
    ck_assert_int_eq(plan_smallest_ranks(&llama2_7b, &request, 1 << 20), 0);
}
END_TEST

/* As large as config.json may state it, and a request beyond all: no overflow. */
START_TEST(plan_of_the_impossible) {
    struct shape shape = {.layers = LAYERS_MAX,
                          .hidden = 64,
                          .heads = 32767,
                          .kv_heads = 32767,
                          .head_dim = 65536,
                          .ffn = 1 << 24,
                          .vocab = INT32_MAX,
                          .context = INT32_MAX};
    struct plan_request request = request_of(ZONE_GROUPED, INT64_MAX);
    request.chunk = request.threads = request.logits_rows = INT64_MAX;
    request.scheme.window = INT64_MAX;
    struct plan p = plan_rank(&shape, (struct mesh){1, 1, 1}, 0, &request);
    ck_assert_int_eq(p.kv, INT64_MAX);
    ck_assert_int_eq(p.activations, INT64_MAX);
    ck_assert_int_eq(p.total, INT64_MAX);
    ck_assert_int_eq(plan_smallest_ranks(&shape, &request, INT64_C(1) << 40), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan");
    suite_add(suite, "plan",
              (const TTest *const[]){ring_blocks, ring_keeps_window, plan_of_a_known_model,
                                     plan_adds_up, smallest_ranks, plan_of_the_impossible, NULL});
    return suite_run(suite);
}
