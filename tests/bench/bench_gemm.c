/* Speed of the products beside what the machine can do, measured in turns in the same run:
 * many tokens against the peak of the processor's bf16 multiply-add, few tokens against the read
 * bandwidth, for weights in bf16 and in blocks of 8 and 4 bits. Threads as OMP_NUM_THREADS says;
 * medians and best of the rounds.
 *
 *     bench_gemm [ROUNDS] [TYPE] [TOKENS]     (default 9, all types, 1 to 512)
 *     bench_gemm --machine    what the machine can do, alone */
#include "kernels/compute.h"
#include "kernels/gemm.h"
#include <immintrin.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ROUNDS_MAX 99

/* Bytes read for the bandwidth: far beyond any cache. */
#define READ_BYTES ((int64_t)1 << 30)
#define LARGE_PAGE ((size_t)2 << 20)

static int rounds = 9;

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

/* Sixteen independent sums keep every multiplier busy; 64 operations each. */
__attribute__((target("avx512f,avx512bf16"))) static void multiply_add(int64_t steps) {
    for (int64_t k = 0; k < steps; k++)
        __asm__ volatile(".irp sum,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
                         "vdpbf16ps %%zmm16, %%zmm17, %%zmm\\sum\n\t"
                         ".endr" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                               "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                               "xmm16", "xmm17");
}

/* FLOP/s of all threads. */
static double peak_once(void) {
    int64_t steps = 2000000;
    double start = omp_get_wtime();
#pragma omp parallel
    multiply_add(steps);
    return (double)steps * 16 * 64 * omp_get_max_threads() / (omp_get_wtime() - start);
}

__attribute__((target("avx512f"))) static int64_t read_part(const char *from, const char *end) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (; from < end; from += 256) {
        a = _mm512_add_epi64(a, _mm512_load_si512(from));
        b = _mm512_add_epi64(b, _mm512_load_si512(from + 64));
        c = _mm512_add_epi64(c, _mm512_load_si512(from + 128));
        d = _mm512_add_epi64(d, _mm512_load_si512(from + 192));
    }
    return _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)));
}

/* Bytes/s of all threads. */
static double read_once(const char *memory) {
    int64_t sum = 0;
    double start = omp_get_wtime();
#pragma omp parallel reduction(+ : sum)
    {
        int64_t part = READ_BYTES / omp_get_num_threads() / 256 * 256;
        const char *from = memory + part * omp_get_thread_num();
        sum += read_part(from, from + part);
    }
    double rate = (double)READ_BYTES / (omp_get_wtime() - start);
    if (sum == 42)
        puts("");
    return rate;
}

/* One product's sizes, and the weight type that it is measured with. */
struct product {
    enum matrix_type type;
    int64_t T, N, K;
};

/* Seconds of one product, what is made of its input included. The weights lie one behind the
 * other in a memory larger than the caches, as those of layer after layer do. */
static double product_seconds(const struct product *p, const char *memory, const float *x,
                              const struct gemm_scratch *scratch, float *y) {
    int64_t bytes = matrix_bytes(p->type, p->N, p->K), at = 0;
    int times = 0;
    double start = omp_get_wtime(), seconds;
    do {
        struct gemm_input in = gemm_prepare(scratch, p->T, p->K, x);
        struct matrix w = {p->type, p->N, p->K, memory + at, 0};
        gemm_xwt(&in, &w, y);
        times++;
        at = at + 2 * bytes <= READ_BYTES ? at + bytes : 0;
        seconds = omp_get_wtime() - start;
    } while (seconds < 0.1);
    return seconds / times;
}

static void bench(const struct product *p, const char *memory) {
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
        machine.of[machine.count++] = few ? read_once(memory) : peak_once();
        double work = few ? (double)matrix_bytes(p->type, N, K) : 2.0 * (double)(T * N * K);
        rate.of[rate.count++] = work / product_seconds(p, memory, x, &scratch, y);
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

static void bench_all(const char *type, int64_t tokens, const char *memory) {
    static const int64_t shapes[][2] = {{2048, 2048}, {256, 2048},   {5632, 2048},
                                        {2048, 5632}, {4096, 11008}, {11008, 4096}};
    static const int64_t counts[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    for (enum matrix_type t = MATRIX_BF16; t < MATRIX_TYPE_COUNT; t++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                struct product p = {t, counts[c], shapes[s][0], shapes[s][1]};
                if ((!type || strcmp(type, matrix_type_name(t)) == 0) &&
                    (!tokens || tokens == counts[c]))
                    bench(&p, memory);
            }
}

static void print_machine(const char *memory) {
    struct rates peak = {0}, read = {0};
    for (int round = 0; round < rounds; round++) {
        peak.of[peak.count++] = peak_once();
        read.of[read.count++] = read_once(memory);
    }
    printf("bf16 peak %.1f GFLOP/s, reading %.1f GB/s\n", best(&peak) * 1e-9, best(&read) * 1e-9);
}

int main(int argc, char **argv) {
    enum isa isa;
    bool machine = argc > 1 && strcmp(argv[1], "--machine") == 0;
    if (argc > 1 && !machine)
        rounds = atoi(argv[1]);
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    isa_chosen(&isa);
    if (!compute_has(COMPUTE_BF16, isa)) {
        printf("SKIP: bf16 products (found %s)\n", isa_name(isa));
        return 77;
    }
    gemm_init();
    char *memory = aligned_alloc(LARGE_PAGE, (size_t)READ_BYTES);
    if (!memory)
        return 1;
    madvise(memory, (size_t)READ_BYTES, MADV_HUGEPAGE); /* as the model's weights */
    memset(memory, 0, (size_t)READ_BYTES);
    printf("%d threads, %s\n", omp_get_max_threads(), isa_name(isa));
    if (machine)
        print_machine(memory);
    else
        bench_all(argc > 2 ? argv[2] : NULL, argc > 3 ? atoi(argv[3]) : 0, memory);
    free(memory);
    gemm_close();
    return 0;
}
