/* The attention kernels of every level against the formula: all rules, shapes, splits and caches.
 *
 * A case makes random queries, keys and values, caches them as a rank would (rotated copies in
 * blocks, the near ones and under a sliding window the values in rings as small as allowed), runs
 * every part of the block-cyclic split, merges the parts, and compares with
 * tests/reference_attention.c.
 *
 * Tolerances. A score is a sum of products in f32, off by about |s| 1e-7, and so are the rotated
 * queries and keys that enter it; an error e of the scores changes weights by exp(e) - 1 and so the
 * output, an average of values, by at most 2 e max|v|. With |s| up to 10 a few 1e-6 are left for
 * rounding. For bf16 and q8_0 the reference takes the cached copies as they are, so nothing is
 * added.
 *
 * In bf16 arithmetic the reference takes the rounded queries as they are. A weight p is rounded to
 * p (1 + e), |e| <= 2^-9, and the output, an average v of values v_j, is off by the average of
 * e_j (v_j - v) over 1 + e: at most 2^-8 max|v|. The levels are also held against the portable
 * step, which rounds alike: there a weight differs only where its f32 value lies within rounding of
 * the middle between two of bf16, so that the outputs' mean difference is a small part of that. */
#include "kernels/attention.h"
#include "kernels/attention_step.h"
#include "kernels/elementwise.h"
#include "kernels/half.h"
#include "partition/scheme.h"
#include "tests/reference_attention.h"
#include "tests/testing.h"
#include "tests/tile_model.h"
#include "tests/tile_trap.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THETA 10000.0

/* Mean difference of outputs to those of the portable step, relative to the largest value; besides,
 * one weight of one row may differ. */
#define STEP_TOLERANCE 1e-5

static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A whole number in [low, high]. */
static int64_t random_in(int64_t low, int64_t high) {
    return low + (int64_t)(random_bits() % (uint64_t)(high - low + 1));
}

/* About normally distributed. */
static float random_normal(void) {
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)(random_bits() >> 11) * 0x1p-53;
    return (float)(sum - 6);
}

static void *allocate(int64_t bytes) {
    void *memory = calloc((size_t)bytes + 1, 1);
    REQUIRE(memory != NULL);
    return memory;
}

enum { COMPUTES = COMPUTE_BF16 + 1 };

/* The step of the tiles by itself, whatever the number of rows, in the place of a level: compiled
 * for their model in C; and as it is for the processor, through a trap to the model where that has
 * no tiles. */
enum { TILES_MODELLED = ISA_COUNT, TILES_ALONE, VARIANTS };
extern const struct attention_kernel attention_amx_modelled;

static bool variant_here(int variant, enum compute compute) {
    if (variant >= ISA_COUNT)
        return compute == COMPUTE_BF16 && isa_available() >= ISA_AVX512_BF16;
    return variant <= (int)isa_available();
}

static const char *variant_name(int variant) {
    return variant == TILES_MODELLED ? "modelled tiles"
           : variant == TILES_ALONE  ? "tiles alone"
                                     : isa_name((enum isa)variant);
}

/* The levels without bf16 products run the portable step. Every instruction through the trap is a
 * signal, so not every case goes that way. */
static bool variant_skipped(int variant, enum compute compute) {
    static int cases;
    if (variant < ISA_COUNT)
        return variant > ISA_GENERIC && !compute_has(compute, (enum isa)variant);
    return variant == TILES_ALONE && isa_available() < ISA_AMX && cases++ % 4 != 0;
}

static bool variant_run(int variant, enum compute compute, enum attention_rule rule, int64_t window,
                        const struct attention_task *tasks, int64_t count) {
    if (variant == TILES_MODELLED) {
        bool done = attention_run_by(&attention_amx_modelled, rule, window, tasks, count);
        REQUIRE(!tile_configured());
        return done;
    }
    if (variant == TILES_ALONE)
        return attention_run_by(&attention_amx, rule, window, tasks, count);
    return attention_run((enum isa)variant, compute, rule, window, tasks, count);
}

/* What a case is about. Query heads of one KV head, their tokens [first, first + count) of all
 * `tokens`; far-apart tokens when `gap` > 1. */
struct attention_case {
    enum attention_rule rule;
    int64_t group, window;
    int64_t tokens, first, count, gap;
    int64_t heads, head_dim;
    int64_t block, parts;
    enum kv_type type;
    float scale; /* of the queries: larger ones make larger scores */
    float cap;   /* of the scores; 0: none */
};

/* A case's inputs and what the formula makes of them. */
struct fixture {
    struct attention_case c;
    int64_t rows, block_count;
    int64_t *positions;
    float *raw_queries, *raw_keys, *values;
    float *query_near, *query_far;
    float *key_near, *key_far; /* [tokens, d] rotated, rounded to the cache's type */
    /* Expected over all parts, of each arithmetic; bf16 only where the cache is not f32. */
    double *out[COMPUTES], *max[COMPUTES];
    float value_largest;
};

