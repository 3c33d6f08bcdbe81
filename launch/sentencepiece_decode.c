#include "launch/sentencepiece_model.h"

#include "launch/unicode.h"
#include <string.h>

static enum status put(struct sentencepiece_stream *stream, const char *text, int64_t len,
                       struct decoded *out) {
    if (len)
        stream->has_text = true;
    return decoded_put(out, text, len);
}

/* Appends the whole characters of the bytes so far, and a replacement character for each byte that
 * fits nothing: those that wait for more as well when the run of bytes is over. */
static enum status put_bytes(struct sentencepiece_stream *stream, bool is_over,
                             struct decoded *out) {
    struct decoded *bytes = &stream->bytes;
    int64_t done = 0;
    while (done < bytes->len) {
        int length = unicode_scan(bytes->bytes + done, bytes->len - done);
        if (length == 0 && !is_over)
            break;
        if (length > 0)
            TRY(put(stream, bytes->bytes + done, length, out));
        else
            TRY(put(stream, "\xef\xbf\xbd", 3, out));
        done += length > 0 ? length : 1;
    }
    bytes->len -= done;
    if (done && bytes->len)
        memmove(bytes->bytes, bytes->bytes + done, (size_t)bytes->len);
    return STATUS_OK;
}

static bool begins_with_space(const char *piece, int64_t len) {
    return len >= SENTENCEPIECE_SPACE_LEN &&
           !memcmp(piece, SENTENCEPIECE_SPACE, SENTENCEPIECE_SPACE_LEN);
}

/* The space in front that the encoder added is taken off the first piece; where extra spaces go,
 * all spaces in front are. */
static enum status put_piece(const struct sentencepiece *model, struct sentencepiece_stream *stream,
                             const char *piece, int64_t len, struct decoded *out) {
    bool may_go = !stream->past_space && (model->dummy_prefix || model->extra_spaces_go);
    stream->took_space = false;
    if (may_go && begins_with_space(piece, len)) {
        piece += SENTENCEPIECE_SPACE_LEN;
        len -= SENTENCEPIECE_SPACE_LEN;
        stream->took_space = !model->extra_spaces_go;
    }
    while (len > 0) {
        const char *space =
            memmem(piece, (size_t)len, SENTENCEPIECE_SPACE, SENTENCEPIECE_SPACE_LEN);
        int64_t before = space ? space - piece : len;
        TRY(put(stream, piece, before, out));
        if (!space)
            break;
        TRY(put(stream, " ", 1, out));
        piece += before + SENTENCEPIECE_SPACE_LEN;
        len -= before + SENTENCEPIECE_SPACE_LEN;
    }
    return STATUS_OK;
}

enum status sentencepiece_put(const struct sentencepiece *model,
                              struct sentencepiece_stream *stream, int32_t id,
                              struct decoded *out) {
    int64_t len;
    const char *piece = vocabulary_text(&model->vocabulary, id, &len);
    if (!piece)
        return STATUS_OK;
    if (model->types[id] == SENTENCEPIECE_BYTE) {
        TRY(decoded_put(&stream->bytes, &(char){(char)decode_byte_piece(piece, len)}, 1));
        return put_bytes(stream, false, out);
    }
    TRY(put_bytes(stream, true, out));
    if (stream->took_space || stream->has_text)
        stream->past_space = true;
    if (model->types[id] == SENTENCEPIECE_CONTROL || model->types[id] == SENTENCEPIECE_UNKNOWN) {
        stream->took_space = false;
        if (model->types[id] == SENTENCEPIECE_CONTROL)
            return STATUS_OK;
        if (model->unknown_text)
            return put(stream, model->unknown_text, model->unknown_text_len, out);
        return put(stream, " \xe2\x81\x87 ", 5, out);
    }
    return put_piece(model, stream, piece, len, out);
}

enum status sentencepiece_end(struct sentencepiece_stream *stream, struct decoded *out) {
    return put_bytes(stream, true, out);
}
