#include "launch/options.h"

#include "dist/head.h"
#include "dist/sequence.h"
#include "launch/options_value.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GENERATE (1u << COMMAND_GENERATE)
#define PERPLEXITY (1u << COMMAND_PERPLEXITY)
#define PASSKEY (1u << COMMAND_PASSKEY)
#define INSPECT (1u << COMMAND_INSPECT)
#define CAPTURE (1u << COMMAND_CAPTURE)
#define INGEST (1u << COMMAND_INGEST)
#define ASK (1u << COMMAND_ASK)
#define TOKENIZE (1u << COMMAND_TOKENIZE)
#define EXPORT (1u << COMMAND_EXPORT)
#define GENERATES (GENERATE | ASK)
#define BENCH (1u << COMMAND_BENCH)
#define TEXTS (GENERATE | PERPLEXITY | CAPTURE | INGEST)
#define ALL (TEXTS | PASSKEY | INSPECT | ASK | BENCH)

#define PLACE(name) offsetof(struct options, name)
#define MOST OPTION_NUMBER_MAX

/* What bench measures where nothing is named. */
#define SHAPE_DEFAULT "tinyllama-1.1b"

/* The same name always fills the same field; where its help differs by command it has two rows. */
const struct option option_rows[] = {
    {"-m", "MODEL_DIR", ALL, NULL,
     "Model: a GGUF file (of a split model any of its files), or a directory as Hugging Face "
     "publishes them: config.json, *.safetensors, tokenizer.json "
     "or tokenizer.model.",
     SECTION_INPUT, false, take_text, PLACE(model), 0, 0},
    {"-m", "PATH", TOKENIZE, NULL,
     "Model directory, tokenizer.json, tokenizer.model or GGUF file. Of a directory the first of "
     "these counts: tokenizer.json, tokenizer.model, vocab.json with merges.txt.",
     SECTION_INPUT, false, take_text, PLACE(model), 0, 0},
    {"-f", "FILE", TEXTS | TOKENIZE, NULL,
     "Reads text from FILE (- for standard input). Any number of -f and -p may be given: their "
     "bytes are joined in their order, with nothing between.",
     SECTION_INPUT, true, take_file, 0, 0, 0},
    {"-p", "PROMPT", TEXTS | TOKENIZE, NULL, "Takes PROMPT itself as text.", SECTION_INPUT, true,
     take_prompt, 0, 0, 0},
    {"--tokens", "FILE", TEXTS, NULL,
     "Reads token ids instead of text, separated by blanks (- for standard input). They are taken "
     "as they are: nothing is added, and no tokenizer is needed.",
     SECTION_INPUT, false, take_text, PLACE(tokens_file), 0, 0},

    {"-c", "FILE.h5", ASK, NULL, "The reading to ask about, as quire ingest wrote it.",
     SECTION_INPUT, false, take_text, PLACE(book), 0, 0},
    {"-p", "QUESTION", ASK, NULL,
     "A question: text that follows what was read. Several -p are several questions, answered each "
     "by itself.",
     SECTION_INPUT, true, take_prompt, 0, 0, 0},
    {"--questions", "FILE", ASK, NULL,
     "Reads questions from FILE, one a line (- for standard input).", SECTION_INPUT, false,
     take_text, PLACE(questions), 0, 0},
    {"--partial", NULL, ASK, NULL, "Asks about a reading that is not complete, as far as it is.",
     SECTION_COMMAND, false, take_flag, PLACE(partial), 0, 0},

    {"--chat", NULL, GENERATES | INGEST, NULL,
     "Puts the model's own chat template around the text, which is then the user's question. A "
     "text "
     "that ingest reads is the beginning of it, and what ask asks its end.",
     SECTION_INPUT, false, take_flag, PLACE(chat), 0, 0},
    {"--chat-template", "NAME", GENERATES | INGEST, NULL,
     "The same with the template of this name; quire names them all when it is given another.",
     SECTION_INPUT, false, take_text, PLACE(chat_template), 0, 0},
    {"--system", "TEXT", GENERATE | INGEST, NULL, "The system's text in the chat template.",
     SECTION_INPUT, false, take_string, PLACE(system), 0, 0},

    {"-n", "N", GENERATES, "128", "Generates at most N tokens.", SECTION_COMMAND, false,
     take_number, PLACE(count), 0, MOST},
    {"--temperature", "X", GENERATES, "0",
     "Divides the logits by X before a token is drawn; 0 takes the most likely token (greedy).",
     SECTION_COMMAND, false, take_temperature, 0, 0, 0},
    {"--top-k", "N", GENERATES, "0: all", "Draws among the N most likely tokens.", SECTION_COMMAND,
     false, take_number, PLACE(sample.top_k), 0, MOST},
    {"--top-p", "X", GENERATES, "1: all",
     "Draws among the most likely tokens whose probabilities sum up to X.", SECTION_COMMAND, false,
     take_top_p, 0, 0, 0},
    {"--seed", "N", GENERATES, "0",
     "Seed of the draws: the same seed gives the same text on any number of ranks.",
     SECTION_COMMAND, false, take_seed, 0, 0, 0},
    {"--stop", "TEXT", GENERATES, NULL,
     "Ends where TEXT appears in the generated text, which is cut before it. Repeatable.",
     SECTION_COMMAND, true, take_stop, 0, 0, 0},
    {"--ignore-eos", NULL, GENERATES, NULL, "Goes on behind an end-of-text token.", SECTION_COMMAND,
     false, take_flag, PLACE(ignore_eos), 0, 0},
    {"--logprobs", "K", GENERATES, "not reported",
     "Puts the natural log of each token's probability, and the K most likely tokens in its place, "
     "into the report.",
     SECTION_COMMAND, false, take_number, PLACE(logprobs), 0, LOGPROBS_MAX},

    {"--save", "FILE.h5", GENERATE, NULL,
     "Keeps the text and its continuation in FILE.h5, to be gone on with. There is room for "
     "prompt, "
     "-n and --reserve tokens in all.",
     SECTION_COMMAND, false, take_text, PLACE(save), 0, 0},
    {"--resume", "FILE.h5", GENERATE, NULL,
     "Goes on behind what FILE.h5 keeps, on any number of ranks, with the text given (or none), "
     "and "
     "keeps what comes.",
     SECTION_COMMAND, false, take_text, PLACE(resume), 0, 0},

    {"--lengths", "A,B,C", PERPLEXITY, "the whole text",
     "Numbers of tokens from the text's beginning to measure at.", SECTION_COMMAND, false,
     take_numbers, PLACE(lengths), 1, MOST},
    {"--nll", "FILE.h5", PERPLEXITY, NULL,
     "Writes the loss of every token (nats): /plain/LENGTH and /self_extend/LENGTH.",
     SECTION_COMMAND, false, take_text, PLACE(nll), 0, 0},
    {"--lengths", "A,B,C", PASSKEY, "1, 2, 4, 8 and 16 times the trained context",
     "Lengths of prompt and answer together, in tokens.", SECTION_COMMAND, false, take_numbers,
     PLACE(lengths), 1, MOST},
    {"--depths", "A,B,C", PASSKEY, "0,25,50,75,100",
     "Where in the text the key is hidden, per cent from its beginning.", SECTION_COMMAND, false,
     take_numbers, PLACE(depths), 0, 100},
    {"--trials", "N", PASSKEY, "5", "Keys asked for in each cell of the table.", SECTION_COMMAND,
     false, take_number, PLACE(trials), 1, 1000000},
    {"--seed", "N", PASSKEY, "0", "Seed of the keys.", SECTION_COMMAND, false, take_seed, 0, 0, 0},
    {"--no-plain", NULL, PERPLEXITY | PASSKEY, NULL, "Leaves plain attention out.", SECTION_COMMAND,
     false, take_flag, PLACE(no_plain), 0, 0},

    {"--verify", NULL, INSPECT, NULL,
     "Holds all that a reading has committed against its checksums; names the first block that is "
     "damaged.",
     SECTION_COMMAND, false, take_flag, PLACE(verify), 0, 0},
    {"-o", "FILE.h5", EXPORT, NULL, "The HDF5 file to write.", SECTION_COMMAND, false, take_text,
     PLACE(output), 0, 0},
    {"--layers", "0-3,7", EXPORT, "all", "Layers to export, from 0.", SECTION_COMMAND, false,
     take_layers, 0, 0, 999999},
    {"--range", "A:B", EXPORT, "all that is committed",
     "Tokens to export: A up to but without B, from 0; either may be left out.", SECTION_COMMAND,
     false, take_range, 0, 0, MOST},
    {"--length", "N", INSPECT, "the trained context",
     "Tokens that the KV cache is planned for, and that --group and --window are chosen for.",
     SECTION_COMMAND, false, take_number, PLACE(length), 1, MOST},
    {"--ranks", "N", INSPECT, "those of --mesh, else of this run",
     "Shows who holds what on N ranks. No ranks are started for it.", SECTION_COMMAND, false,
     take_number, PLACE(ranks), 1, 1 << 20},

    {"-o", "FILE.h5", CAPTURE, NULL, "The HDF5 file to write.", SECTION_COMMAND, false, take_text,
     PLACE(output), 0, 0},
    {"--sites", "A,B", CAPTURE, "all",
     "What to capture, of resid_pre, q, k, v, attn_out, resid_mid, mlp_out, resid_post, logits.",
     SECTION_COMMAND, false, take_sites, 0, 0, 0},
    {"--layers", "0-3,7", CAPTURE, "all", "Layers to capture, from 0.", SECTION_COMMAND, false,
     take_layers, 0, 0, 999999},
    {"--stride", "N", CAPTURE, "1", "Captures every N-th token of the range, from its first on.",
     SECTION_COMMAND, false, take_number, PLACE(stride), 1, MOST},
    {"--gzip", "LEVEL", CAPTURE, "0: not at all",
     "Compresses the complete file, level 1 to 9. It is written plain first, and takes its room "
     "twice "
     "for that time.",
     SECTION_COMMAND, false, take_number, PLACE(gzip), 0, 9},
    {"--shuffle", NULL, CAPTURE, NULL,
     "Sorts the bytes of the numbers by their place before they are compressed, which makes them "
     "smaller.",
     SECTION_COMMAND, false, take_flag, PLACE(shuffle), 0, 0},
    {"--range", "A:B", CAPTURE, "all",
     "Tokens to capture: A up to but without B, from 0; either may be left out.", SECTION_COMMAND,
     false, take_range, 0, 0, MOST},

    {"-o", "FILE.h5", INGEST, NULL,
     "The HDF5 file that the reading is kept in. One that is there already is gone on with.",
     SECTION_COMMAND, false, take_text, PLACE(output), 0, 0},
    {"--commit-every", "N|Ns", INGEST | CAPTURE, "60s",
     "Commits what was read every N tokens, or every N seconds.", SECTION_COMMAND, false,
     take_commit_every, 0, 1, MOST},
    {"--stop-after", "SECONDS", INGEST | CAPTURE, NULL,
     "Commits, and stops with exit status 85, after so many seconds. In a Slurm job this happens "
     "by "
     "itself before the end of its time.",
     SECTION_COMMAND, false, take_number, PLACE(stop_after), 0, MOST},
    {"--shape", "NAME", BENCH, "tinyllama-1.1b, without -m",
     "Takes random weights in the shape of a published model, without any file: tinyllama-1.1b, "
     "llama-2-7b, mistral-7b, solar-10.7b, phi-2 or llama-3.1-8b.",
     SECTION_INPUT, false, take_shape, PLACE(shape), 0, 0},
    {"--prefill", "A,B,C", BENCH, "512,4096, without --decode-depth",
     "Numbers of tokens to read from an empty cache.", SECTION_COMMAND, false, take_numbers,
     PLACE(prefills), 1, MOST},
    {"--decode-depth", "A,B,C", BENCH, "0,16384, without --prefill",
     "Numbers of tokens that the cache holds when generating begins. It is filled with random keys "
     "and values, not read.",
     SECTION_COMMAND, false, take_numbers, PLACE(decode_depths), 0, MOST},
    {"--generate", "N", BENCH, "32", "Tokens generated in each run at a depth.", SECTION_COMMAND,
     false, take_number, PLACE(decode_tokens), 1, 1000000},
    {"--method", "A,B", BENCH, "plain,self_extend", "Ways to read: plain, self_extend.",
     SECTION_COMMAND, false, take_methods, 0, 0, 0},
    {"--runs", "N", BENCH, "3",
     "Runs of each measurement, taken in turns with the others and with the machine's own speed; "
     "medians are reported.",
     SECTION_COMMAND, false, take_number, PLACE(runs), 1, 1000},
    {"--machine", NULL, BENCH, NULL,
     "Measures the machine itself, and only what else is named: its peak in f32 and bf16, and "
     "reading memory.",
     SECTION_COMMAND, false, take_flag, PLACE(only_machine), 0, 0},
    {"--kernels", NULL, BENCH, NULL,
     "Measures the kernels, and only what else is named: products and attention in the sizes "
     "of the model.",
     SECTION_COMMAND, false, take_flag, PLACE(only_kernels), 0, 0},

    {"--decode", NULL, TOKENIZE, NULL,
     "Takes token ids, separated by blanks, and prints their text, byte for byte with nothing "
     "behind it. Special tokens give nothing.",
     SECTION_COMMAND, false, take_flag, PLACE(decode), 0, 0},
    {"--offsets", NULL, TOKENIZE, NULL,
     "Prints one token a line: its id, and the bytes of the text that it stands for, the first and "
     "the one behind the last.",
     SECTION_COMMAND, false, take_flag, PLACE(offsets), 0, 0},
    {"--no-special", NULL, TOKENIZE, NULL,
     "Adds no BOS or EOS, and reads text that spells a token marked special as ordinary text.",
     SECTION_COMMAND, false, take_flag, PLACE(no_special), 0, 0},
    {"--batch", "FILE.jsonl", TOKENIZE, NULL,
     "For each line {\"text\": ...} of FILE (- for standard input) prints a line {\"ids\": [...]}; "
     "with --decode the other way round.",
     SECTION_COMMAND, false, take_text, PLACE(batch), 0, 0},

    {"--group", "N|auto", ALL, "auto",
     "Group size G of SelfExtend: tokens at a distance of w or more share positions in groups of "
     "G. auto: the smallest that keeps every position within two thirds of the trained context; "
     "plain attention where the text fits the trained context and --window is auto too.",
     SECTION_REACH, false, take_auto_number, PLACE(scheme.group), 1, MOST},
    {"--window", "N|auto", ALL, "auto",
     "Neighbour window w: nearer tokens keep their exact positions. auto: a quarter of the trained "
     "context.",
     SECTION_REACH, false, take_auto_number, PLACE(scheme.window), 1, MOST},
    {"--no-self-extend", NULL, GENERATE | INSPECT | CAPTURE | INGEST | ASK, NULL,
     "Plain attention at any length, with the model's own sliding window if it has one.",
     SECTION_REACH, false, take_flag, PLACE(scheme.plain), 0, 0},
    {"--no-self-extend", NULL, PERPLEXITY | PASSKEY, NULL, "Leaves SelfExtend out.", SECTION_REACH,
     false, take_flag, PLACE(scheme.plain), 0, 0},
    {"--reserve", "N", GENERATE, "0",
     "Tokens kept free behind the text when auto chooses G and w, and in the KV cache.",
     SECTION_REACH, false, take_number, PLACE(reserve), 0, MOST},

    {"--reserve", "N", INGEST, "an eighth of the trained context",
     "Tokens kept free behind the text, for questions and answers, when auto chooses G and w, and "
     "in the file.",
     SECTION_REACH, false, take_number, PLACE(reserve), 0, MOST},

    {"--mesh", "pp=A,tp=B,sp=C", ALL, "auto",
     "How the ranks share the work: pp stages of layers, tp groups of KV heads, sp ranks that "
     "share a group's tokens; A*B*C ranks. Axes left out are chosen.",
     SECTION_RUN, false, take_mesh, 0, 0, 0},
    {"--chunk", "N", ALL, "512",
     "Tokens read in one forward pass: more is faster and takes more memory (at most 8192).",
     SECTION_RUN, false, take_number, PLACE(chunk), 1, MOST},
    {"--kv", "f32|bf16|q8_0", ALL, "bf16",
     "Type of the cached keys and values. q8_0: 8 bits each and a scale for every 32.", SECTION_RUN,
     false, take_kv, 0, 0, 0},
    {"--compute", "f32|bf16|auto", ALL, "auto",
     "Type of the arithmetic. f32: every stored weight as it is. bf16: faster and half the "
     "memory, on processors with AVX-512-BF16 or AMX; weights are held in bf16 (those stored as "
     "F16 or F32 are rounded to it) and what they are multiplied with is rounded to bf16, while "
     "sums and norms stay in f32. auto: bf16 where every rank's processor has it, else f32.",
     SECTION_RUN, false, take_compute, 0, 0, 0},
    {"--weights", "auto|q8_0|q4_0", ALL, "auto",
     "How weight matrices are held. auto: in the type of --compute. q8_0, q4_0: in 8 or 4 bits, "
     "quantised when they are read, as in GGUF files: 32 values of a row share a scale (8.5 and "
     "4.5 "
     "bits a weight in all). Less memory, and generating is faster as much; reading a text "
     "computes as --compute says. Matrices whose rows 32 does not divide, and an embedding table "
     "that is not the head too, stay as with auto; inspect names them.",
     SECTION_RUN, false, take_weights, 0, 0, 0},
    {"--wire", "f32|bf16", ALL, "f32",
     "Type in which activations travel between the ranks of a stage. bf16: half the bytes on the "
     "network; sums are taken in f32 and rounded once more.",
     SECTION_RUN, false, take_wire, 0, 0, 0},
    {"--overlap", "auto|on|off", ALL, "auto",
     "Reads each chunk in two halves, and computes one while the sums of the other are on their "
     "way between the ranks. auto: where the ranks of a stage are on several nodes.",
     SECTION_RUN, false, take_overlap, 0, 0, 0},
    {"--threads", "N|auto", ALL, "auto",
     "Threads of each rank. auto: one for each core that the rank may use, cores that several "
     "ranks may use divided among them.",
     SECTION_RUN, false, take_auto_number, PLACE(threads), 1, 4096},

    {"--json", "FILE", ALL | EXPORT, NULL,
     "Writes a report: what was asked, what was understood, results, timings (- for standard "
     "output, and then nothing else goes there).",
     SECTION_REPORT, false, take_text, PLACE(json), 0, 0},
    {"--timing", NULL, ALL & ~INSPECT, NULL,
     "Prints, for each rank, the seconds that it computed, communicated and waited. Ranks then "
     "meet before each exchange, so that waiting can be told from communication.",
     SECTION_REPORT, false, take_flag, PLACE(timing), 0, 0},
};
const int64_t option_row_count = sizeof option_rows / sizeof option_rows[0];

