#include "launch/report.h"

#include "launch/account.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *report_place(const struct report *report) {
    return report_owns_stdout(report) ? "standard output" : report->path;
}

static enum status open_file(struct report *report) {
    if (report_owns_stdout(report)) {
        report->descriptor = STDOUT_FILENO;
        return STATUS_OK;
    }
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC;
    report->descriptor = open(report->path, flags | O_EXCL, 0666);
    report->created = report->descriptor >= 0;
    if (!report->created && errno == EEXIST)
        report->descriptor = open(report->path, flags, 0666);
    if (report->descriptor < 0)
        return status_fail(report->path, "--json",
                           "found %s, expected a path that can be written; choose another",
                           strerror(errno));
    return STATUS_OK;
}

enum status report_open(const struct session *session, struct report *report) {
    enum status status = STATUS_OK;
    *report = (struct report){.path = session->options->json, .descriptor = -1};
    if (report->path && session_leads(session)) {
        status = open_file(report);
        report->root = json_object();
        if (status == STATUS_OK && !report->root)
            status = status_no_memory("report", (long long)sizeof(json_t));
    }
    return status_agree(session->dist.world.comm, status);
}

bool report_wanted(const struct report *report) {
    return report->root != NULL;
}

bool report_owns_stdout(const struct report *report) {
    return report->path && strcmp(report->path, "-") == 0;
}

static enum status write_all(const struct report *report, const char *text, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t put = write(report->descriptor, text + done, len - done);
        if (put < 0 && errno != EINTR)
            return status_fail(report_place(report), "--json",
                               "found %s, expected room for %zu bytes; choose another place",
                               strerror(errno), len);
        done += put > 0 ? (size_t)put : 0;
    }
    return STATUS_OK;
}

/* An older report may have been longer. Devices and pipes have no length. */
static enum status cut_and_close(struct report *report, size_t len) {
    struct stat about;
    int fd = report->descriptor;
    if (report_owns_stdout(report))
        return STATUS_OK;
    bool failed =
        fstat(fd, &about) != 0 || (S_ISREG(about.st_mode) && ftruncate(fd, (off_t)len) != 0);
    int reason = errno;
    report->descriptor = -1;
    if (close(fd) != 0 && !failed) {
        failed = true;
        reason = errno;
    }
    if (failed)
        return status_fail(report->path, "--json",
                           "found %s, expected room for the report; choose another place",
                           strerror(reason));
    report->created = false;
    return STATUS_OK;
}

static enum status write_file(struct report *report) {
    char *text = json_dumps(report->root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text)
        return status_no_memory("report", 1 << 20);
    size_t len = strlen(text);
    text[len] = '\n'; /* takes the place of the NUL byte */
    enum status status = write_all(report, text, len + 1);
    if (status == STATUS_OK)
        status = cut_and_close(report, len + 1);
    free(text);
    return status;
}

static double rate(int64_t tokens, double seconds) {
    return seconds > 0 ? (double)tokens / seconds : 0;
}

/* The most that a rank spent in collectives, and the most memory that one held. */
static void most_of(const struct account *accounts, int64_t ranks, double *seconds,
                    int64_t *bytes) {
    *seconds = 0;
    *bytes = 0;
    for (int64_t rank = 0; rank < ranks; rank++) {
        const struct account *a = &accounts[rank];
        double own = 0;
        for (enum time_phase phase = 0; phase < TIME_PHASES; phase++)
            own +=
                a->times.seconds[phase][TIME_COMMUNICATION] + a->times.seconds[phase][TIME_WAITING];
        *seconds = own > *seconds ? own : *seconds;
        *bytes = a->peak_bytes > *bytes ? a->peak_bytes : *bytes;
    }
}

static void put_timings(struct report *report, const struct session *session,
                        const struct timings *own, const double longest[4],
                        const struct account *accounts) {
    double communication;
    int64_t peak_bytes, ranks = session->dist.world.size;
    most_of(accounts, ranks, &communication, &peak_bytes);
    json_t *t = json_object();
    json_object_set_new(t, "loading_s", json_real(longest[0]));
    json_object_set_new(t, "reading_s", json_real(longest[1]));
    json_object_set_new(t, "generating_s", json_real(longest[2]));
    json_object_set_new(t, "total_s", json_real(longest[3]));
    json_object_set_new(t, "communication_s", json_real(communication));
    json_object_set_new(t, "tokens_read", json_integer(own->tokens_read));
    json_object_set_new(t, "reading_tokens_per_s", json_real(rate(own->tokens_read, longest[1])));
    json_object_set_new(t, "tokens_generated", json_integer(own->tokens_generated));
    json_object_set_new(t, "generating_tokens_per_s",
                        json_real(rate(own->tokens_generated, longest[2])));
    json_object_set_new(t, "weight_bytes_read", json_integer(session->bytes_read));
    json_object_set_new(t, "ranks", account_json(accounts, ranks));
    json_object_set_new(report->root, "timings", t);
    json_object_set_new(json_object_get(json_object_get(report->root, "understood"), "memory"),
                        "peak_bytes_per_rank", json_integer(peak_bytes));
}

enum status report_write(struct report *report, const struct session *session,
                         const struct timings *timings) {
    struct account *accounts;
    enum status status = STATUS_OK;
    if (!report->path && !session->options->timing)
        return status;
    double longest[4] = {timings->loading, timings->reading, timings->generating, timings->total};
    MPI_Allreduce(MPI_IN_PLACE, longest, 4, MPI_DOUBLE, MPI_MAX, session->dist.world.comm);
    TRY(account_gather(session, &accounts));
    if (session->options->timing && accounts)
        status = account_print(accounts, session->dist.world.size);
    if (report->root && status == STATUS_OK) {
        put_timings(report, session, timings, longest, accounts);
        status = write_file(report);
    }
    free(accounts);
    return status_agree(session->dist.world.comm, status);
}

void report_close(struct report *report) {
    if (report->path && !report_owns_stdout(report) && report->descriptor >= 0)
        close(report->descriptor);
    if (report->created)
        unlink(report->path);
    json_decref(report->root);
    memset(report, 0, sizeof *report);
    report->descriptor = -1;
}
