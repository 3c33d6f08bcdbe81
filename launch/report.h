/* The JSON report that --json asks for: one object with schema, version, what was asked, what was
 * understood, results and timings (documented in launch/REPORT.md). Rank 0 builds and writes it; on
 * the other ranks every call does nothing. On top of jansson. */
#ifndef QUIRE_LAUNCH_REPORT_H
#define QUIRE_LAUNCH_REPORT_H

#include "launch/session.h"
#include <jansson.h>

struct report {
    const char *path; /* --json, NULL: no report; "-": stdout */
    json_t *root;     /* owned; results of a command go in at top level */
    int descriptor;   /* opened before the work starts, so that an unwritable path fails early */
    bool created;     /* the path was not there before: it goes again when the work fails */
};

/* Opens the path for writing without cutting an old report short. Collective(world). */
enum status report_open(const struct session *session, struct report *report);

/* True where results are to be put into report->root (rank 0 with --json). */
bool report_wanted(const struct report *report);

/* A string whose bytes need not be UTF-8 (paths, generated text): what is not becomes U+FFFD. New
 * reference, NULL without memory. */
json_t *report_text(const char *text, int64_t len);

/* {"pp", "tp", "sp"}. New reference. */
json_t *report_mesh(struct mesh mesh);

/* The model's numbers, "family" to "parameters". New reference. */
json_t *report_model(const struct session *session);

/* Puts "asked" and "understood" (mesh, ranks, chunk, kv, isa, blas core, threads, libraries, model
 * shape, memory, and group, window, limit, method of `scheme` for `length` tokens). */
void report_session(struct report *report, const struct session *session,
                    const struct scheme *scheme, int64_t length);

/* Prints the table of --timing, puts "timings" and writes the whole. Collective(world): every rank gives its own seconds (reading
 * is prefill). A failed write is an error everywhere. */
struct timings {
    double loading, reading, generating, total;
    int64_t tokens_read, tokens_generated;
};
enum status report_write(struct report *report, const struct session *session,
                         const struct timings *timings);
void report_close(struct report *report);

/* True when stdout belongs to the report alone (--json -). */
bool report_owns_stdout(const struct report *report);

#endif