/* x [count, d] rotated at `positions`, by the product's own tables. */
static float *rotate_all(const float *x, const int64_t *positions, int64_t count, int64_t d,
                         float scale) {
    double *frequencies = allocate(d / 2 * (int64_t)sizeof(double));
    float *cosines = allocate(count * d * 2), *sines = allocate(count * d * 2);
    float *out = allocate(count * d * 4);
    for (int64_t i = 0; i < d / 2; i++)
        frequencies[i] = pow(THETA, -2.0 * (double)i / (double)d);
    rope_tables(positions, count, frequencies, d / 2, 1, cosines, sines);
    for (int64_t t = 0; t < count; t++)
        rope_rotate(x + t * d, cosines + t * d / 2, sines + t * d / 2, d / 2, d, scale,
                    out + t * d);
    free(frequencies);
    free(cosines);
    free(sines);
    return out;
}

static struct reference_rule reference_rule_of(const struct attention_case *c) {
    return (struct reference_rule){.window = c->rule == ATTENTION_ALL_NEAR ? INT64_MAX : c->window,
                                   .group = c->group,
                                   .has_far = c->rule == ATTENTION_GROUPED,
                                   .cap = c->cap};
}

/* Half a unit of the cache's type at x[i] of a row: 2^-9 of the value in bf16; in q8_0 half a
 * scale, which is a 127th of the largest of its block, and 127 times the rounding of the scale. */
static double half_unit(enum kv_type type, const double *x, int64_t d, int64_t i) {
    double largest = 0;
    if (type == KV_BF16)
        return fabs(x[i]) * 0x1p-8;
    for (int64_t j = i / KV_SCALED * KV_SCALED; j < d && j / KV_SCALED == i / KV_SCALED; j++)
        largest = fmax(largest, fabs(x[j]));
    return largest * (0.5 / 127 + 0x1p-10);
}

/* The key copies for the reference: rotated in double from the raw key for f32; as cached for the
 * other types, after seeing that each is within half a unit of the formula. */
static double *reference_keys(const struct fixture *f, const float *cached, int64_t group) {
    int64_t d = f->c.head_dim;
    double *keys = allocate(f->c.tokens * d * (int64_t)sizeof(double));
    for (int64_t j = 0; j < f->c.tokens; j++) {
        double row[d];
        reference_rotate(f->raw_keys + j * d, j / group, THETA, d, row);
        memcpy(keys + j * d, row, (size_t)d * sizeof *row);
        for (int64_t i = 0; i < d && f->c.type != KV_F32; i++) {
            keys[j * d + i] = cached[j * d + i];
            REQUIRE(fabs(keys[j * d + i] - row[i]) <= half_unit(f->c.type, row, d, i) + 1e-6);
        }
    }
    return keys;
}

/* q8_0 goes through bf16 in bf16 arithmetic. */
static void round_doubles(double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] = bf16_to_f32(bf16_from_f32((float)x[i]));
}

/* Row r's query rotated in double at `position` and scaled; in bf16 arithmetic as rounded, after
 * seeing that each number is within half a unit of bf16 of the formula. */
static void reference_query(const struct fixture *f, enum compute compute, const float *rotated,
                            int64_t r, int64_t position, double *query) {
    int64_t d = f->c.head_dim;
    reference_rotate(f->raw_queries + r * d, position, THETA, d, query);
    for (int64_t i = 0; i < d; i++) {
        query[i] /= sqrt((double)d);
        if (compute != COMPUTE_BF16)
            continue;
        double rounded = bf16_to_f32(bf16_from_f32(rotated[r * d + i]));
        REQUIRE(fabs(rounded - query[i]) <= fabs(query[i]) * 0x1p-8 + 1e-6 * f->c.scale);
        query[i] = rounded;
    }
}

static void fixture_expect(struct fixture *f, enum compute compute, const double *near_keys,
                           const double *far_keys) {
    int64_t d = f->c.head_dim, size = f->c.tokens * d;
    struct reference_rule rule = reference_rule_of(&f->c);
    double *near = allocate(d * 8), *far = allocate(d * 8);
    float *values = allocate(size * 4);
    memcpy(values, f->values, (size_t)size * sizeof *values);
    if (compute == COMPUTE_BF16)
        kv_round(KV_BF16, f->c.tokens, d, values);
    struct reference_cache cache = {f->c.tokens, d, near_keys, far_keys, values};
    f->out[compute] = allocate(f->rows * d * (int64_t)sizeof(double));
    f->max[compute] = allocate(f->rows * (int64_t)sizeof(double));
    for (int64_t r = 0; r < f->rows; r++) {
        int64_t i = f->positions[r], w = f->c.window, g = f->c.group;
        reference_query(f, compute, f->query_near, r, i, near);
        reference_query(f, compute, f->query_far, r, i / g + w - w / g, far);
        reference_attention(&rule, &cache, near, far, i, f->out[compute] + r * d,
                            f->max[compute] + r);
    }
    free(near);
    free(far);
    free(values);
}

