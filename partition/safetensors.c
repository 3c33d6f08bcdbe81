#include "partition/safetensors.h"

#include "partition/file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are read as they stand");

static enum status open_checked(struct safetensors *file) {
    int64_t file_bytes;
    TRY(file_open(file->path, &file->fd, &file_bytes));
    char length[TENSOR_LENGTH_BYTES] = {0};
    int64_t header_bytes = 0;
    if (file_bytes >= TENSOR_LENGTH_BYTES)
        TRY(file_read_at(file->path, file->fd, "header length", length, TENSOR_LENGTH_BYTES, 0));
    TRY(tensor_table_length(file->path, length, file_bytes, &header_bytes));
    char *bytes = malloc((size_t)(TENSOR_LENGTH_BYTES + header_bytes));
    if (!bytes)
        return status_no_memory(file->path, (long long)(TENSOR_LENGTH_BYTES + header_bytes));
    enum status status =
        file_read_at(file->path, file->fd, "header", bytes, TENSOR_LENGTH_BYTES + header_bytes, 0);
    if (status == STATUS_OK)
        status = tensor_table_parse(file->path, bytes, TENSOR_LENGTH_BYTES + header_bytes,
                                    file_bytes, &file->table);
    free(bytes);
    return status;
}

enum status safetensors_open(const char *path, struct safetensors *file) {
    *file = (struct safetensors){.fd = -1, .path = strdup(path)};
    if (!file->path)
        return status_no_memory(path, (long long)strlen(path) + 1);
    enum status status = open_checked(file);
    if (status != STATUS_OK)
        safetensors_close(file);
    return status;
}

void safetensors_close(struct safetensors *file) {
    if (file->fd >= 0)
        close(file->fd);
    tensor_table_free(&file->table);
    free(file->path);
    *file = (struct safetensors){.fd = -1};
}

static float f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float f32_of_bf16(uint16_t bits) {
    return f32_of_bits((uint32_t)bits << 16);
}

/* IEEE half: 5 bits of exponent (bias 15), 10 of fraction; exact in f32. A subnormal m * 2^-24 is
 * taken as 2^-14 * (1 + m/1024) - 2^-14, so that no f32 subnormal is met on the way. */
static inline float f32_of_f16(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = (bits >> 10) & 0x1f;
    uint32_t fraction = (uint32_t)(bits & 0x3ff) << 13;
    if (exponent == 0) {
        float value = f32_of_bits((113u << 23) | fraction) - 0x1p-14f;
        return sign ? -value : value;
    }
    uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return f32_of_bits(sign | wide << 23 | fraction);
}

/* To nearest, ties to even; a NaN is made quiet, so that cutting its fraction leaves one. */
static inline uint16_t bf16_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* n elements of the tensor's type, as they stand in the file, to f32. */
static void to_f32(const struct tensor *tensor, const char *bytes, int64_t n, void *to) {
    float *out = to;
    const uint16_t *halves = (const uint16_t *)(const void *)bytes;
    if (strcmp(tensor->dtype, "F32") == 0)
        memcpy(out, bytes, (size_t)n * sizeof *out);
    else if (strcmp(tensor->dtype, "BF16") == 0)
        for (int64_t i = 0; i < n; i++)
            out[i] = f32_of_bf16(halves[i]);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = f32_of_f16(halves[i]);
}

/* The same to bf16. */
static void to_bf16(const struct tensor *tensor, const char *bytes, int64_t n, void *to) {
    uint16_t *out = to;
    const float *floats = (const float *)(const void *)bytes;
    const uint16_t *halves = (const uint16_t *)(const void *)bytes;
    if (strcmp(tensor->dtype, "F32") == 0)
        for (int64_t i = 0; i < n; i++)
            out[i] = bf16_of_f32(floats[i]);
    else if (strcmp(tensor->dtype, "BF16") == 0)
        memcpy(out, bytes, (size_t)n * sizeof *out);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = bf16_of_f32(f32_of_f16(halves[i]));
}

/* Where a read goes: the type's conversion and its size. */
struct target {
    void (*convert)(const struct tensor *tensor, const char *bytes, int64_t n, void *to);
    int64_t element_bytes;
    char *at; /* next element */
};

/* Reads `runs` runs of `n` elements each, the first at byte `offset`, `stride` bytes apart, through
 * a buffer that holds `piece` elements. */
static enum status read_runs(struct safetensors *file, const struct tensor *tensor, int64_t offset,
                             int64_t runs, int64_t n, int64_t stride, char *buffer, int64_t piece,
                             struct target *target) {
    int64_t held = 0, element = tensor->element_bytes;
    for (int64_t run = 0; run < runs; run++) {
        for (int64_t done = 0; done < n;) {
            int64_t take = n - done < piece - held ? n - done : piece - held;
            TRY(file_read_at(file->path, file->fd, tensor->name, buffer + held * element,
                             take * element, offset + run * stride + done * element));
            file->bytes_read += take * element;
            held += take;
            done += take;
            if (held == piece || (run == runs - 1 && done == n)) {
                target->convert(tensor, buffer, held, target->at);
                target->at += held * target->element_bytes;
                held = 0;
            }
        }
    }
    return STATUS_OK;
}

static enum status read_slice(struct safetensors *file, const struct tensor *tensor,
                              struct range rows, struct range cols, struct target target) {
    int64_t height = tensor->dims > 0 ? tensor->shape[0] : 1, width = 1;
    if (tensor->dims == 2)
        width = tensor->shape[1];
    else
        cols = (struct range){0, 1};
    bool inside = rows.first >= 0 && rows.count >= 0 && rows.first <= height - rows.count &&
                  cols.first >= 0 && cols.count >= 0 && cols.first <= width - cols.count;
    if (!inside || tensor->dims > 2 || !tensor_is_float(tensor))
        return status_fail(file->path, tensor->name,
                           "found %s of %lld rows and %lld columns, expected floats that hold rows "
                           "%lld to %lld, columns %lld to %lld; use a model of the shape in its "
                           "config.json",
                           tensor->dtype, (long long)height, (long long)width,
                           (long long)rows.first, (long long)range_end(rows), (long long)cols.first,
                           (long long)range_end(cols));
    if (rows.count == 0 || cols.count == 0)
        return STATUS_OK;

    int64_t runs = rows.count, n = cols.count, element = tensor->element_bytes;
    int64_t offset = tensor->begin + (rows.first * width + cols.first) * element;
    if (n == width) {
        n *= runs;
        runs = 1;
    }
    int64_t piece = (1 << 20) / element, all = rows.count * cols.count;
    if (piece > all)
        piece = all;
    char *buffer = malloc((size_t)(piece * element));
    if (!buffer)
        return status_no_memory(file->path, (long long)(piece * element));
    enum status status =
        read_runs(file, tensor, offset, runs, n, width * element, buffer, piece, &target);
    free(buffer);
    return status;
}

enum status safetensors_read(struct safetensors *file, const struct tensor *tensor,
                             struct range rows, struct range cols, float *out) {
    return read_slice(file, tensor, rows, cols, (struct target){to_f32, 4, (char *)out});
}

enum status safetensors_read_bf16(struct safetensors *file, const struct tensor *tensor,
                                  struct range rows, struct range cols, uint16_t *out) {
    return read_slice(file, tensor, rows, cols, (struct target){to_bf16, 2, (char *)out});
}
