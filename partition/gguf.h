/* A GGUF model, open: one file, or all the files of a split one. The metadata by key, in the manner
 * of json.h, the table of tensors, and any bytes of a tensor. Each rank opens the files for itself
 * and reads the heads alone. No MPI. */
#ifndef QUIRE_PARTITION_GGUF_H
#define QUIRE_PARTITION_GGUF_H

#include "partition/gguf_table.h"

struct gguf; /* opaque */

/* True when the file at `path` begins as a GGUF file does. */
bool gguf_is(const char *path);

/* Opens a file. Of a split model (split.count above 1) `path` may be any of its files,
 * NAME-00001-of-00003.gguf: all are opened, and their tensors are one table. Metadata is that of
 * the first. Errors: a file that is missing, cut, damaged, or of another model. */
enum status gguf_open(const char *path, struct gguf **gguf);
void gguf_close(struct gguf **gguf);

/* The path of a file of the model, for messages; file 0 holds the metadata. */
const char *gguf_path(const struct gguf *gguf, int64_t file);
int64_t gguf_file_count(const struct gguf *gguf);

/* -- metadata ---------------------------------------------------------------------------------- */

bool gguf_has(const struct gguf *gguf, const char *key);
/* Whether anybody asked for the key's value, and whether that is an array; false where it is
 * absent. */
bool gguf_is_read(const struct gguf *gguf, const char *key);
bool gguf_is_array(const struct gguf *gguf, const char *key);

/* A key's value as an integer in [min, max] (of any integer type), a finite real in [min, max]
 * (integers count as reals), a boolean, or a string (borrowed, without U+0000 inside, which is
 * refused; not necessarily UTF-8). A key that is absent: *out keeps the value that the caller put
 * there, or, when `required`, is refused. */
enum status gguf_int(struct gguf *gguf, const char *key, bool required, int64_t min, int64_t max,
                     int64_t *out);
enum status gguf_real_in(struct gguf *gguf, const char *key, bool required, double min, double max,
                         double *out);
enum status gguf_bool(struct gguf *gguf, const char *key, bool required, bool *out);
enum status gguf_text(struct gguf *gguf, const char *key, bool required, const char **out);

/* A string as it is, any bytes; NULL when the key is absent or no single string. Borrowed. */
const char *gguf_bytes(struct gguf *gguf, const char *key, int64_t *len);

/* An array of numbers, of strings or of booleans; element(s) by index or in turn. */
struct gguf_array {
    const char *path, *key; /* borrowed, for messages */
    enum gguf_type type;
    int64_t count;
    const char *bytes; /* borrowed: the elements as in the file */
};

enum gguf_kind { GGUF_INTEGERS, GGUF_REALS, GGUF_STRINGS, GGUF_BOOLS, GGUF_BYTES };

/* Errors: absent though `required`, another kind. Absent and not required: count 0, bytes NULL.
 * Reals may be integers. */
enum status gguf_array(struct gguf *gguf, const char *key, enum gguf_kind kind, bool required,
                       struct gguf_array *array);

/* Element i of an array of integers or booleans (those of 64 unsigned bits that do not fit come out
 * as INT64_MAX), of reals, and of bytes. 0 <= i < count. */
int64_t gguf_array_int(const struct gguf_array *array, int64_t i);
double gguf_array_real(const struct gguf_array *array, int64_t i);

/* The strings in turn; *at begins as 0 and moves on. Borrowed, [*len] bytes, no NUL behind. */
const char *gguf_array_next(const struct gguf_array *array, int64_t *at, int64_t *len);

/* Keys in ascending order, i from 0, with whether anybody asked for them; NULL at the end. */
const struct gguf_value *gguf_value_at(const struct gguf *gguf, int64_t i);

/* -- tensors ----------------------------------------------------------------------------------- */

int64_t gguf_tensor_count(const struct gguf *gguf);
/* By name, ascending. */
const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, int64_t i);
/* NULL when it is not there. Borrowed. */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *gguf, const char *name);

/* Reads bytes [offset, offset + len) of a tensor's data, as they stand in the file, into out.
 * Errors: out of the tensor, a file that cannot be read or was cut. */
enum status gguf_read(const struct gguf *gguf, const struct gguf_tensor *tensor, int64_t offset,
                      int64_t len, void *out);

#endif