static struct fixture *fixture_new(struct attention_case c) {
    struct fixture *f = allocate(sizeof *f);
    int64_t d = c.head_dim;
    f->c = c;
    f->rows = c.count * c.heads;
    f->block_count = (c.tokens + c.block - 1) / c.block;
    f->positions = allocate(f->rows * 8);
    f->raw_queries = allocate(f->rows * d * 4);
    f->raw_keys = allocate(c.tokens * d * 4);
    f->values = allocate(c.tokens * d * 4);
    for (int64_t r = 0; r < f->rows; r++)
        f->positions[r] = c.first + r / c.heads * c.gap;
    for (int64_t i = 0; i < f->rows * d; i++)
        f->raw_queries[i] = random_normal() * c.scale;
    for (int64_t i = 0; i < c.tokens * d; i++) {
        f->raw_keys[i] = random_normal();
        f->values[i] = random_normal();
    }
    kv_round(c.type, c.tokens, d, f->raw_keys);
    kv_round(c.type, c.tokens, d, f->values);
    for (int64_t i = 0; i < c.tokens * d; i++)
        f->value_largest = fmaxf(f->value_largest, fabsf(f->values[i]));

    int64_t *far_positions = allocate((f->rows + c.tokens) * 8);
    int64_t *own_positions = allocate(c.tokens * 8);
    float scale = (float)(1 / sqrt((double)d));
    f->query_near = rotate_all(f->raw_queries, f->positions, f->rows, d, scale);
    for (int64_t r = 0; r < f->rows; r++)
        far_positions[r] = f->positions[r] / c.group + c.window - c.window / c.group;
    f->query_far = rotate_all(f->raw_queries, far_positions, f->rows, d, scale);
    for (int64_t j = 0; j < c.tokens; j++) {
        own_positions[j] = j;
        far_positions[j] = j / c.group;
    }
    f->key_near = rotate_all(f->raw_keys, own_positions, c.tokens, d, 1);
    f->key_far = rotate_all(f->raw_keys, far_positions, c.tokens, d, 1);
    kv_round(c.type, c.tokens, d, f->key_near);
    kv_round(c.type, c.tokens, d, f->key_far);
    free(far_positions);
    free(own_positions);
    double *near = reference_keys(f, f->key_near, 1);
    double *far = reference_keys(f, f->key_far, f->c.group);
    fixture_expect(f, COMPUTE_F32, near, far);
    round_doubles(near, c.tokens * d);
    round_doubles(far, c.tokens * d);
    if (f->c.type != KV_F32)
        fixture_expect(f, COMPUTE_BF16, near, far);
    free(near);
    free(far);
    return f;
}

static void fixture_free(struct fixture *f) {
    void *owned[] = {f->positions,  f->raw_queries, f->raw_keys, f->values,
                     f->query_near, f->query_far,   f->key_near, f->key_far,
                     f->out[0],     f->out[1],      f->max[0],   f->max[1]};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    free(f);
}

/* One part's cache. */
struct part_cache {
    struct kv_view view;
    void *near, *far, *values;
};

/* Slots of a ring that holds every local block from that of the oldest key in any row's window on.
 */
static int64_t ring_least(const struct fixture *f, int64_t part, int64_t blocks) {
    int64_t oldest = f->positions[0] - f->c.window + 1, b = 0;
    if (f->c.rule == ATTENTION_ALL_NEAR)
        return blocks;
    while (b < blocks && (b * f->c.parts + part + 1) * f->c.block <= oldest)
        b++;
    return blocks - b > 0 ? blocks - b : blocks > 0;
}

static struct part_cache part_cache_new(const struct fixture *f, int64_t part) {
    const struct attention_case *c = &f->c;
    int64_t blocks = f->block_count > part ? (f->block_count - part - 1) / c->parts + 1 : 0;
    int64_t bytes = c->block * kv_row_bytes(c->type, c->head_dim),
            ring = ring_least(f, part, blocks);
    int64_t ring_values = c->rule == ATTENTION_MASKED ? ring : blocks;
    struct part_cache cache = {.near = allocate(ring * bytes),
                               .far = allocate(blocks * bytes),
                               .values = allocate(ring_values * bytes)};
    for (int64_t b = 0; b < blocks; b++) {
        char *near = (char *)cache.near + b % ring * bytes, *far = (char *)cache.far + b * bytes;
        char *values = (char *)cache.values + b % ring_values * bytes;
        memset(near, 0, (size_t)bytes);
        memset(values, 0, (size_t)bytes);
        for (int64_t slot = 0; slot < c->block; slot++) {
            int64_t token = (b * c->parts + part) * c->block + slot;
            if (token >= c->tokens)
                break;
            int64_t at = token * c->head_dim;
            kv_put_keys(c->type, near, slot, 1, c->head_dim, f->key_near + at);
            kv_put_keys(c->type, far, slot, 1, c->head_dim, f->key_far + at);
            kv_put_values(c->type, values, slot, 1, c->head_dim, f->values + at);
        }
    }
    cache.view = (struct kv_view){.type = c->type,
                                  .head_dim = c->head_dim,
                                  .block = c->block,
                                  .parts = c->parts,
                                  .part = part,
                                  .tokens = c->tokens,
                                  .keys_near = cache.near,
                                  .ring_near = ring,
                                  .keys_far = c->rule == ATTENTION_GROUPED ? cache.far : NULL,
                                  .values = cache.values,
                                  .ring_values = ring_values};
    return cache;
}

