#include "partition/layout.h"
#include "partition/mesh.h"
#include "partition/share.h"
#include "tests/testing.h"

/* -- layout -------------------------------------------------------------------------------------*/

/* Parts follow each other, cover the length, and none has two more than another or more than one
 * before it. */
START_TEST(ranges) {
    for (int64_t len = 0; len <= 60; len++)
        for (int64_t parts = 1; parts <= 25; parts++) {
            int64_t end = 0, before = len;
            for (int64_t part = 0; part < parts; part++) {
                struct range r = range_part(len, parts, part);
                struct range inner = range_subpart((struct range){100, len}, parts, part);
                REQUIRE(r.first == end && r.count >= 0 && r.count <= before);
                REQUIRE(r.count == len / parts || r.count == (len + parts - 1) / parts);
                REQUIRE(inner.first == 100 + r.first && inner.count == r.count);
                end = range_end(r);
                before = r.count;
            }
            REQUIRE(end == len);
        }
    struct range large = range_part(INT64_C(3) << 60, 7, 6);
    REQUIRE(range_end(large) == INT64_C(3) << 60);
}
END_TEST

START_TEST(intersections) {
    for (int code = 0; code < 8 * 8 * 8 * 8; code++) {
        struct range a = {code & 7, code >> 3 & 7}, b = {code >> 6 & 7, code >> 9 & 7};
        struct range both = range_intersect(a, b);
        for (int64_t i = -1; i < 16; i++)
            REQUIRE((range_has(a, i) && range_has(b, i)) == range_has(both, i));
    }
}
END_TEST

/* Deals the tokens out one by one. */
START_TEST(block_cyclic) {
    for (int64_t block = 1; block <= 5; block++)
        for (int64_t parts = 1; parts <= 5; parts++) {
            struct cyclic c = {block, parts};
            int64_t held[5] = {0}, owner = 0;
            for (int64_t token = 0; token < 200; token++) {
                if (token > 0 && token % block == 0)
                    owner = owner + 1 == parts ? 0 : owner + 1;
                for (int64_t part = 0; part < parts; part++)
                    REQUIRE(cyclic_count(c, part, token) == held[part]);
                REQUIRE(cyclic_owner(c, token) == owner);
                REQUIRE(cyclic_local(c, token) == held[owner]);
                REQUIRE(cyclic_global(c, owner, held[owner]) == token);
                held[owner]++;
            }
        }
}
END_TEST

/* -- mesh ---------------------------------------------------------------------------------------*/

/* Ranks in order: the sp coordinate runs fastest, then tp, then pp. */
START_TEST(places) {
    for (int64_t pp = 1; pp <= 3; pp++)
        for (int64_t tp = 1; tp <= 4; tp++)
            for (int64_t sp = 1; sp <= 4; sp++) {
                struct mesh m = {pp, tp, sp};
                int64_t rank = 0;
                for (int64_t a = 0; a < pp; a++)
                    for (int64_t b = 0; b < tp; b++)
                        for (int64_t c = 0; c < sp; c++, rank++) {
                            struct mesh_place p = mesh_place(m, rank);
                            REQUIRE(p.pp == a && p.tp == b && p.sp == c);
                            REQUIRE(mesh_rank(m, p) == rank);
                        }
                REQUIRE(mesh_ranks(m) == rank);
                REQUIRE(mesh_stage_ranks(m) == tp * sp);
            }
}
END_TEST

START_TEST(mesh_requests) {
    static const struct {
        const char *text;
        struct mesh mesh;
    } good[] = {
        {"pp=2,tp=3,sp=4", {2, 3, 4}},
        {"sp=4,pp=2", {2, 0, 4}},
        {"tp=1", {0, 1, 0}},
        {"sp=65536", {0, 0, 65536}},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct mesh m;
        ck_assert_int_eq(mesh_parse(good[i].text, &m), STATUS_OK);
        ck_assert_msg(memcmp(&m, &good[i].mesh, sizeof m) == 0, "%s", good[i].text);
    }
    static const char *const bad[] = {"",
                                      "pp",
                                      "pp=",
                                      "pp=0",
                                      "pp=-1",
                                      "pp=+1",
                                      "pp=1,pp=2",
                                      "pp=1,",
                                      ",pp=1",
                                      "pp=1x",
                                      "pp= 1",
                                      "pp=1 ",
                                      "xx=1",
                                      "pp=1,,tp=2",
                                      "PP=1",
                                      "pp=1;tp=2",
                                      "pp=1.0",
                                      "p=1",
                                      "2x2x2",
                                      "pp=0x1",
                                      "pp=1 tp=1",
                                      "pp=1\ntp=1",
                                      "pp=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mesh m;
        ck_assert_msg(mesh_parse(bad[i], &m) == STATUS_USAGE, "\"%s\" was accepted", bad[i]);
        ck_assert_ptr_nonnull(strstr(status_text(), "--mesh: found "));
        ck_assert_ptr_nonnull(strstr(status_text(), "expected "));
    }
}
END_TEST

