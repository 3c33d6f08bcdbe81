#include "launch/answer.h"

#include <inttypes.h>
#include <stdlib.h>

enum status answer_open(const struct session *s, const struct report *report, FILE *file,
                        const int32_t *ids, int64_t count, struct answer *a) {
    const struct options *o = s->options;
    *a = (struct answer){0};
    a->tokens = malloc((size_t)o->count * sizeof *a->tokens + 1);
    if (!a->tokens)
        return status_no_memory("tokens", o->count * 4);
    if (!session_leads(s))
        return STATUS_OK;
    stream_open(file, o->stops, o->stop_count, &a->stream);
    if (o->logprobs >= 0 && report_wanted(report))
        a->logprobs = json_array();
    if (!s->tokenizer)
        return STATUS_OK;
    TRY(decoder_open(s->tokenizer, &a->decoder));
    for (int64_t i = 0; i < count; i++) {
        const char *text;
        int64_t len;
        TRY(decoder_put(a->decoder, ids[i], &text, &len));
    }
    return STATUS_OK;
}

void answer_close(struct answer *a) {
    free(a->tokens);
    decoder_close(&a->decoder);
    stream_close(&a->stream);
    json_decref(a->logprobs);
    *a = (struct answer){0};
}

static bool is_end_of_text(const struct session *s, int32_t token) {
    for (int32_t i = 0; i < s->stop_ids.count; i++)
        if (s->stop_ids.ids[i] == token)
            return true;
    return false;
}

static void note_logprobs(struct answer *a, const struct choice *choice) {
    if (!a->logprobs)
        return;
    json_t *top = json_array();
    for (int32_t i = 0; i < choice->top_count; i++)
        json_array_append_new(top, json_pack("{s:I,s:f}", "token", (json_int_t)choice->top[i].id,
                                             "logprob", (double)choice->top[i].logprob));
    json_array_append_new(a->logprobs,
                          json_pack("{s:I,s:f,s:o}", "token", (json_int_t)choice->token, "logprob",
                                    (double)choice->logprob, "top", top));
}

static enum status put_text(struct answer *a, int32_t id) {
    char word[16];
    const char *text = word;
    int64_t len;
    if (a->decoder)
        TRY(decoder_put(a->decoder, id, &text, &len));
    else /* ids stand for the text where there is no tokenizer */
        len = snprintf(word, sizeof word, a->count > 1 ? " %" PRId32 : "%" PRId32, id);
    return stream_put(&a->stream, text, len);
}

enum status answer_put(const struct session *s, const struct choice *choice, struct answer *a) {
    if (!s->options->ignore_eos && is_end_of_text(s, choice->token)) {
        a->ending = ENDING_EOS;
        return STATUS_OK;
    }
    a->tokens[a->count++] = choice->token;
    if (a->count == s->options->count)
        a->ending = ENDING_LENGTH;
    if (!session_leads(s))
        return STATUS_OK;
    note_logprobs(a, choice);
    TRY(put_text(a, choice->token));
    if (a->stream.stopped)
        a->ending = ENDING_STRING;
    return STATUS_OK;
}

enum status answer_agree(const struct session *s, enum status status, struct answer *answers,
                         int64_t count) {
    MPI_Comm world = s->dist.world.comm;
    int words[count + 1];
    words[count] = status != STATUS_OK;
    for (int64_t i = 0; i < count; i++)
        words[i] = (int)answers[i].ending;
    MPI_Bcast(words, (int)count + 1, MPI_INT, 0, world);
    for (int64_t i = 0; i < count; i++)
        answers[i].ending = (enum ending)words[i];
    return words[count] ? status_agree(world, status) : STATUS_OK;
}

enum status answer_end(struct answer *a) {
    const char *text;
    int64_t len;
    if (a->ending == ENDING_STRING)
        return STATUS_OK;
    if (a->decoder) {
        TRY(decoder_end(a->decoder, &text, &len));
        TRY(stream_put(&a->stream, text, len));
    }
    return stream_end(&a->stream);
}

void answer_report(const struct answer *a, json_t *object) {
    static const char *const endings[] = {[ENDING_NONE] = "length",
                                          [ENDING_LENGTH] = "length",
                                          [ENDING_EOS] = "eos",
                                          [ENDING_STRING] = "string"};
    json_t *tokens = json_array();
    for (int64_t i = 0; i < a->count; i++)
        json_array_append_new(tokens, json_integer(a->tokens[i]));
    json_object_set_new(object, "tokens", tokens);
    json_object_set_new(object, "text",
                        a->decoder
                            ? report_text(a->stream.text ? a->stream.text : "", a->stream.len)
                            : json_null());
    json_object_set_new(object, "stop", json_string(endings[a->ending]));
    if (a->logprobs)
        json_object_set(object, "logprobs", a->logprobs);
}
