/* The CPUs that a process may run on, and the cores that they are threads of. */
#ifndef QUIRE_LAUNCH_CPUS_H
#define QUIRE_LAUNCH_CPUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* CPUs that a mask has room for: more than a kernel is built for. */
#define CPUS_MAX 16384
#define CPUS_WORD_BITS (8 * (int)sizeof(unsigned long))
#define CPUS_WORDS (CPUS_MAX / CPUS_WORD_BITS)

struct cpus {
    unsigned long words[CPUS_WORDS];
};

static inline bool cpus_has(const struct cpus *cpus, int cpu) {
    return cpus->words[cpu / CPUS_WORD_BITS] >> cpu % CPUS_WORD_BITS & 1;
}

int64_t cpus_count(const struct cpus *cpus);

/* The mask of a process, 0: this one. False, errno set, where there is no answer. */
bool cpus_of_process(pid_t process, struct cpus *cpus);

/* Has this process run on these alone. False, errno set, where it may not. */
bool cpus_bind(const struct cpus *cpus);

/* Keeps the first CPU of each core alone: threads of one core share what computes. Where the kernel
 * does not tell (`sys`/cpuN/topology/thread_siblings_list; /sys/devices/system/cpu), a CPU is a
 * core.
 */
void cpus_keep_cores(const char *sys, struct cpus *cpus);

/* Takes a CPU, the first of its core that the mask has, and the core's others out of it. */
void cpus_drop_siblings(const char *sys, int cpu, struct cpus *cpus);

#endif
