#include "partition/gguf.h"

#include "partition/file.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char again[] = "fetch the file again";

/* Bytes of the head that are read at first; most heads without a vocabulary fit. */
#define HEAD_BYTES_FIRST (INT64_C(1) << 20)
#define SPLIT_COUNT_MAX 99999

struct gguf_file {
    char *path; /* owned */
    int fd;     /* owned; -1 when closed */
    int64_t bytes;
    char *head; /* owned */
    struct gguf_table table;
};

struct gguf {
    struct gguf_file *files; /* owned [count]; the first holds the metadata */
    int64_t count;
    struct gguf_tensor *tensors; /* owned [tensor_count], of all files, by name */
    int64_t tensor_count;
};

/* -- one file ---------------------------------------------------------------------------------- */

/* The head's length is not known before it is read: twice as much is taken until it is whole. */
static enum status read_head(struct gguf_file *file) {
    int64_t have = 0;
    bool is_whole = false;
    for (int64_t want = HEAD_BYTES_FIRST; !is_whole; want *= 2) {
        if (want > file->bytes)
            want = file->bytes;
        char *head = realloc(file->head, (size_t)want + 1);
        if (!head)
            return status_no_memory(file->path, (long long)want);
        file->head = head;
        TRY(file_read_at(file->path, file->fd, "head", head + have, want - have, have));
        have = want;
        TRY(gguf_table_parse(file->path, head, have, file->bytes, &file->table, &is_whole));
    }
    return STATUS_OK;
}

/* Takes over the path. */
static enum status one_open(char *path, struct gguf_file *file) {
    *file = (struct gguf_file){.path = path};
    TRY(file_open(path, &file->fd, &file->bytes));
    return read_head(file);
}

static void one_close(struct gguf_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    gguf_table_free(&file->table);
    free(file->head);
    free(file->path);
}

