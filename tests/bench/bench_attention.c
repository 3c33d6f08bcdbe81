/* How fast the attention kernels go: for each level, head_dim and number of threads
 *
 *     prefill  512 rows (the 128 last tokens, 4 heads to one KV head) over 8,192 keys, plain and
 *              grouped (w = 1024, G = 8), in GFLOP/s, 4 d operations for each row and key it sees;
 *     decode   one token (4 rows to a KV head) over 16,384 keys, in GB/s of keys and values read.
 *
 * usage: bench_attention [threads ...]     (1 2) */
#include "kernels/attention.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 4, BLOCK = 128, REPEATS = 7 };

static void *allocate(int64_t bytes) {
    void *memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "bench_attention: no memory for %lld bytes\n", (long long)bytes);
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* Numbers in (-1, 1), the same in every run. */
static void fill(enum kv_type type, void *x, int64_t n) {
    uint64_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float f = (float)(int32_t)(state >> 32) * 0x1p-31f;
        if (type == KV_F32)
            ((float *)x)[i] = f;
        else
            memcpy((char *)x + 2 * i, (char *)&f + 2, 2);
    }
}

/* KV heads with their cache and the queries of the last tokens. */
struct load {
    int64_t count, rows, d, tokens;
    enum kv_type type;
    struct attention_task *tasks;
};

static struct load load_new(enum kv_type type, int64_t count, int64_t rows, int64_t d,
                            int64_t tokens) {
    struct load load = {count, rows, d, tokens, type, allocate(count * 256)};
    int64_t elements = tokens * d;
    for (int64_t i = 0; i < count; i++) {
        char *arrays = allocate(3 * elements * kv_type_bytes(type));
        float *rows_memory = allocate(rows * (3 * d + 2) * 4);
        int64_t *positions = allocate(rows * 8), bytes = elements * kv_type_bytes(type);
        fill(type, arrays, 3 * elements);
        fill(KV_F32, rows_memory, rows * 2 * d);
        for (int64_t r = 0; r < rows; r++)
            positions[r] = tokens - rows / HEADS + r / HEADS;
        load.tasks[i] = (struct attention_task){
            {.type = type,
             .head_dim = d,
             .block = BLOCK,
             .parts = 1,
             .tokens = tokens,
             .keys_near = arrays,
             .ring_near = tokens / BLOCK,
             .keys_far = arrays + bytes,
             .values = arrays + 2 * bytes,
             .ring_values = tokens / BLOCK},
            {rows, positions, rows_memory, rows_memory + rows * d, rows_memory + rows * 2 * d,
             rows_memory + rows * 3 * d, rows_memory + rows * (3 * d + 1)}};
    }
    return load;
}

static void load_free(struct load *load) {
    for (int64_t i = 0; i < load->count; i++) {
        free((void *)load->tasks[i].keys.keys_near);
        free((void *)load->tasks[i].queries.near);
        free((void *)load->tasks[i].queries.positions);
    }
    free(load->tasks);
}

/* Seconds of the fastest of several runs. */
static double load_time(const struct load *load, enum isa isa, enum attention_rule rule) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double start = omp_get_wtime();
        if (!attention_run(isa, COMPUTE_F32, rule, 1024, load->tasks, load->count))
            exit(EXIT_FAILURE);
        double time = omp_get_wtime() - start;
        best = time < best ? time : best;
    }
    return best;
}

static void prefill(enum isa isa, enum kv_type type, int64_t d, int threads) {
    struct load load = load_new(type, 1, 512, d, 8192);
    const struct attention_queries *queries = &load.tasks[0].queries;
    double pairs = 0;
    for (int64_t r = 0; r < load.rows; r++)
        pairs += (double)(queries->positions[r] + 1);
    double plain = 0, grouped = 0;
    for (int i = 0; i < 3; i++) { /* in turns, for the machine's speed may drift */
        double x = pairs * 4e-9 * (double)d / load_time(&load, isa, ATTENTION_ALL_NEAR);
        double y = pairs * 4e-9 * (double)d / load_time(&load, isa, ATTENTION_GROUPED);
        plain = x > plain ? x : plain;
        grouped = y > grouped ? y : grouped;
    }
    printf("%-8s prefill %-4s d %3lld threads %d: plain %6.1f GFLOP/s, grouped %6.1f (%.3f)\n",
           isa_name(isa), kv_type_name(type), (long long)d, threads, plain, grouped,
           grouped / plain);
    load_free(&load);
}

static void decode(enum isa isa, enum kv_type type, int64_t d, int threads) {
    struct load load = load_new(type, 1024 / d, HEADS, d, 16384);
    double bytes = 2.0 * (double)(load.count * load.tokens * d * kv_type_bytes(type));
    printf("%-8s decode  %-4s d %3lld threads %d: %5.1f GB/s\n", isa_name(isa), kv_type_name(type),
           (long long)d, threads, bytes * 1e-9 / load_time(&load, isa, ATTENTION_ALL_NEAR));
    load_free(&load);
}

int main(int argc, char **argv) {
    static const int64_t head_dims[] = {32, 64, 128};
    static char *both[] = {"", "1", "2"};
    int count = argc > 1 ? argc : 3;
    char **threads = argc > 1 ? argv : both;
    for (int t = 1; t < count; t++) {
        omp_set_num_threads(atoi(threads[t]));
        for (enum isa isa = isa_available() + 1; isa-- > ISA_GENERIC;)
            for (int i = 0; i < 3; i++)
                for (enum kv_type type = KV_F32; type <= KV_BF16; type++) {
                    prefill(isa, type, head_dims[i], atoi(threads[t]));
                    decode(isa, type, head_dims[i], atoi(threads[t]));
                }
    }
    return EXIT_SUCCESS;
}
