#include "launch/bench_speed.h"

#include "kernels/machine_speed.h"
#include <stdlib.h>
#include <string.h>

/* Seconds of one sample: operations come steadily, memory needs longer. */
#define SECONDS_COMPUTE 0.03
#define SECONDS_READ 0.12

static enum status open_memory(struct bench_speed *speed) {
    speed->bytes = speed_memory_bytes() / speed->session->ranks_on_node;
    speed->memory = speed_memory(speed->bytes);
    return speed->memory ? STATUS_OK : status_no_memory("memory to read", speed->bytes);
}

enum status bench_speed_open(const struct session *session, struct bench_speed *speed) {
    MPI_Comm world = session->dist.world.comm;
    memset(speed, 0, sizeof *speed);
    speed->session = session;
    MPI_Allreduce(&session->threads, &speed->threads, 1, MPI_INT64_T, MPI_SUM, world);
    return status_agree(world, open_memory(speed));
}

void bench_speed_close(struct bench_speed *speed) {
    free(speed->memory);
    for (enum speed what = 0; what < SPEED_COUNT; what++)
        samples_free(&speed->all[what]);
    memset(speed, 0, sizeof *speed);
}

double bench_speed_with(const struct bench_speed *speed, enum speed what, enum isa isa,
                        int64_t threads) {
    const struct axis *world = &speed->session->dist.world;
    int own = (int)range_part(threads, world->size, world->rank).count;
    double rate = 0, sum;
    MPI_Barrier(world->comm);
    if (what == SPEED_F32)
        rate = speed_f32(isa, own, SECONDS_COMPUTE);
    else if (what == SPEED_BF16)
        rate = speed_bf16(isa, own, SECONDS_COMPUTE);
    else
        rate = speed_read(isa, own, SECONDS_READ, speed->memory, speed->bytes);
    MPI_Allreduce(&rate, &sum, 1, MPI_DOUBLE, MPI_SUM, world->comm);
    return sum;
}

enum status bench_speed_sample(struct bench_speed *speed, enum speed what, double *rate) {
    *rate = bench_speed_with(speed, what, speed->session->isa, speed->threads);
    enum status status = samples_add(&speed->all[what], *rate);
    return status_agree(speed->session->dist.world.comm, status);
}

enum speed bench_speed_of(enum compute compute) {
    return compute == COMPUTE_BF16 ? SPEED_BF16 : SPEED_F32;
}
