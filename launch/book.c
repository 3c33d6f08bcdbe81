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

/* The rotary embeddings by their frequencies and factors for texts up to this capacity, whatever the
 * rules that they come from. */
static void put_rope(const struct session *s, int64_t capacity, char *out, size_t size) {
    const struct shape *shape = &s->shape;
    int64_t pairs = rotary_pairs(shape);
    double numbers[2 * (pairs + 1)];
    char hash[IDENTITY_SIZE];
    memset(numbers, 0, sizeof numbers);
    numbers[pairs] = rope_frequencies(&shape->rope, pairs, capacity, numbers);
    if (shape->has_local_rope)
        numbers[2 * pairs + 1] =
            rope_frequencies(&shape->rope_local, pairs, capacity, numbers + pairs + 1);
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
    put_rope(s, q->capacity, h->rope, sizeof h->rope);
    snprintf(h->weights, sizeof h->weights, "%s",
             compute_weights(q->compute) == MATRIX_BF16 ? "bf16" : "f32");
    snprintf(h->compute, sizeof h->compute, "%s", compute_name(q->compute));
    snprintf(h->kv, sizeof h->kv, "%s", kv_type_name(q->kv));
    snprintf(h->method, sizeof h->method, "%s", grouped ? "self_extend" : "plain");
    h->group = grouped ? q->scheme.group : 0;
    h->window = grouped ? q->scheme.window : 0;
    h->chunk = q->chunk;
    h->capacity = q->capacity;
    h->text_tokens = text_tokens;
    h->text_bytes = s->text ? s->text_len : -1;
    if (s->text)
        identity_of_bytes(s->text, s->text_len, h->text_hash);
    else
        identity_of_bytes(s->tokens.ids, s->tokens.count * (int64_t)sizeof *s->tokens.ids,
                          h->text_hash);
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
