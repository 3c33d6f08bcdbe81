/* The text or the token ids that a command reads: rank 0 reads and checks them, all ranks get the
 * ids. Part of session.h; input.h is for commands without a session. */
#include "launch/input.h"

#include "launch/chat.h"
#include "launch/session.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of text at most; a source without end (a device) must not fill the memory. */
#define INPUT_BYTES_MAX ((int64_t)1 << 32)

/* Ids of one message: below 1 GiB. */
#define MESSAGE_IDS ((int64_t)1 << 27)

/* A growing array of bytes, owned. */
struct bytes {
    char *data;
    int64_t len, room;
};

static enum status bytes_reserve(struct bytes *b, int64_t more) {
    if (b->room - b->len >= more)
        return STATUS_OK;
    int64_t room = b->room + b->room / 2 > b->len + more ? b->room + b->room / 2 : b->len + more;
    char *data = realloc(b->data, (size_t)room);
    if (!data)
        return status_no_memory("input text", room);
    b->data = data;
    b->room = room;
    return STATUS_OK;
}

static const char *input_name(const char *path) {
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static enum status read_descriptor(int fd, const char *name, struct bytes *b) {
    for (;;) {
        TRY(bytes_reserve(b, 1 << 16));
        ssize_t got = read(fd, b->data + b->len, (size_t)(b->room - b->len));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return status_fail(name, NULL,
                               "found %s, expected a text that can be read; check the path",
                               strerror(errno));
        if (got == 0)
            return STATUS_OK;
        b->len += got;
        if (b->len > INPUT_BYTES_MAX)
            return status_fail(name, NULL,
                               "found more than %" PRId64 " bytes of text, expected at most that; "
                               "read a part of it",
                               INPUT_BYTES_MAX);
    }
}

static enum status read_file(const char *path, struct bytes *b) {
    if (strcmp(path, "-") == 0)
        return read_descriptor(STDIN_FILENO, input_name(path), b);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return status_fail(path, NULL, "found %s, expected a readable file; check the path",
                           strerror(errno));
    enum status status = read_descriptor(fd, path, b);
    close(fd);
    return status;
}

/* Where the parts of the text end in the joined bytes. */
static enum status read_parts(const struct options *options, struct bytes *b, int64_t *ends) {
    for (int64_t i = 0; i < options->text_count; i++) {
        const struct text_part *part = &options->texts[i];
        if (part->is_file) {
            TRY(read_file(part->value, b));
        } else {
            int64_t len = (int64_t)strlen(part->value);
            TRY(bytes_reserve(b, len + 1));
            memcpy(b->data + b->len, part->value, (size_t)len);
            b->len += len;
        }
        ends[i] = b->len;
    }
    return STATUS_OK;
}

static const char *part_name(const struct text_part *part) {
    return part->is_file ? input_name(part->value) : "-p";
}

static enum status refuse_empty(const char *name) {
    return status_fail(name, NULL,
                       "found an empty prompt, expected at least one token; give it some text");
}

/* A character may begin in one part and end in the next, so only the joined bytes are judged; the
 * part named is the one where the wrong character begins. */
static enum status check_text(const struct options *options, const struct bytes *b,
                              const int64_t *ends) {
    int64_t at = text_valid_utf8(b->data, b->len), part = 0;
    if (at == b->len)
        return STATUS_OK;
    while (ends[part] <= at)
        part++;
    int64_t first = part ? ends[part - 1] : 0;
    char total[64] = "";
    if (first)
        snprintf(total, sizeof total, " (byte %" PRId64 " of the whole text)", at);
    char field[64];
    snprintf(field, sizeof field, "byte %" PRId64, at - first);
    return status_fail(part_name(&options->texts[part]), field,
                       "found 0x%02x%s, expected UTF-8; convert the text, for example with iconv",
                       (unsigned char)b->data[at], total);
}

enum status input_read(const struct options *options, char **text, int64_t *len) {
    struct bytes b = {0};
    int64_t *ends = calloc((size_t)options->text_count, sizeof *ends);
    enum status status = ends ? STATUS_OK : status_no_memory("input text", 8);
    if (status == STATUS_OK)
        status = read_parts(options, &b, ends);
    if (status == STATUS_OK)
        status = check_text(options, &b, ends);
    free(ends);
    *text = b.data;
    *len = b.len;
    return status;
}

/* Puts the chat template around the text, which becomes the whole. */
static enum status encode_chat(struct session *s) {
    const struct options *o = s->options;
    const struct chat_template *chat;
    struct chat_text whole;
    TRY(chat_choose(s->tokenizer, o->model, o->chat_template, &chat));
    TRY(chat_encode(chat, s->tokenizer, o->command == COMMAND_INGEST ? CHAT_OPENING : CHAT_WHOLE,
                    o->system, s->text, s->text_len, &whole, &s->tokens));
    free(s->text);
    s->text = whole.text;
    s->text_len = whole.len;
    return STATUS_OK;
}

static enum status encode_text(struct session *s) {
    const struct options *options = s->options;
    TRY(input_read(options, &s->text, &s->text_len));
    if (s->text_len == 0)
        return refuse_empty(part_name(&options->texts[0]));
    if (options->chat)
        TRY(encode_chat(s));
    else
        TRY(s->continues ? tokenizer_encode_behind(s->tokenizer, s->text, s->text_len, &s->tokens)
                         : tokenizer_encode(s->tokenizer, s->text, s->text_len, true, &s->tokens));
    if (s->tokens.count == 0)
        return refuse_empty(part_name(&options->texts[0]));
    for (int64_t i = 0; i < s->tokens.count; i++)
        if (s->tokens.ids[i] < 0 || s->tokens.ids[i] >= s->shape.vocab)
            return status_fail(options->model, "tokenizer",
                               "found id %" PRId32 " for the text at byte %" PRId64
                               ", expected ids below the model's vocab_size of %" PRId64
                               "; the tokenizer belongs to another model",
                               s->tokens.ids[i], s->tokens.offsets[i], s->shape.vocab);
    return STATUS_OK;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Reads the word [len] as the id at `index` of the list. */
static enum status id_parse(const struct session *s, const char *name, const char *word,
                            int64_t len, int64_t index, int64_t byte, int32_t *id) {
    int64_t value = 0, digits = 0, sign = len > 1 && word[0] == '-';
    int shown = len < 40 ? (int)len : 40;
    char field[64];
    for (; sign + digits < len; digits++) {
        char c = word[sign + digits];
        if (c < '0' || c > '9') {
            snprintf(field, sizeof field, "byte %" PRId64, byte);
            return status_fail(name, field,
                               "found \"%.*s\", expected a whole number; token ids stand with "
                               "blanks between",
                               shown, word);
        }
        if (value < s->shape.vocab) /* beyond it only the fact matters */
            value = value * 10 + (c - '0');
    }
    if (sign || value >= s->shape.vocab) {
        snprintf(field, sizeof field, "token %" PRId64, index);
        return status_fail(name, field,
                           "found id %.*s, expected 0 to %" PRId64
                           ", the ids of a vocabulary of %" PRId64
                           " tokens; take ids of this model's own tokenizer",
                           shown, word, s->shape.vocab - 1, s->shape.vocab);
    }
    *id = (int32_t)value;
    return STATUS_OK;
}

static enum status parse_ids(struct session *s, const char *name, const struct bytes *b) {
    /* Each id but the last takes two bytes at least. */
    s->tokens.ids = malloc(((size_t)b->len / 2 + 1) * sizeof *s->tokens.ids);
    if (!s->tokens.ids)
        return status_no_memory("token ids", b->len * 2);
    for (int64_t at = 0, len; at < b->len; at += len) {
        for (len = 0; at + len < b->len && !is_blank(b->data[at + len]);)
            len++;
        if (len)
            TRY(id_parse(s, name, b->data + at, len, s->tokens.count, at,
                         &s->tokens.ids[s->tokens.count]));
        s->tokens.count += len > 0;
        len += len == 0;
    }
    return s->tokens.count ? STATUS_OK : refuse_empty(name);
}

static enum status read_ids(struct session *s) {
    const char *path = s->options->tokens_file;
    struct bytes b = {0};
    enum status status = read_file(path, &b);
    if (status == STATUS_OK)
        status = parse_ids(s, input_name(path), &b);
    free(b.data);
    return status;
}

/* Gives every rank the ids of rank 0. */
static enum status share_ids(struct session *s) {
    MPI_Comm world = s->dist.world.comm;
    enum status status = STATUS_OK;
    MPI_Bcast(&s->tokens.count, 1, MPI_INT64_T, 0, world);
    if (!session_leads(s)) {
        s->tokens.ids = malloc((size_t)s->tokens.count * sizeof *s->tokens.ids);
        if (!s->tokens.ids)
            status = status_no_memory("token ids", s->tokens.count * 4);
    }
    TRY(status_agree(world, status));
    for (int64_t done = 0; done < s->tokens.count; done += MESSAGE_IDS) {
        int64_t rest = s->tokens.count - done;
        MPI_Bcast(s->tokens.ids + done, (int)(rest < MESSAGE_IDS ? rest : MESSAGE_IDS), MPI_INT32_T,
                  0, world);
    }
    return STATUS_OK;
}

enum status session_read_input(struct session *s) {
    enum status status = STATUS_OK;
    if (session_leads(s))
        status = s->options->tokens_file ? read_ids(s) : encode_text(s);
    TRY(status_agree(s->dist.world.comm, status));
    return share_ids(s);
}