bool gguf_is(const char *path) {
    char magic[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool is = read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
    close(fd);
    return is;
}

/* -- split models ------------------------------------------------------------------------------ */

/* What one file says of the model it is a part of: split.no and split.count, gguf-split's keys. */
static enum status read_split(struct gguf *one, int64_t *number, int64_t *count) {
    *number = 0;
    *count = 1;
    TRY(gguf_int(one, "split.count", false, 0, SPLIT_COUNT_MAX, count));
    if (*count == 0)
        *count = 1;
    return gguf_int(one, "split.no", *count > 1, 0, *count - 1, number);
}

/* PREFIX-00002-of-00003.gguf: the path of another number. NULL in *other when `path` has no such
 * name. */
static enum status split_path(const char *path, int64_t number, int64_t of, int64_t wanted,
                              char **other) {
    char ending[64];
    int len =
        snprintf(ending, sizeof ending, "-%05" PRId64 "-of-%05" PRId64 ".gguf", number + 1, of);
    size_t prefix = strlen(path);
    *other = NULL;
    if (prefix < (size_t)len || strcmp(path + prefix - len, ending) != 0)
        return STATUS_OK;
    prefix -= (size_t)len;
    if (asprintf(other, "%.*s-%05" PRId64 "-of-%05" PRId64 ".gguf", (int)prefix, path, wanted + 1,
                 of) < 0) {
        *other = NULL;
        return status_no_memory(path, (long long)prefix + len);
    }
    return STATUS_OK;
}

/* Opens the file of number `at` of `count` into its place. */
static enum status open_part(const char *path, int64_t number, int64_t count, int64_t at,
                             struct gguf *gguf) {
    struct gguf_file *file = &gguf->files[at];
    int64_t own_number, own_count;
    char *other;
    TRY(split_path(path, number, count, at, &other));
    if (!other)
        return status_fail(path, "split.count",
                           "found file %" PRId64 " of %" PRId64
                           " by another name, expected NAME-%05" PRId64 "-of-%05" PRId64
                           ".gguf; give the files their names back",
                           number + 1, count, number + 1, count);
    TRY(one_open(other, file));
    struct gguf one = {.files = file, .count = 1};
    TRY(read_split(&one, &own_number, &own_count));
    if (own_number != at || own_count != count)
        return status_fail(file->path, "split.no",
                           "found file %" PRId64 " of %" PRId64 ", expected %" PRId64 " of %" PRId64
                           "; put the files of one model together",
                           own_number + 1, own_count, at + 1, count);
    return STATUS_OK;
}

static enum status open_files(const char *path, struct gguf *gguf) {
    int64_t number, count;
    char *copy = strdup(path);
    gguf->files = calloc(1, sizeof *gguf->files);
    if (!gguf->files || !copy) {
        free(copy);
        return status_no_memory(path, (long long)sizeof *gguf->files);
    }
    gguf->count = 1;
    TRY(one_open(copy, &gguf->files[0]));
    TRY(read_split(gguf, &number, &count));
    if (count == 1)
        return STATUS_OK;
    one_close(&gguf->files[0]);
    free(gguf->files);
    gguf->count = 0;
    gguf->files = calloc((size_t)count, sizeof *gguf->files);
    if (!gguf->files)
        return status_no_memory(path, count * (long long)sizeof *gguf->files);
    for (int64_t i = 0; i < count; i++)
        gguf->files[i].fd = -1;
    gguf->count = count;
    for (int64_t i = 0; i < count; i++)
        TRY(open_part(path, number, count, i, gguf));
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* One table of the tensors of all files. */
static enum status join_tensors(struct gguf *gguf) {
    int64_t total = 0, stated;
    for (int64_t i = 0; i < gguf->count; i++)
        total += gguf->files[i].table.tensor_count;
    gguf->tensors = malloc((size_t)(total + 1) * sizeof *gguf->tensors);
    if (!gguf->tensors)
        return status_no_memory(gguf->files[0].path, total * (long long)sizeof *gguf->tensors);
    for (int64_t i = 0; i < gguf->count; i++)
        for (int64_t k = 0; k < gguf->files[i].table.tensor_count; k++) {
            gguf->tensors[gguf->tensor_count] = gguf->files[i].table.tensors[k];
            gguf->tensors[gguf->tensor_count++].file = i;
        }
    if (total)
        qsort(gguf->tensors, (size_t)total, sizeof *gguf->tensors, compare_names);
    for (int64_t i = 1; i < total; i++)
        if (compare_names(&gguf->tensors[i - 1], &gguf->tensors[i]) == 0)
            return status_fail(gguf->files[gguf->tensors[i].file].path, gguf->tensors[i].name,
                               "found this tensor in %s as well, expected it once; %s",
                               gguf->files[gguf->tensors[i - 1].file].path, again);
    stated = total;
    TRY(gguf_int(gguf, "split.tensors.count", false, 0, INT64_MAX, &stated));
    if (stated != total)
        return status_fail(gguf->files[0].path, "split.tensors.count",
                           "found %" PRId64 ", expected %" PRId64 ", as the files have; %s", stated,
                           total, again);
    return STATUS_OK;
}

enum status gguf_open(const char *path, struct gguf **gguf) {
    *gguf = calloc(1, sizeof **gguf);
    if (!*gguf)
        return status_no_memory(path, (long long)sizeof **gguf);
    enum status status = open_files(path, *gguf);
    if (status == STATUS_OK)
        status = join_tensors(*gguf);
    if (status != STATUS_OK)
        gguf_close(gguf);
    return status;
}

void gguf_close(struct gguf **gguf) {
    if (!*gguf)
        return;
    for (int64_t i = 0; i < (*gguf)->count; i++)
        one_close(&(*gguf)->files[i]);
    free((*gguf)->files);
    free((*gguf)->tensors);
    free(*gguf);
    *gguf = NULL;
}

const char *gguf_path(const struct gguf *gguf, int64_t file) {
    return gguf->files[file].path;
}

int64_t gguf_file_count(const struct gguf *gguf) {
    return gguf->count;
}

/* -- metadata ---------------------------------------------------------------------------------- */

/* A value in a few words for messages. */
struct words {
    char text[96];
};

/* A number's bytes, widened. */
static int64_t number_of(enum gguf_type type, const char *bytes) {
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } number = {0};
    memcpy(&number, bytes, (size_t)gguf_type_bytes(type));
    switch (type) {
    case GGUF_U8:
    case GGUF_BOOL:
        return number.u8;
    case GGUF_I8:
        return number.i8;
    case GGUF_U16:
        return number.u16;
    case GGUF_I16:
        return number.i16;
    case GGUF_U32:
        return number.u32;
    case GGUF_I32:
        return number.i32;
    case GGUF_U64:
        return number.u64 <= INT64_MAX ? (int64_t)number.u64 : INT64_MAX;
    default:
        return number.i64;
    }
}

static bool is_real(enum gguf_type type) {
    return type == GGUF_F32 || type == GGUF_F64;
}

static bool is_integer(enum gguf_type type) {
    return type != GGUF_BOOL && type != GGUF_STRING && type != GGUF_ARRAY && !is_real(type);
}

static double real_of(enum gguf_type type, const char *bytes) {
    float f32;
    double f64;
    if (type == GGUF_F32) {
        memcpy(&f32, bytes, sizeof f32);
        return f32;
    }
    if (type == GGUF_F64) {
        memcpy(&f64, bytes, sizeof f64);
        return f64;
    }
    return (double)number_of(type, bytes);
}

static const char *bytes_of(const struct gguf *gguf, const struct gguf_value *value) {
    return gguf->files[0].head + value->begin;
}

static struct words words_of(const struct gguf *gguf, const struct gguf_value *value) {
    struct words words = {.text = "nothing"};
    size_t size = sizeof words.text;
    if (value && value->is_array)
        snprintf(words.text, size, "an array of %" PRId64, value->count);
    else if (value && value->type == GGUF_STRING)
        snprintf(words.text, size, "\"%.64s\"", value->text);
    else if (value && value->type == GGUF_BOOL)
        snprintf(words.text, size, "%s", *bytes_of(gguf, value) ? "true" : "false");
    else if (value && is_real(value->type))
        snprintf(words.text, size, "%.15g", real_of(value->type, bytes_of(gguf, value)));
    else if (value)
        snprintf(words.text, size, "%" PRId64, number_of(value->type, bytes_of(gguf, value)));
    return words;
}

static enum status refuse(const struct gguf *gguf, const char *key, const struct gguf_value *value,
                          const char *expected) {
    return status_fail(gguf->files[0].path, key, "found %s, expected %s; convert the model again",
                       words_of(gguf, value).text, expected);
}

/* The value at a key; NULL when it is absent, which is refused when it is required. */
static enum status find(struct gguf *gguf, const char *key, bool required, const char *expected,
                        const struct gguf_value **value) {
    struct gguf_value *found = gguf_table_value(&gguf->files[0].table, key);
    if (found)
        found->is_read = true;
    *value = found;
    return !found && required ? refuse(gguf, key, NULL, expected) : STATUS_OK;
}

bool gguf_has(const struct gguf *gguf, const char *key) {
    return gguf_table_value(&gguf->files[0].table, key) != NULL;
}

bool gguf_is_read(const struct gguf *gguf, const char *key) {
    const struct gguf_value *value = gguf_table_value(&gguf->files[0].table, key);
    return value && value->is_read;
}

bool gguf_is_array(const struct gguf *gguf, const char *key) {
    const struct gguf_value *value = gguf_table_value(&gguf->files[0].table, key);
    return value && value->is_array;
}

enum status gguf_int(struct gguf *gguf, const char *key, bool required, int64_t min, int64_t max,
                     int64_t *out) {
    const struct gguf_value *value;
    char expected[80];
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min, max);
    TRY(find(gguf, key, required, expected, &value));
    if (!value)
        return STATUS_OK;
    if (value->is_array || !is_integer(value->type))
        return refuse(gguf, key, value, expected);
    int64_t number = number_of(value->type, bytes_of(gguf, value));
    if (number < min || number > max)
        return refuse(gguf, key, value, expected);
    *out = number;
    return STATUS_OK;
}

