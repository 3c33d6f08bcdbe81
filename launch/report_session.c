/* What every report says of the run: what was asked, what was understood. Part of report.h. */
#include "launch/report.h"

#include "kernels/gemm.h"
#include "launch/versions.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies text, each byte that does not belong to UTF-8 replaced by U+FFFD; out has 3 * len bytes.
 */
static int64_t replace_broken(const char *text, int64_t len, char *out) {
    int64_t used = 0;
    for (int64_t at = 0; at < len; at++) {
        int64_t valid = text_valid_utf8(text + at, len - at);
        memcpy(out + used, text + at, (size_t)valid);
        used += valid;
        at += valid;
        if (at < len) {
            memcpy(out + used, "\xEF\xBF\xBD", 3);
            used += 3;
        }
    }
    return used;
}

json_t *report_text(const char *text, int64_t len) {
    if (text_valid_utf8(text, len) == len)
        return json_stringn(text, (size_t)len);
    char *whole = malloc((size_t)len * 3);
    if (!whole)
        return NULL;
    int64_t used = replace_broken(text, len, whole);
    json_t *string = json_stringn(whole, (size_t)used);
    free(whole);
    return string;
}

static json_t *text_or_null(const char *text) {
    return text ? report_text(text, (int64_t)strlen(text)) : json_null();
}

static json_t *number_or_auto(int64_t number) {
    return number ? json_integer(number) : json_string("auto");
}

static json_t *numbers(const struct number_list *list) {
    json_t *array = json_array();
    for (int64_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_integer(list->values[i]));
    return array;
}

json_t *report_mesh(struct mesh mesh) {
    return json_pack("{s:I,s:I,s:I}", "pp", (json_int_t)mesh.pp, "tp", (json_int_t)mesh.tp, "sp",
                     (json_int_t)mesh.sp);
}

/* Axes left out are chosen. */
static json_t *asked_mesh(struct mesh mesh) {
    return json_pack("{s:o,s:o,s:o}", "pp", number_or_auto(mesh.pp), "tp", number_or_auto(mesh.tp),
                     "sp", number_or_auto(mesh.sp));
}

static json_t *asked_texts(const struct options *o) {
    json_t *array = json_array();
    for (int64_t i = 0; i < o->text_count; i++) {
        json_t *part = json_object();
        json_object_set_new(part, o->texts[i].is_file ? "file" : "prompt",
                            text_or_null(o->texts[i].value));
        json_array_append_new(array, part);
    }
    return array;
}

/* Of the commands that know templates. */
static void put_asked_chat(json_t *asked, const struct options *o) {
    json_object_set_new(asked, "chat",
                        o->chat_template ? text_or_null(o->chat_template) : json_boolean(o->chat));
    json_object_set_new(asked, "system", text_or_null(o->system));
}

static void put_asked_generate(json_t *asked, const struct options *o) {
    json_t *stops = json_array();
    for (int64_t i = 0; i < o->stop_count; i++)
        json_array_append_new(stops, text_or_null(o->stops[i]));
    json_object_set_new(asked, "reserve", json_integer(o->reserve));
    json_object_set_new(asked, "n", json_integer(o->count));
    json_object_set_new(asked, "temperature", json_real(o->sample.temperature));
    json_object_set_new(asked, "top_k", json_integer(o->sample.top_k));
    json_object_set_new(asked, "top_p", json_real(o->sample.top_p));
    json_object_set_new(asked, "stop", stops);
    if (o->command == COMMAND_GENERATE) {
        json_object_set_new(asked, "save", text_or_null(o->save));
        json_object_set_new(asked, "resume", text_or_null(o->resume));
    }
    json_object_set_new(asked, "ignore_eos", json_boolean(o->ignore_eos));
    json_object_set_new(asked, "logprobs",
                        o->logprobs < 0 ? json_null() : json_integer(o->logprobs));
}

/* Seeds have 64 bits without a sign, JSON integers of this library 63: large ones become text. */
static json_t *asked_seed(uint64_t seed) {
    char text[32];
    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return json_string(text);
}

