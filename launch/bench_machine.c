#include "launch/bench_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Up to here every number of threads. */
#define EVERY 8

static int64_t threads_after(int64_t threads, int64_t all) {
    int64_t next = threads < EVERY ? threads + 1 : 2 * threads;
    return threads < all && next > all ? all : next;
}

static enum status take_rows(int64_t all, struct bench_machine *machine) {
    int64_t count = 0;
    for (int64_t t = 1; t <= all; t = threads_after(t, all))
        count++;
    machine->rows = calloc((size_t)count, sizeof *machine->rows);
    if (!machine->rows)
        return status_no_memory("machine", count * (int64_t)sizeof *machine->rows);
    for (int64_t t = 1; t <= all; t = threads_after(t, all))
        machine->rows[machine->count++].threads = t;
    return STATUS_OK;
}

/* The row of all threads also gives samples of the machine as a whole. */
static enum status measure(struct bench_speed *speed, enum speed what, enum isa isa,
                           struct bench_machine_row *row) {
    double rate;
    if (row->threads == speed->threads)
        TRY(bench_speed_sample(speed, what, &rate));
    else
        rate = bench_speed_with(speed, what, isa, row->threads);
    return samples_add(&row->rates[what], rate);
}

enum status bench_machine_run(const struct session *session, struct bench_speed *speed,
                              struct bench_machine *machine) {
    MPI_Comm world = session->dist.world.comm;
    memset(machine, 0, sizeof *machine);
    TRY(status_agree(world, take_rows(speed->threads, machine)));
    for (int64_t round = 0; round < session->options->runs; round++)
        for (int64_t i = 0; i < machine->count; i++)
            for (enum speed what = 0; what < SPEED_COUNT; what++)
                TRY(status_agree(world, measure(speed, what, session->isa, &machine->rows[i])));
    return STATUS_OK;
}

void bench_machine_free(struct bench_machine *machine) {
    for (int64_t i = 0; i < machine->count; i++)
        for (enum speed what = 0; what < SPEED_COUNT; what++)
            samples_free(&machine->rows[i].rates[what]);
    free(machine->rows);
    memset(machine, 0, sizeof *machine);
}

const char *bench_processor(void) {
    static char name[128];
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && !*name && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value)
            continue;
        value += strspn(value, ": ");
        snprintf(name, sizeof name, "%.*s", (int)strcspn(value, "\n"), value);
    }
    if (file)
        fclose(file);
    return name;
}
