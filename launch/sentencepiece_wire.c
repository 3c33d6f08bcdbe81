#include "launch/sentencepiece_wire.h"

#include <stddef.h>

static enum status broken(const struct wire *wire, const char *what) {
    return status_fail(wire->file, NULL,
                       "found %s at byte %lld, expected a SentencePiece model; "
                       "restore the file as it was published",
                       what, (long long)wire->at);
}

static enum status read_varint(struct wire *wire, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (wire->at >= wire->end)
            return broken(wire, "an unfinished number");
        unsigned char byte = (unsigned char)wire->bytes[wire->at++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return STATUS_OK;
    }
    return broken(wire, "a number of more than 64 bits");
}

static enum status read_fixed(struct wire *wire, int size, uint64_t *value) {
    if (wire->end - wire->at < size)
        return broken(wire, "an unfinished number");
    *value = 0;
    for (int i = 0; i < size; i++)
        *value |= (uint64_t)(unsigned char)wire->bytes[wire->at++] << 8 * i;
    return STATUS_OK;
}

enum status wire_next(struct wire *wire, struct wire_field *field, bool *more) {
    *field = (struct wire_field){0};
    *more = wire->at < wire->end;
    if (!*more)
        return STATUS_OK;
    uint64_t key;
    TRY(read_varint(wire, &key));
    field->number = key >> 3;
    field->type = (enum wire_type)(key & 7);
    if (field->number == 0)
        return broken(wire, "a field without a number");
    switch (field->type) {
    case WIRE_VARINT:
        return read_varint(wire, &field->value);
    case WIRE_FIXED64:
        return read_fixed(wire, 8, &field->value);
    case WIRE_FIXED32:
        return read_fixed(wire, 4, &field->value);
    case WIRE_BYTES:
        TRY(read_varint(wire, &field->value));
        if (field->value > (uint64_t)(wire->end - wire->at))
            return broken(wire, "a length beyond the end");
        field->begin = wire->at;
        field->end = wire->at += (int64_t)field->value;
        return STATUS_OK;
    default:
        return broken(wire, "a field of an unknown kind");
    }
}

struct wire wire_within(const struct wire *wire, const struct wire_field *field) {
    return (struct wire){wire->file, wire->bytes, field->begin, field->end};
}
