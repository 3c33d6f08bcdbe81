/* tokenizer.json. */
#include "launch/tokenizer_whole.h"
#include "tests/fuzz/fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct tokenizer tokenizer = {0};
    if (tokenizer_json_parse("tokenizer.json", (const char *)bytes, (int64_t)len,
                             &tokenizer.json) == STATUS_OK)
        use_tokenizer(&tokenizer);
    tokenizer_json_close(&tokenizer.json);
    return 0;
}
