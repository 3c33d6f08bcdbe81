/* What the head of one GGUF file says: its metadata, keys with typed values, and its table of
 * tensors. Parsed from memory and checked once, completely; gguf.h opens files by it. The format,
 * versions 2 and 3, is that of ggml's docs/gguf.md, little-endian. */
#ifndef QUIRE_PARTITION_GGUF_TABLE_H
#define QUIRE_PARTITION_GGUF_TABLE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

/* The file's own numbers. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
};

#define GGUF_DIMS_MAX 4

/* One key. Numbers and strings are little-endian bytes in the head, not aligned. */
struct gguf_value {
    const char *key;     /* borrowed from the table, one NUL behind it; holds none inside */
    enum gguf_type type; /* of the value, or of an array's elements (then not GGUF_ARRAY) */
    bool is_array;
    bool is_read;     /* somebody asked for it */
    int64_t count;    /* elements of an array, else 1 */
    int64_t begin;    /* of the (first) element in the head, at a string's length */
    const char *text; /* a single string, borrowed from the table, one NUL behind it; else NULL */
    int64_t text_len;
};

/* Types of tensors, by the file's numbers; others are in no table below. */
struct gguf_format {
    const char *name;    /* "F32", "Q4_K"; static */
    int64_t block;       /* elements of a block: a row is a whole number of them */
    int64_t block_bytes; /* bytes of a block */
};

struct gguf_tensor {
    const char *name; /* borrowed from the table, one NUL behind it */
    uint32_t type;    /* the file's number; gguf_format(type) is never NULL */
    int64_t dims;
    int64_t shape[GGUF_DIMS_MAX]; /* outermost first, as in safetensors: the file's list reversed */
    int64_t begin, end;           /* bytes of its data, from the start of its file */
    int64_t file;                 /* which file of a split model, from 0 */
};

struct gguf_table {
    uint32_t version;
    int64_t alignment;
    struct gguf_value *values; /* owned [value_count], by key, ascending */
    int64_t value_count;
    struct gguf_tensor *tensors; /* owned [tensor_count], by name, ascending */
    int64_t tensor_count;
    int64_t data_begin; /* where tensor data begins in the file */
    char *names;        /* owned: keys, single strings, names of tensors */
};

/* The format of a tensor's type, NULL for a number that is not known. */
const struct gguf_format *gguf_format(uint32_t type);

/* Parses a head from memory: `bytes` are the first `len` of a file of `file_bytes`; `path` is for
 * messages. *is_whole is false, and the table empty, when the head goes on behind `len`; then
 * more bytes are needed. Every length, count and place is checked against the file's size; keys
 * and names are unique, tensors lie within the file, aligned, and do not overlap. Errors: message
 * names the key or tensor; the table is empty. */
enum status gguf_table_parse(const char *path, const char *bytes, int64_t len, int64_t file_bytes,
                             struct gguf_table *table, bool *is_whole);
void gguf_table_free(struct gguf_table *table);

/* NULL when it is not there. Borrowed. */
struct gguf_value *gguf_table_value(const struct gguf_table *table, const char *key);
const struct gguf_tensor *gguf_table_tensor(const struct gguf_table *table, const char *name);

/* Bytes of one number or boolean of a type; 0 for a string. */
int64_t gguf_type_bytes(enum gguf_type type);
/* "a 32-bit integer", "a string": for messages. */
const char *gguf_type_name(enum gguf_type type);

#endif
