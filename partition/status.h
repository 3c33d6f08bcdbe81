/* How errors travel: a status goes up the call chain, and one message with it.
 *
 * The function that finds the error words it with status_fail or status_usage and returns the
 * result; everybody above forwards it with TRY. The message stands in one buffer per process (the
 * first rank with a failure lends its own to rank 0, see dist_agree), and only the command at the
 * top prints it, on one line: `quire: FILE: FIELD: found ..., expected ...; remedy`. */
#ifndef QUIRE_PARTITION_STATUS_H
#define QUIRE_PARTITION_STATUS_H

/* The numbers are the process's exit statuses. */
enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,  /* an operating error: file, shape, memory, number out of range */
    STATUS_USAGE = 2,   /* the command line asks for something that cannot be */
    STATUS_PAUSED = 85, /* no failure: stopped after a commit, to be started again */
};

#define STATUS_TEXT_MAX 1024

/* Forwards a failure to the caller. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

/* Keeps the failure forwarded, runs the rest of the function from `label` (for functions that own
 * something): `enum status status` must be in scope. */
#define TRY_TO(label, call)                                                                        \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != STATUS_OK)                                                                   \
            goto label;                                                                            \
    } while (0)

/* Words an operating error and returns STATUS_FAILED. `file` is the path at fault (or what stands
 * for it: "standard input", "--mesh"), `field` the place in it (NULL: none), the format says
 * "found ..., expected ...; remedy". Control characters become '?', so that the message is one
 * line; a message that is too long is cut. */
enum status status_fail(const char *file, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for wrong usage; returns STATUS_USAGE. `option` as the user wrote it, e.g. "--group". */
enum status status_usage(const char *option, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Out of memory for `what`; returns STATUS_FAILED. */
enum status status_no_memory(const char *what, long long bytes);

/* The last message, without the leading "quire: "; "" when there was none. Static storage. */
const char *status_text(void);

/* Takes over a message worded elsewhere (another rank's). */
void status_adopt(const char *text);

#endif