enum status gguf_real_in(struct gguf *gguf, const char *key, bool required, double min, double max,
                         double *out) {
    const struct gguf_value *value;
    char expected[80];
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    TRY(find(gguf, key, required, expected, &value));
    if (!value)
        return STATUS_OK;
    if (value->is_array || (!is_integer(value->type) && !is_real(value->type)))
        return refuse(gguf, key, value, expected);
    double number = real_of(value->type, bytes_of(gguf, value));
    if (!isfinite(number) || number < min || number > max)
        return refuse(gguf, key, value, expected);
    *out = number;
    return STATUS_OK;
}

enum status gguf_bool(struct gguf *gguf, const char *key, bool required, bool *out) {
    const struct gguf_value *value;
    TRY(find(gguf, key, required, "true or false", &value));
    if (!value)
        return STATUS_OK;
    if (value->is_array || value->type != GGUF_BOOL)
        return refuse(gguf, key, value, "true or false");
    *out = *bytes_of(gguf, value) != 0;
    return STATUS_OK;
}

enum status gguf_text(struct gguf *gguf, const char *key, bool required, const char **out) {
    const struct gguf_value *value;
    TRY(find(gguf, key, required, "a string", &value));
    if (!value)
        return STATUS_OK;
    if (!value->text || (int64_t)strlen(value->text) != value->text_len)
        return refuse(gguf, key, value, "a string");
    *out = value->text;
    return STATUS_OK;
}