static void put_asked_bench(json_t *asked, const struct options *o) {
    json_t *methods = json_array();
    for (enum method m = 0; m < METHOD_COUNT; m++)
        if (o->methods & 1u << m)
            json_array_append_new(methods, json_string(method_name(m)));
    json_object_set_new(asked, "shape", text_or_null(o->shape));
    json_object_set_new(asked, "prefill", numbers(&o->prefills));
    json_object_set_new(asked, "decode_depth", numbers(&o->decode_depths));
    json_object_set_new(asked, "generate", json_integer(o->decode_tokens));
    json_object_set_new(asked, "method", methods);
    json_object_set_new(asked, "runs", json_integer(o->runs));
    json_object_set_new(asked, "machine", json_boolean(o->only_machine));
    json_object_set_new(asked, "kernels", json_boolean(o->only_kernels));
}

static void put_asked_own(json_t *asked, const struct options *o) {
    bool generates = o->command == COMMAND_GENERATE || o->command == COMMAND_ASK;
    if (generates)
        put_asked_generate(asked, o);
    if (generates || o->command == COMMAND_INGEST)
        put_asked_chat(asked, o);
    if (generates || o->command == COMMAND_PASSKEY)
        json_object_set_new(asked, "seed", asked_seed(o->sample.seed));
    if (o->command == COMMAND_PERPLEXITY || o->command == COMMAND_PASSKEY) {
        json_object_set_new(asked, "lengths", numbers(&o->lengths));
        json_object_set_new(asked, "no_plain", json_boolean(o->no_plain));
    }
    if (o->command == COMMAND_PERPLEXITY)
        json_object_set_new(asked, "nll", text_or_null(o->nll));
    if (o->command == COMMAND_PASSKEY) {
        json_object_set_new(asked, "depths", numbers(&o->depths));
        json_object_set_new(asked, "trials", json_integer(o->trials));
    }
    if (o->command == COMMAND_INSPECT) {
        json_object_set_new(asked, "ranks", number_or_auto(o->ranks));
        json_object_set_new(asked, "length", number_or_auto(o->length));
    }
    if (o->command == COMMAND_INGEST) {
        json_object_set_new(asked, "output", text_or_null(o->output));
        json_object_set_new(asked, "reserve",
                            o->reserve < 0 ? json_string("auto") : json_integer(o->reserve));
        json_object_set_new(asked, "commit_every_tokens", json_integer(o->commit_tokens));
        json_object_set_new(asked, "commit_every_s", json_real(o->commit_seconds));
        json_object_set_new(asked, "stop_after_s",
                            o->stop_after < 0 ? json_null() : json_integer(o->stop_after));
    }
    if (o->command == COMMAND_ASK) {
        json_object_set_new(asked, "book", text_or_null(o->book));
        json_object_set_new(asked, "questions", text_or_null(o->questions));
        json_object_set_new(asked, "partial", json_boolean(o->partial));
    }
    if (o->command == COMMAND_BENCH)
        put_asked_bench(asked, o);
    if (o->command == COMMAND_CAPTURE) {
        json_object_set_new(asked, "output", text_or_null(o->output));
        json_object_set_new(asked, "layers", o->layers.count ? numbers(&o->layers) : json_null());
    }
}

static json_t *asked_object(const struct options *o) {
    json_t *asked = json_object();
    json_object_set_new(asked, "command", json_string(command_name(o->command)));
    json_object_set_new(asked, "model", text_or_null(o->model));
    json_object_set_new(asked, "texts", asked_texts(o));
    json_object_set_new(asked, "tokens", text_or_null(o->tokens_file));
    json_object_set_new(asked, "group", number_or_auto(o->scheme.group));
    json_object_set_new(asked, "window", number_or_auto(o->scheme.window));
    json_object_set_new(asked, "no_self_extend", json_boolean(o->scheme.plain));
    json_object_set_new(asked, "mesh", asked_mesh(o->mesh));
    json_object_set_new(asked, "chunk", json_integer(o->chunk));
    json_object_set_new(asked, "kv", json_string(kv_type_name(o->kv)));
    json_object_set_new(asked, "compute", json_string(compute_name(o->compute)));
    json_object_set_new(asked, "weights", json_string(weights_type_name(o->weights)));
    json_object_set_new(asked, "wire", json_string(wire_name(o->wire)));
    json_object_set_new(asked, "overlap", json_string(overlap_name(o->overlap)));
    json_object_set_new(asked, "threads", number_or_auto(o->threads));
    json_object_set_new(asked, "timing", json_boolean(o->timing));
    json_object_set_new(asked, "json", text_or_null(o->json));
    put_asked_own(asked, o);
    return asked;
}

