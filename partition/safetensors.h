/* One safetensors file: eight bytes of header length, a JSON header that names the tensors, their
 * data. The header is checked once, completely; afterwards any slice of a tensor can be read. Made
 * by weights_open; nobody else needs it. */
#ifndef QUIRE_PARTITION_SAFETENSORS_H
#define QUIRE_PARTITION_SAFETENSORS_H

#include "partition/layout.h"
#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

#define TENSOR_DIMS_MAX 8

struct tensor {
    const char *name;  /* borrowed from the table */
    const char *dtype; /* static: "F32", "I64", ... */
    int64_t element_bytes;
    int64_t dims;
    int64_t shape[TENSOR_DIMS_MAX];
    int64_t begin, end; /* bytes of its data, from the start of the file */
};

/* What a header says; tensors and names are owned. */
struct tensor_table {
    struct tensor *tensors; /* by name, ascending */
    int64_t count;
    int64_t data_bytes;
    char *names;
};

/* Checks the length that the first 8 bytes of a file state: bytes of the JSON header after them. */
enum status tensor_table_length(const char *path, const char *bytes, int64_t file_bytes,
                                int64_t *header_bytes);

/* Parses and checks a header from memory. `bytes` are the first `len` of a file of `file_bytes`;
 * `path` is for messages. Errors: message names the tensor and the field; the table is empty. */
enum status tensor_table_parse(const char *path, const char *bytes, int64_t len, int64_t file_bytes,
                               struct tensor_table *table);
void tensor_table_free(struct tensor_table *table);

/* NULL when it is not there. Borrowed. */
const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name);

/* F32, F16 or BF16: what tensor_read converts. */
bool tensor_is_float(const struct tensor *tensor);

struct safetensors {
    char *path; /* owned */
    int fd;     /* owned; -1 when closed */
    struct tensor_table table;
    int64_t bytes_read; /* tensor data so far */
};

enum status safetensors_open(const char *path, struct safetensors *file);

/* Accepts a file that failed to open. */
void safetensors_close(struct safetensors *file);

/* Reads rows x cols of a float tensor [rows, cols], or rows of a vector (cols is ignored), into out
 * [rows.count, cols.count], as f32. Only these bytes are read from the file. */
enum status safetensors_read(struct safetensors *file, const struct tensor *tensor,
                             struct range rows, struct range cols, float *out);

#endif
