/* quire inspect: what a model directory holds, how far the model reads, and who would hold what of
 * it on a mesh. The mesh is one that could be: no ranks are needed for it. */
#include "launch/command.h"

#include "launch/chat.h"
#include "launch/inspect_family.h"
#include "launch/report.h"
#include "launch/rounding.h"
#include "launch/session.h"
#include "launch/table.h"
#include "launch/units.h"
#include "partition/plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Ranks whose shares are shown at most. */
#define INSPECT_RANKS_MAX ((int64_t)1 << 20)

struct inspection {
    const struct options *options;
    struct session session;
    struct report report;
    struct mesh mesh;
    int64_t length; /* tokens planned for */
    struct sequence_options sequence;
    struct plan_request request;
    char dtypes[128];
    json_t *unused;     /* owned: what of the directory nobody uses */
    int64_t node_bytes; /* free on this node */
    const char *node_source;
};

static int64_t at_least_one(int64_t n) {
    return n ? n : 1;
}

/* The ranks of the mesh asked about. */
static enum status count_ranks(const struct inspection *in, int64_t *ranks) {
    struct mesh m = in->options->mesh;
    *ranks = in->options->ranks;
    if (*ranks)
        return STATUS_OK;
    *ranks = in->session.dist.world.size;
    if (!m.pp && !m.tp && !m.sp)
        return STATUS_OK;
    int64_t axes[] = {at_least_one(m.pp), at_least_one(m.tp), at_least_one(m.sp)};
    *ranks = 1;
    for (int i = 0; i < 3; i++) {
        if (axes[i] > INSPECT_RANKS_MAX / *ranks)
            return status_usage(
                "--mesh", "found more than %" PRId64 " ranks, expected at most that; take fewer",
                INSPECT_RANKS_MAX);
        *ranks *= axes[i];
    }
    return STATUS_OK;
}

/* Threads take memory too. Ranks that do not run are taken to share a node like this one. */
static int64_t count_threads(const struct inspection *in) {
    const struct session *s = &in->session;
    int64_t ranks = mesh_ranks(in->mesh);
    if (in->options->threads || ranks == s->dist.world.size)
        return s->threads;
    return at_least_one(s->machine.cpus_of_node / ranks);
}

static enum status choose_plan(struct inspection *in) {
    struct session *s = &in->session;
    int64_t ranks;
    TRY(count_ranks(in, &ranks));
    TRY(mesh_complete(in->options->mesh, ranks, &s->shape, &in->mesh));
    in->length = in->options->length ? in->options->length : s->shape.context;
    in->sequence = session_sequence(s, false, in->length, in->length);
    s->threads = count_threads(in);
    in->request = sequence_plan(&in->sequence, s->threads);
    s->bytes_needed = plan_largest(&s->shape, in->mesh, &in->request);
    TRY(plan_node_memory(&in->node_bytes, &in->node_source));
    s->bytes_of_node = in->node_bytes;
    return STATUS_OK;
}

static void add_dtype(struct inspection *in, const char *dtype) {
    size_t used = strlen(in->dtypes), len = strlen(dtype);
    for (const char *at = in->dtypes; (at = strstr(at, dtype)); at += len)
        if (at[len] == ',' || at[len] == '\0')
            return;
    snprintf(in->dtypes + used, sizeof in->dtypes - used, "%s%s", used ? ", " : "", dtype);
}

/* The types of the tensors in the files, each once: "BF16", "F16, F32". */
static void list_dtypes(struct inspection *in) {
    const struct weights *weights = in->session.weights;
    for (int64_t i = 0; i < weights_count(weights); i++)
        add_dtype(in, weights_dtype(weights, weights_name(weights, i)));
}

static void print_number(const char *name, int64_t number) {
    printf("  %-20s%" PRId64 "\n", name, number);
}

static void print_text(const char *name, const char *text) {
    printf("  %-20s%s\n", name, text);
}

/* What --chat would take. */
static const char *chat_words(const struct tokenizer *tokenizer) {
    const char *own = tokenizer_chat_template(tokenizer);
    const struct chat_template *chat = own ? chat_recognise(own) : NULL;
    return chat ? chat_name(chat) : own ? "not known" : "none";
}

