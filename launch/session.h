/* What every command does first: the model's shape, the mesh, the text as tokens, the memory check,
 * the weights. Each step is collective over all ranks and leaves them with one verdict. */
#ifndef QUIRE_LAUNCH_SESSION_H
#define QUIRE_LAUNCH_SESSION_H

#include "dist/dist.h"
#include "dist/model.h"
#include "dist/sequence.h"
#include "launch/machine.h"
#include "launch/options.h"
#include "launch/tokenizer.h"
#include "partition/shape.h"

struct session {
    const struct options *options; /* borrowed */
    struct dist dist;
    struct shape shape;
    struct stop_ids stop_ids;
    char dtype[16];              /* of the embedding table as stored: "F32", "F16", "BF16" */
    struct tokenizer *tokenizer; /* rank 0 only, NULL without one (--tokens, no tokenizer file) */
    struct tokens tokens; /* the prompt; ids on every rank, offsets on rank 0 only (NULL elsewhere
                           * and with --tokens) */
    bool continues; /* the text stands behind one that was read before: no BOS, no space in front */
    char *text;     /* the input's bytes, rank 0 only; NULL with --tokens */
    int64_t text_len;
    struct weights *weights; /* open until session_load has read this rank's share */
    struct model model;
    struct machine machine;
    enum isa isa;
    enum compute compute; /* the same on all ranks */
    bool overlap;         /* likewise */
    int64_t threads;      /* of this rank */
    int64_t ranks_on_node;
    int64_t bytes_needed;   /* by the rank that needs most, as planned */
    int64_t bytes_of_node;  /* memory of the tightest node */
    int64_t bytes_read;     /* of weights, all ranks together */
    double seconds_loading; /* weights */
    double seconds_started; /* MPI_Wtime of session_open */
};

/* True on the rank that reads text, prints and writes reports (world rank 0). */
bool session_leads(const struct session *session);

/* Shape, mesh, communicators, instruction set, threads; opens the weight files and checks that
 * every tensor is there (headers only). Collective(MPI_COMM_WORLD). */
enum status session_open(const struct options *options, struct session *session);
void session_close(struct session *session);

/* Opens the tokenizer where there is one (rank 0); required: refuses a model without.
 * Collective(world). */
enum status session_open_tokenizer(struct session *session, bool required);

/* Reads -f, -p or --tokens on rank 0, checks it (empty, UTF-8, ids against the vocabulary), encodes
 * it, and gives every rank the ids. Collective(world). */
enum status session_read_input(struct session *session);

/* Options of a sequence for `capacity` tokens under the scheme that the user's request gives for
 * `length` tokens (prompt, generated and reserved), or plain attention. Local, equal everywhere. */
struct sequence_options session_sequence(const struct session *session, bool plain, int64_t length,
                                         int64_t capacity);

/* Holds what the ranks will need for the largest of the sequences asked for against the memory of
 * their nodes, then reads the weights. Collective(world). */
enum status session_load(struct session *session, const struct sequence_options *sequences,
                         int64_t count);

/* Prints "quire: warning: ..." on stderr of rank 0 when `length` tokens are beyond the scheme's
 * reach; at most once in a process. */
void session_warn_reach(const struct session *session, const struct scheme *scheme, int64_t length);

#endif
