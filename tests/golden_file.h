/* Reads the golden values that tests compare with: safetensors files with input ids and logits. */
#ifndef QUIRE_TESTS_GOLDEN_FILE_H
#define QUIRE_TESTS_GOLDEN_FILE_H

#include <stdint.h>

struct golden {
    int32_t *ids; /* owned, [T] */
    int64_t T;
    struct golden_logits {
        char name[64];
        float *values;       /* owned, [T, width] (losses: width 1) */
        int64_t width, rows; /* rows: T, or fewer */
    } sets[8];
    int sets_count;
};

/* Reads input_ids and every tensor that begins with `prefix` ("logits_", "nll_"). Ends the process
 * where the file cannot be read. */
void golden_read(const char *path, const char *prefix, struct golden *golden);
void golden_free(struct golden *golden);

/* G and w in a name like "logits_se_G3_w10"; zeros for "logits_plain". */
void golden_scheme(const char *name, int64_t *group, int64_t *window);

#endif
