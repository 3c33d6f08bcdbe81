/* What the header of a safetensors file says: eight bytes of length, then a JSON object with type,
 * shape and place of each tensor, then their data. Parsed from memory and checked once, completely;
 * safetensors.h reads by it. */
#ifndef QUIRE_PARTITION_TENSOR_TABLE_H
#define QUIRE_PARTITION_TENSOR_TABLE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

/* Bytes that state the header's length. */
#define TENSOR_LENGTH_BYTES 8
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

/* F32, F16 or BF16: what safetensors_read converts. */
bool tensor_is_float(const struct tensor *tensor);

#endif
