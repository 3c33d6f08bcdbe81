#include "partition/safetensors.h"
#include "partition/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are read as they stand");

static const char damaged[] = "the file is cut or not a safetensors file";
static const char again[] = "fetch the file again";

enum { LENGTH_BYTES = 8 };

/* As the reference implementation has it. */
static const int64_t header_bytes_max = 100000000;

static const struct {
    const char *name;
    int64_t bytes;
} dtypes[] = {
    {"F32", 4}, {"BF16", 2}, {"F16", 2}, {"F64", 8}, {"F8_E5M2", 1},
    {"U8", 1},  {"I8", 1},   {"U16", 2}, {"I16", 2}, {"F8_E4M3", 1},
    {"U32", 4}, {"I32", 4},  {"U64", 8}, {"I64", 8}, {"BOOL", 1},
};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* Where a message points to: a field of a tensor. */
struct tensor_field {
    char text[200];
};

static struct tensor_field tensor_field(const char *name, const char *field) {
    struct tensor_field where;
    snprintf(where.text, sizeof where.text, "%.150s: %s", name, field);
    return where;
}

enum status tensor_table_length(const char *path, const char *bytes, int64_t file_bytes,
                                int64_t *header_bytes) {
    uint64_t length = 0;
    if (file_bytes < LENGTH_BYTES)
        return status_fail(path, "header length",
                           "found a file of %lld bytes, expected at least %d; %s",
                           (long long)file_bytes, LENGTH_BYTES, damaged);
    memcpy(&length, bytes, LENGTH_BYTES);
    int64_t most = file_bytes - LENGTH_BYTES;
    if (length > (uint64_t)most)
        return status_fail(path, "header length",
                           "found %llu, expected at most %lld (the file has %lld bytes); %s",
                           (unsigned long long)length, (long long)most, (long long)file_bytes,
                           damaged);
    if (length > (uint64_t)header_bytes_max)
        return status_fail(path, "header length",
                           "found %llu, expected at most %lld, the limit of the format; %s",
                           (unsigned long long)length, (long long)header_bytes_max, damaged);
    *header_bytes = (int64_t)length;
    return STATUS_OK;
}

static enum status read_dtype(const char *path, const json_t *entry, struct tensor *tensor) {
    const json_t *value = json_object_get(entry, "dtype");
    for (int i = 0; i < DTYPES; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), dtypes[i].name) == 0) {
            tensor->dtype = dtypes[i].name;
            tensor->element_bytes = dtypes[i].bytes;
            return STATUS_OK;
        }
    return status_fail(path, tensor_field(tensor->name, "dtype").text,
                       "found %s, expected one of BOOL, U8, I8, F8_E5M2, F8_E4M3, U16, I16, F16, "
                       "BF16, U32, I32, F32, U64, I64, F64; save the model in F32, F16 or BF16",
                       json_words(value).text);
}

