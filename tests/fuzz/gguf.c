/* A GGUF file's head, whole and from a beginning of it; what it says of the model, its weights and
 * its tokenizer. */
#include "partition/gguf.h"
#include "partition/shape.h"
#include "partition/weights.h"
#include "tests/fuzz/fuzzing.h"

/* The head of the first bytes alone asks for more or fails alike, but never reads on. */
static void read_beginning(const uint8_t *bytes, size_t len) {
    struct gguf_table table;
    bool is_whole;
    char *part = malloc(len / 2 + 1);
    PROMISED(part);
    for (size_t i = 0; i < len / 2; i++)
        part[i] = (char)bytes[i];
    gguf_table_parse("m.gguf", part, (int64_t)(len / 2), (int64_t)len, &table, &is_whole);
    gguf_table_free(&table);
    free(part);
}

static void read_values(struct gguf *gguf) {
    for (int64_t i = 0; gguf_value_at(gguf, i); i++) {
        const char *key = gguf_value_at(gguf, i)->key, *text = NULL;
        struct gguf_array array;
        int64_t number = 0, len, at = 0;
        double real = 0;
        bool yes = false;
        gguf_int(gguf, key, true, INT64_MIN, INT64_MAX, &number);
        gguf_real_in(gguf, key, true, -1, 1, &real);
        gguf_bool(gguf, key, true, &yes);
        gguf_text(gguf, key, true, &text);
        gguf_bytes(gguf, key, &len);
        if (gguf_array(gguf, key, GGUF_STRINGS, true, &array) == STATUS_OK)
            for (int64_t k = 0; k < array.count; k++)
                PROMISED(gguf_array_next(&array, &at, &len) != NULL && len >= 0);
        if (gguf_array(gguf, key, GGUF_REALS, true, &array) == STATUS_OK)
            for (int64_t k = 0; k < array.count; k++)
                real += gguf_array_real(&array, k);
    }
}

static void read_tensors(const struct gguf *gguf) {
    for (int64_t i = 0; i < gguf_tensor_count(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        char byte;
        PROMISED(gguf_tensor_find(gguf, tensor->name) != NULL);
        if (tensor->end > tensor->begin)
            PROMISED(gguf_read(gguf, tensor, tensor->end - tensor->begin - 1, 1, &byte) ==
                     STATUS_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct weights *weights;
    struct shape shape;
    char path[64];
    int fd = file_of(bytes, len, path);
    if (fd < 0)
        return 0;
    read_beginning(bytes, len);
    if (gguf_open(path, &gguf) == STATUS_OK) {
        read_values(gguf);
        read_tensors(gguf);
        if (shape_read(path, &shape) == STATUS_OK)
            PROMISED(shape.layers > 0 && shape.hidden > 0 && shape_parameters(&shape) > 0);
        weights_open(path, &weights);
        weights_close(&weights);
        if (tokenizer_open(path, &tokenizer) == STATUS_OK)
            use_tokenizer(tokenizer);
        tokenizer_close(&tokenizer);
    }
    gguf_close(&gguf);
    close(fd);
    return 0;
}
