/* What the fuzzing programs share. libFuzzer calls LLVMFuzzerTestOneInput with bytes that it makes
 * up; whatever they are, nothing may be read or written out of bounds, leak, or take for ever. */
#ifndef QUIRE_TESTS_FUZZING_H
#define QUIRE_TESTS_FUZZING_H

#include "launch/tokenizer.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A file in memory, for readers that open one; -1 when there is none. */
static inline int file_of(const uint8_t *bytes, size_t len, char path[64]) {
    int fd = memfd_create("fuzz", 0);
    if (fd >= 0 && write(fd, bytes, len) != (ssize_t)len) {
        close(fd);
        return -1;
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* Aborts where a promise of the interface does not hold. */
#define PROMISED(condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Reads a few texts in every way and turns the tokens back. */
static inline void use_tokenizer(const struct tokenizer *tokenizer) {
    static const char text[] =
        " The  caf\xc3\xa9 \xe4\xb8\xad <s>12345</s>\n\t<|im_end|>'s e\xcc\x81 \xf0\x9f\x98\x80";
    static const struct text_range plain = {10, 24};
    static const struct encode_rules ways[] = {
        {.around = true, .specials = true},
        {.controls = true, .specials = true, .plain = &plain, .plain_count = 1},
        {.behind = true}};
    for (int i = 0; i < 3; i++) {
        struct tokens tokens;
        struct decoder *decoder;
        const char *part;
        int64_t len;
        if (tokenizer_encode_by(tokenizer, text, sizeof text - 1, &ways[i], &tokens) != STATUS_OK)
            continue;
        PROMISED(decoder_open(tokenizer, &decoder) == STATUS_OK);
        for (int64_t k = 0; k < tokens.count; k++) {
            PROMISED(tokens.ids[k] >= 0 && tokens.ids[k] < tokenizer_size(tokenizer));
            PROMISED(tokens.offsets[k] >= (k ? tokens.offsets[k - 1] : 0));
            PROMISED(tokens.offsets[k] < (int64_t)sizeof text);
            if (decoder_put(decoder, tokens.ids[k], &part, &len) == STATUS_OK)
                PROMISED(text_valid_utf8(part, len) == len);
        }
        if (decoder_end(decoder, &part, &len) == STATUS_OK)
            PROMISED(text_valid_utf8(part, len) == len);
        decoder_close(&decoder);
        tokens_free(&tokens);
    }
}

#endif