static void print_tokenizer(const struct session *s) {
    if (s->tokenizer)
        printf("  %-20s%s, %" PRId64 " tokens\n", "tokenizer", tokenizer_kind(s->tokenizer),
               tokenizer_size(s->tokenizer));
    else
        print_text("tokenizer", "none: reads --tokens only");
    if (s->tokenizer)
        print_text("chat template", chat_words(s->tokenizer));
    printf("  %-20s", "end of text");
    for (int32_t i = 0; i < s->stop_ids.count; i++)
        printf("%s%" PRId32, i ? ", " : "", s->stop_ids.ids[i]);
    printf("%s\n", s->stop_ids.count ? "" : "none");
}

static struct rounding rounding_of(const struct inspection *in) {
    return (struct rounding){in->session.weights, &in->session.shape, in->session.compute,
                             in->options->weights};
}

static void print_model(const struct inspection *in) {
    const struct session *s = &in->session;
    const struct shape *shape = &s->shape;
    printf("Model %s\n", in->options->model);
    print_text("family", shape->family);
    print_number("layers", shape->layers);
    print_number("hidden size", shape->hidden);
    print_number("query heads", shape->heads);
    print_number("key/value heads", shape->kv_heads);
    print_number("head size", shape->head_dim);
    if (shape->ffn)
        print_number("FFN size", shape->ffn);
    print_number("vocabulary", shape->vocab);
    print_text("head", shape->tied ? "the embedding table (tied)" : "a table of its own");
    print_number("parameters", shape_parameters(shape));
    print_text("stored as", in->dtypes);
    print_text("in the files", units_bytes(weights_bytes_total(s->weights)).text);
    print_number("trained context", shape->context);
    inspect_print_family(shape);
    print_tokenizer(s);
    struct rounding rounding = rounding_of(in);
    rounding_print(&rounding);
}

/* Groups to show when none is asked for. */
static const int64_t shown_groups[] = {2, 4, 8, 16, 32, 64};

/* The i-th scheme whose limit is shown; false behind the last. Plain attention comes first. */
static bool shown_scheme(const struct inspection *in, int64_t i, struct scheme *scheme) {
    struct scheme_request request = in->options->scheme;
    if (i == 0)
        request = (struct scheme_request){.plain = true};
    else if (request.plain)
        return false;
    else if (!request.group && i <= (int64_t)(sizeof shown_groups / sizeof shown_groups[0]))
        request.group = shown_groups[i - 1];
    else if (!request.group || i > 1)
        return false;
    *scheme = scheme_choose(&in->session.shape, request, in->length);
    return true;
}

static enum status print_limits(const struct inspection *in) {
    struct scheme scheme;
    struct table table;
    printf("\nLongest input within the trained context, tokens\n");
    table_open(&table, 4);
    table_put(&table, " attention");
    table_put(&table, "--group");
    table_put(&table, "--window");
    table_put(&table, "tokens");
    for (int64_t i = 0; shown_scheme(in, i, &scheme); i++) {
        bool grouped = scheme.rule == ZONE_GROUPED;
        table_put(&table, " %s", grouped ? "SelfExtend" : "plain");
        table_put(&table, grouped ? "%" PRId64 : "", scheme.group);
        table_put(&table, grouped ? "%" PRId64 : "", scheme.window);
        table_put(&table, "%" PRId64, scheme_reach(&scheme, in->session.shape.context));
    }
    enum status status = table_print(&table);
    table_close(&table);
    return status;
}

static void put_range(struct table *table, struct range r) {
    if (r.count > 1)
        table_put(table, "%" PRId64 "-%" PRId64, r.first, range_end(r) - 1);
    else
        table_put(table, r.count ? "%" PRId64 : "-", r.first);
}

