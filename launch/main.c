/* The program: prepares the process, starts MPI, runs one command, prints the one line that says
 * why it failed. */
#include "dist/dist.h"
#include "kernels/cpu.h"
#include "launch/command.h"
#include "launch/options.h"
#include "launch/pause.h"
#include "launch/restart.h"
#include "launch/versions.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <mpi.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Open MPI 4.1.4 (Debian 12) reads and writes wrong data where strided file accesses of a process
 * are merged by "data sieving": holes between them come back as garbage. Off, unless the user set
 * it. */
static void set_mpi_defaults(void) {
    setenv("OMPI_MCA_fbtl_posix_read_datasieving", "0", 0);
    setenv("OMPI_MCA_fbtl_posix_write_datasieving", "0", 0);
}

/* A standard stream that was closed at the start would be the number of the next file opened: the
 * text would go into the report. In its place stands what can be neither read nor written. */
static void keep_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Before MPI_Init only the launcher's environment tells which rank this is. */
static bool leads_before_mpi(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *rank = getenv(names[i]);
        if (rank)
            return strcmp(rank, "0") == 0;
    }
    return true;
}

/* What was printed is only done when it is out. */
static enum status flush_output(void) {
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return status_fail("standard output", NULL,
                           "found %s, expected room for the result; write it elsewhere",
                           strerror(errno ? errno : EIO));
    return STATUS_OK;
}

static void print_failure(void) {
    fprintf(stderr, "quire: %s\n", status_text());
}

/* --help and --version need no ranks. */
static int print_words(const struct options *options) {
    if (!leads_before_mpi())
        return STATUS_OK;
    if (options->command == COMMAND_HELP)
        options_help(options->help_on);
    else
        versions_print();
    enum status status = flush_output();
    if (status != STATUS_OK)
        print_failure();
    return status;
}

/* What needs one rank and no MPI. */
static int run_alone(const struct options *options) {
    if (!leads_before_mpi())
        return STATUS_OK;
    enum status status = command_tokenize(options);
    if (status == STATUS_OK)
        status = flush_output();
    if (status != STATUS_OK)
        print_failure();
    return status;
}

static enum status run_command(const struct options *options) {
    static enum status (*const commands[])(const struct options *) = {
        [COMMAND_GENERATE] = command_generate, [COMMAND_PERPLEXITY] = command_perplexity,
        [COMMAND_PASSKEY] = command_passkey,   [COMMAND_INSPECT] = command_inspect,
        [COMMAND_CAPTURE] = command_capture,   [COMMAND_INGEST] = command_ingest,
        [COMMAND_ASK] = command_ask,           [COMMAND_EXPORT] = command_export,
        [COMMAND_BENCH] = command_bench,
    };
    TRY(commands[options->command](options));
    return flush_output();
}

/* HDF5 1.10 frees a file whose closing failed (a full disk, a broken one) but keeps its handle, and
 * would close it again when it ends itself inside MPI_Finalize. Every file is closed by then: woken
 * before MPI, and told so, it does not. */
static void start_hdf5(void) {
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* Wrong usage goes this way too: a rank that left with a failure before MPI_Init would have the
 * launcher end the others, before one of them said why. */
static enum status run_with_mpi(int argc, char **argv, enum status parsed,
                                const struct options *options) {
    int threading, rank;
    enum status status = parsed;
    start_hdf5();
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &threading);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (status == STATUS_OK && threading < MPI_THREAD_FUNNELED)
        status = status_fail("MPI", "threads",
                             "found a library without MPI_THREAD_FUNNELED, "
                             "expected one with it");
    if (status == STATUS_OK)
        status = run_command(options);
    status = status_agree(MPI_COMM_WORLD, status);
    if (status != STATUS_OK && status != STATUS_PAUSED && rank == 0)
        print_failure();
    MPI_Barrier(MPI_COMM_WORLD); /* nobody leaves before the line is out */
    MPI_Finalize();
    return status;
}

int main(int argc, char **argv) {
    struct options options;
    keep_standard_streams();
    set_mpi_defaults();
    signal(SIGPIPE, SIG_IGN);
    isa_available(); /* asks Linux for the tiles, before MPI and OpenMP start threads */
    enum status status = options_parse(argc, argv, &options);
    restart_prepared(argv, status == STATUS_OK ? options.threads : 0);
    if (status == STATUS_OK &&
        (options.command == COMMAND_INGEST || options.command == COMMAND_CAPTURE || options.save ||
         options.resume))
        pause_catch_signals();
    if (status == STATUS_OK &&
        (options.command == COMMAND_HELP || options.command == COMMAND_VERSION))
        status = (enum status)print_words(&options);
    else if (status == STATUS_OK && options.command == COMMAND_TOKENIZE)
        status = (enum status)run_alone(&options);
    else
        status = run_with_mpi(argc, argv, status, &options);
    options_free(&options);
    return (int)status;
}
