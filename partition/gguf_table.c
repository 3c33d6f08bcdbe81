#include "partition/gguf_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char damaged[] = "the file is cut or not a GGUF file";
static const char again[] = "fetch the file again";

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are read as they stand");

/* More than any model has; the heads of large vocabularies take some ten megabytes. */
#define HEAD_BYTES_MAX (INT64_C(1) << 30)
#define VALUES_MAX (INT64_C(1) << 20)
#define TENSORS_MAX (INT64_C(1) << 22)
#define NAME_BYTES_MAX 65535
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX (INT64_C(1) << 30)

/* -- types ------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int64_t bytes;
} types[GGUF_TYPES] = {
    [GGUF_U8] = {"an integer of 8 bits", 1},   [GGUF_I8] = {"an integer of 8 bits", 1},
    [GGUF_U16] = {"an integer of 16 bits", 2}, [GGUF_I16] = {"an integer of 16 bits", 2},
    [GGUF_U32] = {"an integer of 32 bits", 4}, [GGUF_I32] = {"an integer of 32 bits", 4},
    [GGUF_F32] = {"a real of 32 bits", 4},     [GGUF_BOOL] = {"a boolean", 1},
    [GGUF_STRING] = {"a string", 0},           [GGUF_ARRAY] = {"an array", 0},
    [GGUF_U64] = {"an integer of 64 bits", 8}, [GGUF_I64] = {"an integer of 64 bits", 8},
    [GGUF_F64] = {"a real of 64 bits", 8},
};

int64_t gguf_type_bytes(enum gguf_type type) {
    return types[type].bytes;
}

const char *gguf_type_name(enum gguf_type type) {
    return types[type].name;
}

/* ggml.h, enum ggml_type; block sizes of ggml-common.h. Numbers without a name are gone. */
const struct gguf_format *gguf_format(uint32_t type) {
    static const struct gguf_format formats[] = {
        [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
        [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
        [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},      [10] = {"Q2_K", 256, 84},
        [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
        [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
        [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
        [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
        [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
        [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
        [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
        [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
        [41] = {"Q1_0", 128, 18},
    };
    if (type >= sizeof formats / sizeof *formats || !formats[type].name)
        return NULL;
    return &formats[type];
}

/* -- bytes ------------------------------------------------------------------------------------- */

/* The head while it is read. */
struct head {
    const char *path;
    const char *bytes; /* [len] */
    int64_t len, file_bytes, at;
    bool is_short; /* it goes on behind len */
    char *names;   /* where the next string goes */
};

/* A place in words: "byte 123". */
struct place {
    char text[32];
};

static struct place place_of(const struct head *head) {
    struct place place;
    snprintf(place.text, sizeof place.text, "byte %lld", (long long)head->at);
    return place;
}

/* Makes sure that the next n bytes are there. Where only `bytes` ends, and not the file, the
 * failure has no message, and is_short says so. */
static enum status need(struct head *head, int64_t n) {
    if (n > head->file_bytes - head->at)
        return status_fail(head->path, place_of(head).text,
                           "found the end of the file, expected %lld more bytes; %s", (long long)n,
                           damaged);
    if (n <= head->len - head->at)
        return STATUS_OK;
    if (head->at + n > HEAD_BYTES_MAX)
        return status_fail(head->path, place_of(head).text,
                           "found metadata of more than %lld bytes, expected less; %s",
                           (long long)HEAD_BYTES_MAX, damaged);
    head->is_short = true;
    return STATUS_FAILED;
}

static enum status take(struct head *head, void *number, int64_t n) {
    TRY(need(head, n));
    memcpy(number, head->bytes + head->at, (size_t)n);
    head->at += n;
    return STATUS_OK;
}

/* The length of a string, which must fit the file. */
static enum status take_length(struct head *head, int64_t most, int64_t *len) {
    uint64_t length;
    struct place place = place_of(head);
    TRY(take(head, &length, 8));
    if (length > (uint64_t)(head->file_bytes - head->at) || length > (uint64_t)most)
        return status_fail(
            head->path, place.text, "found a string of %llu bytes, expected at most %lld; %s",
            (unsigned long long)length,
            (long long)(most < head->file_bytes - head->at ? most : head->file_bytes - head->at),
            damaged);
    *len = (int64_t)length;
    return STATUS_OK;
}

/* Takes a string and copies it to the names, a NUL behind it. Its length took 8 bytes of the head,
 * so there is room. */
static enum status take_string(struct head *head, int64_t most, const char **text, int64_t *len) {
    TRY(take_length(head, most, len));
    TRY(need(head, *len));
    *text = head->names;
    memcpy(head->names, head->bytes + head->at, (size_t)*len);
    head->names[*len] = '\0';
    head->names += *len + 1;
    head->at += *len;
    return STATUS_OK;
}

static enum status take_name(struct head *head, const char *what, const char **name) {
    int64_t len = 0;
    struct place place = place_of(head);
    TRY(take_string(head, NAME_BYTES_MAX, name, &len));
    if (len == 0 || (int64_t)strlen(*name) != len)
        return status_fail(head->path, place.text, "found %s %s, expected a name; %s", what,
                           len ? "with a NUL byte" : "without a name", damaged);
    return STATUS_OK;
}

/* -- values ------------------------------------------------------------------------------------ */

static enum status take_type(struct head *head, const char *key, enum gguf_type *type) {
    uint32_t number;
    TRY(take(head, &number, 4));
    if (number >= GGUF_TYPES)
        return status_fail(head->path, key, "found a value of type %u, expected 0 to %d; %s",
                           (unsigned)number, GGUF_TYPES - 1, damaged);
    *type = (enum gguf_type)number;
    return STATUS_OK;
}

static enum status check_bools(struct head *head, const struct gguf_value *value) {
    for (int64_t i = 0; i < value->count; i++)
        if ((unsigned char)head->bytes[value->begin + i] > 1)
            return status_fail(head->path, value->key, "found a boolean %d, expected 0 or 1; %s",
                               (unsigned char)head->bytes[value->begin + i], damaged);
    return STATUS_OK;
}

static enum status take_elements(struct head *head, struct gguf_value *value) {
    value->begin = head->at;
    if (value->type == GGUF_STRING) {
        for (int64_t i = 0; i < value->count; i++) {
            int64_t len = 0;
            TRY(take_length(head, INT64_MAX, &len));
            TRY(need(head, len));
            head->at += len;
        }
        return STATUS_OK;
    }
    int64_t bytes = value->count * types[value->type].bytes;
    TRY(need(head, bytes));
    head->at += bytes;
    return value->type == GGUF_BOOL ? check_bools(head, value) : STATUS_OK;
}

static enum status take_array(struct head *head, struct gguf_value *value) {
    uint64_t count;
    TRY(take_type(head, value->key, &value->type));
    if (value->type == GGUF_ARRAY)
        return status_fail(head->path, value->key,
                           "found an array of arrays, expected one of numbers or strings; use a "
                           "file without it");
    TRY(take(head, &count, 8));
    int64_t least = value->type == GGUF_STRING ? 8 : types[value->type].bytes;
    if (count > (uint64_t)((head->file_bytes - head->at) / least))
        return status_fail(head->path, value->key,
                           "found an array of %llu, expected at most %lld in the rest of the file; "
                           "%s",
                           (unsigned long long)count,
                           (long long)((head->file_bytes - head->at) / least), damaged);
    value->is_array = true;
    value->count = (int64_t)count;
    return take_elements(head, value);
}

static enum status take_value(struct head *head, struct gguf_value *value) {
    *value = (struct gguf_value){.count = 1};
    TRY(take_name(head, "a key", &value->key));
    TRY(take_type(head, value->key, &value->type));
    if (value->type == GGUF_ARRAY)
        return take_array(head, value);
    if (value->type != GGUF_STRING)
        return take_elements(head, value);
    value->begin = head->at;
    return take_string(head, INT64_MAX, &value->text, &value->text_len);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static enum status sort_values(const char *path, struct gguf_table *table) {
    if (table->value_count)
        qsort(table->values, (size_t)table->value_count, sizeof *table->values, compare_keys);
    for (int64_t i = 1; i < table->value_count; i++)
        if (compare_keys(&table->values[i - 1], &table->values[i]) == 0)
            return status_fail(path, table->values[i].key,
                               "found two keys of this name, expected one; %s", again);
    return STATUS_OK;
}

static enum status read_alignment(struct head *head, struct gguf_table *table) {
    static const char key[] = "general.alignment";
    const struct gguf_value *value = gguf_table_value(table, key);
    uint32_t alignment = ALIGNMENT_DEFAULT;
    table->alignment = alignment;
    if (!value)
        return STATUS_OK;
    if (value->type != GGUF_U32 || value->is_array)
        return status_fail(head->path, key, "found %s, expected an unsigned integer of 32 bits; %s",
                           value->is_array ? "an array" : types[value->type].name, damaged);
    memcpy(&alignment, head->bytes + value->begin, sizeof alignment);
    if (alignment == 0 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return status_fail(head->path, key, "found %u, expected a power of two; %s",
                           (unsigned)alignment, damaged);
    table->alignment = alignment;
    return STATUS_OK;
}

/* -- tensors ----------------------------------------------------------------------------------- */

/* Sizes stand innermost first in the file. */
static enum status take_shape(struct head *head, struct gguf_tensor *tensor) {
    uint32_t dims;
    TRY(take(head, &dims, 4));
    if (dims > GGUF_DIMS_MAX)
        return status_fail(head->path, tensor->name, "found %u dimensions, expected at most %d; %s",
                           (unsigned)dims, GGUF_DIMS_MAX, damaged);
    tensor->dims = dims;
    for (int64_t i = tensor->dims - 1; i >= 0; i--) {
        uint64_t size;
        TRY(take(head, &size, 8));
        if (size > INT64_MAX)
            return status_fail(head->path, tensor->name, "found a size of %llu, expected less; %s",
                               (unsigned long long)size, damaged);
        tensor->shape[i] = (int64_t)size;
    }
    return STATUS_OK;
}

/* The bytes that shape and format ask for. */
static enum status size_tensor(const char *path, const struct gguf_tensor *tensor, int64_t *bytes) {
    const struct gguf_format *format = gguf_format(tensor->type);
    if (!format)
        return status_fail(path, tensor->name,
                           "found tensor type %u, expected one that is known (F32, F16, BF16, "
                           "Q8_0, Q4_K and the like); use a file in one of these",
                           (unsigned)tensor->type);
    int64_t width = tensor->dims ? tensor->shape[tensor->dims - 1] : 1;
    if (width % format->block)
        return status_fail(path, tensor->name,
                           "found rows of %lld in %s, expected a multiple of %lld; %s",
                           (long long)width, format->name, (long long)format->block, damaged);
    /* A size of 0 makes a tensor of no bytes; without it the product must fit all the same. */
    bool is_empty = width == 0;
    int64_t blocks = is_empty ? 1 : width / format->block;
    bool fits = !__builtin_mul_overflow(blocks, format->block_bytes, bytes);
    for (int64_t i = 0; i < tensor->dims - 1; i++) {
        int64_t size = tensor->shape[i] ? tensor->shape[i] : 1;
        is_empty = is_empty || tensor->shape[i] == 0;
        fits = fits && !__builtin_mul_overflow(*bytes, size, bytes);
    }
    if (!fits)
        return status_fail(path, tensor->name,
                           "found sizes whose product is beyond 64 bits, expected a tensor that "
                           "fits the file; %s",
                           damaged);
    if (is_empty)
        *bytes = 0;
    return STATUS_OK;
}

/* The offset, from the end of the head, stands in `begin` until the head is read. */
static enum status take_tensor(struct head *head, struct gguf_tensor *tensor) {
    uint64_t offset;
    *tensor = (struct gguf_tensor){0};
    TRY(take_name(head, "a tensor", &tensor->name));
    TRY(take_shape(head, tensor));
    TRY(take(head, &tensor->type, 4));
    TRY(take(head, &offset, 8));
    if (offset > (uint64_t)head->file_bytes)
        return status_fail(head->path, tensor->name,
                           "found its data at offset %llu, expected it within the file of %lld "
                           "bytes; %s",
                           (unsigned long long)offset, (long long)head->file_bytes, damaged);
    tensor->begin = (int64_t)offset;
    return STATUS_OK;
}

static enum status place_tensor(const struct head *head, const struct gguf_table *table,
                                struct gguf_tensor *tensor) {
    int64_t bytes = 0;
    TRY(size_tensor(head->path, tensor, &bytes));
    if (tensor->begin % table->alignment)
        return status_fail(head->path, tensor->name,
                           "found its data at offset %lld, expected a multiple of %lld; %s",
                           (long long)tensor->begin, (long long)table->alignment, damaged);
    int64_t room = head->file_bytes - table->data_begin;
    if (tensor->begin > room || bytes > room - tensor->begin)
        return status_fail(head->path, tensor->name,
                           "found %lld bytes at offset %lld, expected them within the %lld bytes "
                           "of data in the file; %s",
                           (long long)bytes, (long long)tensor->begin,
                           (long long)(room > 0 ? room : 0), damaged);
    tensor->begin += table->data_begin;
    tensor->end = tensor->begin + bytes;
    return STATUS_OK;
}

static int compare_places(const void *a, const void *b) {
    const struct gguf_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

static enum status place_tensors(const struct head *head, struct gguf_table *table) {
    struct gguf_tensor *list = table->tensors;
    table->data_begin = (head->at + table->alignment - 1) / table->alignment * table->alignment;
    for (int64_t i = 0; i < table->tensor_count; i++)
        TRY(place_tensor(head, table, &list[i]));
    if (table->tensor_count)
        qsort(list, (size_t)table->tensor_count, sizeof *list, compare_places);
    for (int64_t i = 1; i < table->tensor_count; i++)
        if (list[i].begin < list[i - 1].end)
            return status_fail(head->path, list[i].name,
                               "found its data at byte %lld, expected it behind that of %s, which "
                               "ends at %lld; %s",
                               (long long)list[i].begin, list[i - 1].name,
                               (long long)list[i - 1].end, again);
    if (table->tensor_count)
        qsort(list, (size_t)table->tensor_count, sizeof *list, compare_names);
    for (int64_t i = 1; i < table->tensor_count; i++)
        if (compare_names(&list[i - 1], &list[i]) == 0)
            return status_fail(head->path, list[i].name,
                               "found two tensors of this name, expected one; %s", again);
    return STATUS_OK;
}

/* -- the whole --------------------------------------------------------------------------------- */

static enum status take_version(struct head *head, struct gguf_table *table) {
    char magic[4] = {0};
    if (head->file_bytes >= 4)
        TRY(take(head, magic, 4));
    if (memcmp(magic, "GGUF", 4) != 0)
        return status_fail(head->path, NULL, "found no \"GGUF\" at its start, expected it; %s",
                           damaged);
    TRY(take(head, &table->version, 4));
    if (table->version == __builtin_bswap32(2) || table->version == __builtin_bswap32(3))
        return status_fail(head->path, "version",
                           "found a big-endian file, expected a little-endian one; convert it");
    if (table->version != 2 && table->version != 3)
        return status_fail(head->path, "version",
                           "found %u, expected 2 or 3; convert the model again",
                           (unsigned)table->version);
    return STATUS_OK;
}

/* An entry takes `least` bytes at the least, so a count cannot ask for more memory than some times
 * the file. */
static enum status take_count(struct head *head, const char *what, int64_t least, int64_t most,
                              int64_t *count) {
    uint64_t number;
    TRY(take(head, &number, 8));
    int64_t room = (head->file_bytes - head->at) / least;
    if (room < most)
        most = room;
    if (number > (uint64_t)most)
        return status_fail(head->path, what, "found %llu, expected at most %lld; %s",
                           (unsigned long long)number, (long long)most, damaged);
    *count = (int64_t)number;
    return STATUS_OK;
}

static enum status take_all(struct head *head, struct gguf_table *table) {
    int64_t values = 0, tensors = 0;
    TRY(take_version(head, table));
    TRY(take_count(head, "tensor count", 8 + 1 + 4 + 4 + 8, TENSORS_MAX, &tensors));
    TRY(take_count(head, "key count", 8 + 1 + 4 + 1, VALUES_MAX, &values));
    head->names = table->names = malloc((size_t)head->len + 1);
    table->values = malloc((size_t)(values + 1) * sizeof *table->values);
    table->tensors = malloc((size_t)(tensors + 1) * sizeof *table->tensors);
    if (!table->names || !table->values || !table->tensors)
        return status_no_memory(head->path, values * (long long)sizeof *table->values +
                                                tensors * (long long)sizeof *table->tensors +
                                                head->len);
    for (; table->value_count < values; table->value_count++)
        TRY(take_value(head, &table->values[table->value_count]));
    TRY(sort_values(head->path, table));
    TRY(read_alignment(head, table));
    for (; table->tensor_count < tensors; table->tensor_count++)
        TRY(take_tensor(head, &table->tensors[table->tensor_count]));
    return place_tensors(head, table);
}

enum status gguf_table_parse(const char *path, const char *bytes, int64_t len, int64_t file_bytes,
                             struct gguf_table *table, bool *is_whole) {
    struct head head = {.path = path, .bytes = bytes, .len = len, .file_bytes = file_bytes};
    *table = (struct gguf_table){0};
    enum status status = take_all(&head, table);
    *is_whole = !head.is_short;
    if (status != STATUS_OK)
        gguf_table_free(table);
    return head.is_short ? STATUS_OK : status;
}

void gguf_table_free(struct gguf_table *table) {
    free(table->values);
    free(table->tensors);
    free(table->names);
    *table = (struct gguf_table){0};
}

struct gguf_value *gguf_table_value(const struct gguf_table *table, const char *key) {
    struct gguf_value wanted = {.key = key};
    if (table->value_count == 0)
        return NULL;
    return bsearch(&wanted, table->values, (size_t)table->value_count, sizeof wanted, compare_keys);
}

const struct gguf_tensor *gguf_table_tensor(const struct gguf_table *table, const char *name) {
    struct gguf_tensor wanted = {.name = name};
    if (table->tensor_count == 0)
        return NULL;
    return bsearch(&wanted, table->tensors, (size_t)table->tensor_count, sizeof wanted,
                   compare_names);
}
