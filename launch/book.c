#include "launch/book.h"

#include "partition/identity.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Texts that came from several places are named by all of them. */
static void put_text_name(const struct session *s, char *out, size_t size) {
    const struct options *o = s->options;
    size_t used = 0;
    if (o->tokens_file)
        snprintf(out, size, "%s", o->tokens_file);
    for (int64_t i = 0; i < o->text_count && used < size; i++) {
        const struct text_part *part = &o->texts[i];
        int len = snprintf(out + used, size - used, "%s%s", used ? " + " : "",
                           part->is_file ? part->value : "-p");
        used += len > 0 ? (size_t)len : 0;
    }
}

/* The rotary embeddings by their frequencies and factors, whatever the rules that they come from.
 */
static void put_rope(const struct session *s, const struct sequence_options *q, char *out,
                     size_t size) {
    const struct shape *shape = &s->shape;
    int64_t pairs = rotary_pairs(shape);
    double numbers[2 * (pairs + 1)];
    char hash[IDENTITY_SIZE];
    memset(numbers, 0, sizeof numbers);
    sequence_frequencies(shape, q, numbers, numbers + 2 * pairs);
    identity_of_bytes(numbers, (int64_t)sizeof numbers, hash);
    snprintf(out, size, "theta %g, frequencies %.16s", shape->rope.theta, hash);
}

static enum status fill(const struct session *s, const struct sequence_options *q,
                        int64_t text_tokens, struct reading_header *h) {
    const struct shape *shape = &s->shape;
    bool grouped = q->scheme.rule == ZONE_GROUPED;
    memset(h, 0, sizeof *h);
    TRY(identity_of_model(s->options->model, h->model_identity));
    h->layers = shape->layers;
    h->kv_heads = shape->kv_heads;
    h->head_dim = shape->head_dim;
    h->context = shape->context;
    put_rope(s, q, h->rope, sizeof h->rope);
    snprintf(h->weights, sizeof h->weights, "%s",
             matrix_type_name(weights_matrix(q->weights, q->compute)));
    snprintf(h->compute, sizeof h->compute, "%s", compute_name(q->compute));
    snprintf(h->kv, sizeof h->kv, "%s", kv_type_name(q->kv));
    snprintf(h->method, sizeof h->method, "%s", grouped ? "self_extend" : "plain");
    h->group = grouped ? q->scheme.group : 0;
    h->window = grouped ? q->scheme.window : 0;
    h->chunk = q->chunk;
    h->capacity = q->capacity;
    h->text_tokens = text_tokens;
    h->text_bytes = s->text ? s->text_len : -1;
    identity_of_bytes(s->tokens.ids, s->tokens.count * (int64_t)sizeof *s->tokens.ids, h->ids_hash);
    if (s->text)
        identity_of_bytes(s->text, s->text_len, h->text_hash);
    else
        memcpy(h->text_hash, h->ids_hash, sizeof h->text_hash);
    put_text_name(s, h->text_name, sizeof h->text_name);
    snprintf(h->model, sizeof h->model, "%s", s->options->model);
    snprintf(h->family, sizeof h->family, "%s", shape->family);
    snprintf(h->dtype, sizeof h->dtype, "%s", s->dtype);
    snprintf(h->mesh, sizeof h->mesh, "pp=%" PRId64 ",tp=%" PRId64 ",sp=%" PRId64, s->dist.mesh.pp,
             s->dist.mesh.tp, s->dist.mesh.sp);
    snprintf(h->quire_version, sizeof h->quire_version, "%s", QUIRE_VERSION);
    return STATUS_OK;
}

enum status book_header(const struct session *s, const struct sequence_options *sequence,
                        int64_t text_tokens, struct reading_header *header) {
    enum status status = STATUS_OK;
    if (session_leads(s))
        status = fill(s, sequence, text_tokens, header);
    return status_agree(s->dist.world.comm, status);
}

/* -- going on behind a reading ----------------------------------------------------------------- */

static enum status differs(const char *path, const char *field, int64_t found, int64_t expected,
                           const char *option) {
    return status_fail(path, field,
                       "found %" PRId64 ", expected %" PRId64 " as %s says; leave %s out", found,
                       expected, option, option);
}

/* What --weights was. */
static enum weights_type weights_of(const struct reading_header *h) {
    enum weights_type type = WEIGHTS_Q4_0;
    while (type != WEIGHTS_AUTO && strcmp(weights_type_name(type), h->weights) != 0)
        type--;
    return type;
}

/* What was asked for must be what the file has. */
static enum status adopt_types(const char *path, const struct reading_header *h,
                               const struct options *o) {
    enum kv_type kv = KV_F32;
    reading_kv_type(h, &kv);
    if (o->kv != OPTION_KV_UNSET && o->kv != kv)
        return status_fail(path, "kv", "found %s, expected %s as --kv says; leave --kv out", h->kv,
                           kv_type_name(o->kv));
    enum weights_type weights = weights_of(h);
    if (o->weights != WEIGHTS_AUTO && o->weights != weights)
        return status_fail(path, "weights",
                           "found %s, expected %s as --weights says; leave --weights out",
                           h->weights, weights_type_name(o->weights));
    if (o->chunk && o->chunk != h->chunk)
        return differs(path, "chunk", h->chunk, o->chunk, "--chunk");
    if (o->scheme.plain && strcmp(h->method, "plain") != 0)
        return status_fail(path, "method",
                           "found %s, expected plain as --no-self-extend says; leave "
                           "--no-self-extend out",
                           h->method);
    if (o->scheme.group && o->scheme.group != h->group)
        return differs(path, "group", h->group, o->scheme.group, "--group");
    if (o->scheme.window && o->scheme.window != h->window)
        return differs(path, "window", h->window, o->scheme.window, "--window");
    return STATUS_OK;
}

static enum status adopt(const char *path, const struct reading_header *h, struct options *o) {
    enum compute compute = strcmp(h->compute, "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_F32;
    if (o->compute != COMPUTE_AUTO && o->compute != compute)
        return status_fail(path, "compute",
                           "found %s, expected %s as --compute says; leave --compute out",
                           h->compute, compute_name(o->compute));
    TRY(adopt_types(path, h, o));
    o->compute = compute;
    o->scheme = (struct scheme_request){
        .plain = strcmp(h->method, "plain") == 0, .group = h->group, .window = h->window};
    o->chunk = h->chunk;
    o->weights = weights_of(h);
    reading_kv_type(h, &o->kv);
    return STATUS_OK;
}

enum status book_adopt(const char *path, struct options *options) {
    struct reading_header header;
    struct reading_places places;
    enum status status = STATUS_OK;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        status = reading_format_open(path, &header, &places);
    TRY(status_agree(MPI_COMM_WORLD, status));
    MPI_Bcast(&header, sizeof header, MPI_BYTE, 0, MPI_COMM_WORLD);
    return adopt(path, &header, options);
}

enum status book_check(const struct session *s, const struct reading *reading,
                       struct sequence_options *sequence) {
    const struct reading_header *h = &reading->header;
    struct reading_header expected;
    *sequence = session_sequence(s, false, h->capacity, h->capacity);
    TRY(book_header(s, sequence, 0, &expected));
    enum status status = STATUS_OK;
    if (session_leads(s))
        status = reading_header_compare(reading->path, h, &expected, false,
                                        "take the model that the reading was made with");
    return status_agree(s->dist.world.comm, status);
}
