/* quire inspect FILE.h5: what a reading holds, and with --verify whether it is whole; quire export:
 * some of it as plain datasets. Neither needs the model, ranks or a lock. */
#include "launch/command.h"

#include "dist/reading_verify.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct book_look {
    const struct options *options;
    struct session session; /* of the ranks alone */
    struct report report;
    struct reading *reading; /* rank 0 */
    int64_t blocks_verified;
};

static void time_text(int64_t seconds, char *text, size_t size) {
    time_t time = (time_t)seconds;
    struct tm broken;
    if (!localtime_r(&time, &broken) || !strftime(text, size, "%Y-%m-%d %H:%M:%S", &broken))
        snprintf(text, size, "unknown");
}

static void print_text(const struct reading *r) {
    const struct reading_header *h = &r->header;
    if (h->text_bytes < 0)
        printf("  %-20s%s (token ids), hash %s\n", "text", h->text_name, h->text_hash);
    else
        printf("  %-20s%s, %" PRId64 " bytes, hash %s\n", "text", h->text_name, h->text_bytes,
               h->text_hash);
    if (h->text_tokens == 0)
        printf("  %-20s%" PRId64 " of a conversation\n", "tokens", r->commit.tokens);
    else
        printf("  %-20s%" PRId64 " of %" PRId64 ", %s\n", "tokens", r->commit.tokens,
               h->text_tokens,
               reading_is_complete(h, &r->commit) ? "complete"
                                                  : "not complete: read on with quire ingest");
    printf("  %-20s%" PRId64 ", %" PRId64 " of it free\n", "room, tokens", h->capacity,
           h->capacity - r->commit.known);
}

static void print_commit(const struct reading *r) {
    char when[64];
    const struct reading_commit *c = &r->commit;
    printf("  %-20s%s\n", "created on", r->header.mesh);
    if (c->sequence == 0) {
        printf("  %-20snone yet\n", "last commit");
        return;
    }
    time_text(c->time, when, sizeof when);
    printf("  %-20snumber %" PRId64 ", %s, on pp=%" PRId64 ",tp=%" PRId64 ",sp=%" PRId64 "\n",
           "last commit", c->sequence, when, c->mesh.pp, c->mesh.tp, c->mesh.sp);
}

static void print_all(const struct book_look *look) {
    const struct reading *r = look->reading;
    const struct reading_header *h = &r->header;
    printf("Reading %s\n", r->path);
    print_text(r);
    printf("  %-20s%s (%s), identity %s\n", "model", h->model, h->family, h->model_identity);
    printf("  %-20s%" PRId64 " layers, %" PRId64 " key/value heads of %" PRId64 "\n", "shape",
           h->layers, h->kv_heads, h->head_dim);
    if (h->group)
        printf("  %-20sSelfExtend, G=%" PRId64 ", w=%" PRId64 "\n", "attention", h->group,
               h->window);
    else
        printf("  %-20splain\n", "attention");
    printf("  %-20skeys and values %s, weights %s (stored as %s), arithmetic %s\n", "types", h->kv,
           h->weights, h->dtype, h->compute);
    printf("  %-20s%s; trained context %" PRId64 "\n", "rotary embedding", h->rope, h->context);
    printf("  %-20s%" PRId64 " tokens\n", "chunk", h->chunk);
    print_commit(r);
    printf("  %-20s%s, %s of it committed\n", "size", units_bytes(reading_bytes(h)).text,
           units_bytes(reading_committed_bytes(r)).text);
    printf("  %-20sversion %d, by quire %s\n", "format", READING_VERSION, h->quire_version);
    if (look->options->verify)
        printf("  %-20sintact: all %" PRId64 " committed blocks have their checksums\n", "verified",
               look->blocks_verified);
}

static void put_field(void *object, const char *name, const char *text, const int64_t *number) {
    json_object_set_new(object, name,
                        text ? report_text(text, (int64_t)strlen(text)) : json_integer(*number));
}

static json_t *commit_object(const struct reading_commit *c) {
    json_t *object =
        json_pack("{s:I,s:I}", "sequence", (json_int_t)c->sequence, "time", (json_int_t)c->time);
    json_object_set_new(object, "mesh", report_mesh(c->mesh));
    return object;
}