static void put_rank(const struct inspection *in, int64_t rank, struct table *table) {
    const struct shape *shape = &in->session.shape;
    struct mesh_place place = mesh_place(in->mesh, rank);
    struct share share = share_of(shape, in->mesh, rank);
    struct plan plan = plan_rank(shape, in->mesh, rank, &in->request);
    struct cyclic cyclic = {.block = in->request.block, .parts = in->mesh.sp};
    table_put(table, " %" PRId64, rank);
    table_put(table, "%" PRId64 ".%" PRId64 ".%" PRId64, place.pp, place.tp, place.sp);
    put_range(table, share.layers);
    put_range(table, share.kv_heads);
    table_put(table, "%" PRId64, cyclic_count(cyclic, place.sp, in->length));
    put_range(table, share.heads);
    put_range(table, share.kv_rows);
    put_range(table, share.ffn);
    put_range(table, share.vocab);
    table_put(table, "%s", units_bytes(plan.weights).text);
    table_put(table, "%s", units_bytes(plan.kv).text);
    table_put(table, "%s", units_bytes(plan.activations).text);
    table_put(table, "%s", units_bytes(plan.overhead).text);
    table_put(table, "%s", units_bytes(plan.total).text);
}

static enum status print_ranks(const struct inspection *in) {
    static const char *const heads[] = {
        " rank", "pp.tp.sp",   "layers",  "KV heads", "KV tokens",   "heads",    "k/v rows",
        "FFN",   "vocabulary", "weights", "KV cache", "activations", "overhead", "total"};
    const struct sequence_options *q = &in->sequence;
    int64_t columns = sizeof heads / sizeof heads[0];
    struct table table;
    printf("\nWho holds what on pp=%" PRId64 ",tp=%" PRId64 ",sp=%" PRId64 " for %" PRId64
           " tokens, ",
           in->mesh.pp, in->mesh.tp, in->mesh.sp, in->length);
    if (q->scheme.rule == ZONE_GROUPED)
        printf("SelfExtend with G=%" PRId64 ", w=%" PRId64, q->scheme.group, q->scheme.window);
    else
        printf("plain attention");
    printf(", --compute %s, --weights %s, --kv %s, --chunk %" PRId64 ", --threads %" PRId64 "\n",
           compute_name(q->compute), weights_type_name(q->weights), kv_type_name(q->kv), q->chunk,
           in->session.threads);
    table_open(&table, columns);
    for (int64_t i = 0; i < columns; i++)
        table_put(&table, "%s", heads[i]);
    for (int64_t rank = 0; rank < mesh_ranks(in->mesh); rank++)
        put_rank(in, rank, &table);
    enum status status = table_print(&table);
    table_close(&table);
    printf("Free on this node: %s (%s)\n", units_bytes(in->node_bytes).text, in->node_source);
    return status;
}

static json_t *range_array(struct range r) {
    return json_pack("[I,I]", (json_int_t)r.first, (json_int_t)range_end(r));
}

static json_t *rank_object(const struct inspection *in, int64_t rank) {
    const struct shape *shape = &in->session.shape;
    struct mesh_place place = mesh_place(in->mesh, rank);
    struct share share = share_of(shape, in->mesh, rank);
    struct plan plan = plan_rank(shape, in->mesh, rank, &in->request);
    struct cyclic cyclic = {.block = in->request.block, .parts = in->mesh.sp};
    json_t *object = report_mesh((struct mesh){place.pp, place.tp, place.sp});
    json_object_set_new(object, "rank", json_integer(rank));
    json_object_set_new(object, "layers", range_array(share.layers));
    json_object_set_new(object, "kv_heads", range_array(share.kv_heads));
    json_object_set_new(object, "kv_tokens",
                        json_integer(cyclic_count(cyclic, place.sp, in->length)));
    json_object_set_new(object, "heads", range_array(share.heads));
    json_object_set_new(object, "kv_rows", range_array(share.kv_rows));
    json_object_set_new(object, "ffn", range_array(share.ffn));
    json_object_set_new(object, "vocab", range_array(share.vocab));
    json_object_set_new(object, "bytes",
                        json_pack("{s:I,s:I,s:I,s:I,s:I}", "weights", (json_int_t)plan.weights,
                                  "kv", (json_int_t)plan.kv, "activations",
                                  (json_int_t)plan.activations, "overhead",
                                  (json_int_t)plan.overhead, "total", (json_int_t)plan.total));
    return object;
}