/* tp is the largest number that divides both, found by trying all. */
START_TEST(automatic_mesh) {
    for (int64_t ranks = 1; ranks <= 48; ranks++)
        for (int64_t kv_heads = 1; kv_heads <= 16; kv_heads++) {
            struct shape shape = {.layers = 1, .kv_heads = kv_heads, .heads = kv_heads};
            struct mesh m;
            int64_t tp = 1;
            for (int64_t t = 1; t <= ranks; t++)
                if (ranks % t == 0 && kv_heads % t == 0)
                    tp = t;
            REQUIRE(mesh_complete((struct mesh){0, 0, 0}, ranks, &shape, &m) == STATUS_OK);
            REQUIRE(m.pp == 1 && m.tp == tp && m.sp == ranks / tp);
        }
}
END_TEST

START_TEST(completed_mesh) {
    struct shape shape = {.layers = 3, .kv_heads = 4, .heads = 8};
    static const struct {
        struct mesh request;
        int64_t ranks;
        struct mesh mesh; /* all 0: refused */
        const char *words;
    } cases[] = {
        {{2, 0, 0}, 8, {2, 4, 1}, NULL},
        {{0, 2, 0}, 8, {1, 2, 4}, NULL},
        {{0, 0, 2}, 8, {1, 4, 2}, NULL},
        {{0, 0, 8}, 8, {1, 1, 8}, NULL},
        {{0, 2, 2}, 8, {2, 2, 2}, NULL},
        {{3, 0, 0}, 9, {3, 1, 3}, NULL},
        {{1, 8, 1}, 8, {1, 8, 1}, NULL}, /* more tp than KV heads */
        {{0, 5, 0}, 5, {1, 5, 1}, NULL},
        {{1, 3, 1}, 3, {1, 3, 1}, NULL},
        {{1, 2, 2}, 8, {0}, "expected pp*tp*sp equal to the 8 ranks"},
        {{2, 2, 2}, 4, {0}, "expected pp*tp*sp equal to the 4 ranks"},
        {{3, 0, 0}, 8, {0}, "8 ranks"},
        {{0, 3, 0}, 8, {0}, "8 ranks"},
        {{0, 0, 16}, 8, {0}, "8 ranks"},
        {{16, 0, 0}, 8, {0}, "8 ranks"},
        {{4, 1, 1}, 4, {0}, "stages, expected at most one per layer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mesh m = {0, 0, 0};
        enum status status = mesh_complete(cases[i].request, cases[i].ranks, &shape, &m);
        if (cases[i].words) {
            ck_assert_msg(status == STATUS_USAGE, "case %zu was accepted", i);
            ck_assert_msg(strstr(status_text(), cases[i].words) &&
                              strstr(status_text(), "--mesh: found "),
                          "case %zu: %s", i, status_text());
        } else {
            ck_assert_msg(status == STATUS_OK && memcmp(&m, &cases[i].mesh, sizeof m) == 0,
                          "case %zu: pp=%lld,tp=%lld,sp=%lld", i, (long long)m.pp, (long long)m.tp,
                          (long long)m.sp);
        }
    }
}
END_TEST

/* -- share --------------------------------------------------------------------------------------*/

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
enum { SHAPES = sizeof shapes / sizeof shapes[0], SIDE = 64 };

/* How many ranks hold each row or column, per layer where it belongs to one. */
struct holders {
    int q[8][SIDE], kv[8][SIDE], ffn[8][SIDE], embedding[SIDE], head[SIDE], norm[8], final_norm;
};

static void mark(int *held, struct range r) {
    for (int64_t i = r.first; i < range_end(r); i++)
        held[i]++;
}

static void mark_rank(struct holders *h, const struct share *s) {
    for (int64_t layer = s->layers.first; layer < range_end(s->layers); layer++) {
        mark(h->q[layer], s->heads);
        mark(h->kv[layer], s->kv_rows);
        mark(h->ffn[layer], s->ffn);
        h->norm[layer]++;
    }
    if (s->embeds)
        mark(h->embedding, s->vocab);
    if (s->predicts)
        mark(h->head, s->vocab);
    h->final_norm += s->predicts;
}

static void check_all(const int *held, int64_t count, int expected) {
    for (int64_t i = 0; i < SIDE; i++)
        REQUIRE(held[i] == (i < count ? expected : 0));
}

/* A rank's heads lie within its tp group's, which are those of the group's KV heads; every rank of
 * the group knows the others' shares. */
static void check_group(const struct shape *shape, struct mesh m, int64_t rank) {
    struct share s = share_of(shape, m, rank);
    int64_t group = shape->heads / shape->kv_heads;
    REQUIRE(s.group_heads.first == s.kv_heads.first * group);
    REQUIRE(s.group_heads.count == s.kv_heads.count * group);
    REQUIRE(s.heads.count == 0 || (s.heads.first >= s.group_heads.first &&
                                   range_end(s.heads) <= range_end(s.group_heads)));
    struct mesh_place place = mesh_place(m, rank);
    for (place.sp = 0; place.sp < m.sp; place.sp++) {
        struct share other = share_of(shape, m, mesh_rank(m, place));
        struct range heads = share_heads(&s, m, place.sp);
        struct range rows = share_kv_rows(shape, &s, m, place.sp);
        REQUIRE(heads.first == other.heads.first && heads.count == other.heads.count);
        REQUIRE(rows.first == other.kv_rows.first && rows.count == other.kv_rows.count);
    }
}

/* Every row and column is held once, on any mesh, those with idle ranks too; the numbers of
 * parameters add up to the model's, replicated norms and a tied table at both ends apart. */
static void check_mesh(const struct shape *shape, struct mesh m) {
    struct holders held = {0};
    int64_t parameters = 0, D = shape->hidden, ranks = mesh_stage_ranks(m);
    for (int64_t rank = 0; rank < mesh_ranks(m); rank++) {
        struct share s = share_of(shape, m, rank);
        mark_rank(&held, &s);
        check_group(shape, m, rank);
        parameters += share_parameters(shape, &s);
    }
    for (int64_t layer = 0; layer < shape->layers; layer++) {
        check_all(held.q[layer], shape->heads, 1);
        check_all(held.kv[layer], shape->kv_heads * shape->head_dim, 1);
        check_all(held.ffn[layer], shape->ffn, 1);
        REQUIRE(held.norm[layer] == ranks);
    }
    check_all(held.embedding, shape->vocab, 1);
    check_all(held.head, shape->vocab, 1);
    REQUIRE(held.final_norm == ranks);
    int64_t norms = (ranks - 1) * (2 * shape->layers + 1) * D;
    int64_t twice = shape->tied && m.pp > 1 ? shape->vocab * D : 0;
    REQUIRE(parameters == shape_parameters(shape) + norms + twice);
}

START_TEST(shares) {
    for (int i = 0; i < SHAPES; i++)
        for (int64_t pp = 1; pp <= shapes[i].layers; pp++)
            for (int64_t tp = 1; tp <= 9; tp++)
                for (int64_t sp = 1; sp <= 9; sp++)
                    check_mesh(&shapes[i], (struct mesh){pp, tp, sp});
}
END_TEST

int main(void) {
    Suite *suite = suite_create("partition");
    suite_add(suite, "layout", (const TTest *const[]){ranges, intersections, block_cyclic, NULL});
    suite_add(suite, "mesh",
              (const TTest *const[]){places, mesh_requests, automatic_mesh, completed_mesh, NULL});
    suite_add(suite, "share", (const TTest *const[]){shares, NULL});
    return suite_run(suite);
}
