#include "launch/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t cpus_count(const struct cpus *cpus) {
    int64_t count = 0;
    for (int i = 0; i < CPUS_WORDS; i++)
        count += __builtin_popcountl(cpus->words[i]);
    return count;
}

bool cpus_of_process(pid_t process, struct cpus *cpus) {
    memset(cpus, 0, sizeof *cpus);
    return sched_getaffinity(process, sizeof *cpus, (cpu_set_t *)cpus) == 0;
}

bool cpus_bind(const struct cpus *cpus) {
    return sched_setaffinity(0, sizeof *cpus, (const cpu_set_t *)cpus) == 0;
}

/* The list of a CPU's siblings, "0,64" or "0-1"; false where there is none. */
static bool read_siblings(const char *sys, int cpu, char *text, size_t size) {
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/cpu%d/topology/thread_siblings_list", sys, cpu);
    FILE *file = len < (int)sizeof path ? fopen(path, "r") : NULL;
    if (!file)
        return false;
    bool read = fgets(text, (int)size, file) != NULL;
    fclose(file);
    return read;
}

static void cpus_drop(int64_t cpu, struct cpus *cpus) {
    cpus->words[cpu / CPUS_WORD_BITS] &= ~(1ul << cpu % CPUS_WORD_BITS);
}

/* Takes the CPUs of a list like "0-3,8" above `cpu` out of the mask. */
static void drop_above(const char *list, int cpu, struct cpus *cpus) {
    for (const char *at = list; *at;) {
        char *end;
        long first = strtol(at, &end, 10), last = first;
        if (end == at)
            return;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        for (long c = first > cpu ? first : cpu + 1; c <= last && c < CPUS_MAX; c++)
            cpus_drop(c, cpus);
        at = *end == ',' ? end + 1 : "";
    }
}

void cpus_drop_siblings(const char *sys, int cpu, struct cpus *cpus) {
    char siblings[4096];
    if (read_siblings(sys, cpu, siblings, sizeof siblings))
        drop_above(siblings, cpu - 1, cpus);
    else
        cpus_drop(cpu, cpus);
}

void cpus_keep_cores(const char *sys, struct cpus *cpus) {
    char siblings[4096];
    for (int cpu = 0; cpu < CPUS_MAX; cpu++)
        if (cpus_has(cpus, cpu) && read_siblings(sys, cpu, siblings, sizeof siblings))
            drop_above(siblings, cpu, cpus);
}
