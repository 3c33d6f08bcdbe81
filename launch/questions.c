#include "launch/questions.h"

#include "launch/chat.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At most so many questions decode together: a guard against a file of something else. */
#define QUESTIONS_MAX 4096

static enum status add(struct questions *q, const char *text, size_t len, const char *name) {
    if (q->count == QUESTIONS_MAX)
        return status_fail(name, NULL,
                           "found more than %d questions, expected at most that; ask in several "
                           "runs",
                           QUESTIONS_MAX);
    struct question *all = realloc(q->all, (size_t)(q->count + 1) * sizeof *all);
    if (!all)
        return status_no_memory("questions", (long long)len);
    q->all = all;
    all[q->count] = (struct question){.text = strndup(text, len)};
    if (!all[q->count].text)
        return status_no_memory("questions", (long long)len);
    q->count++;
    return STATUS_OK;
}

static bool is_blank(const char *line) {
    return line[strspn(line, " \t\r\n\f\v")] == '\0';
}

/* One question a line; blank lines separate. */
static enum status add_lines(struct questions *q, const char *path) {
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "r");
    if (!file)
        return status_fail(path, "--questions",
                           "found %s, expected a file with a question a line; check the path",
                           strerror(errno));
    char *line = NULL;
    size_t room = 0;
    enum status status = STATUS_OK;
    for (ssize_t len; status == STATUS_OK && (len = getline(&line, &room, file)) >= 0;) {
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
            line[--len] = '\0';
        if ((size_t)len != strlen(line))
            status = status_fail(path, "--questions", "found a NUL byte, expected text");
        else if (!is_blank(line))
            status = add(q, line, (size_t)len, path);
    }
    if (status == STATUS_OK && ferror(file))
        status = status_fail(path, "--questions", "found %s, expected text that can be read",
                             strerror(errno));
    free(line);
    if (!is_input)
        fclose(file);
    return status;
}

/* The end of a user's turn whose beginning was read, and what stands up to the answer. */
static enum status encode_chat(const struct session *s, struct question *q, int64_t len) {
    const struct chat_template *chat;
    struct chat_text text;
    TRY(chat_choose(s->tokenizer, s->options->model, s->options->chat_template, &chat));
    TRY(chat_encode(chat, s->tokenizer, CHAT_CLOSING, NULL, q->text, len, &text, &q->tokens));
    chat_text_close(&text);
    return STATUS_OK;
}

static enum status encode(const struct session *s, struct question *q, int64_t index) {
    int64_t len = (int64_t)strlen(q->text), valid = text_valid_utf8(q->text, len);
    char field[48];
    snprintf(field, sizeof field, "question %" PRId64, index + 1);
    if (valid < len)
        return status_fail("ask", field,
                           "found invalid UTF-8 at byte %" PRId64 ", expected UTF-8; convert it",
                           valid);
    if (s->options->chat)
        TRY(encode_chat(s, q, len));
    else
        TRY(tokenizer_encode_behind(s->tokenizer, q->text, len, &q->tokens));
    if (q->tokens.count == 0)
        return status_fail("ask", field,
                           "found an empty question, expected at least one token; give it some "
                           "text");
    for (int64_t i = 0; i < q->tokens.count; i++)
        if (q->tokens.ids[i] < 0 || q->tokens.ids[i] >= s->shape.vocab)
            return status_fail(s->options->model, "tokenizer",
                               "found id %" PRId32 " in question %" PRId64
                               ", expected ids below the model's vocab_size of %" PRId64
                               "; the tokenizer belongs to another model",
                               q->tokens.ids[i], index + 1, s->shape.vocab);
    return STATUS_OK;
}

static enum status read_all(const struct session *s, struct questions *q) {
    const struct options *o = s->options;
    for (int64_t i = 0; i < o->text_count; i++)
        TRY(add(q, o->texts[i].value, strlen(o->texts[i].value), "-p"));
    if (o->questions)
        TRY(add_lines(q, o->questions));
    if (q->count == 0)
        return status_fail(o->questions, "--questions",
                           "found no question, expected one a line; write some");
    for (int64_t i = 0; i < q->count; i++)
        TRY(encode(s, &q->all[i], i));
    return STATUS_OK;
}

/* Gives every rank the ids of rank 0. */
static enum status share(const struct session *s, struct questions *q) {
    MPI_Comm world = s->dist.world.comm;
    enum status status = STATUS_OK;
    MPI_Bcast(&q->count, 1, MPI_INT64_T, 0, world);
    if (!session_leads(s)) {
        q->all = calloc((size_t)q->count, sizeof *q->all);
        status = q->all ? STATUS_OK : status_no_memory("questions", q->count);
    }
    TRY(status_agree(world, status));
    for (int64_t i = 0; i < q->count; i++) {
        struct tokens *t = &q->all[i].tokens;
        MPI_Bcast(&t->count, 1, MPI_INT64_T, 0, world);
        if (!session_leads(s)) {
            t->ids = malloc((size_t)t->count * sizeof *t->ids);
            if (!t->ids)
                status = status_no_memory("token ids", t->count * 4);
        }
        TRY(status_agree(world, status));
        MPI_Bcast(t->ids, (int)t->count, MPI_INT32_T, 0, world);
    }
    return STATUS_OK;
}

enum status questions_read(const struct session *s, struct questions *questions) {
    enum status status = STATUS_OK;
    *questions = (struct questions){0};
    if (session_leads(s))
        status = read_all(s, questions);
    TRY(status_agree(s->dist.world.comm, status));
    return share(s, questions);
}

void questions_close(struct questions *q) {
    for (int64_t i = 0; q->all && i < q->count; i++) {
        free(q->all[i].text);
        tokens_free(&q->all[i].tokens);
    }
    free(q->all);
    *q = (struct questions){0};
}
