/* A safetensors file: its header, and rows of each tensor. */
#include "partition/safetensors.h"
#include "tests/fuzz/fuzzing.h"

static void read_first_row(struct safetensors *file, const struct tensor *tensor) {
    int64_t width = tensor->dims == 2 ? tensor->shape[1] : 1;
    if (tensor->dims == 0 || tensor->dims > 2 || tensor->shape[0] == 0)
        width = 0; /* asked for all the same, and refused or empty */
    if (width > 4096)
        return;
    float *out = malloc((size_t)(width + 1) * sizeof *out);
    PROMISED(out);
    struct range rows = {0, width ? 1 : 0}, cols = {0, width};
    enum status status = safetensors_read(file, tensor, rows, cols, out);
    PROMISED(status == STATUS_OK || !tensor_is_float(tensor) || tensor->dims != 2);
    safetensors_read_bf16(file, tensor, rows, cols, (uint16_t *)out);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct safetensors file;
    char path[64];
    int fd = file_of(bytes, len, path);
    if (fd < 0)
        return 0;
    if (safetensors_open(path, &file) == STATUS_OK)
        for (int64_t i = 0; i < file.table.count; i++) {
            const struct tensor *tensor = &file.table.tensors[i];
            PROMISED(tensor_table_find(&file.table, tensor->name) == tensor);
            PROMISED(tensor->begin <= tensor->end && tensor->end <= (int64_t)len);
            read_first_row(&file, tensor);
        }
    safetensors_close(&file);
    close(fd);
    return 0;
}
