#include "partition/weights_random.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* A random word for each counter: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* FNV-1a. */
static uint64_t name_key(const char *name) {
    uint64_t key = 0xcbf29ce484222325u;
    for (; *name; name++)
        key = (key ^ (unsigned char)*name) * 0x100000001b3u;
    return key;
}

/* Values are uniform in middle +- reach. */
struct spread {
    float middle, reach;
};

static struct spread spread_of(const char *name, int64_t hidden, bool is_vector) {
    static const char suffix[] = ".bias";
    size_t len = strlen(name), end = sizeof suffix - 1;
    struct spread bias = {0, 0.1f}, norm = {1, 0.1f};
    struct spread matrix = {0, (float)sqrt(3.0 / (double)hidden)};
    if (!is_vector)
        return matrix;
    return len >= end && strcmp(name + len - end, suffix) == 0 ? bias : norm;
}

/* The upper half of an f32 is a bf16; what is cut off is random anyway. */
static uint16_t upper_half(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* Columns are numbered in fours, each four from one random word. */
static void random_row(uint64_t row_key, struct spread spread, int64_t first, int64_t count,
                       uint16_t *out) {
    for (int64_t i = 0; i < count;) {
        uint64_t word = mix(row_key + (uint64_t)(first + i) / 4);
        for (int64_t j = (first + i) % 4; j < 4 && i < count; j++, i++) {
            float part = (float)(int16_t)(word >> 16 * j) * 0x1p-15f; /* [-1, 1) */
            out[i] = upper_half(spread.middle + spread.reach * part);
        }
    }
}

/* The upper half of the row takes the bf16 values, which are widened from its beginning on: each is
 * read before its place is written. */
static void random_row_f32(uint64_t row_key, struct spread spread, int64_t first, int64_t count,
                           float *out) {
    uint16_t *values = (uint16_t *)out + count, value;
    random_row(row_key, spread, first, count, values);
    for (int64_t i = 0; i < count; i++) {
        memcpy(&value, values + i, sizeof value);
        uint32_t wide = (uint32_t)value << 16;
        memcpy(out + i, &wide, sizeof wide);
    }
}

/* As f32 (wide) or bf16. A vector counts as a matrix of one column. */
static void random_rows(const char *name, int64_t hidden, struct range rows, struct range cols,
                        bool wide, void *out) {
    struct spread spread = spread_of(name, hidden, cols.count == 0);
    uint64_t key = name_key(name);
    if (cols.count == 0)
        cols = (struct range){0, 1};
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows.count; r++) {
        uint64_t row_key = mix(key + (uint64_t)(rows.first + r));
        int64_t at = r * cols.count;
        if (wide)
            random_row_f32(row_key, spread, cols.first, cols.count, (float *)out + at);
        else
            random_row(row_key, spread, cols.first, cols.count, (uint16_t *)out + at);
    }
}

void weights_random_f32(const char *name, int64_t hidden, struct range rows, struct range cols,
                        float *out) {
    random_rows(name, hidden, rows, cols, true, out);
}

void weights_random_bf16(const char *name, int64_t hidden, struct range rows, struct range cols,
                         uint16_t *out) {
    random_rows(name, hidden, rows, cols, false, out);
}