/* The shape, and the bytes that it asks for. */
static enum status read_shape(const char *path, const json_t *entry, struct tensor *tensor,
                              int64_t *bytes) {
    const json_t *list = json_object_get(entry, "shape");
    struct tensor_field where = tensor_field(tensor->name, "shape");
    if (!json_is_array(list) || json_array_size(list) > TENSOR_DIMS_MAX)
        return status_fail(path, where.text, "found %s, expected a list of at most %d sizes; %s",
                           json_words(list).text, TENSOR_DIMS_MAX, again);
    tensor->dims = (int64_t)json_array_size(list);
    *bytes = tensor->element_bytes;
    bool fits = true;
    for (int64_t i = 0; i < tensor->dims; i++) {
        const json_t *size = json_array_get(list, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return status_fail(path, where.text,
                               "found size %s, expected an integer, 0 or more; %s",
                               json_words(size).text, again);
        tensor->shape[i] = json_integer_value(size);
        fits = fits && !__builtin_mul_overflow(*bytes, tensor->shape[i], bytes);
    }
    if (!fits)
        return status_fail(path, where.text,
                           "found sizes whose product is beyond 64 bits, expected a tensor that "
                           "fits the file; %s",
                           again);
    return STATUS_OK;
}

/* data_offsets, from the end of the header in the file, from the start of the file in `tensor`. */
static enum status read_offsets(const char *path, const json_t *entry, int64_t data_start,
                                int64_t data_bytes, struct tensor *tensor) {
    const json_t *list = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(list, 0), *end = json_array_get(list, 1);
    struct tensor_field where = tensor_field(tensor->name, "data_offsets");
    if (json_array_size(list) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return status_fail(path, where.text, "found %s, expected a list of two integers; %s",
                           json_words(list).text, again);
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || from > to || to > data_bytes)
        return status_fail(
            path, where.text,
            "found %lld and %lld, expected 0 <= begin <= end <= %lld, the bytes after "
            "the header; %s",
            (long long)from, (long long)to, (long long)data_bytes, damaged);
    tensor->begin = data_start + from;
    tensor->end = data_start + to;
    return STATUS_OK;
}

static enum status read_tensor(const char *path, const json_t *entry, int64_t data_start,
                               int64_t data_bytes, struct tensor *tensor) {
    int64_t bytes = 0;
    if (!json_is_object(entry))
        return status_fail(path, tensor->name,
                           "found %s, expected an object with dtype, shape and data_offsets; %s",
                           json_words(entry).text, again);
    TRY(read_dtype(path, entry, tensor));
    TRY(read_shape(path, entry, tensor, &bytes));
    TRY(read_offsets(path, entry, data_start, data_bytes, tensor));
    if (bytes != tensor->end - tensor->begin)
        return status_fail(path, tensor_field(tensor->name, "data_offsets").text,
                           "found %lld bytes, expected %lld by its shape and dtype; %s",
                           (long long)(tensor->end - tensor->begin), (long long)bytes, again);
    return STATUS_OK;
}

static int compare_places(const void *a, const void *b) {
    const struct tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* In the order of their places, the tensors must cover the data exactly. */
static enum status check_cover(const char *path, struct tensor_table *table, int64_t data_start,
                               int64_t file_bytes) {
    int64_t covered = data_start;
    qsort(table->tensors, (size_t)table->count, sizeof *table->tensors, compare_places);
    for (int64_t i = 0; i < table->count; i++) {
        const struct tensor *tensor = &table->tensors[i];
        if (tensor->begin != covered)
            return status_fail(
                path, tensor_field(tensor->name, "data_offsets").text,
                "found begin %lld, expected %lld, where the tensor before it ends "
                "(%s); %s",
                (long long)(tensor->begin - data_start), (long long)(covered - data_start),
                tensor->begin < covered ? "the two overlap" : "there is a hole", again);
        covered = tensor->end;
    }
    if (covered != file_bytes)
        return status_fail(path, "data_offsets",
                           "found tensors up to byte %lld of the file, expected %lld, its end; %s",
                           (long long)covered, (long long)file_bytes, damaged);
    return STATUS_OK;
}

static enum status check_metadata(const char *path, const json_t *metadata) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return status_fail(path, "__metadata__", "found %s, expected an object of strings; %s",
                           json_words(metadata).text, again);
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return status_fail(path, tensor_field("__metadata__", key).text,
                               "found %s, expected a string; %s", json_words(value).text, again);
    }
    return STATUS_OK;
}

/* Room for all tensors and a copy of their names, which outlives the JSON tree. */
static enum status reserve(const json_t *header, struct tensor_table *table) {
    size_t names_bytes = 1, count = json_object_size(header);
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)header, name, entry) {
        names_bytes += strlen(name) + 1;
    }
    table->tensors = calloc(count + 1, sizeof *table->tensors);
    table->names = malloc(names_bytes);
    if (!table->tensors || !table->names)
        return status_no_memory("tensor table",
                                (long long)(count * sizeof *table->tensors + names_bytes));
    return STATUS_OK;
}

static enum status read_header(const char *path, const json_t *header, int64_t data_start,
                               int64_t file_bytes, struct tensor_table *table) {
    TRY(reserve(header, table));
    char *names = table->names;
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(check_metadata(path, entry));
            continue;
        }
        struct tensor *tensor = &table->tensors[table->count++];
        tensor->name = names;
        names = stpcpy(names, name) + 1;
        TRY(read_tensor(path, entry, data_start, file_bytes - data_start, tensor));
    }
    table->data_bytes = file_bytes - data_start;
    TRY(check_cover(path, table, data_start, file_bytes));
    qsort(table->tensors, (size_t)table->count, sizeof *table->tensors, compare_names);
    return STATUS_OK;
}