static void report_all(struct book_look *look) {
    const struct reading *r = look->reading;
    const struct options *o = look->options;
    json_t *root = look->report.root, *book = json_object();
    if (!report_wanted(&look->report))
        return;
    reading_header_walk(&r->header, put_field, book);
    json_object_set_new(book, "format_version", json_integer(READING_VERSION));
    json_object_set_new(book, "committed_tokens", json_integer(r->commit.tokens));
    json_object_set_new(book, "known_tokens", json_integer(r->commit.known));
    json_object_set_new(book, "complete",
                        json_boolean(reading_is_complete(&r->header, &r->commit)));
    json_object_set_new(book, "commit",
                        r->commit.sequence ? commit_object(&r->commit) : json_null());
    json_object_set_new(book, "damaged_records", json_integer(r->damaged));
    json_object_set_new(book, "bytes", json_integer(reading_bytes(&r->header)));
    json_object_set_new(book, "committed_bytes", json_integer(reading_committed_bytes(r)));
    json_object_set_new(book, "verified_blocks",
                        o->verify ? json_integer(look->blocks_verified) : json_null());
    json_object_set_new(root, "schema", json_sprintf("quire.%s", command_name(o->command)));
    json_object_set_new(root, "version", json_string(QUIRE_VERSION));
    json_object_set_new(root, "asked",
                        json_pack("{s:s,s:o,s:b}", "command", command_name(o->command), "book",
                                  report_text(o->book, (int64_t)strlen(o->book)), "verify",
                                  o->verify));
    json_object_set_new(root, "reading", book);
}

static enum status inspect_book(struct book_look *look) {
    TRY(reading_look(look->options->book, &look->reading));
    if (look->reading->damaged)
        reading_warn_damaged(look->reading);
    if (look->options->verify)
        TRY(reading_verify(look->reading, &look->blocks_verified));
    report_all(look);
    if (!report_owns_stdout(&look->report))
        print_all(look);
    return STATUS_OK;
}

/* The committed tokens asked for. */
static enum status choose_tokens(const struct book_look *look, struct range *tokens) {
    struct range asked = look->options->range;
    int64_t most = look->reading->commit.tokens;
    int64_t end = asked.count < 0 ? most : range_end(asked);
    if (end > most || asked.first >= end)
        return status_usage("--range",
                            "found %" PRId64 ":%" PRId64
                            ", expected a range that is not empty within the %" PRId64
                            " tokens of the reading",
                            asked.first, end, most);
    *tokens = (struct range){asked.first, end - asked.first};
    return STATUS_OK;
}

static enum status export_book(struct book_look *look) {
    const struct options *o = look->options;
    struct range tokens;
    TRY(reading_look(o->book, &look->reading));
    if (look->reading->damaged)
        reading_warn_damaged(look->reading);
    for (int64_t i = 0; i < o->layers.count; i++)
        if (o->layers.values[i] >= look->reading->header.layers)
            return status_usage("--layers",
                                "found layer %" PRId64 ", expected 0 to %" PRId64
                                ", the reading's layers",
                                o->layers.values[i], look->reading->header.layers - 1);
    TRY(choose_tokens(look, &tokens));
    TRY(reading_export(look->reading, o->output, tokens, o->layers.values, o->layers.count));
    report_all(look);
    if (report_wanted(&look->report)) {
        json_t *root = look->report.root;
        json_object_set_new(root, "output", report_text(o->output, (int64_t)strlen(o->output)));
        json_object_set_new(
            root, "range",
            json_pack("[I,I]", (json_int_t)tokens.first, (json_int_t)range_end(tokens)));
    }
    return STATUS_OK;
}

static enum status run(struct book_look *look, enum status (*work)(struct book_look *)) {
    struct session *s = &look->session;
    struct mesh mesh = {1, 1, 1};
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    mesh.sp = size;
    s->options = look->options;
    s->seconds_started = MPI_Wtime();
    TRY(dist_open(MPI_COMM_WORLD, mesh, &s->dist));
    TRY(report_open(s, &look->report));
    TRY(status_agree(s->dist.world.comm, session_leads(s) ? work(look) : STATUS_OK));
    struct timings timings = {.total = MPI_Wtime() - s->seconds_started};
    return report_write(&look->report, s, &timings);
}

static enum status look_at(const struct options *options, enum status (*work)(struct book_look *)) {
    struct book_look look = {.options = options};
    enum status status = run(&look, work);
    reading_close(&look.reading);
    report_close(&look.report);
    dist_close(&look.session.dist);
    return status;
}

enum status command_inspect_book(const struct options *options) {
    return look_at(options, inspect_book);
}

enum status command_export(const struct options *options) {
    return look_at(options, export_book);
}
