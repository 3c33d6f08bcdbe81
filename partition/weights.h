/* The weights of a model: one or many safetensors files of a directory, or a GGUF (one file or
 * split), read slice by slice, so that a rank reads only the bytes of its own share. Opening reads
 * and checks the headers alone. */
#ifndef QUIRE_PARTITION_WEIGHTS_H
#define QUIRE_PARTITION_WEIGHTS_H

#include "partition/layout.h"
#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

struct weights; /* opaque; owns its file descriptors */

/* Opens the GGUF at `dir`, or DIR/model.safetensors, or the files that
 * DIR/model.safetensors.index.json maps tensors to. Checks every header against its file: length,
 * JSON, dtype names, offsets in range, without overlap and without holes, sizes equal to shape
 * times dtype. Local; each rank opens its own. */
enum status weights_open(const char *dir, struct weights **weights);

/* The same without any file: random weights of a model of this hidden size (weights_random.h). It
 * has every tensor, of every shape. `name` stands for it in messages. Local. */
enum status weights_open_random(const char *name, int64_t hidden, struct weights **weights);

/* Accepts NULL and a half-opened object; sets the pointer to NULL. */
void weights_close(struct weights **weights);

bool weights_has(const struct weights *weights, const char *name);

/* Checks that tensor `name` is there, has F32, F16 or BF16 elements (a GGUF's matrix
 * may be in blocks that kernels/quant.h knows) and the shape [rows, cols]
 * ([rows] when cols is 0). Reads nothing. */
enum status weights_check(const struct weights *weights, const char *name, int64_t rows,
                          int64_t cols);

/* Reads rows x cols (both in the tensor's indices; cols is ignored for a vector) of a tensor that
 * weights_check accepted into out [rows.count, cols.count], contiguous, converted to f32 exactly.
 * Empty ranges read nothing. */
enum status weights_read(struct weights *weights, const char *name, struct range rows,
                         struct range cols, float *out);

/* The same rounded to the nearest bf16, ties to even; a NaN stays one. What is stored as BF16 stays
 * as it is. */
enum status weights_read_bf16(struct weights *weights, const char *name, struct range rows,
                              struct range cols, uint16_t *out);

/* True for a tensor that a GGUF holds in blocks along the rows (Q8_0, Q4_K, ...). weights_read and
 * weights_read_bf16 do not read these; kernels/quant.h widens them. */
bool weights_in_blocks(const struct weights *weights, const char *name);

/* Reads the blocks of rows x cols of such a tensor as they stand in the file, one row behind the
 * other; cols on borders of blocks. */
enum status weights_read_blocks(struct weights *weights, const char *name, struct range rows,
                                struct range cols, unsigned char *out);

/* "F32", "F16", "BF16", in a GGUF also "Q4_K" and so on, of the tensor, or NULL when it is not
 * there. Borrowed. */
const char *weights_dtype(const struct weights *weights, const char *name);

/* The tensors by number, in the order of their names. Names are borrowed. */
int64_t weights_count(const struct weights *weights);
const char *weights_name(const struct weights *weights, int64_t i);

/* Tensor data read from files so far, bytes. */
int64_t weights_bytes_read(const struct weights *weights);

/* Tensor data in all files, bytes. */
int64_t weights_bytes_total(const struct weights *weights);

#endif