const char *gguf_bytes(struct gguf *gguf, const char *key, int64_t *len) {
    struct gguf_value *value = gguf_table_value(&gguf->files[0].table, key);
    *len = 0;
    if (!value || !value->text)
        return NULL;
    value->is_read = true;
    *len = value->text_len;
    return value->text;
}

/* -- arrays ------------------------------------------------------------------------------------ */

enum status gguf_array(struct gguf *gguf, const char *key, enum gguf_kind kind, bool required,
                       struct gguf_array *array) {
    static const char *const names[] = {
        [GGUF_INTEGERS] = "an array of integers", [GGUF_REALS] = "an array of numbers",
        [GGUF_STRINGS] = "an array of strings",   [GGUF_BOOLS] = "an array of booleans",
        [GGUF_BYTES] = "an array of bytes",
    };
    const struct gguf_value *value;
    *array = (struct gguf_array){.path = gguf->files[0].path, .key = key};
    TRY(find(gguf, key, required, names[kind], &value));
    if (!value)
        return STATUS_OK;
    enum gguf_type type = value->type;
    bool fits = kind == GGUF_INTEGERS  ? is_integer(type)
                : kind == GGUF_REALS   ? is_integer(type) || is_real(type)
                : kind == GGUF_STRINGS ? type == GGUF_STRING
                : kind == GGUF_BOOLS   ? type == GGUF_BOOL
                                       : type == GGUF_U8 || type == GGUF_I8;
    if (!value->is_array || !fits)
        return refuse(gguf, key, value, names[kind]);
    array->type = type;
    array->count = value->count;
    array->bytes = bytes_of(gguf, value);
    return STATUS_OK;
}

int64_t gguf_array_int(const struct gguf_array *array, int64_t i) {
    return number_of(array->type, array->bytes + i * gguf_type_bytes(array->type));
}

double gguf_array_real(const struct gguf_array *array, int64_t i) {
    return real_of(array->type, array->bytes + i * gguf_type_bytes(array->type));
}

const char *gguf_array_next(const struct gguf_array *array, int64_t *at, int64_t *len) {
    memcpy(len, array->bytes + *at, sizeof *len);
    const char *text = array->bytes + *at + 8;
    *at += 8 + *len;
    return text;
}

const struct gguf_value *gguf_value_at(const struct gguf *gguf, int64_t i) {
    const struct gguf_table *table = &gguf->files[0].table;
    return i < table->value_count ? &table->values[i] : NULL;
}

/* -- tensors ----------------------------------------------------------------------------------- */

int64_t gguf_tensor_count(const struct gguf *gguf) {
    return gguf->tensor_count;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, int64_t i) {
    return &gguf->tensors[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *gguf, const char *name) {
    struct gguf_tensor wanted = {.name = name};
    if (gguf->tensor_count == 0)
        return NULL;
    return bsearch(&wanted, gguf->tensors, (size_t)gguf->tensor_count, sizeof wanted,
                   compare_names);
}

enum status gguf_read(const struct gguf *gguf, const struct gguf_tensor *tensor, int64_t offset,
                      int64_t len, void *out) {
    const struct gguf_file *file = &gguf->files[tensor->file];
    int64_t bytes = tensor->end - tensor->begin;
    if (offset < 0 || len < 0 || offset > bytes || len > bytes - offset)
        return status_fail(file->path, tensor->name,
                           "found %" PRId64 " bytes, expected bytes %" PRId64 " to %" PRId64
                           "; use a model of the shape in its metadata",
                           bytes, offset, offset + len);
    return file_read_at(file->path, file->fd, tensor->name, out, len, tensor->begin + offset);
}