static void part_cache_free(struct part_cache *cache) {
    free(cache->near);
    free(cache->far);
    free(cache->values);
}

/* Whether row r sees a key that the part holds. */
static bool row_sees_part(const struct fixture *f, int64_t r, int64_t part) {
    struct reference_rule rule = reference_rule_of(&f->c);
    for (int64_t j = 0; j < f->c.tokens; j++) {
        int64_t query, key;
        if (j / f->c.block % f->c.parts == part &&
            reference_positions(&rule, f->positions[r], j, &query, &key))
            return true;
    }
    return false;
}

/* Runs a part and puts its rows behind those of the parts before: partials [parts][rows][d + 2]. */
static void part_run(const struct fixture *f, int variant, enum compute compute, int64_t part,
                     float *partials) {
    int64_t d = f->c.head_dim, stride = d + 2;
    struct part_cache cache = part_cache_new(f, part);
    float *out = allocate(f->rows * d * 4), *max = allocate(f->rows * 4),
          *sum = allocate(f->rows * 4);
    memset(out, 0x55, (size_t)(f->rows * d) * sizeof *out);
    struct attention_task task = {cache.view,
                                  {f->rows, f->positions, f->query_near,
                                   f->c.rule == ATTENTION_GROUPED ? f->query_far : NULL, out, max,
                                   sum, f->c.cap}};
    REQUIRE(variant_run(variant, compute, f->c.rule, f->c.window, &task, 1));
    for (int64_t r = 0; r < f->rows; r++) {
        float *partial = partials + (part * f->rows + r) * stride;
        memcpy(partial, out + r * d, (size_t)d * sizeof *out);
        partial[d] = max[r];
        partial[d + 1] = sum[r];
        if (!row_sees_part(f, r, part)) {
            REQUIRE(max[r] == -INFINITY && sum[r] == 0);
            for (int64_t i = 0; i < d; i++)
                REQUIRE(out[r * d + i] == 0);
        }
    }
    free(out);
    free(max);
    free(sum);
    part_cache_free(&cache);
}

static double error_largest[COMPUTES], step_error_largest;

static void case_print(const struct attention_case *c, int variant, enum compute compute) {
    fprintf(stderr,
            "%s %s: rule %d G %lld w %lld tokens %lld first %lld count %lld gap %lld heads %lld "
            "d %lld block %lld parts %lld %s\n",
            variant_name(variant), compute_name(compute), (int)c->rule, (long long)c->group,
            (long long)c->window, (long long)c->tokens, (long long)c->first, (long long)c->count,
            (long long)c->gap, (long long)c->heads, (long long)c->head_dim, (long long)c->block,
            (long long)c->parts, kv_type_name(c->type));
}

/* Largest difference to the reference: of outputs relative to the largest value, of maxima, which
 * bf16 arithmetic takes up to ln 2 higher. merged [rows, d]. */
static double case_error(const struct fixture *f, enum compute compute, const float *partials,
                         float *merged) {
    int64_t d = f->c.head_dim, stride = d + 2;
    double error = 0;
    for (int64_t r = 0; r < f->rows; r++) {
        attention_merge(partials + r * stride, f->c.parts, f->rows * stride, d, merged + r * d);
        for (int64_t i = r * d; i < (r + 1) * d; i++) {
            double difference = fabs(merged[i] - f->out[compute][i]) / f->value_largest;
            error = difference <= error ? error : difference; /* a NaN gets through */
        }
        float max = -INFINITY;
        for (int64_t p = 0; p < f->c.parts; p++)
            max = fmaxf(max, partials[(p * f->rows + r) * stride + d]);
        double difference = max - f->max[compute][r];
        if (compute == COMPUTE_BF16)
            difference -= fmin(fmax(difference, 0), M_LN2);
        error = fabs(difference) <= error ? error : fabs(difference);
    }
    return error;
}

static double tolerance_of(const struct attention_case *c, enum compute compute) {
    return (compute == COMPUTE_BF16 ? 0x1p-8 : 0) + 4e-6 * fmax(1, c->scale);
}

/* Runs every level in one arithmetic. */
static void case_check_in(const struct fixture *f, enum compute compute) {
    const struct attention_case *c = &f->c;
    int64_t n = f->rows * c->head_dim;
    float *partials = allocate(c->parts * f->rows * (c->head_dim + 2) * 4);
    float *merged = allocate(n * 4), *merged_generic = allocate(n * 4);
    double tolerance = tolerance_of(c, compute);
    for (int variant = ISA_GENERIC; variant < VARIANTS; variant++) {
        if (!variant_here(variant, compute) || variant_skipped(variant, compute))
            continue;
        for (int64_t part = 0; part < c->parts; part++)
            part_run(f, variant, compute, part, partials);
        double error = case_error(f, compute, partials, merged), difference = 0;
        if (variant == ISA_GENERIC)
            memcpy(merged_generic, merged, (size_t)n * sizeof *merged);
        for (int64_t i = 0; i < n; i++)
            difference += fabsf(merged[i] - merged_generic[i]) / f->value_largest / (float)n;
        bool right = error <= tolerance &&
                     difference <= STEP_TOLERANCE * fmax(1, c->scale) + 0x1p-8 / (double)f->rows;
        if (!right)
            case_print(c, variant, compute);
        ck_assert_msg(right, "off by %g, allowed %g; from the portable step by %g in the mean",
                      error, tolerance, difference);
        error_largest[compute] = fmax(error_largest[compute], error / fmax(1, c->scale));
        step_error_largest = fmax(step_error_largest, difference / fmax(1, c->scale));
    }
    free(partials);
    free(merged);
    free(merged_generic);
}

