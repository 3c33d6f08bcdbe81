#include "launch/bench_levels.h"

#include "launch/report.h"
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Set for the processes that are started here. */
#define MARK "QUIRE_BENCH_PRODUCTS"

bool bench_levels_within(void) {
    return getenv(MARK) != NULL;
}

/* This process's environment for one of another level: without what MPI and OpenBLAS put there.
 * Owned by the caller: the array alone, its first two strings are `own`. */
static char **environment_for(char *own[2]) {
    static const char *const left_out[] = {
        "OMPI_", "PMIX_", "ORTE_", "QUIRE_ISA=", "OPENBLAS_CORETYPE=", MARK "="};
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **list = calloc(count + 3, sizeof *list);
    if (!list)
        return NULL;
    list[kept++] = own[0];
    list[kept++] = own[1];
    for (size_t i = 0; i < count; i++) {
        bool keep = true;
        for (size_t j = 0; j < sizeof left_out / sizeof left_out[0]; j++)
            keep = keep && strncmp(environ[i], left_out[j], strlen(left_out[j])) != 0;
        if (keep)
            list[kept++] = environ[i];
    }
    return list;
}

/* Starts it with its standard output in *output; 0 or a number of errno. */
static int start(const struct session *s, enum isa isa, pid_t *child, int *output) {
    char level[64], mark[] = MARK "=1", threads[32], runs[32];
    snprintf(level, sizeof level, "QUIRE_ISA=%s", isa_name(isa));
    snprintf(threads, sizeof threads, "%" PRId64, s->threads);
    snprintf(runs, sizeof runs, "%" PRId64, s->options->runs);
    char *arguments[] = {"quire",
                         "bench",
                         s->options->model ? "-m" : "--shape",
                         (char *)options_model(s->options),
                         "--kernels",
                         "--threads",
                         threads,
                         "--runs",
                         runs,
                         "--json",
                         "-",
                         NULL};
    char **environment = environment_for((char *[2]){level, mark});
    int pipes[2];
    if (!environment || pipe(pipes) != 0) {
        free(environment);
        return ENOMEM;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    posix_spawn_file_actions_addclose(&actions, pipes[1]);
    int error = posix_spawn(child, "/proc/self/exe", &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    free(environment);
    *output = pipes[0];
    if (error)
        close(pipes[0]);
    return error;
}

static double number_of(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

/* A row of its report as one of ours: rates stand for a run each second. */
static enum status take_row(const json_t *row, enum isa isa, struct bench_kernel *kernel) {
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *shape = json_string_value(json_object_get(row, "shape"));
    memset(kernel, 0, sizeof *kernel);
    snprintf(kernel->name, sizeof kernel->name, "%s", name ? name : "");
    snprintf(kernel->shape, sizeof kernel->shape, "%s", shape ? shape : "");
    kernel->isa = isa;
    kernel->peak = SPEED_F32;
    kernel->operations = number_of(row, "gflops") * 1e9;
    kernel->bytes = number_of(row, "gbs") * 1e9;
    TRY(samples_add(&kernel->runs, 1));
    TRY(samples_add(&kernel->peaks[SPEED_F32], number_of(row, "peak_gflops") * 1e9));
    return samples_add(&kernel->peaks[SPEED_READ], number_of(row, "peak_gbs") * 1e9);
}

static enum status take_rows(const json_t *report, enum isa isa, struct bench_kernels *kernels) {
    const json_t *rows = json_object_get(report, "kernels"), *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        struct bench_kernel *kernel;
        TRY(bench_kernels_add(kernels, 1, &kernel));
        TRY(take_row(row, isa, kernel));
    }
    return STATUS_OK;
}

static enum status measure(const struct session *s, enum isa isa, struct bench_kernels *kernels) {
    pid_t child;
    int output, ended = -1, error = start(s, isa, &child, &output);
    if (error)
        return status_fail("bench", isa_name(isa),
                           "found %s, expected a process for the level; take --machine alone, or "
                           "only the runs",
                           strerror(error));
    json_t *report = json_loadfd(output, JSON_DISABLE_EOF_CHECK, NULL);
    close(output);
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
        continue;
    enum status status = STATUS_OK;
    if (!report || ended != 0)
        status = status_fail("bench", isa_name(isa),
                             "found no result of its process (status %d), expected a report; see "
                             "what it said above",
                             ended);
    if (status == STATUS_OK)
        status = take_rows(report, isa, kernels);
    json_decref(report);
    return status;
}

enum status bench_levels_run(const struct session *s, struct bench_kernels *kernels) {
    enum status status = STATUS_OK;
    if (s->dist.world.size > 1 || bench_levels_within())
        return STATUS_OK;
    for (enum isa isa = s->isa; isa-- > ISA_GENERIC && status == STATUS_OK;)
        status = measure(s, isa, kernels);
    return status;
}
