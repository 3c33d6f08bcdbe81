#include "launch/machine.h"

#include "dist/dist.h"
#include "launch/cpus.h"
#include "launch/restart.h"
#include "partition/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SYS_CPU "/sys/devices/system/cpu"

/* Cores that come to this rank when each is divided among the ranks that may use it. */
static int64_t cores_share(const struct cpus *own, const int32_t *users) {
    double share = 0;
    for (int cpu = 0; cpu < CPUS_MAX; cpu++)
        if (cpus_has(own, cpu))
            share += 1.0 / users[cpu];
    return (int64_t)(share + 1e-6);
}

/* CPUs that Slurm gave each task, where it says so without enforcing it. */
static int64_t slurm_cpus(int64_t ranks_on_node) {
    const char *task = getenv("SLURM_CPUS_PER_TASK"), *node = getenv("SLURM_CPUS_ON_NODE");
    if (task && atoll(task) > 0)
        return atoll(task);
    return node && atoll(node) > 0 ? (atoll(node) + ranks_on_node - 1) / ranks_on_node : 0;
}

/* One thread for each core, none of them another rank's too. */
static void choose_threads(struct machine *m, int64_t share) {
    int64_t threads_of_core = m->cpus_of_rank / m->cores_of_rank;
    int64_t slurm = slurm_cpus(m->ranks_on_node);
    m->threads = share > 1 ? share : 1;
    m->threads_from = "cores";
    if (slurm && (slurm + threads_of_core - 1) / threads_of_core < m->threads) {
        m->threads = (slurm + threads_of_core - 1) / threads_of_core;
        m->threads_from = "slurm";
    }
}

/* The CPUs of the part-th of `parts` shares of a mask's cores. */
static void take_part(struct cpus *mask, int64_t parts, int64_t part) {
    struct cpus cores = *mask, rest = *mask;
    cpus_keep_cores(SYS_CPU, &cores);
    struct range own = range_part(cpus_count(&cores), parts, part);
    int64_t core = 0;
    /* What is left when one core's first CPU is taken out is that core's other CPUs. */
    for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!cpus_has(&cores, cpu))
            continue;
        struct cpus siblings = rest;
        cpus_drop_siblings(SYS_CPU, cpu, &rest);
        for (int i = 0; i < CPUS_WORDS; i++)
            siblings.words[i] &= ~rest.words[i];
        if (!range_has(own, core++))
            for (int i = 0; i < CPUS_WORDS; i++)
                mask->words[i] &= ~siblings.words[i];
    }
}

/* Where Open MPI's binding gave way, each rank of the node has its own share of the job's cores
 * instead: unbound, two ranks may run on one core for a while. */
static void bind_share(struct machine *m, struct cpus *own) {
    int rank;
    struct cpus same, cores = *own;
    int released = m->released;
    cpus_keep_cores(SYS_CPU, &cores);
    MPI_Comm_rank(m->node, &rank);
    MPI_Allreduce(MPI_IN_PLACE, &released, 1, MPI_INT, MPI_MIN, m->node);
    MPI_Allreduce(own->words, same.words, CPUS_WORDS, MPI_UNSIGNED_LONG, MPI_BAND, m->node);
    int alike = memcmp(own, &same, sizeof same) == 0;
    MPI_Allreduce(MPI_IN_PLACE, &alike, 1, MPI_INT, MPI_MIN, m->node);
    if (!released || !alike || cpus_count(&cores) < m->ranks_on_node)
        return;
    same = *own;
    take_part(&same, m->ranks_on_node, rank);
    if (cpus_bind(&same))
        *own = same;
}

/* What the masks of the node's ranks come to. Collective(node). */
static enum status look_at_cpus(struct machine *m, int64_t threads) {
    struct cpus own, cores, node;
    int32_t *users = calloc(CPUS_MAX, sizeof *users);
    enum status status = users ? STATUS_OK : status_no_memory("threads", CPUS_MAX * 4);
    if (!cpus_of_process(0, &own))
        status =
            status_fail("threads", "affinity mask",
                        "found no answer (%s), expected the CPUs of this process", strerror(errno));
    TRY(status_agree(m->node, status));
    bind_share(m, &own);
    cores = own;
    cpus_keep_cores(SYS_CPU, &cores);
    m->cpus_of_rank = cpus_count(&own);
    m->cores_of_rank = cpus_count(&cores);
    for (int cpu = 0; cpu < CPUS_MAX; cpu++)
        users[cpu] = cpus_has(&cores, cpu);
    MPI_Allreduce(MPI_IN_PLACE, users, CPUS_MAX, MPI_INT32_T, MPI_SUM, m->node);
    MPI_Allreduce(own.words, node.words, CPUS_WORDS, MPI_UNSIGNED_LONG, MPI_BOR, m->node);
    m->cpus_of_node = cpus_count(&node);
    cpus_keep_cores(SYS_CPU, &node);
    m->cores_of_node = cpus_count(&node);
    choose_threads(m, cores_share(&cores, users));
    if (threads) {
        m->threads = threads;
        m->threads_from = "asked";
    }
    free(users);
    return STATUS_OK;
}

enum status machine_open(MPI_Comm world, int64_t threads, struct machine *machine) {
    int ranks;
    memset(machine, 0, sizeof *machine);
    MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine->node);
    machine->open = true;
    MPI_Comm_size(machine->node, &ranks);
    machine->ranks_on_node = ranks;
    machine->released = restart_released();
    return look_at_cpus(machine, threads);
}

void machine_close(struct machine *machine) {
    if (machine->open)
        MPI_Comm_free(&machine->node);
    memset(machine, 0, sizeof *machine);
}

int machine_crowded(MPI_Comm world, const struct machine *machine, int *cores) {
    int rank, size;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    int crowded = machine->threads > machine->cores_of_rank, first = crowded ? rank : size;
    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, world);
    if (first == size)
        return -1;
    *cores = (int)machine->cores_of_rank;
    MPI_Bcast(cores, 1, MPI_INT, first, world);
    return first;
}
