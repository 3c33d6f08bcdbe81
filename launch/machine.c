#include "launch/machine.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* CPUs that a mask has room for: more than a kernel is built for. */
#define MASK_CPUS 16384
#define WORD_BITS (8 * (int)sizeof(unsigned long))
#define MASK_WORDS (MASK_CPUS / WORD_BITS)

struct cpu_mask {
    unsigned long words[MASK_WORDS];
};

static int64_t mask_count(const struct cpu_mask *mask) {
    int64_t count = 0;
    for (int i = 0; i < MASK_WORDS; i++)
        count += __builtin_popcountl(mask->words[i]);
    return count;
}

static enum status mask_read(struct cpu_mask *mask) {
    memset(mask, 0, sizeof *mask);
    if (sched_getaffinity(0, sizeof *mask, (cpu_set_t *)mask) != 0)
        return status_fail("threads", "affinity mask",
                           "found no answer (%s), expected the CPUs of "
                           "this process",
                           strerror(errno));
    return STATUS_OK;
}

static int64_t threads_automatic(const struct machine *m) {
    int64_t threads = m->cpus_of_node / m->ranks_on_node;
    if (threads > m->cpus_of_rank)
        threads = m->cpus_of_rank;
    return threads > 1 ? threads : 1;
}

enum status machine_open(MPI_Comm world, int64_t threads, struct machine *machine) {
    struct cpu_mask own, node;
    int ranks;
    enum status status = mask_read(&own);
    memset(machine, 0, sizeof *machine);
    MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine->node);
    machine->open = true;
    MPI_Comm_size(machine->node, &ranks);
    MPI_Allreduce(own.words, node.words, MASK_WORDS, MPI_UNSIGNED_LONG, MPI_BOR, machine->node);
    machine->ranks_on_node = ranks;
    machine->cpus_of_rank = mask_count(&own);
    machine->cpus_of_node = mask_count(&node);
    machine->threads = threads ? threads : threads_automatic(machine);
    return status;
}

void machine_close(struct machine *machine) {
    if (machine->open)
        MPI_Comm_free(&machine->node);
    memset(machine, 0, sizeof *machine);
}

int machine_crowded(MPI_Comm world, const struct machine *machine, int *cpus) {
    int rank, size;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    int crowded = machine->threads > machine->cpus_of_rank, first = crowded ? rank : size;
    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, world);
    if (first == size)
        return -1;
    *cpus = (int)machine->cpus_of_rank;
    MPI_Bcast(cpus, 1, MPI_INT, first, world);
    return first;
}