static const char *const command_names[COMMAND_COUNT] = {
    [COMMAND_GENERATE] = "generate", [COMMAND_PERPLEXITY] = "perplexity",
    [COMMAND_PASSKEY] = "passkey",   [COMMAND_INSPECT] = "inspect",
    [COMMAND_CAPTURE] = "capture",   [COMMAND_INGEST] = "ingest",
    [COMMAND_ASK] = "ask",           [COMMAND_TOKENIZE] = "tokenize",
    [COMMAND_EXPORT] = "export",     [COMMAND_BENCH] = "bench",
    [COMMAND_HELP] = "help",         [COMMAND_VERSION] = "version",
};

const char *command_name(enum command command) {
    return command_names[command];
}

const char *method_name(enum method method) {
    return method == METHOD_PLAIN ? "plain" : "self_extend";
}

const char *options_model(const struct options *options) {
    return options->model ? options->model : options->shape;
}

static enum status options_defaults(struct options *options) {
    static const int64_t depths[] = {0, 25, 50, 75, 100};
    memset(options, 0, sizeof *options);
    options->help_on = COMMAND_HELP;
    options->kv = OPTION_KV_UNSET;
    options->compute = COMPUTE_AUTO;
    options->count = 128;
    options->logprobs = -1;
    options->sample.top_p = 1;
    options->trials = 5;
    options->reserve = -1;
    options->commit_seconds = 60;
    options->stop_after = -1;
    options->stride = 1;
    options->methods = (1u << METHOD_COUNT) - 1;
    options->runs = 3;
    options->decode_tokens = 32;
    options->sites = (1u << SITE_COUNT) - 1;
    options->range.count = -1;
    options->depths.values = malloc(sizeof depths);
    if (!options->depths.values)
        return status_no_memory("command line", sizeof depths);
    memcpy(options->depths.values, depths, sizeof depths);
    options->depths.count = sizeof depths / sizeof depths[0];
    return STATUS_OK;
}

