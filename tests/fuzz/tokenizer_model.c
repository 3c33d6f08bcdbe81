/* SentencePiece's tokenizer.model, with the control pieces that templates look for. */
#include "tests/fuzz/fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct tokenizer *tokenizer;
    char path[64];
    int fd = file_of(bytes, len, path);
    if (fd < 0)
        return 0;
    if (tokenizer_open(path, &tokenizer) == STATUS_OK)
        use_tokenizer(tokenizer);
    tokenizer_close(&tokenizer);
    close(fd);
    return 0;
}