enum status tensor_table_parse(const char *path, const char *bytes, int64_t len, int64_t file_bytes,
                               struct tensor_table *table) {
    *table = (struct tensor_table){0};
    int64_t header_bytes = 0;
    TRY(tensor_table_length(path, bytes, len < file_bytes ? len : file_bytes, &header_bytes));
    int64_t data_start = LENGTH_BYTES + header_bytes;
    const char *text = bytes + LENGTH_BYTES;
    if (header_bytes == 0 || text[0] != '{')
        return status_fail(path, "header", "found no JSON object, expected '{' at byte %d; %s",
                           LENGTH_BYTES, damaged);
    json_t *header;
    TRY(json_parse_object(path, text, header_bytes, &header));
    enum status status = read_header(path, header, data_start, file_bytes, table);
    json_decref(header);
    if (status != STATUS_OK)
        tensor_table_free(table);
    return status;
}

void tensor_table_free(struct tensor_table *table) {
    free(table->tensors);
    free(table->names);
    *table = (struct tensor_table){0};
}

const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name) {
    struct tensor key = {.name = name};
    if (table->count == 0)
        return NULL;
    return bsearch(&key, table->tensors, (size_t)table->count, sizeof key, compare_names);
}

bool tensor_is_float(const struct tensor *tensor) {
    return strcmp(tensor->dtype, "F32") == 0 || strcmp(tensor->dtype, "F16") == 0 ||
           strcmp(tensor->dtype, "BF16") == 0;
}

/* Reads exactly len bytes at `offset`; `what` is for messages. */
static enum status read_at(const struct safetensors *file, const char *what, char *bytes,
                           int64_t len, int64_t offset) {
    for (int64_t done = 0; done < len;) {
        ssize_t got = pread(file->fd, bytes + done, (size_t)(len - done), offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return status_fail(
                file->path, what,
                "found %s at byte %lld, expected %lld readable bytes; check the disk",
                strerror(errno), (long long)(offset + done), (long long)(len - done));
        if (got == 0)
            return status_fail(file->path, what,
                               "found the end of the file at byte %lld, expected %lld more bytes; "
                               "the file was cut after it was opened",
                               (long long)(offset + done), (long long)(len - done));
        done += got;
    }
    return STATUS_OK;
}

static enum status open_checked(struct safetensors *file) {
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0)
        return status_fail(file->path, NULL, "found %s, expected a readable file; check the path",
                           strerror(errno));
    struct stat info;
    if (fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return status_fail(file->path, NULL, "found %s, expected a regular file; check the path",
                           S_ISDIR(info.st_mode) ? "a directory" : "a special file");

    char length[LENGTH_BYTES] = {0};
    int64_t header_bytes = 0;
    if (info.st_size >= LENGTH_BYTES)
        TRY(read_at(file, "header length", length, LENGTH_BYTES, 0));
    TRY(tensor_table_length(file->path, length, info.st_size, &header_bytes));
    char *bytes = malloc((size_t)(LENGTH_BYTES + header_bytes));
    if (!bytes)
        return status_no_memory(file->path, (long long)(LENGTH_BYTES + header_bytes));
    enum status status = read_at(file, "header", bytes, LENGTH_BYTES + header_bytes, 0);
    if (status == STATUS_OK)
        status = tensor_table_parse(file->path, bytes, LENGTH_BYTES + header_bytes, info.st_size,
                                    &file->table);
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

/* n elements of the tensor's type, as they stand in the file, to f32. */
static void convert(const struct tensor *tensor, const char *bytes, int64_t n, float *out) {
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

/* Reads `runs` runs of `n` elements each, the first at byte `offset`, `stride` bytes apart, through
 * a buffer that holds `piece` elements. */
static enum status read_runs(struct safetensors *file, const struct tensor *tensor, int64_t offset,
                             int64_t runs, int64_t n, int64_t stride, char *buffer, int64_t piece,
                             float *out) {
    int64_t held = 0, element = tensor->element_bytes;
    for (int64_t run = 0; run < runs; run++) {
        for (int64_t done = 0; done < n;) {
            int64_t take = n - done < piece - held ? n - done : piece - held;
            TRY(read_at(file, tensor->name, buffer + held * element, take * element,
                        offset + run * stride + done * element));
            file->bytes_read += take * element;
            held += take;
            done += take;
            if (held == piece || (run == runs - 1 && done == n)) {
                convert(tensor, buffer, held, out);
                out += held;
                held = 0;
            }
        }
    }
    return STATUS_OK;
}

enum status safetensors_read(struct safetensors *file, const struct tensor *tensor,
                             struct range rows, struct range cols, float *out) {
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
        read_runs(file, tensor, offset, runs, n, width * element, buffer, piece, out);
    free(buffer);
    return status;
}
