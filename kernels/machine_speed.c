#include "kernels/machine_speed.h"

#include "kernels/machine_speed_level.h"
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE_PAGE ((int64_t)2 << 20)

/* What one thread measures: `step` is repeated until the time is over. */
struct measurement {
    int64_t (*compute)(void);
    int64_t (*read)(const char *from, int64_t bytes, int streams);
    const char *memory; /* of this thread, for read */
    int64_t bytes;
    int streams;
};

/* What reading came to goes here, so that the compiler cannot do without it. */
static volatile int64_t unused;

/* A round's worth of work: operations, or bytes. */
static int64_t step(const struct measurement *m, int64_t *at) {
    if (m->compute)
        return m->compute();
    if (*at + SPEED_PIECE > m->bytes)
        *at = 0;
    unused = m->read(m->memory + *at, SPEED_PIECE, m->streams);
    *at += SPEED_PIECE;
    return SPEED_PIECE;
}

static double rate_of_thread(const struct measurement *m, double seconds) {
    int64_t done = 0, at = 0;
    double start = omp_get_wtime(), now;
    do {
        done += step(m, &at);
        now = omp_get_wtime();
    } while (now - start < seconds);
    return (double)done / (now - start);
}

static double compute_rate(int64_t (*compute)(void), int threads, double seconds) {
    double rate = 0;
    if (threads < 1)
        return 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
    {
        struct measurement m = {.compute = compute};
        rate = rate_of_thread(&m, seconds);
    }
    return rate;
}

double speed_f32(enum isa isa, int threads, double seconds) {
    return compute_rate(isa >= ISA_AVX512 ? speed_f32_avx512
                        : isa == ISA_AVX2 ? speed_f32_avx2
                                          : speed_f32_generic,
                        threads, seconds);
}

double speed_bf16(enum isa isa, int threads, double seconds) {
    if (isa >= ISA_AMX)
        return compute_rate(speed_bf16_amx, threads, seconds);
    return isa == ISA_AVX512_BF16 ? compute_rate(speed_bf16_avx512, threads, seconds) : 0;
}

static double read_rate(enum isa isa, int threads, double seconds, const char *memory,
                        int64_t bytes, int streams) {
    int64_t part = bytes / threads / SPEED_PIECE * SPEED_PIECE;
    double rate = 0;
    if (part == 0)
        return 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
    {
        struct measurement m = {.read = isa >= ISA_AVX512 ? speed_read_avx512
                                        : isa == ISA_AVX2 ? speed_read_avx2
                                                          : speed_read_generic,
                                .memory = memory + part * omp_get_thread_num(),
                                .bytes = part,
                                .streams = streams};
        rate = rate_of_thread(&m, seconds);
    }
    return rate;
}

double speed_read(enum isa isa, int threads, double seconds, const void *memory, int64_t bytes) {
    double best = 0;
    for (int streams = 1; streams <= 4 && threads > 0; streams *= 2) {
        double rate = read_rate(isa, threads, seconds / 3, memory, bytes, streams);
        best = rate > best ? rate : best;
    }
    return best;
}

/* A number in (-1, 1) as bf16: random sign and fraction, and a random exponent of the four below
 * zero. */
static uint16_t random_bf16(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    uint16_t bits = (uint16_t)(*state >> 48), exponent = (uint16_t)(126 - (bits >> 7 & 3));
    return (uint16_t)((bits & 0x807f) | exponent << 7);
}

void *speed_memory(int64_t bytes) {
    int64_t pages = (bytes + LARGE_PAGE - 1) / LARGE_PAGE;
    uint16_t *memory = aligned_alloc((size_t)LARGE_PAGE, (size_t)(pages * LARGE_PAGE));
    if (!memory)
        return NULL;
    madvise(memory, (size_t)(pages * LARGE_PAGE), MADV_HUGEPAGE);
    int64_t per_page = LARGE_PAGE / (int64_t)sizeof *memory;
#pragma omp parallel for schedule(static)
    for (int64_t page = 0; page < pages; page++) {
        uint64_t state = (uint64_t)page;
        for (int64_t i = 0; i < per_page; i++)
            memory[page * per_page + i] = random_bf16(&state);
    }
    return memory;
}

/* The C library names the cache of the whole processor, of which a virtual machine has a part. */
int64_t speed_memory_bytes(void) {
    int64_t cache = sysconf(_SC_LEVEL3_CACHE_SIZE), least = (int64_t)512 << 20, most = 2 * least;
    return 4 * cache > most ? most : 4 * cache > least ? 4 * cache : least;
}
