/* CPUs and cores, with topologies of our own. */
#include "launch/cpus.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void put_siblings(struct path sys, int cpu, const char *list) {
    mkdir(path_of("%s/cpu%d", sys.text, cpu).text, 0700);
    struct path topology = path_of("%s/cpu%d/topology", sys.text, cpu);
    mkdir(topology.text, 0700);
    file_write_text(topology.text, "thread_siblings_list", list);
}

static struct cpus cpus_from(const char *list) {
    struct cpus cpus = {{0}};
    for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        int cpu = atoi(at);
        cpus.words[cpu / CPUS_WORD_BITS] |= 1ul << cpu % CPUS_WORD_BITS;
    }
    return cpus;
}

static void check_cores(struct path sys, const char *mask, const char *cores) {
    struct cpus got = cpus_from(mask), want = cpus_from(cores);
    cpus_keep_cores(sys.text, &got);
    ck_assert_msg(memcmp(&got, &want, sizeof got) == 0, "%s", mask);
}

/* Siblings far apart, as on most servers, and side by side; a mask with one of them alone. */
START_TEST(cores_of_threads) {
    struct path sys = files_new();
    put_siblings(sys, 0, "0,64");
    put_siblings(sys, 64, "0,64");
    put_siblings(sys, 1, "1,65");
    put_siblings(sys, 65, "1,65");
    put_siblings(sys, 2, "2-3");
    put_siblings(sys, 3, "2-3");
    check_cores(sys, "0,64", "0");
    check_cores(sys, "64", "64");
    check_cores(sys, "0,1,64,65", "0,1");
    check_cores(sys, "0,1,65", "0,1");
    check_cores(sys, "1,2,3,64", "1,2,64");
    check_cores(sys, "", "");
    files_remove(sys);
}
END_TEST

/* Nothing known, or nothing that can be read: each CPU counts. */
START_TEST(cores_of_the_unknown) {
    struct path sys = files_new();
    put_siblings(sys, 5, "what");
    put_siblings(sys, 6, "");
    check_cores(sys, "4,5,6,16383", "4,5,6,16383");
    files_remove(sys);
}
END_TEST

START_TEST(siblings_leave_together) {
    struct path sys = files_new();
    put_siblings(sys, 0, "0,64");
    put_siblings(sys, 64, "0,64");
    struct cpus cpus = cpus_from("0,1,64"), want = cpus_from("1"), none = {{0}};
    cpus_drop_siblings(sys.text, 0, &cpus);
    ck_assert_mem_eq(&cpus, &want, sizeof cpus);
    cpus_drop_siblings(sys.text, 1, &cpus); /* not known */
    ck_assert_mem_eq(&cpus, &none, sizeof cpus);
    files_remove(sys);
}
END_TEST

START_TEST(own_mask) {
    struct cpus cpus;
    ck_assert(cpus_of_process(0, &cpus));
    ck_assert_int_ge(cpus_count(&cpus), 1);
    ck_assert(cpus_bind(&cpus));
    struct cpus none = {{0}};
    ck_assert(!cpus_bind(&none));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cpus");
    suite_add(suite, "cores",
              (const TTest *const[]){cores_of_threads, cores_of_the_unknown,
                                     siblings_leave_together, own_mask, NULL});
    return suite_run(suite);
}
