#include "partition/tensor_table.h"
#include "partition/json.h"

#include <stdlib.h>
#include <string.h>

static const char damaged[] = "the file is cut or not a safetensors file";
static const char again[] = "fetch the file again";

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
    if (file_bytes < TENSOR_LENGTH_BYTES)
        return status_fail(path, "header length",
                           "found a file of %lld bytes, expected at least %d; %s",
                           (long long)file_bytes, TENSOR_LENGTH_BYTES, damaged);
    memcpy(&length, bytes, TENSOR_LENGTH_BYTES);
    int64_t most = file_bytes - TENSOR_LENGTH_BYTES;
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
    if (table->count > 0)
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

/* The header's text is taken entry by entry instead of as one JSON tree, which a hostile header of
 * some megabytes could grow to gigabytes. */
struct header_text {
    const char *path;
    const char *text;
    int64_t len, at;
    bool has_metadata;
};

/* Most bytes of a tensor's name or description, and of __metadata__. */
enum { ENTRY_BYTES = 8192, METADATA_BYTES = 4 << 20 };

static enum status refuse_text(const struct header_text *header, const char *words) {
    return status_fail(header->path, "header",
                       "found at byte %lld: %s, expected well-formed JSON; %s",
                       (long long)(TENSOR_LENGTH_BYTES + header->at), words, damaged);
}

/* The next character that is no white space, 0 at the end; not taken. */
static char peek(struct header_text *header) {
    while (header->at < header->len && strchr(" \t\r\n", header->text[header->at]) &&
           header->text[header->at])
        header->at++;
    return header->at < header->len ? header->text[header->at] : '\0';
}

static enum status take(struct header_text *header, char expected) {
    const char words[] = {'n', 'o', ' ', '\'', expected, '\'', '\0'};
    if (peek(header) != expected)
        return refuse_text(header, words);
    header->at++;
    return STATUS_OK;
}

/* Parses the next value, of at most max_bytes; owned by the caller. */
static enum status take_value(struct header_text *header, int64_t max_bytes, json_t **value) {
    int64_t rest = header->len - header->at;
    json_error_t error;
    *value = json_loadb(header->text + header->at, (size_t)(rest < max_bytes ? rest : max_bytes),
                        JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
    if (!*value)
        return refuse_text(header, error.text);
    header->at += error.position;
    return STATUS_OK;
}

/* The next tensor's place, the array growing where it must. */
static struct tensor *add_tensor(struct tensor_table *table, int64_t *capacity) {
    if (table->count == *capacity) {
        int64_t larger = *capacity ? 2 * *capacity : 64;
        struct tensor *tensors = realloc(table->tensors, (size_t)larger * sizeof *tensors);
        if (!tensors)
            return NULL;
        table->tensors = tensors;
        *capacity = larger;
    }
    struct tensor *tensor = &table->tensors[table->count++];
    memset(tensor, 0, sizeof *tensor);
    return tensor;
}

/* Takes "name": {...} and copies the name to *names, moving that on. */
static enum status take_entry(struct header_text *header, int64_t file_bytes,
                              struct tensor_table *table, int64_t *capacity, char **names) {
    json_t *name, *entry = NULL;
    TRY(take_value(header, ENTRY_BYTES, &name));
    enum status status = STATUS_OK;
    if (!json_is_string(name)) {
        status = refuse_text(header, "no name before the value");
        goto done;
    }
    bool metadata = strcmp(json_string_value(name), "__metadata__") == 0;
    TRY_TO(done, take(header, ':'));
    TRY_TO(done, take_value(header, metadata ? METADATA_BYTES : ENTRY_BYTES, &entry));
    if (metadata) {
        status = header->has_metadata ? refuse_text(header, "a second __metadata__")
                                      : check_metadata(header->path, entry);
        header->has_metadata = true;
        goto done;
    }
    struct tensor *tensor = add_tensor(table, capacity);
    if (!tensor) {
        status = status_no_memory("tensor table", *capacity * 2 * (long long)sizeof *tensor);
        goto done;
    }
    tensor->name = *names;
    *names = stpcpy(*names, json_string_value(name)) + 1;
    int64_t data_start = TENSOR_LENGTH_BYTES + header->len;
    status = read_tensor(header->path, entry, data_start, file_bytes - data_start, tensor);
done:
    json_decref(name);
    json_decref(entry);
    return status;
}

static enum status take_entries(struct header_text *header, int64_t file_bytes,
                                struct tensor_table *table) {
    /* A name is no longer than its JSON text, quotes included. */
    char *names = table->names = malloc((size_t)header->len);
    int64_t capacity = 0;
    if (!names)
        return status_no_memory("tensor table", header->len);
    TRY(take(header, '{'));
    bool more = peek(header) != '}';
    while (more) {
        TRY(take_entry(header, file_bytes, table, &capacity, &names));
        more = peek(header) == ',';
        header->at += more;
    }
    TRY(take(header, '}'));
    peek(header);
    if (header->at < header->len)
        return refuse_text(header, "more behind the end");
    return STATUS_OK;
}

/* Orders the tensors by name, which must differ. */
static enum status sort_names(const char *path, struct tensor_table *table) {
    if (table->count > 0)
        qsort(table->tensors, (size_t)table->count, sizeof *table->tensors, compare_names);
    for (int64_t i = 1; i < table->count; i++)
        if (compare_names(&table->tensors[i - 1], &table->tensors[i]) == 0)
            return status_fail(path, table->tensors[i].name,
                               "found two tensors of this name, expected one; %s", again);
    return STATUS_OK;
}

enum status tensor_table_parse(const char *path, const char *bytes, int64_t len, int64_t file_bytes,
                               struct tensor_table *table) {
    *table = (struct tensor_table){0};
    int64_t header_bytes = 0;
    TRY(tensor_table_length(path, bytes, len < file_bytes ? len : file_bytes, &header_bytes));
    struct header_text header = {path, bytes + TENSOR_LENGTH_BYTES, header_bytes, 0, false};
    if (header_bytes == 0 || header.text[0] != '{')
        return status_fail(path, "header", "found no JSON object, expected '{' at byte %d; %s",
                           TENSOR_LENGTH_BYTES, damaged);
    int64_t data_start = TENSOR_LENGTH_BYTES + header_bytes;
    enum status status;
    table->data_bytes = file_bytes - data_start;
    TRY_TO(failed, take_entries(&header, file_bytes, table));
    TRY_TO(failed, check_cover(path, table, data_start, file_bytes));
    TRY_TO(failed, sort_names(path, table));
    return STATUS_OK;
failed:
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
