/* What each rank's run came to: where its time went, and the most memory it held. Gathered once the
 * work is done, printed by --timing and put into the report. */
#ifndef QUIRE_LAUNCH_ACCOUNT_H
#define QUIRE_LAUNCH_ACCOUNT_H

#include "launch/session.h"
#include <jansson.h>

struct account {
    struct times times;
    int64_t peak_bytes; /* resident at most, VmHWM of /proc/self/status; 0: not known */
};

/* Every rank's account, in the order of the ranks: on rank 0 owned by the caller (free), NULL
 * elsewhere. Collective(world). */
enum status account_gather(const struct session *session, struct account **accounts);

/* The table of --timing, on standard error. */
enum status account_print(const struct account *accounts, int64_t ranks);

/* The list of timings.ranks in the report, new reference. */
json_t *account_json(const struct account *accounts, int64_t ranks);

#endif
