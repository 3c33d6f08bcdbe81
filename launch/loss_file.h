/* The losses of a text's tokens in HDF5: datasets /plain/<length> and /self_extend/<length>,
 * float32, length - 1 entries, entry t the loss of token t + 1 in nats. Made by one rank alone. The
 * file has its name only when it is complete: until then it is PATH.partial. */
#ifndef QUIRE_LAUNCH_LOSS_FILE_H
#define QUIRE_LAUNCH_LOSS_FILE_H

#include "partition/scheme.h"
#include "partition/status.h"
#include <stdint.h>

struct loss_file; /* opaque */

/* Creates PATH.partial. `model` is for the file's attributes. Errors: a place that cannot be
 * written, PATH not a regular file. `path` is borrowed until loss_file_close. */
enum status loss_file_create(const char *path, const char *model, const struct shape *shape,
                             struct loss_file **file);

/* Adds the dataset /GROUP/<length> of losses [length - 1] under `scheme`. */
enum status loss_file_put(struct loss_file *file, const char *group, int64_t length,
                          const struct scheme *scheme, const float *losses);

/* Closes the file and gives it its name. */
enum status loss_file_finish(struct loss_file *file);

/* Frees; a file that was not finished is removed. Accepts NULL. */
void loss_file_close(struct loss_file **file);

#endif