void options_free(struct options *options) {
    free(options->texts);
    free(options->stops);
    free(options->lengths.values);
    free(options->depths.values);
    free(options->layers.values);
    free(options->prefills.values);
    free(options->decode_depths.values);
    memset(options, 0, sizeof *options);
}

/* The row whose name is the first `len` bytes of `name`, taken by the command; -1 without one.
 * *elsewhere: some other command takes it. */
static int64_t row_find(enum command command, const char *name, size_t len, bool *elsewhere) {
    *elsewhere = false;
    for (int64_t i = 0; i < option_row_count; i++) {
        const struct option *row = &option_rows[i];
        if (strlen(row->name) != len || memcmp(row->name, name, len) != 0)
            continue;
        if (row->commands & command_bit(command))
            return i;
        *elsewhere = true;
    }
    return -1;
}

static enum status row_unknown(enum command command, const char *argument, bool elsewhere) {
    const char *name = command_name(command);
    if (*argument != '-')
        return status_usage(name, "found the argument \"%.200s\", expected options", argument);
    if (elsewhere)
        return status_usage(argument,
                            "found an option of other commands, expected one that %s "
                            "takes",
                            name);
    return status_usage(argument, "found an unknown option, expected one that %s takes", name);
}

static bool is_directory(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* What inspect and export take without an option: a reading, or for inspect a model, which is a
 * directory or a GGUF file. False where it is no such argument. */
static bool take_argument(struct options *options, const char *argument) {
    size_t len = strlen(argument);
    bool is_gguf = len > 5 && strcmp(argument + len - 5, ".gguf") == 0;
    bool inspects = options->command == COMMAND_INSPECT;
    if (*argument == '-' || *argument == '\0' || options->book ||
        !(inspects || options->command == COMMAND_EXPORT))
        return false;
    if (!inspects || !(is_gguf || is_directory(argument)))
        options->book = argument;
    else if (!options->model)
        options->model = argument;
    else
        return false;
    return true;
}

/* Takes the option at argv[*at] with its value and moves *at behind both. */
static enum status option_read(struct options *options, int argc, char **argv, int *at,
                               bool *given) {
    const char *argument = argv[(*at)++], *text = NULL;
    bool elsewhere, is_long = strncmp(argument, "--", 2) == 0;
    size_t len = is_long ? strcspn(argument, "=") : strlen(argument);
    int64_t index = row_find(options->command, argument, len, &elsewhere);
    if (index < 0)
        return row_unknown(options->command, argument, elsewhere);
    const struct option *row = &option_rows[index];
    if (argument[len] == '=')
        text = argument + len + 1;
    if (text && !row->value)
        return status_usage(row->name, "found the value \"%.200s\", expected none", text);
    if (row->value && !text) {
        if (*at == argc)
            return status_usage(row->name, "found no value, expected %s", row->value);
        text = argv[(*at)++];
    }
    if (given[index] && !row->repeatable)
        return status_usage(row->name, "found twice, expected once");
    /* A list that is given takes the place of its default. */
    if (row->take == take_numbers)
        ((struct number_list *)((char *)options + row->place))->count = 0;
    given[index] = true;
    return row->take(options, row, text);
}

/* What must be there, and what excludes each other. */
static enum status options_check(const struct options *o) {
    unsigned bit = command_bit(o->command);
    bool of_book = o->command == COMMAND_EXPORT || (o->command == COMMAND_INSPECT && o->book);
    if (of_book && o->model)
        return status_usage("-m", "found together with %.200s, expected a model or a reading",
                            o->book);
    if (o->command == COMMAND_EXPORT && !o->book)
        return status_usage("export", "found no reading, expected quire export FILE.h5 -o OUT.h5");
    if (o->verify && !of_book)
        return status_usage("--verify", "found without a reading, expected quire inspect FILE.h5");
    if (o->model && o->shape)
        return status_usage("--shape", "found together with -m, expected one model");
    if (!o->model && !o->shape && !of_book)
        return status_usage("-m", "found no model, expected -m %s",
                            o->command == COMMAND_TOKENIZE ? "PATH" : "MODEL_DIR");
    if ((bit & TEXTS) && o->tokens_file && o->text_count)
        return status_usage("--tokens",
                            "found together with -f or -p, expected either ids or text");
    if (o->save && o->resume)
        return status_usage("--save", "found together with --resume, expected one of them: what is "
                                      "resumed is kept in its own file");
    if ((bit & TEXTS) && !o->tokens_file && !o->text_count && !o->resume)
        return status_usage(command_name(o->command),
                            "found no text, expected -f FILE, -p PROMPT or --tokens FILE");
    if ((bit & (PERPLEXITY | PASSKEY)) && o->no_plain && o->scheme.plain)
        return status_usage("--no-plain", "found together with --no-self-extend, which leaves "
                                          "nothing to measure, expected one of them");
    if ((bit & (CAPTURE | INGEST | EXPORT)) && !o->output)
        return status_usage("-o", "found no output file, expected -o FILE.h5");
    if (o->command == COMMAND_ASK && !o->book)
        return status_usage("-c", "found no reading, expected -c FILE.h5");
    if (o->command == COMMAND_ASK && !o->text_count && !o->questions)
        return status_usage("ask", "found no question, expected -p QUESTION or --questions FILE");
    if (o->chat && o->resume)
        return status_usage("--chat",
                            "found together with --resume, expected one of them: templates "
                            "are for the first turn alone");
    if (o->chat && o->tokens_file)
        return status_usage("--chat", "found together with --tokens, expected text: a template "
                                      "stands around text");
    if (o->batch && o->text_count)
        return status_usage("--batch",
                            "found together with -f or -p, expected either lines or text");
    if (o->offsets && o->decode)
        return status_usage("--offsets", "found together with --decode, expected one of them: ids "
                                         "have no offsets");
    if (o->logprobs >= 0 && !o->json)
        return status_usage("--logprobs", "found without --json, expected --json FILE: the "
                                          "probabilities go to the report");
    return STATUS_OK;
}

/* The remedy is the same for all wrong usage. */
static enum status point_to_help(enum status status, enum command command) {
    char text[STATUS_TEXT_MAX + 64];
    if (status == STATUS_USAGE) {
        snprintf(text, sizeof text, "%.*s; see quire %s --help", STATUS_TEXT_MAX - 64,
                 status_text(), command_name(command));
        status_adopt(text);
    }
    return status;
}

static bool is_help(const char *argument) {
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

/* The command's name, or what stands for it. */
static enum status command_read(int argc, char **argv, struct options *options) {
    if (argc < 2)
        return status_usage("command", "found none, expected one; see quire --help");
    options->command = COMMAND_COUNT;
    if (is_help(argv[1]))
        options->command = COMMAND_HELP;
    if (strcmp(argv[1], "--version") == 0)
        options->command = COMMAND_VERSION;
    for (enum command c = 0; c < COMMAND_HELP; c++)
        if (strcmp(argv[1], command_name(c)) == 0)
            options->command = c;
    if (options->command == COMMAND_COUNT)
        return status_usage(
            "command",
            "found \"%.200s\", expected generate, perplexity, passkey, "
            "inspect, capture, ingest, ask, export, tokenize or bench; see quire --help",
            argv[1]);
    return STATUS_OK;
}

/* What is not given, and is not to be found elsewhere. */
static void put_defaults(struct options *options) {
    bool from_book = options->command == COMMAND_ASK || options->resume;
    if (options->reserve < 0 && options->command != COMMAND_INGEST)
        options->reserve = 0;
    if (options->chunk == 0 && !from_book)
        options->chunk = 512;
    if (options->kv == OPTION_KV_UNSET && !from_book)
        options->kv = KV_BF16;
    if (options->command == COMMAND_BENCH && !options->model && !options->shape)
        options->shape = SHAPE_DEFAULT;
}

static enum status options_read(int argc, char **argv, struct options *options) {
    bool given[sizeof option_rows / sizeof option_rows[0]] = {false};
    for (int at = 2; at < argc;) {
        if (is_help(argv[at])) {
            options->help_on = options->command;
            options->command = COMMAND_HELP;
            return STATUS_OK;
        }
        if (take_argument(options, argv[at]))
            at++;
        else
            TRY(option_read(options, argc, argv, &at, given));
    }
    put_defaults(options);
    options->chat = options->chat || options->chat_template || options->system;
    return options_check(options);
}

enum status options_parse(int argc, char **argv, struct options *options) {
    TRY(options_defaults(options));
    TRY(command_read(argc, argv, options));
    if (options->command != COMMAND_HELP && options->command != COMMAND_VERSION)
        return point_to_help(options_read(argc, argv, options), options->command);
    if (argc > 2)
        return status_usage(argv[1], "found \"%.200s\" behind it, expected nothing; leave it out",
                            argv[2]);
    return STATUS_OK;
}
