/* The text that a command reads, on one rank. */
#ifndef QUIRE_LAUNCH_INPUT_H
#define QUIRE_LAUNCH_INPUT_H

#include "launch/options.h"
#include "partition/status.h"
#include <stdint.h>

/* Reads and joins the parts of -f and -p, at least one, and checks that they are UTF-8. The text
 * [*len bytes] is owned by the caller, also after a failure; NULL when it is empty. */
enum status input_read(const struct options *options, char **text, int64_t *len);

#endif
