#include "tests/tile_model.h"

#include "kernels/half.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TILES 8
#define TILE_PAIRS (TILE_ROW_BYTES / 4)

/* Register t has sizes and, beyond them, zeros. */
static _Thread_local struct tile_state {
    bool configured;
    int rows[TILES], row_bytes[TILES];
    uint8_t data[TILES][TILE_ROWS][TILE_ROW_BYTES];
} state;

static void fault_abort(const char *reason) {
    fprintf(stderr, "tile_model: %s\n", reason);
    abort();
}

void (*tile_fault)(const char *reason) = fault_abort;

bool tile_configured(void) {
    return state.configured;
}

static bool require(bool condition, const char *reason) {
    if (!condition)
        tile_fault(reason);
    return condition;
}

static bool bytes_zero(const uint8_t *bytes, int n) {
    for (int i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool config_valid(const struct tile_config *config) {
    /* A start row other than zero is how an interrupted load goes on. */
    if (!require(config->palette == 1, "configure: palette is not 1") ||
        !require(config->start_row == 0, "configure: start row is not 0") ||
        !require(bytes_zero(config->reserved, sizeof config->reserved) &&
                     bytes_zero((const uint8_t *)(config->row_bytes + TILES), 16) &&
                     bytes_zero(config->rows + TILES, 8),
                 "configure: reserved bytes are not zero"))
        return false;
    for (int t = 0; t < TILES; t++)
        if (!require(config->rows[t] <= TILE_ROWS, "configure: too many rows") ||
            !require(config->row_bytes[t] <= TILE_ROW_BYTES,
                     "configure: too many bytes in a row") ||
            !require((config->rows[t] == 0) == (config->row_bytes[t] == 0),
                     "configure: rows without bytes, or bytes without rows"))
            return false;
    return true;
}

void tile_configure(const struct tile_config *config) {
    if (config->palette == 0) { /* the same as a release */
        tile_release();
        return;
    }
    if (!config_valid(config))
        return;
    memset(&state, 0, sizeof state);
    state.configured = true;
    for (int t = 0; t < TILES; t++) {
        state.rows[t] = config->rows[t];
        state.row_bytes[t] = config->row_bytes[t];
    }
}

void tile_release(void) {
    memset(&state, 0, sizeof state);
}

static bool tile_valid(int t) {
    return require(state.configured, "no configuration is loaded") &&
           require(t >= 0 && t < TILES, "no such register") &&
           require(state.rows[t] > 0, "the register has no rows") &&
           require(state.row_bytes[t] % 4 == 0, "the register's row is no multiple of 4 bytes");
}

void tile_zero(int t) {
    if (tile_valid(t))
        memset(state.data[t], 0, sizeof state.data[t]);
}

void tile_load(int t, const void *from, int64_t stride) {
    if (!tile_valid(t))
        return;
    memset(state.data[t], 0, sizeof state.data[t]);
    for (int r = 0; r < state.rows[t]; r++)
        memcpy(state.data[t][r], (const uint8_t *)from + r * stride, (size_t)state.row_bytes[t]);
}

void tile_store(int t, void *to, int64_t stride) {
    if (!tile_valid(t))
        return;
    for (int r = 0; r < state.rows[t]; r++)
        memcpy((uint8_t *)to + r * stride, state.data[t][r], (size_t)state.row_bytes[t]);
}

/* Denormals are zeros, in and out. */
static float flush(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* The values of a register in f32, those beyond its sizes zero. */
static void bf16_widen(int t, float values[TILE_ROWS][TILE_PAIRS * 2]) {
    for (int r = 0; r < TILE_ROWS; r++) {
        uint16_t row[TILE_PAIRS * 2];
        memcpy(row, state.data[t][r], sizeof row);
        for (int i = 0; i < TILE_PAIRS * 2; i++)
            values[r][i] = flush(bf16_to_f32(row[i]));
    }
}

/* The sums over the pairs' first and over their second members are kept apart until the end. A
 * product of two bf16 is exact in f32, so each addition rounds once. */
static void dot_row(int pairs, const float *a, float b[TILE_ROWS][TILE_PAIRS * 2], float *c) {
    float sums[TILE_PAIRS * 2] = {0};
    for (int k = 0; k < pairs; k++)
        for (int i = 0; i < TILE_PAIRS * 2; i++)
            sums[i] = flush(sums[i] + a[2 * k + i % 2] * b[k][i]);
    for (int n = 0; n < TILE_PAIRS; n++)
        c[n] = flush(flush(c[n]) + flush(sums[2 * n] + sums[2 * n + 1]));
}

void tile_dot(int c, int a, int b) {
    if (!tile_valid(c) || !tile_valid(a) || !tile_valid(b) ||
        !require(c != a && c != b && a != b, "dot: a register appears twice") ||
        !require(state.rows[c] == state.rows[a], "dot: c and a differ in rows") ||
        !require(state.row_bytes[c] == state.row_bytes[b], "dot: c and b differ in columns") ||
        !require(state.row_bytes[a] / 4 == state.rows[b], "dot: a's pairs are not b's rows"))
        return;
    float left[TILE_ROWS][TILE_PAIRS * 2], right[TILE_ROWS][TILE_PAIRS * 2], sum[TILE_PAIRS];
    bf16_widen(a, left);
    bf16_widen(b, right);
    for (int m = 0; m < state.rows[c]; m++) {
        memcpy(sum, state.data[c][m], sizeof sum);
        dot_row(state.rows[b], left[m], right, sum);
        memcpy(state.data[c][m], sum, (size_t)state.row_bytes[c]);
    }
}
