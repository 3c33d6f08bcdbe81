#include "launch/restart.h"

#include "kernels/gemm.h"
#include "launch/cpus.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_set(const char *name) {
    return getenv(name) != NULL;
}

/* Open MPI 4.1 tells its ranks in the environment that it bound them, and what of it was asked for.
 */
static bool bound_by_default(void) {
    static const char *const asked[] = {"OMPI_MCA_hwloc_base_binding_policy",
                                        "OMPI_MCA_rmaps_base_mapping_policy",
                                        "OMPI_MCA_rmaps_base_cpus_per_rank",
                                        "OMPI_MCA_hwloc_base_cpu_list", "OMPI_MCA_orte_rankfile"};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        if (is_set(asked[i]))
            return false;
    return is_set("OMPI_MCA_orte_bound_at_launch");
}

/* The launcher itself, this process's parent, is not bound: its CPUs are those of the job. */
static bool release_binding(void) {
    struct cpus own, job;
    if (!bound_by_default() || !cpus_of_process(0, &own) || !cpus_of_process(getppid(), &job))
        return false;
    if (memcmp(&own, &job, sizeof own) == 0)
        return false;
    return cpus_bind(&job);
}

/* Ranks of this node, as far as the launcher's environment tells. */
static int64_t local_ranks(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        int64_t ranks = text ? strtoll(text, NULL, 10) : 0;
        if (ranks > 0)
            return ranks;
    }
    return 1;
}

/* Whether threads will wait for CPUs. A rank that may not use every CPU is taken to have its own
 * for itself. */
static bool is_crowded(int64_t threads) {
    struct cpus own;
    if (!cpus_of_process(0, &own))
        return false;
    int64_t cpus = cpus_count(&own), ranks = local_ranks();
    bool alone = cpus < sysconf(_SC_NPROCESSORS_ONLN);
    return (threads ? threads : 1) * (alone ? 1 : ranks) > cpus;
}

static bool stop_spinning(void) {
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    if (is_set("OMP_WAIT_POLICY") || is_set("GOMP_SPINCOUNT"))
        return false;
    return setenv("OMP_WAIT_POLICY", "passive", 0) == 0;
}

void restart_prepared(char **argv, int64_t threads) {
    const char *core = gemm_core_wanted();
    bool anew = release_binding();
    if (core)
        anew = setenv("OPENBLAS_CORETYPE", core, 1) == 0 || anew;
    if (is_crowded(threads))
        anew = stop_spinning() || anew;
    if (anew)
        execv("/proc/self/exe", argv);
}

/* After a restart the binding is already the launcher's. */
bool restart_released(void) {
    struct cpus own, job;
    return bound_by_default() && cpus_of_process(0, &own) && cpus_of_process(getppid(), &job) &&
           memcmp(&own, &job, sizeof own) == 0;
}
