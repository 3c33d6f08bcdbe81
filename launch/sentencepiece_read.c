#include "launch/sentencepiece_model.h"
#include "launch/sentencepiece_wire.h"
#include "launch/tokenizer.h"
#include <stdlib.h>
#include <string.h>

static const char published[] = "restore the file as it was published";

/* -- fields ------------------------------------------------------------------------------------ */

/* A field of a known number whose kind is another is passed over, as protobuf does. */
static bool is(const struct wire_field *field, uint64_t number, enum wire_type type) {
    return field->number == number && field->type == type;
}

static enum status read_piece(struct sentencepiece *model, struct wire wire, const char *file) {
    struct wire_field field;
    bool more;
    int64_t begin = 0, end = 0;
    uint64_t type = SENTENCEPIECE_NORMAL;
    float score = 0;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            break;
        if (is(&field, 1, WIRE_BYTES)) {
            begin = field.begin;
            end = field.end;
        } else if (is(&field, 2, WIRE_FIXED32)) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&score, &bits, sizeof score);
        } else if (is(&field, 3, WIRE_VARINT) && field.value >= SENTENCEPIECE_NORMAL &&
                   field.value <= SENTENCEPIECE_BYTE) {
            type = field.value;
        }
    }
    return sentencepiece_add(model, file, "pieces", wire.bytes + begin, end - begin,
                             (enum sentencepiece_type)type, score);
}

static enum status read_trainer(struct sentencepiece *model, struct wire wire, const char *file,
                                uint64_t *type) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 3, WIRE_VARINT))
            *type = field.value;
        else if (is(&field, 24, WIRE_VARINT))
            model->space_is_suffix = field.value != 0;
        else if (is(&field, 35, WIRE_VARINT))
            model->byte_fallback = field.value != 0;
        else if (is(&field, 41, WIRE_VARINT))
            model->bos = (int32_t)field.value;
        else if (is(&field, 42, WIRE_VARINT))
            model->eos = (int32_t)field.value;
        else if (is(&field, 44, WIRE_BYTES)) {
            int64_t len = field.end - field.begin;
            if (text_valid_utf8(wire.bytes + field.begin, len) < len)
                return status_fail(file, "trainer_spec.unk_surface",
                                   "found bytes, expected text; %s", published);
            free(model->unknown_text);
            model->unknown_text = malloc((size_t)len + 1);
            if (!model->unknown_text)
                return status_no_memory("a tokenizer", len + 1);
            memcpy(model->unknown_text, wire.bytes + field.begin, (size_t)len);
            model->unknown_text_len = len;
        }
    }
}

static enum status read_normalizer(struct sentencepiece *model, struct wire wire,
                                   const char *file) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 2, WIRE_BYTES)) {
            charsmap_close(&model->charsmap);
            if (field.end > field.begin)
                TRY(charsmap_read(file, wire.bytes + field.begin, field.end - field.begin,
                                  &model->charsmap));
        } else if (is(&field, 3, WIRE_VARINT)) {
            model->dummy_prefix = field.value != 0;
        } else if (is(&field, 4, WIRE_VARINT)) {
            model->extra_spaces_go = field.value != 0;
        } else if (is(&field, 5, WIRE_VARINT)) {
            model->spaces_escaped = field.value != 0;
        }
    }
}

/* Text is rewritten after decoding where a model says so; none of the supported kind does. */
static enum status refuse_denormalizer(struct wire wire, const char *file) {
    struct wire_field field;
    bool more;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            return STATUS_OK;
        if (is(&field, 2, WIRE_BYTES) && field.end > field.begin)
            return status_fail(file, "denormalizer_spec.precompiled_charsmap",
                               "found a compiled map, expected none; use a model without it");
    }
}

enum status sentencepiece_read(struct sentencepiece *model, struct wire wire, const char *file) {
    static const char *const types[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    struct wire_field field;
    bool more;
    uint64_t type = 1;
    bool has_trainer = false;
    for (;;) {
        TRY(wire_next(&wire, &field, &more));
        if (!more)
            break;
        has_trainer = has_trainer || is(&field, 2, WIRE_BYTES);
        if (is(&field, 1, WIRE_BYTES))
            TRY(read_piece(model, wire_within(&wire, &field), file));
        else if (is(&field, 2, WIRE_BYTES))
            TRY(read_trainer(model, wire_within(&wire, &field), file, &type));
        else if (is(&field, 3, WIRE_BYTES))
            TRY(read_normalizer(model, wire_within(&wire, &field), file));
        else if (is(&field, 5, WIRE_BYTES))
            TRY(refuse_denormalizer(wire_within(&wire, &field), file));
    }
    /* Without it the type would be the format's default, and a file that was cut another model. */
    if (!has_trainer && model->vocabulary.count)
        return status_fail(file, "trainer_spec",
                           "found none, expected a SentencePiece model with one; %s", published);
    if (type != 1 && type != 2)
        return status_fail(file, "trainer_spec.model_type",
                           "found %s, expected BPE or UNIGRAM; use a model with such a tokenizer",
                           type < 5 ? types[type] : "an unknown type");
    model->is_unigram = type == 1;
    return STATUS_OK;
}
