#include "launch/tokenizer_decode_steps.h"

#include "launch/pretokenize.h"
#include "launch/tokenizer_pieces.h"
#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>

/* What a step remembers. */
struct state {
    struct decoded held;     /* of the string that is coming in */
    struct decoded bytes;    /* byte steps: of a character that is not whole yet */
    int64_t begun;           /* strings that came in so far */
    int64_t stripped;        /* DECODE_STRIP: characters taken off this string; -1: no more are */
    bool is_open;            /* it has handed the beginning of a string on and not its end */
    bool is_invalid;         /* DECODE_BYTE_FALLBACK: a byte of this run fits nothing */
    struct matcher *matcher; /* DECODE_REPLACE */
};

struct decode_stream {
    const struct decode_steps *steps;
    struct state *states; /* [count] */
    struct decoded *out;  /* of the call under way */
};

enum status decoded_put(struct decoded *decoded, const char *bytes, int64_t len) {
    TRY(array_reserve(&decoded->bytes, &decoded->capacity, decoded->len + len, 1));
    if (len)
        memcpy(decoded->bytes + decoded->len, bytes, (size_t)len);
    decoded->len += len;
    return STATUS_OK;
}

int decode_byte_piece(const char *text, int64_t len) {
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

enum status decode_stream_open(const struct decode_steps *steps, struct decode_stream **stream) {
    *stream = calloc(1, sizeof **stream);
    if (*stream)
        (*stream)->states = calloc((size_t)steps->count + 1, sizeof *(*stream)->states);
    if (!*stream || !(*stream)->states) {
        free(*stream);
        *stream = NULL;
        return status_no_memory("a decoder", (long long)sizeof **stream);
    }
    (*stream)->steps = steps;
    for (int64_t i = 0; i < steps->count; i++)
        if (steps->list[i].pattern) {
            enum status status =
                matcher_open(steps->list[i].pattern, &(*stream)->states[i].matcher);
            if (status != STATUS_OK) {
                decode_stream_close(stream);
                return status;
            }
        }
    return STATUS_OK;
}

void decode_stream_close(struct decode_stream **stream) {
    if (!*stream)
        return;
    for (int64_t i = 0; i < (*stream)->steps->count; i++) {
        free((*stream)->states[i].held.bytes);
        free((*stream)->states[i].bytes.bytes);
        matcher_close(&(*stream)->states[i].matcher);
    }
    free((*stream)->states);
    free(*stream);
    *stream = NULL;
}

/* Strings go from step to step as a beginning, parts and an end. */
static enum status take_begin(struct decode_stream *stream, int64_t at);
static enum status take_part(struct decode_stream *stream, int64_t at, const char *text,
                             int64_t len);
static enum status take_end(struct decode_stream *stream, int64_t at);

/* Hands parts on to the step behind `at`, within a string that it opens where none is open. */
static enum status give(struct decode_stream *stream, int64_t at, const char *text, int64_t len) {
    struct state *state = &stream->states[at];
    if (!state->is_open) {
        state->is_open = true;
        TRY(take_begin(stream, at + 1));
    }
    return take_part(stream, at + 1, text, len);
}

static enum status give_end(struct decode_stream *stream, int64_t at) {
    struct state *state = &stream->states[at];
    if (!state->is_open)
        return STATUS_OK;
    state->is_open = false;
    return take_end(stream, at + 1);
}

static enum status give_replacement_characters(struct decode_stream *stream, int64_t at,
                                               int64_t count) {
    for (int64_t i = 0; i < count; i++)
        TRY(give(stream, at, "\xef\xbf\xbd", 3));
    return STATUS_OK;
}

static void drop_held(struct decoded *held, int64_t len) {
    held->len -= len;
    if (len && held->len)
        memmove(held->bytes, held->bytes + len, (size_t)held->len);
}

/* -- Replace ----------------------------------------------------------------------------------- */

/* How many bytes at the end of the text could be the beginning of what is looked for. */
static int64_t unfinished(const char *text, int64_t len, const char *literal, int64_t literal_len) {
    int64_t most = len < literal_len - 1 ? len : literal_len - 1;
    for (int64_t tail = most; tail > 0; tail--)
        if (!memcmp(text + len - tail, literal, (size_t)tail))
            return tail;
    return 0;
}

/* Replaces in what is held and hands it on; of a string in parts, all that no later part can
 * change. */
static enum status replace(struct decode_stream *stream, int64_t at, bool is_whole) {
    const struct decode_step *step = &stream->steps->list[at];
    struct state *state = &stream->states[at];
    int64_t literal_len;
    const char *literal = pattern_literal(step->pattern, &literal_len);
    if (!is_whole && !literal)
        return STATUS_OK;
    struct spans spans = {0};
    enum status status = matcher_cut(state->matcher, state->held.bytes, state->held.len, &spans);
    int64_t done = 0;
    for (int64_t i = 0; status == STATUS_OK && i < spans.count; i++) {
        const struct span *span = &spans.list[i];
        int64_t len = span->end - span->begin;
        if (!is_whole && !span->is_match && span->end == state->held.len)
            len -= unfinished(state->held.bytes + span->begin, len, literal, literal_len);
        status = span->is_match ? give(stream, at, step->content, step->content_len)
                                : give(stream, at, state->held.bytes + span->begin, len);
        done = span->begin + len;
    }
    free(spans.list);
    TRY(status);
    drop_held(&state->held, done);
    return STATUS_OK;
}

/* -- ByteFallback ------------------------------------------------------------------------------ */

/* Hands on the whole characters of the run so far; after the first byte that fits nothing, each
 * byte of the run is a replacement character. */
static enum status put_byte(struct decode_stream *stream, int64_t at, char byte) {
    struct state *state = &stream->states[at];
    TRY(decoded_put(&state->bytes, &byte, 1));
    int length = unicode_scan(state->bytes.bytes, state->bytes.len);
    if (length < 0)
        state->is_invalid = true;
    if (state->is_invalid)
        TRY(give_replacement_characters(stream, at, state->bytes.len));
    else if (length > 0)
        TRY(give(stream, at, state->bytes.bytes, length));
    else
        return STATUS_OK;
    state->bytes.len = 0;
    return STATUS_OK;
}

static enum status end_bytes(struct decode_stream *stream, int64_t at) {
    struct state *state = &stream->states[at];
    TRY(give_replacement_characters(stream, at, state->bytes.len));
    state->bytes.len = 0;
    state->is_invalid = false;
    return give_end(stream, at);
}

static enum status fall_back(struct decode_stream *stream, int64_t at) {
    struct decoded *held = &stream->states[at].held;
    int byte = decode_byte_piece(held->bytes, held->len);
    if (byte >= 0) {
        TRY(put_byte(stream, at, (char)byte));
    } else {
        TRY(end_bytes(stream, at));
        TRY(give(stream, at, held->bytes, held->len));
        TRY(give_end(stream, at));
    }
    held->len = 0;
    return STATUS_OK;
}

/* -- ByteLevel --------------------------------------------------------------------------------- */

/* Hands on what is whole, and a replacement character for what cannot become whole. */
static enum status give_valid(struct decode_stream *stream, int64_t at, bool is_last) {
    struct decoded *bytes = &stream->states[at].bytes;
    int64_t done = 0;
    while (done < bytes->len) {
        int length = unicode_scan(bytes->bytes + done, bytes->len - done);
        if (length == 0 && !is_last)
            break;
        if (length > 0) {
            TRY(give(stream, at, bytes->bytes + done, length));
            done += length;
        } else {
            TRY(give_replacement_characters(stream, at, 1));
            done += length == 0 ? bytes->len - done : -length;
        }
    }
    drop_held(bytes, done);
    return STATUS_OK;
}

/* A string with a character that stands for no byte is taken as it is. */
static enum status put_byte_level(struct decode_stream *stream, int64_t at) {
    struct decoded *held = &stream->states[at].held, *bytes = &stream->states[at].bytes;
    bool is_plain = false;
    int length;
    for (int64_t i = 0; i < held->len; i += length)
        if (byte_level_byte(unicode_decode(held->bytes + i, &length)) < 0)
            is_plain = true;
    for (int64_t i = 0; !is_plain && i < held->len; i += length) {
        char byte = (char)byte_level_byte(unicode_decode(held->bytes + i, &length));
        TRY(decoded_put(bytes, &byte, 1));
    }
    if (is_plain)
        TRY(decoded_put(bytes, held->bytes, held->len));
    held->len = 0;
    return give_valid(stream, at, false);
}

/* -- Strip, Metaspace -------------------------------------------------------------------------- */

/* Takes characters off the front of what is held, and hands on all but what may have to come off
 * the end. */
static enum status strip(struct decode_stream *stream, int64_t at, bool is_last) {
    const struct decode_step *step = &stream->steps->list[at];
    struct state *state = &stream->states[at];
    struct decoded *held = &state->held;
    int64_t done = 0, end;
    int length;
    while (state->stripped >= 0 && state->stripped < step->start && done < held->len) {
        bool fits = unicode_decode(held->bytes + done, &length) == step->character;
        state->stripped = fits ? state->stripped + 1 : -1;
        done += fits ? length : 0;
    }
    end = held->len;
    for (int64_t i = 0; i < step->stop && end > done; i++) {
        int64_t last = end - 1;
        while (last > done && (held->bytes[last] & 0xc0) == 0x80)
            last--;
        if (unicode_decode(held->bytes + last, &length) != step->character)
            break;
        end = last;
    }
    TRY(give(stream, at, held->bytes + done, end - done));
    drop_held(held, is_last ? held->len : end);
    return STATUS_OK;
}

static enum status put_metaspace(struct decode_stream *stream, int64_t at, const char *text,
                                 int64_t len) {
    const struct decode_step *step = &stream->steps->list[at];
    bool vanishes = stream->states[at].begun == 1 && !step->keeps_first;
    int length;
    for (int64_t i = 0; i < len; i += length) {
        if (unicode_decode(text + i, &length) != step->character)
            TRY(give(stream, at, text + i, length));
        else if (!vanishes)
            TRY(give(stream, at, " ", 1));
    }
    return STATUS_OK;
}

/* -- what each step does with a string --------------------------------------------------------- */

static enum status take_begin(struct decode_stream *stream, int64_t at) {
    if (at == stream->steps->count)
        return STATUS_OK;
    struct state *state = &stream->states[at];
    if (stream->steps->list[at].kind == DECODE_JOIN && state->begun > 0)
        TRY(give(stream, at, " ", 1));
    state->begun++;
    state->stripped = 0;
    return STATUS_OK;
}

static enum status take_part(struct decode_stream *stream, int64_t at, const char *text,
                             int64_t len) {
    if (len == 0)
        return STATUS_OK;
    if (at == stream->steps->count)
        return decoded_put(stream->out, text, len);
    const struct decode_step *step = &stream->steps->list[at];
    switch (step->kind) {
    case DECODE_JOIN:
    case DECODE_FUSE:
        return give(stream, at, text, len);
    case DECODE_METASPACE:
        return put_metaspace(stream, at, text, len);
    default:
        TRY(decoded_put(&stream->states[at].held, text, len));
        break;
    }
    if (step->in_parts && step->kind == DECODE_REPLACE)
        return replace(stream, at, false);
    if (step->in_parts && step->kind == DECODE_STRIP)
        return strip(stream, at, false);
    return STATUS_OK;
}

static enum status take_end(struct decode_stream *stream, int64_t at) {
    if (at == stream->steps->count)
        return STATUS_OK;
    switch (stream->steps->list[at].kind) {
    case DECODE_JOIN:
    case DECODE_FUSE:
        return STATUS_OK;
    case DECODE_BYTE_FALLBACK:
        return fall_back(stream, at);
    case DECODE_BYTE_LEVEL:
        return put_byte_level(stream, at);
    case DECODE_REPLACE:
        TRY(give(stream, at, "", 0));
        TRY(replace(stream, at, true));
        return give_end(stream, at);
    case DECODE_STRIP:
        TRY(strip(stream, at, true));
        return give_end(stream, at);
    case DECODE_METASPACE:
        TRY(give(stream, at, "", 0));
        return give_end(stream, at);
    }
    return STATUS_OK;
}

enum status decode_stream_put(struct decode_stream *stream, const char *text, int64_t len,
                              struct decoded *out) {
    stream->out = out;
    TRY(take_begin(stream, 0));
    TRY(take_part(stream, 0, text, len));
    return take_end(stream, 0);
}

enum status decode_stream_end(struct decode_stream *stream, struct decoded *out) {
    stream->out = out;
    for (int64_t at = 0; at < stream->steps->count; at++) {
        enum decode_kind kind = stream->steps->list[at].kind;
        if (kind == DECODE_BYTE_FALLBACK)
            TRY(end_bytes(stream, at));
        if (kind == DECODE_BYTE_LEVEL)
            TRY(give_valid(stream, at, true));
        TRY(give_end(stream, at));
    }
    return STATUS_OK;
}
