/* Speed of the products beside what the machine can do, measured in turns in the same run:
 * many tokens against the peak of the processor's bf16 multiply-add, few tokens against the read
 * bandwidth, for weights in bf16 and in blocks of 8 and 4 bits. Threads as OMP_NUM_THREADS says;
 * medians and best of the rounds.
 *
 *     bench_gemm [ROUNDS] [TYPE] [TOKENS]     (default 9, all types, 1 to 512) */
#include "kernels/compute.h"
#include "kernels/gemm.h"
#include "kernels/machine_speed.h"
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 99

/* Seconds of one look at the machine. */
#define PEAK_SECONDS 0.05
#define READ_SECONDS 0.12

static int rounds = 9;
static enum isa isa;

/* What weights are taken from: far larger than the caches. */
static char *memory;
static int64_t memory_bytes;

/* One thing measured: its rates, one for each round. */
struct rates {
    double of[ROUNDS_MAX];
    int count;
};

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct rates *r) {
    qsort(r->of, (size_t)r->count, sizeof *r->of, compare);
    return r->of[r->count / 2];
}

static double best(struct rates *r) {
    qsort(r->of, (size_t)r->count, sizeof *r->of, compare);
    return r->of[r->count - 1];
}

/* What all threads do at most in a second: operations, or bytes read. */
static double machine_once(bool few) {
    int threads = omp_get_max_threads();
    return few ? speed_read(isa, threads, READ_SECONDS, memory, memory_bytes)
               : speed_bf16(isa, threads, PEAK_SECONDS);
}

/* One product's sizes, and the weight type that it is measured with. */
struct product {
    enum matrix_type type;
    int64_t T, N, K;
};

/* Seconds of one product, what is made of its input included. The weights lie one behind the
 * other in a memory larger than the caches, as those of layer after layer do. */
static double product_seconds(const struct product *p, const float *x,
                              const struct gemm_scratch *scratch, float *y) {
    int64_t bytes = matrix_bytes(p->type, p->N, p->K), at = 0;
    int times = 0;
    double start = omp_get_wtime(), seconds;
    do {
        struct gemm_input in = gemm_prepare(scratch, p->T, p->K, x);
        struct matrix w = {p->type, p->N, p->K, memory + at, 0};
        gemm_xwt(&in, &w, y);
        times++;
        at = at + 2 * bytes <= memory_bytes ? at + bytes : 0;
        seconds = omp_get_wtime() - start;
    } while (seconds < 0.1);
    return seconds / times;
}

static void bench(const struct product *p) {
    int64_t T = p->T, N = p->N, K = p->K;
    float *x = calloc((size_t)(T * K), sizeof *x), *y = calloc((size_t)(T * N), sizeof *y);
    int64_t bytes = gemm_scratch_bytes(COMPUTE_BF16, true, T, K);
    void *room = aligned_alloc(64, (size_t)bytes);
    struct rates rate = {0}, machine = {0};
    bool few = T <= 8;
    if (!x || !y || !room)
        exit(1);
    struct gemm_scratch scratch = gemm_scratch_slice(COMPUTE_BF16, true, T, K, room);
    for (int round = 0; round < rounds; round++) {
        machine.of[machine.count++] = machine_once(few);
        double work = few ? (double)matrix_bytes(p->type, N, K) : 2.0 * (double)(T * N * K);
        rate.of[rate.count++] = work / product_seconds(p, x, &scratch, y);
    }
    const char *unit = few ? "GB/s" : "GFLOP/s";
    printf("%s T %4d  N %5d  K %5d: median %7.1f, best %7.1f %s; machine %7.1f, %7.1f; of it "
           "%3.0f %%, %3.0f %%\n",
           matrix_type_name(p->type), (int)T, (int)N, (int)K, median(&rate) * 1e-9,
           best(&rate) * 1e-9, unit, median(&machine) * 1e-9, best(&machine) * 1e-9,
           100 * median(&rate) / median(&machine), 100 * best(&rate) / best(&machine));
    fflush(stdout);
    free(x);
    free(y);
    free(room);
}

static void bench_all(const char *type, int64_t tokens) {
    static const int64_t shapes[][2] = {{2048, 2048}, {256, 2048},   {5632, 2048},
                                        {2048, 5632}, {4096, 11008}, {11008, 4096}};
    static const int64_t counts[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    for (enum matrix_type t = MATRIX_BF16; t < MATRIX_TYPE_COUNT; t++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                struct product p = {t, counts[c], shapes[s][0], shapes[s][1]};
                if ((!type || strcmp(type, matrix_type_name(t)) == 0) &&
                    (!tokens || tokens == counts[c]))
                    bench(&p);
            }
}

int main(int argc, char **argv) {
    if (argc > 1)
        rounds = atoi(argv[1]);
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    isa_chosen(&isa);
    if (!compute_has(COMPUTE_BF16, isa)) {
        printf("SKIP: bf16 products (found %s)\n", isa_name(isa));
        return 77;
    }
    gemm_init();
    memory_bytes = speed_memory_bytes();
    memory = speed_memory(memory_bytes);
    if (!memory)
        return 1;
    printf("%d threads, %s\n", omp_get_max_threads(), isa_name(isa));
    bench_all(argc > 2 ? argv[2] : NULL, argc > 3 ? atoi(argv[3]) : 0);
    free(memory);
    gemm_close();
    return 0;
}
