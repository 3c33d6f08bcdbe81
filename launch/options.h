/* The command line: one table of options for all commands, so that the same option means the same
 * everywhere. Every rank parses the same arguments and comes to the same result. */
#ifndef QUIRE_LAUNCH_OPTIONS_H
#define QUIRE_LAUNCH_OPTIONS_H

#include "dist/wire.h"
#include "kernels/compute.h"
#include "kernels/kv.h"
#include "kernels/sample.h"
#include "partition/layout.h"
#include "partition/mesh.h"
#include "partition/scheme.h"
#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>

enum command {
    COMMAND_GENERATE,
    COMMAND_PERPLEXITY,
    COMMAND_PASSKEY,
    COMMAND_INSPECT,
    COMMAND_CAPTURE,
    COMMAND_INGEST,
    COMMAND_ASK,
    COMMAND_TOKENIZE,
    COMMAND_EXPORT,
    COMMAND_BENCH,
    COMMAND_HELP,    /* quire --help, quire COMMAND --help: print and leave with 0 */
    COMMAND_VERSION, /* quire --version */
    COMMAND_COUNT
};

/* A piece of the input text, in the order of the command line. Borrowed from argv. */
struct text_part {
    bool is_file; /* -f: `value` is a path, "-" is standard input; else -p: the text itself */
    const char *value;
};

/* Whether a chunk is read in two halves; auto leaves it to the ranks' places. */
enum overlap { OVERLAP_AUTO, OVERLAP_ON, OVERLAP_OFF, OVERLAP_COUNT };

/* A list of numbers, owned. */
struct number_list {
    int64_t *values;
    int64_t count;
};

/* No --kv was given, and the KV type comes from a file. */
#define OPTION_KV_UNSET ((enum kv_type) - 1)
/* Ways to read a text. */
enum method { METHOD_PLAIN, METHOD_SELF_EXTEND, METHOD_COUNT };

/* "plain", "self_extend": keys of reports, groups of files, values of options. */
const char *method_name(enum method method);

struct options {
    enum command command;
    enum command help_on;    /* COMMAND_HELP: which command's help, COMMAND_HELP for the overview */
    const char *model;       /* -m; NULL where bench --shape stands for it */
    struct text_part *texts; /* owned, -f and -p */
    int64_t text_count;
    const char *tokens_file;      /* --tokens */
    struct scheme_request scheme; /* --group, --window, --no-self-extend */
    struct mesh mesh;             /* --mesh; zeros: automatic */
    int64_t ranks;                /* inspect --ranks N; 0: those of --mesh, else of the job */
    int64_t chunk;                /* --chunk, default 512; 0: as a file says */
    enum kv_type kv;              /* --kv, default bf16; or OPTION_KV_UNSET */
    enum compute compute;         /* --compute, default auto */
    enum weights_type weights;    /* --weights, default auto */
    enum wire wire;               /* --wire, default f32 */
    enum overlap overlap;         /* --overlap, default auto */
    int64_t threads;              /* --threads; 0: automatic */
    int64_t reserve;              /* --reserve, tokens; -1: the command's own default */
    int64_t length;               /* inspect --length N; 0: the trained context */
    const char *json;             /* --json; "-": stdout */
    bool timing;                  /* --timing */
    /* generate */
    int64_t count; /* -n, default 128 */
    struct sample_options sample;
    const char **stops; /* --stop, repeatable; owned array, borrowed strings */
    int64_t stop_count;
    bool ignore_eos;
    int64_t logprobs; /* --logprobs K; -1: not asked for */
    const char *save, *resume;
    /* generate, ingest, ask */
    bool chat;                 /* --chat, or one of the next two */
    const char *chat_template; /* --chat-template; NULL: the model's own */
    const char *system;        /* --system; NULL: none */
    /* perplexity, passkey */
    struct number_list lengths; /* --lengths, tokens; empty: not given */
    bool no_plain;              /* --no-plain */
    const char *nll;            /* --nll FILE.h5 */
    struct number_list depths;  /* --depths, per cent */
    int64_t trials;             /* --trials, default 5 */
    /* capture */
    const char *output;        /* -o */
    unsigned sites;            /* --sites, bit 1 << enum site; default all */
    struct number_list layers; /* --layers 0-3,7, expanded, sorted, unique; empty: all */
    struct range range;        /* --range a:b, tokens; count -1: to the end */
    int64_t stride;            /* --stride */
    int64_t gzip;              /* --gzip; 0: not compressed */
    bool shuffle;              /* --shuffle */
    /* ingest; -o as with capture */
    int64_t commit_tokens; /* --commit-every N; 0: by seconds */
    double commit_seconds; /* --commit-every Ns */
    int64_t stop_after;    /* --stop-after, seconds; -1: not given */
    /* ask */
    const char *book;      /* -c; of inspect and export the file named without an option */
    const char *questions; /* --questions */
    bool partial;          /* --partial */
    /* tokenize */
    bool decode;       /* --decode */
    bool offsets;      /* --offsets */
    bool no_special;   /* --no-special */
    const char *batch; /* --batch FILE.jsonl */
    bool verify;           /* inspect --verify */
    /* bench */
    const char *shape;                /* --shape; NULL with -m */
    struct number_list prefills;      /* --prefill, tokens; empty: not given */
    struct number_list decode_depths; /* --decode-depth, tokens; empty: not given */
    unsigned methods;                 /* --method, bit 1 << enum method; default both */
    int64_t runs;                     /* --runs, default 3 */
    int64_t decode_tokens;            /* --generate, default 32 */
    bool only_machine, only_kernels;  /* --machine, --kernels */
};

/* Parses argv. Errors: STATUS_USAGE naming the option, what was found and the form expected; also
 * an option that the command does not take, one given twice that cannot be, and one that is
 * missing. options_free also frees a half-parsed one. */
enum status options_parse(int argc, char **argv, struct options *options);
void options_free(struct options *options);

/* Prints the overview or one command's help, with defaults, to stdout. */
void options_help(enum command command);

const char *command_name(enum command command);
const char *overlap_name(enum overlap overlap);

/* The model as messages name it: the directory of -m, or the name of --shape. */
const char *options_model(const struct options *options);

#endif
