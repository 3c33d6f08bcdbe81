/* The commands. Each runs on all ranks with parsed options, and gives the process's exit status.
 * Collective(MPI_COMM_WORLD). */
#ifndef QUIRE_LAUNCH_COMMAND_H
#define QUIRE_LAUNCH_COMMAND_H

#include "launch/options.h"
#include "partition/status.h"

enum status command_generate(const struct options *options);
enum status command_perplexity(const struct options *options);
enum status command_passkey(const struct options *options);
enum status command_inspect(const struct options *options);
enum status command_capture(const struct options *options);
enum status command_ingest(const struct options *options);
enum status command_ask(const struct options *options);
enum status command_export(const struct options *options);

/* inspect of a reading instead of a model. */
enum status command_inspect_book(const struct options *options);
enum status command_bench(const struct options *options);

/* Runs on one rank, and needs no MPI. */
enum status command_tokenize(const struct options *options);

#endif
