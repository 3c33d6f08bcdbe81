#include "launch/bench_load.h"

#include "partition/work.h"
#include <stdlib.h>
#include <string.h>

/* Tokens of a block of keys. */
#define BLOCK 128

static int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Floats for an array that starts on a cache line. */
static int64_t lines(int64_t floats) {
    return (floats + 15) / 16 * 16;
}

static enum status take_data(struct load *load, int64_t floats) {
    load->data = aligned_alloc(64, (size_t)lines(floats + 16) * sizeof(float));
    if (!load->data)
        return status_no_memory("kernel's data", floats * (int64_t)sizeof(float));
    return STATUS_OK;
}

/* Numbers in (-1, 1), the same in every run. */
static void fill(float *x, int64_t n) {
    uint64_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

enum status load_open_product(const struct load_product *product, const void *memory, int64_t bytes,
                              struct load *load) {
    memset(load, 0, sizeof *load);
    load->product = *product;
    load->memory = memory;
    load->memory_bytes = bytes;
    struct load_product *p = &load->product;
    bool blocks = quant_type(p->weights) != NULL;
    p->N = min_of(p->N, bytes / matrix_bytes(p->weights, QUANT_ROWS, p->K) * QUANT_ROWS);
    int64_t x = lines(p->T * p->K), y = lines(p->T * p->N);
    int64_t scratch = lines(gemm_scratch_bytes(p->compute, blocks, p->T, p->K) / 4 + 1);
    TRY(take_data(load, x + y + scratch));
    load->x = load->data;
    load->y = load->x + x;
    load->scratch = gemm_scratch_slice(p->compute, blocks, p->T, p->K, load->y + y);
    fill(load->x, p->T * p->K);
    return STATUS_OK;
}

/* Bytes of one head's keys, and of its values; whole blocks. */
static int64_t head_bytes(const struct load_attention *a) {
    return (a->keys + BLOCK - 1) / BLOCK * BLOCK * kv_row_bytes(a->kv, a->head_dim);
}

/* The far keys are the near ones once more: what is read is as much. */
static struct kv_view head_view(const struct load *load, int64_t head) {
    const struct load_attention *a = &load->attention;
    const char *keys = load->memory + head * 2 * head_bytes(a);
    int64_t blocks = (a->keys + BLOCK - 1) / BLOCK;
    struct kv_view view = {.type = a->kv,
                           .head_dim = a->head_dim,
                           .block = BLOCK,
                           .parts = 1,
                           .tokens = a->keys,
                           .keys_near = keys,
                           .ring_near = blocks,
                           .keys_far = a->grouped ? keys : NULL,
                           .values = keys + head_bytes(a),
                           .ring_values = blocks};
    return view;
}

enum status load_open_attention(const struct load_attention *attention, const void *memory,
                                int64_t bytes, struct load *load) {
    memset(load, 0, sizeof *load);
    load->is_attention = true;
    load->attention = *attention;
    load->memory = memory;
    load->memory_bytes = bytes;
    struct load_attention *a = &load->attention;
    a->heads = min_of(a->heads, bytes / (2 * head_bytes(a)));
    int64_t rows = a->tokens * a->group, q = lines(rows * a->head_dim), row = lines(rows);
    int64_t each = 3 * q + 2 * row;
    TRY(take_data(load, a->heads * each + lines(2 * rows)));
    load->tasks = calloc((size_t)a->heads + 1, sizeof *load->tasks);
    if (!load->tasks)
        return status_no_memory("kernel's data", a->heads * (int64_t)sizeof *load->tasks);
    int64_t *positions = load->data;
    for (int64_t r = 0; r < rows; r++)
        positions[r] = a->keys - a->tokens + r / a->group;
    float *at = (float *)load->data + lines(2 * rows);
    for (int64_t head = 0; head < a->heads; head++, at += each) {
        fill(at, 2 * q);
        load->tasks[head] =
            (struct attention_task){.keys = head_view(load, head),
                                    .queries = {rows, positions, at, a->grouped ? at + q : NULL,
                                                at + 2 * q, at + 3 * q, at + 3 * q + row}};
    }
    return STATUS_OK;
}

void load_close(struct load *load) {
    free(load->data);
    free(load->tasks);
    memset(load, 0, sizeof *load);
}

static bool run_product(struct load *load) {
    const struct load_product *p = &load->product;
    int64_t bytes = (int64_t)load_bytes(load);
    struct matrix w = {p->weights, p->N, p->K, load->memory + load->at, 0};
    struct gemm_input in = gemm_prepare(&load->scratch, p->T, p->K, load->x);
    gemm_xwt(&in, &w, load->y);
    load->at = load->at + 2 * bytes <= load->memory_bytes ? (load->at + bytes + 63) / 64 * 64 : 0;
    return true;
}

bool load_run(struct load *load) {
    const struct load_attention *a = &load->attention;
    if (!load->is_attention)
        return run_product(load);
    return attention_run(a->isa, a->compute, a->grouped ? ATTENTION_GROUPED : ATTENTION_ALL_NEAR,
                         LOAD_WINDOW, load->tasks, a->heads);
}

double load_operations(const struct load *load) {
    const struct load_attention *a = &load->attention;
    const struct load_product *p = &load->product;
    static const struct scheme plain = {ZONE_ALL_NEAR, 0, 1};
    if (!load->is_attention)
        return 2.0 * (double)p->T * (double)p->N * (double)p->K;
    return 4.0 * (double)(a->head_dim * a->group * a->heads) *
           work_pairs(&plain, a->keys - a->tokens, a->tokens);
}

double load_bytes(const struct load *load) {
    const struct load_attention *a = &load->attention;
    const struct load_product *p = &load->product;
    if (!load->is_attention)
        return (double)matrix_bytes(p->weights, p->N, p->K);
    return 2.0 * (double)(a->heads * a->keys * kv_row_bytes(a->kv, a->head_dim));
}
