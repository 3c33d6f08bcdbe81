#include "launch/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void stream_open(FILE *file, const char *const *stops, int64_t stop_count, struct stream *stream) {
    *stream = (struct stream){.file = file, .stops = stops, .stop_count = stop_count};
}

void stream_close(struct stream *stream) {
    free(stream->text);
    memset(stream, 0, sizeof *stream);
}

static enum status append(struct stream *s, const char *text, int64_t len) {
    if (s->room - s->len < len) {
        int64_t room = (s->len + len) * 2;
        char *larger = realloc(s->text, (size_t)room);
        if (!larger)
            return status_no_memory("generated text", room);
        s->text = larger;
        s->room = room;
    }
    if (len)
        memcpy(s->text + s->len, text, (size_t)len);
    s->len += len;
    return STATUS_OK;
}

/* Where the first stop text begins, of those that end behind byte `before`; -1 without one. */
static int64_t find_stop(const struct stream *s, int64_t before) {
    int64_t first = -1;
    for (int64_t i = 0; i < s->stop_count; i++) {
        int64_t len = (int64_t)strlen(s->stops[i]);
        int64_t from = before > len ? before - len : 0;
        const char *found = s->len > from ? memmem(s->text + from, (size_t)(s->len - from),
                                                   s->stops[i], (size_t)len)
                                          : NULL;
        if (found && (first < 0 || found - s->text < first))
            first = found - s->text;
    }
    return first;
}

/* Bytes at the end of the text that could be the beginning of a stop text. */
static int64_t held_back(const struct stream *s) {
    int64_t most = 0;
    for (int64_t i = 0; i < s->stop_count; i++) {
        int64_t len = (int64_t)strlen(s->stops[i]) - 1;
        for (len = len < s->len ? len : s->len; len > most; len--)
            if (memcmp(s->text + s->len - len, s->stops[i], (size_t)len) == 0)
                most = len;
    }
    return most;
}

static enum status print_up_to(struct stream *s, int64_t end) {
    if (!s->file || end <= s->printed)
        return STATUS_OK;
    size_t len = (size_t)(end - s->printed);
    if (fwrite(s->text + s->printed, 1, len, s->file) != len || fflush(s->file) != 0)
        return status_fail("standard output", NULL,
                           "found %s, expected room for the result; write it elsewhere",
                           strerror(errno));
    s->printed = end;
    return STATUS_OK;
}

enum status stream_put(struct stream *s, const char *text, int64_t len) {
    int64_t before = s->len;
    TRY(append(s, text, len));
    int64_t stop = find_stop(s, before);
    if (stop >= 0) {
        s->stopped = true;
        s->len = stop;
        return print_up_to(s, stop);
    }
    return print_up_to(s, s->len - held_back(s));
}

enum status stream_end(struct stream *s) {
    return print_up_to(s, s->len);
}
