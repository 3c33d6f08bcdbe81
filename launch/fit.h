/* Whether a run fits into the memory of its nodes, found out before weights are read. */
#ifndef QUIRE_LAUNCH_FIT_H
#define QUIRE_LAUNCH_FIT_H

#include "launch/session.h"

/* Holds what each node's ranks need for the largest of the sequences against the memory that is
 * free there, and notes both in the session. Refuses on all ranks when any node has too little,
 * naming the number of ranks that would do. Collective(world). */
enum status fit_check(struct session *session, const struct sequence_options *sequences,
                      int64_t count);

#endif