static json_t *model_object(const struct inspection *in) {
    const struct session *s = &in->session;
    struct rounding rounding = rounding_of(in);
    json_t *model = report_model(s), *stops = json_array();
    for (int32_t i = 0; i < s->stop_ids.count; i++)
        json_array_append_new(stops, json_integer(s->stop_ids.ids[i]));
    json_object_set_new(model, "dtypes", json_string(in->dtypes));
    json_object_set_new(model, "bytes", json_integer(weights_bytes_total(s->weights)));
    json_object_set_new(model, "tied", json_boolean(s->shape.tied));
    json_object_set_new(model, "context", json_integer(s->shape.context));
    json_object_set_new(model, "sliding_window",
                        s->shape.sliding_window ? json_integer(s->shape.sliding_window)
                                                : json_null());
    inspect_put_family(&s->shape, model);
    json_object_set(model, "unused", in->unused);
    json_object_set_new(model, "rounding", rounding_object(&rounding));
    json_object_set_new(model, "held", rounding_held(&rounding));
    json_object_set_new(model, "stop_ids", stops);
    json_object_set_new(model, "tokenizer",
                        s->tokenizer
                            ? json_pack("{s:s,s:I,s:s}", "kind", tokenizer_kind(s->tokenizer),
                                        "size", (json_int_t)tokenizer_size(s->tokenizer),
                                        "chat_template", chat_words(s->tokenizer))
                            : json_null());
    return model;
}

static json_t *limits_array(const struct inspection *in) {
    json_t *limits = json_array();
    struct scheme scheme;
    for (int64_t i = 0; shown_scheme(in, i, &scheme); i++) {
        bool grouped = scheme.rule == ZONE_GROUPED;
        json_t *limit = json_object();
        json_object_set_new(limit, "method", json_string(grouped ? "self_extend" : "plain"));
        json_object_set_new(limit, "group", grouped ? json_integer(scheme.group) : json_null());
        json_object_set_new(limit, "window", grouped ? json_integer(scheme.window) : json_null());
        json_object_set_new(limit, "limit",
                            json_integer(scheme_reach(&scheme, in->session.shape.context)));
        json_array_append_new(limits, limit);
    }
    return limits;
}

/* The mesh that was asked about stands in for the one of this run. */
static void report_results(struct inspection *in) {
    if (!report_wanted(&in->report))
        return;
    json_t *root = in->report.root, *ranks = json_array();
    report_session(&in->report, &in->session, &in->sequence.scheme, in->length);
    json_t *understood = json_object_get(root, "understood");
    json_object_set_new(understood, "ranks", json_integer(mesh_ranks(in->mesh)));
    json_object_set_new(understood, "mesh", report_mesh(in->mesh));
    for (int64_t rank = 0; rank < mesh_ranks(in->mesh); rank++)
        json_array_append_new(ranks, rank_object(in, rank));
    json_object_set_new(root, "model", model_object(in));
    json_object_set_new(root, "limits", limits_array(in));
    json_object_set_new(root, "ranks", ranks);
}

/* Rank 0's part. */
static enum status show(struct inspection *in) {
    TRY(choose_plan(in));
    list_dtypes(in);
    TRY(inspect_unused(in->options->model, in->session.weights, &in->session.shape, &in->unused));
    report_results(in);
    if (report_owns_stdout(&in->report))
        return STATUS_OK;
    print_model(in);
    inspect_print_unused(&in->session.shape, in->unused);
    TRY(print_limits(in));
    return print_ranks(in);
}

static enum status run(struct inspection *in) {
    struct session *s = &in->session;
    enum status status = STATUS_OK;
    TRY(session_open(in->options, s));
    TRY(report_open(s, &in->report));
    TRY(session_open_tokenizer(s, false));
    if (session_leads(s))
        status = show(in);
    TRY(status_agree(s->dist.world.comm, status));
    struct timings timings = {.total = MPI_Wtime() - s->seconds_started};
    return report_write(&in->report, s, &timings);
}

enum status command_inspect(const struct options *options) {
    if (options->book)
        return command_inspect_book(options);
    struct inspection in = {.options = options};
    enum status status = run(&in);
    json_decref(in.unused);
    report_close(&in.report);
    session_close(&in.session);
    return status;
}
