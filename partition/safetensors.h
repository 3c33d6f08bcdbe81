/* One safetensors file, open: its table of tensors, and any slice of them. Made by weights_open;
 * nobody else needs it. */
#ifndef QUIRE_PARTITION_SAFETENSORS_H
#define QUIRE_PARTITION_SAFETENSORS_H

#include "partition/layout.h"
#include "partition/tensor_table.h"

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

/* The same as bf16, rounded to nearest, ties to even. */
enum status safetensors_read_bf16(struct safetensors *file, const struct tensor *tensor,
                                  struct range rows, struct range cols, uint16_t *out);

#endif