json_t *report_model(const struct session *session) {
    const struct shape *s = &session->shape;
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:I}", "family", s->family, "layers",
                     (json_int_t)s->layers, "hidden", (json_int_t)s->hidden, "heads",
                     (json_int_t)s->heads, "kv_heads", (json_int_t)s->kv_heads, "head_dim",
                     (json_int_t)s->head_dim, "ffn", (json_int_t)s->ffn, "vocab",
                     (json_int_t)s->vocab, "dtype", session->dtype, "parameters",
                     (json_int_t)shape_parameters(s));
}

static json_t *libraries_object(void) {
    struct library_version libraries[LIBRARY_COUNT];
    json_t *object = json_object();
    versions_list(libraries);
    for (int i = 0; i < LIBRARY_COUNT; i++)
        json_object_set_new(object, libraries[i].name, json_string(libraries[i].version));
    return object;
}

static void put_scheme(json_t *object, const struct session *s, const struct scheme *scheme,
                       int64_t length) {
    bool grouped = scheme->rule == ZONE_GROUPED;
    json_object_set_new(object, "method", json_string(grouped ? "self_extend" : "plain"));
    json_object_set_new(object, "group", grouped ? json_integer(scheme->group) : json_null());
    json_object_set_new(object, "window", grouped ? json_integer(scheme->window) : json_null());
    json_object_set_new(object, "limit", json_integer(scheme_reach(scheme, s->shape.context)));
    json_object_set_new(object, "context", json_integer(s->shape.context));
    json_object_set_new(object, "length", json_integer(length));
}

static void put_machine(json_t *object, const struct session *s) {
    json_object_set_new(object, "compute", json_string(compute_name(s->compute)));
    json_object_set_new(
        object, "weights",
        json_string(matrix_type_name(weights_matrix(s->options->weights, s->compute))));
    json_object_set_new(object, "isa", json_string(isa_name(s->isa)));
    json_object_set_new(object, "isa_available", json_string(isa_name(isa_available())));
    json_object_set_new(object, "blas_core", json_string(gemm_core()));
    json_object_set_new(object, "threads", json_integer(s->threads));
    json_object_set_new(object, "cpus_of_rank", json_integer(s->machine.cpus_of_rank));
    json_object_set_new(object, "cpus_of_node", json_integer(s->machine.cpus_of_node));
    json_object_set_new(object, "cores_of_rank", json_integer(s->machine.cores_of_rank));
    json_object_set_new(object, "cores_of_node", json_integer(s->machine.cores_of_node));
    json_object_set_new(object, "threads_from", json_string(s->machine.threads_from));
    json_object_set_new(object, "binding_released", json_boolean(s->machine.released));
    json_object_set_new(object, "ranks_on_node", json_integer(s->ranks_on_node));
    json_object_set_new(object, "libraries", libraries_object());
}

void report_session(struct report *report, const struct session *s, const struct scheme *scheme,
                    int64_t length) {
    if (!report_wanted(report))
        return;
    char schema[32];
    snprintf(schema, sizeof schema, "quire.%s", command_name(s->options->command));
    int64_t chunk = s->options->chunk < CHUNK_MAX ? s->options->chunk : CHUNK_MAX;
    json_t *understood = json_object();
    json_object_set_new(understood, "ranks", json_integer(mesh_ranks(s->dist.mesh)));
    json_object_set_new(understood, "mesh", report_mesh(s->dist.mesh));
    put_scheme(understood, s, scheme, length);
    json_object_set_new(understood, "chunk", json_integer(chunk));
    json_object_set_new(understood, "kv", json_string(kv_type_name(s->options->kv)));
    json_object_set_new(understood, "wire", json_string(wire_name(s->options->wire)));
    json_object_set_new(understood, "overlap", json_boolean(s->overlap));
    put_machine(understood, s);
    json_object_set_new(understood, "model", report_model(s));
    json_object_set_new(understood, "memory",
                        json_pack("{s:I,s:I}", "bytes_needed_per_rank", (json_int_t)s->bytes_needed,
                                  "bytes_of_node", (json_int_t)s->bytes_of_node));
    json_object_set_new(report->root, "schema", json_string(schema));
    json_object_set_new(report->root, "version", json_string(QUIRE_VERSION));
    json_object_set_new(report->root, "asked", asked_object(s->options));
    json_object_set_new(report->root, "understood", understood);
}