static void case_check(struct attention_case c) {
    struct fixture *f = fixture_new(c);
    case_check_in(f, COMPUTE_F32);
    if (c.type != KV_F32)
        case_check_in(f, COMPUTE_BF16);
    fixture_free(f);
}

/* L = 7, G = 2, w = 4, i = 9: the table of the design. The product's own positions must agree. */
START_TEST(positions_of_the_check_table) {
    static const int64_t expected[10] = {6, 6, 5, 5, 4, 4, 3, 2, 1, 0};
    struct reference_rule rule = {.window = 4, .group = 2, .has_far = true};
    struct scheme scheme = {.rule = ZONE_GROUPED, .window = 4, .group = 2};
    for (int64_t j = 0; j < 10; j++) {
        int64_t query, key;
        REQUIRE(reference_positions(&rule, 9, j, &query, &key));
        ck_assert_int_eq(query - key, expected[j]);
        if (9 - j >= 4)
            ck_assert_int_eq(scheme_far_query(&scheme, 9) - scheme_far_key(&scheme, j),
                             expected[j]);
    }
}
END_TEST

static const int64_t head_dims[] = {2, 4, 6, 8, 12, 16, 32, 64, 80, 96, 128, 256};
enum { HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

/* Every head_dim, rule and cache type, with prefill from the first token on. */
START_TEST(shapes) {
    for (int d = 0; d < HEAD_DIMS; d++)
        for (int rule = ATTENTION_ALL_NEAR; rule <= ATTENTION_MASKED; rule++)
            for (int type = KV_F32; type < KV_TYPES; type++)
                case_check((struct attention_case){.rule = (enum attention_rule)rule,
                                                   .group = 3,
                                                   .window = 37,
                                                   .tokens = 157,
                                                   .count = 157,
                                                   .gap = 1,
                                                   .heads = 1,
                                                   .head_dim = head_dims[d],
                                                   .block = 64,
                                                   .parts = 2,
                                                   .type = (enum kv_type)type,
                                                   .scale = 2});
}
END_TEST

/* Lengths around the window and the block, whole and by their last tokens, G dividing w and not. */
START_TEST(text_lengths) {
    static const int64_t window = 48, lengths[] = {1, 2, 47, 48, 49, 64, 96, 128, 131, 192, 257};
    static const int64_t groups[] = {1, 2, 5, 7, 48, 100};
    for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (int64_t parts = 1; parts <= 3; parts += 2) {
                int64_t count = g % 2 ? lengths[n] : 1;
                case_check((struct attention_case){.rule = ATTENTION_GROUPED,
                                                   .group = groups[g],
                                                   .window = window,
                                                   .tokens = lengths[n],
                                                   .first = lengths[n] - count,
                                                   .count = count,
                                                   .gap = 1,
                                                   .heads = 2,
                                                   .head_dim = 16,
                                                   .block = 32,
                                                   .parts = parts,
                                                   .type = (enum kv_type)((n + g) % KV_TYPES),
                                                   .scale = 2});
            }
}
END_TEST

/* The border between the zones at every place of a tile, in every type: rows that cross it together
 * and one by one. */
START_TEST(band_offsets) {
    for (int64_t window = 64; window <= 64 + 128; window++)
        case_check((struct attention_case){.rule = ATTENTION_GROUPED,
                                           .group = 5,
                                           .window = window,
                                           .tokens = 300,
                                           .first = 300 - 9,
                                           .count = 9,
                                           .gap = 1,
                                           .heads = 1 + window % 3,
                                           .head_dim = window % 2 ? 16 : 40,
                                           .block = 128,
                                           .parts = 1,
                                           .type = (enum kv_type)(window % KV_TYPES),
                                           .scale = 2});
}
END_TEST

/* Windows of one key, of one block, and beyond the text. */
START_TEST(window_sizes) {
    static const int64_t windows[] = {1, 2, 15, 16, 17, 64, 65, 149, 150, 151, 1000000};
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
        for (int rule = ATTENTION_GROUPED; rule <= ATTENTION_MASKED; rule++)
            for (int64_t count = 1; count <= 150; count += 149)
                case_check((struct attention_case){.rule = (enum attention_rule)rule,
                                                   .group = 4,
                                                   .window = windows[w],
                                                   .tokens = 150,
                                                   .first = 150 - count,
                                                   .count = count,
                                                   .gap = 1,
                                                   .heads = 3,
                                                   .head_dim = 32,
                                                   .block = 16,
                                                   .parts = 4,
                                                   .type = (enum kv_type)(w % KV_TYPES),
                                                   .scale = 2});
}
END_TEST

/* Anything that a session could ask for; more threads than there is work, too. */
START_TEST(random_cases) {
    for (int n = 0; n < 250; n++) {
        struct attention_case c = {.rule = (enum attention_rule)random_in(0, 2),
                                   .group = random_in(1, 9),
                                   .window = random_in(1, n % 3 ? 60 : 700),
                                   .tokens = random_in(1, 600),
                                   .heads = random_in(1, 8),
                                   .head_dim = head_dims[random_in(0, HEAD_DIMS - 2)],
                                   .block = 16 * random_in(1, 17),
                                   .parts = random_in(1, 5),
                                   .type = (enum kv_type)random_in(0, KV_TYPES - 1),
                                   .gap = n % 5 ? 1 : random_in(0, 40),
                                   .scale = n % 7 ? 2 : 30,
                                   .cap = n % 4 == 1 ? (float)random_in(1, 50) : 0};
        c.count = random_in(1, n % 4 == 0 ? 4 : 60);
        while ((c.count - 1) * c.gap >= c.tokens)
            c.count = (c.count + 1) / 2;
        c.first = random_in(0, c.tokens - 1 - (c.count - 1) * c.gap);
        omp_set_num_threads((int)random_in(1, 5));
        case_check(c);
    }
    omp_set_num_threads(omp_get_num_procs());
}
END_TEST

/* A few rows and many keys: the keys of a row go to several threads. */
START_TEST(decoding) {
    omp_set_num_threads(3);
    for (int64_t heads = 1; heads <= 8; heads++)
        for (int rule = ATTENTION_ALL_NEAR; rule <= ATTENTION_MASKED; rule++)
            case_check((struct attention_case){.rule = (enum attention_rule)rule,
                                               .group = 8,
                                               .window = 1500,
                                               .tokens = 5003,
                                               .first = 5002,
                                               .count = 1,
                                               .gap = 0,
                                               .heads = heads,
                                               .head_dim = 64,
                                               .block = 128,
                                               .parts = 1 + heads % 2,
                                               .type = heads % KV_TYPES,
                                               .scale = 3});
    omp_set_num_threads(omp_get_num_procs());
}
END_TEST

/* Rows of one tile that have whole tiles of keys between them. */
START_TEST(rows_far_apart) {
    for (int64_t gap = 15; gap <= 50; gap += 7)
        for (int rule = ATTENTION_ALL_NEAR; rule <= ATTENTION_MASKED; rule++)
            case_check((struct attention_case){.rule = (enum attention_rule)rule,
                                               .group = 4,
                                               .window = 33,
                                               .tokens = 400,
                                               .first = 20,
                                               .count = 7,
                                               .gap = gap,
                                               .heads = 3,
                                               .head_dim = 32,
                                               .block = 16,
                                               .parts = 2,
                                               .type = KV_F32,
                                               .scale = 2});
}
END_TEST

/* Several tasks of unequal sizes at once, one without rows, give what each gives alone. */
START_TEST(tasks_together) {
    enum { TASKS = 4 };
    static const int64_t counts[TASKS] = {70, 0, 3, 33};
    for (enum isa isa = ISA_GENERIC; isa <= isa_available(); isa++) {
        struct fixture *fixtures[TASKS];
        struct part_cache caches[TASKS];
        struct attention_task tasks[TASKS];
        for (int i = 0; i < TASKS; i++) {
            fixtures[i] = fixture_new((struct attention_case){.rule = ATTENTION_GROUPED,
                                                              .group = 3,
                                                              .window = 20,
                                                              .tokens = 200,
                                                              .first = 100,
                                                              .count = counts[i],
                                                              .gap = 1,
                                                              .heads = 3,
                                                              .head_dim = 16,
                                                              .block = 32,
                                                              .parts = 1,
                                                              .type = KV_F32,
                                                              .scale = 2});
            struct fixture *f = fixtures[i];
            /* A task without rows has no first position to size a ring by. */
            caches[i] = f->rows ? part_cache_new(f, 0) : (struct part_cache){.view = {.block = 32}};
            tasks[i] = (struct attention_task){caches[i].view,
                                               {f->rows, f->positions, f->query_near, f->query_far,
                                                allocate(f->rows * 16 * 4), allocate(f->rows * 4),
                                                allocate(f->rows * 4), f->c.cap}};
        }
        REQUIRE(attention_run(isa, COMPUTE_F32, ATTENTION_GROUPED, 20, tasks, TASKS));
        for (int i = 0; i < TASKS; i++) {
            const struct attention_queries *queries = &tasks[i].queries;
            for (int64_t r = 0; r < fixtures[i]->rows; r++)
                for (int64_t e = r * 16; e < r * 16 + 16; e++)
                    ck_assert_double_eq_tol(queries->out[e] / queries->sum[r],
                                            fixtures[i]->out[COMPUTE_F32][e], 2e-5);
            free(queries->out);
            free(queries->max);
            free(queries->sum);
            part_cache_free(&caches[i]);
            fixture_free(fixtures[i]);
        }
    }
}
END_TEST

/* A text in two caches, the second from token `first` on, merges to what one cache gives; rows
 * before it see nothing of it. */
START_TEST(prefix_and_tail) {
    enum { ROWS = 180, D = 16, STRIDE = D + 2, TOKENS = 190, BLOCK = 16 };
    for (int rule = ATTENTION_ALL_NEAR; rule <= ATTENTION_MASKED; rule++) {
        struct fixture *f = fixture_new((struct attention_case){.rule = (enum attention_rule)rule,
                                                                .group = 3,
                                                                .window = 20,
                                                                .tokens = TOKENS,
                                                                .first = 10,
                                                                .count = ROWS,
                                                                .gap = 1,
                                                                .heads = 1,
                                                                .head_dim = D,
                                                                .block = BLOCK,
                                                                .parts = 1,
                                                                .type = KV_BF16,
                                                                .scale = 2});
        struct part_cache cache = part_cache_new(f, 0);
        for (int64_t first = 0; first < TOKENS; first += BLOCK) {
            float partials[2][ROWS][STRIDE], out[2][ROWS][D], max[2][ROWS], sum[2][ROWS];
            int64_t bytes = first * kv_row_bytes(KV_BF16, D);
            struct attention_task tasks[2];
            for (int i = 0; i < 2; i++)
                tasks[i] = (struct attention_task){cache.view,
                                                   {ROWS, f->positions, f->query_near, f->query_far,
                                                    out[i][0], max[i], sum[i], 0}};
            tasks[0].keys.tokens = first;
            tasks[1].keys.first = first;
            tasks[1].keys.keys_near = (char *)cache.near + bytes;
            tasks[1].keys.keys_far = (char *)cache.far + bytes;
            tasks[1].keys.values = (char *)cache.values + bytes;
            REQUIRE(attention_run(isa_available(), COMPUTE_F32, f->c.rule, 20, tasks, 2));
            for (int64_t r = 0; r < ROWS; r++) {
                float merged[D];
                for (int i = 0; i < 2; i++) {
                    memcpy(partials[i][r], out[i][r], sizeof out[i][r]);
                    partials[i][r][D] = max[i][r];
                    partials[i][r][D + 1] = sum[i][r];
                }
                attention_merge(partials[0][r], 2, ROWS * STRIDE, D, merged);
                for (int64_t i = 0; i < D; i++)
                    ck_assert_double_eq_tol(merged[i], f->out[COMPUTE_F32][r * D + i], 2e-5);
                REQUIRE(f->positions[r] >= first || sum[1][r] == 0);
            }
        }
        part_cache_free(&cache);
        fixture_free(f);
    }
}
END_TEST

START_TEST(nothing_to_do) {
    for (enum isa isa = ISA_GENERIC; isa <= isa_available(); isa++) {
        float near[2] = {1, 2}, out[2] = {5, 5}, max = 5, sum = 5;
        int64_t position = 0;
        /* The part of two that holds no token of a text of one. */
        struct attention_task task = {
            {.type = KV_F32, .head_dim = 2, .block = 16, .parts = 2, .part = 1, .tokens = 1},
            {1, &position, near, near, out, &max, &sum, 0}};
        REQUIRE(attention_run(isa, COMPUTE_F32, ATTENTION_GROUPED, 4, NULL, 0));
        REQUIRE(attention_run(isa, COMPUTE_F32, ATTENTION_GROUPED, 4, &task, 1));
        REQUIRE(out[0] == 0 && out[1] == 0 && max == -INFINITY && sum == 0);
    }
}
END_TEST

/* Runs one token's row after `poison` was put into a value of the inputs; whether the output is
 * finite. */
static bool finite_after(int variant, enum compute compute, float *poisoned, float poison,
                         struct fixture *f, int64_t row) {
    float kept = *poisoned;
    *poisoned = poison;
    float *partials = allocate(f->rows * (f->c.head_dim + 2) * 4);
    float *merged = allocate(f->c.head_dim * 4);
    part_run(f, variant, compute, 0, partials);
    attention_merge(partials + row * (f->c.head_dim + 2), 1, 0, f->c.head_dim, merged);
    bool finite = all_finite(merged, f->c.head_dim);
    *poisoned = kept;
    free(partials);
    free(merged);
    return finite;
}

static void poison_check(struct fixture *f, int variant, enum compute compute) {
    int64_t d = f->c.head_dim, row = 7, near = 155 * d, far = 20 * d;
    REQUIRE(finite_after(variant, compute, f->query_near, f->query_near[0], f, row));
    REQUIRE(!finite_after(variant, compute, f->query_near + row * d + 3, NAN, f, row));
    REQUIRE(!finite_after(variant, compute, f->query_far + row * d + d - 1, NAN, f, row));
    REQUIRE(!finite_after(variant, compute, f->query_far + row * d + d - 1, INFINITY, f, row));
    REQUIRE(!finite_after(variant, compute, f->key_near + near + 1, NAN, f, row));
    REQUIRE(!finite_after(variant, compute, f->key_far + far + d - 2, NAN, f, row));
    REQUIRE(!finite_after(variant, compute, f->values + near, NAN, f, row));
    REQUIRE(!finite_after(variant, compute, f->values + far + 5, INFINITY, f, row));
    /* The other rows' queries are not this row's business. */
    REQUIRE(finite_after(variant, compute, f->query_near + 3, NAN, f, row));
}

/* A NaN, or an infinity that meets it, must come out, wherever it comes in. */
START_TEST(not_finite_comes_out) {
    static const int64_t dims[] = {32, 12};
    for (int i = 0; i < 4; i++) {
        enum compute compute = i % 2 ? COMPUTE_BF16 : COMPUTE_F32;
        struct fixture *f = fixture_new((struct attention_case){.rule = ATTENTION_GROUPED,
                                                                .group = 3,
                                                                .window = 20,
                                                                .tokens = 200,
                                                                .first = 150,
                                                                .count = 20,
                                                                .gap = 1,
                                                                .heads = 1,
                                                                .head_dim = dims[i / 2],
                                                                .block = 32,
                                                                .parts = 1,
                                                                .type = i % 2 ? KV_BF16 : KV_F32,
                                                                .scale = 2});
        for (int variant = ISA_GENERIC; variant < VARIANTS; variant++)
            if (variant_here(variant, compute))
                poison_check(f, variant, compute);
        fixture_free(f);
    }
}
END_TEST

/* Scores of -infinity alone, which finite inputs reach by overflow, are no weights at all. */
static void overflow_check(int variant, enum compute compute) {
    float query[2] = {3e38f, 0}, key[2] = {-3e38f, 0}, out[2], max, sum, merged[2];
    float keys[2 * 16] = {0}, values[2 * 16] = {0}, partial[4];
    enum kv_type type = compute == COMPUTE_BF16 ? KV_BF16 : KV_F32;
    int64_t position = 0;
    kv_put_keys(type, keys, 0, 1, 2, key);
    struct attention_task task = {{.type = type,
                                   .head_dim = 2,
                                   .block = 16,
                                   .parts = 1,
                                   .tokens = 1,
                                   .keys_near = keys,
                                   .ring_near = 1,
                                   .values = values,
                                   .ring_values = 1},
                                  {1, &position, query, NULL, out, &max, &sum, 0}};
    REQUIRE(variant_run(variant, compute, ATTENTION_ALL_NEAR, 1, &task, 1));
    memcpy(partial, (float[]){out[0], out[1], max, sum}, sizeof partial);
    attention_merge(partial, 1, 4, 2, merged);
    REQUIRE(!all_finite(merged, 2));
}

START_TEST(overflow_comes_out) {
    for (int variant = ISA_GENERIC; variant < VARIANTS; variant++)
        for (enum compute compute = COMPUTE_F32; compute <= COMPUTE_BF16; compute++)
            if (variant_here(variant, compute))
                overflow_check(variant, compute);
}
END_TEST

/* By hand: exp(0) 1 + exp(ln 2) 2 over 1 + 2; a part without keys counts nothing; all without give
 * zeros. */
START_TEST(merging) {
    float two[3][4] = {{1, 10, 0, 1}, {2, 20, logf(2), 1}, {0, 0, -INFINITY, 0}}, out[2];
    attention_merge(two[0], 3, 4, 2, out);
    ck_assert_float_eq_tol(out[0], 5.f / 3, 1e-6f);
    ck_assert_float_eq_tol(out[1], 50.f / 3, 1e-5f);
    attention_merge(two[2], 1, 4, 2, out);
    REQUIRE(out[0] == 0 && out[1] == 0);
    two[1][3] = NAN;
    attention_merge(two[0], 3, 4, 2, out);
    REQUIRE(isnan(out[0]));
    /* Far-apart maxima neither overflow nor vanish. */
    float far[2][4] = {{1, 1, -500, 1}, {3, 3, 500, 1}};
    attention_merge(far[0], 2, 4, 2, out);
    REQUIRE(out[0] == 3);
}
END_TEST

int main(void) {
    for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++)
        if (isa > isa_available())
            printf("SKIP: isa %s (this processor does not have it)\n", isa_name(isa));
    if (!variant_here(TILES_MODELLED, COMPUTE_BF16))
        printf("SKIP: modelled tiles (this processor does not have avx512_bf16)\n");
    if (isa_available() < ISA_AMX)
        tiles_trap();
    const TTest *const tests[] = {positions_of_the_check_table,
                                  shapes,
                                  text_lengths,
                                  window_sizes,
                                  band_offsets,
                                  random_cases,
                                  decoding,
                                  rows_far_apart,
                                  tasks_together,
                                  prefix_and_tail,
                                  nothing_to_do,
                                  not_finite_comes_out,
                                  overflow_comes_out,
                                  merging,
                                  NULL};
    Suite *suite = suite_create("attention");
    suite_add(suite, "attention", tests);
    int failed = suite_run(suite);
    printf(
        "largest error, relative to the largest value: f32 %.2g, bf16 %.2g; mean difference to the "
        "portable step %.2g\n",
        error_largest[COMPUTE_F32], error_largest[COMPUTE_BF16], step_error_largest);
    return failed;
}
