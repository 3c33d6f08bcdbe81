#include "launch/options_table.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 26
#define HELP_WIDTH 80

/* What a command is for, how it is called, and an example or two. */
struct command_help {
    const char *purpose, *usage, *about, *examples;
};

static const struct command_help command_helps[COMMAND_COUNT] = {
    [COMMAND_GENERATE] =
        {"continues a text",
         "quire generate -m MODEL_DIR (-f FILE | -p PROMPT | --tokens FILE)... [options]",
         "Reads the text, then generates what follows it, printing it as it comes. The text may be "
         "longer than the model was trained for: SelfExtend then keeps every position within what "
         "the model knows.",
         "  quire generate -m llama-2-7b -f book.txt -p \"In short, this book\" -n 200\n"
         "  mpirun -n 8 quire generate -m llama-2-7b -f - --temperature 0.8 --seed 7 < book.txt\n"},
    [COMMAND_PERPLEXITY] =
        {"measures how well a text is predicted, with SelfExtend and without",
         "quire perplexity -m MODEL_DIR (-f FILE | -p PROMPT | --tokens FILE)... [options]",
         "Reads the first tokens of the text, as many as each length says, and prints the "
         "perplexity over all of them and over the last 256: plain attention and SelfExtend side "
         "by side. A model that is read beyond its trained context without SelfExtend shows it "
         "here.",
         "  mpirun -n 4 quire perplexity -m llama-2-7b -f book.txt --lengths 4096,16384,65536\n"},
    [COMMAND_PASSKEY] =
        {"hides a number in a long text and asks for it", "quire passkey -m MODEL_DIR [options]",
         "Writes prompts of the lengths given, with a pass key at the depths given, and prints how "
         "often the model finds it: plain attention and SelfExtend side by side.",
         "  mpirun -n 4 quire passkey -m llama-2-7b --lengths 4096,16384 --trials 10\n"},
    [COMMAND_INSPECT] =
        {"tells what a model is and who would hold what of it",
         "quire inspect (-m MODEL_DIR | FILE.h5) [options]",
         "Of a reading: what it holds, from which text, how far, and whether it is whole. Of a "
         "model: "
         "prints the model's shape, how far it reads with SelfExtend, and the share and memory of "
         "each rank on a mesh. Reads no weights; needs neither the ranks nor the memory that it "
         "tells of.",
         "  quire inspect book.h5 --verify\n"
         "  quire inspect -m llama-2-7b --length 131072 --ranks 16\n"
         "  quire inspect -m llama-2-7b --mesh pp=2,tp=4,sp=2 --kv f32\n"},
    [COMMAND_CAPTURE] =
        {"writes a model's activations over a text to an HDF5 file",
         "quire capture -m MODEL_DIR (-f FILE | -p PROMPT | --tokens FILE)... -o FILE.h5 [options]",
         "Reads the text and writes the activations of the layers and sites asked for, in the "
         "order of the tokens, readable with h5py. The values do not depend on the number of "
         "ranks.",
         "  mpirun -n 4 quire capture -m llama-2-7b -f book.txt -o book.h5 --layers 0-3 "
         "--sites resid_post,q\n"},
    [COMMAND_INGEST] =
        {"reads a text once into a file, to be asked about later",
         "quire ingest -m MODEL_DIR (-f FILE | -p PROMPT | --tokens FILE)... -o FILE.h5 [options]",
         "Reads the text and keeps what the model made of it (keys and values) in an HDF5 file, "
         "committed now and then. Started again with the same arguments, on any number of ranks, "
         "it "
         "goes on at the last commit. SIGUSR1 or SIGTERM, --stop-after and the end of a Slurm job "
         "make it commit and stop with exit status 85.",
         "  mpirun -n 4 quire ingest -m llama-2-7b -f book.txt -o book.h5\n"
         "  srun --mpi=pmix --kill-on-bad-exit=1 quire ingest -m llama-2-7b -f book.txt -o book.h5 "
         "--commit-every 300s\n"},
    [COMMAND_ASK] =
        {"answers questions about a text that ingest has read",
         "quire ask -m MODEL_DIR -c FILE.h5 (-p QUESTION | --questions FILE)... [options]",
         "Opens the reading, on any number of ranks and without reading the text again, and "
         "answers "
         "each question as if it alone stood behind the text; several decode together. Prints the "
         "answers, one block for each question, a blank line between. The file is not changed. "
         "Method, G, w, chunk and types are the file's.",
         "  quire ask -m llama-2-7b -c book.h5 -p \" In short, this book is about\" -n 60\n"
         "  mpirun -n 2 quire ask -m llama-2-7b -c book.h5 --questions questions.txt --json "
         "answers.json\n"},
    [COMMAND_TOKENIZE] =
        {"turns text into a model's token ids, or ids into text",
         "quire tokenize -m PATH [-f FILE | -p PROMPT]... [options]",
         "Prints the ids of the text on one line, blanks between, as the model would read it: with "
         "BOS and EOS where its files ask for them. Reads standard input when neither -f nor -p is "
         "given. Needs the tokenizer's files alone, and one rank.",
         "  quire tokenize -m llama-2-7b -p \"In short,\"\n"
         "  quire tokenize -m model.gguf --no-special < book.txt | quire tokenize -m model.gguf "
         "--decode\n"
         "  quire tokenize -m llama-2-7b/tokenizer.model --batch texts.jsonl > ids.jsonl\n"},
    [COMMAND_EXPORT] =
        {"writes keys and values of a reading as plain HDF5 datasets",
         "quire export FILE.h5 -o OUT.h5 [options]",
         "Writes the keys (before rotation) and values of a range of tokens and layers of a "
         "reading "
         "as float32, token by token, readable with h5py. Needs neither the model nor ranks.",
         "  quire export book.h5 -o keys.h5 --range 1000:2000 --layers 0-3\n"},
    [COMMAND_BENCH] =
        {"measures how fast the machine, the kernels and a model go",
         "quire bench [--shape NAME | -m MODEL_DIR] [options]",
         "Measures what the machine can do (multiply-adds in f32 and bf16, reading memory), what "
         "the kernels make of it, and how fast texts are read and continued with the model, and "
         "holds each against the machine, measured in turns in the same run. A named shape needs "
         "no files.",
         "  quire bench --shape tinyllama-1.1b --prefill 512,4096 --decode-depth 0,16384\n"
         "  mpirun -n 4 quire bench -m llama-2-7b --prefill 4096 --runs 5 --json bench.json\n"
         "  quire bench --machine\n"},
};

/* Prints text from column `from` on (the line stands at `column`), words wrapped. */
static void print_wrapped(const char *text, int column, int from) {
    while (*text) {
        int len = (int)strcspn(text, " ");
        if (column > from && column + 1 + len > HELP_WIDTH) {
            putchar('\n');
            column = 0;
        }
        if (column > from)
            column += printf(" ");
        else
            column += printf("%*s", from - column, "");
        column += printf("%.*s", len, text);
        text += len;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_row(const struct option *row) {
    int column = printf("  %s %s", row->name, row->value ? row->value : "");
    if (column >= HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    char help[1024];
    if (row->standard)
        snprintf(help, sizeof help, "%s (default %s)", row->help, row->standard);
    else
        snprintf(help, sizeof help, "%s", row->help);
    print_wrapped(help, column, HELP_COLUMN);
}

static void print_section(enum command command, enum section section) {
    static const char *const titles[SECTION_COUNT] = {
        [SECTION_INPUT] = "Model and text", [SECTION_COMMAND] = "This command",
        [SECTION_REACH] = "Reach",          [SECTION_RUN] = "Ranks, memory and threads",
        [SECTION_REPORT] = "Report",
    };
    bool titled = false;
    for (int64_t i = 0; i < option_row_count; i++) {
        const struct option *row = &option_rows[i];
        if (row->section != section || !(row->commands & command_bit(command)))
            continue;
        if (!titled)
            printf("\n%s:\n", titles[section]);
        titled = true;
        print_row(row);
    }
}

static void print_command(enum command command) {
    const struct command_help *help = &command_helps[command];
    printf("quire %s: %s\n\nUsage: %s\n\n", command_name(command), help->purpose, help->usage);
    print_wrapped(help->about, 0, 0);
    for (enum section section = 0; section < SECTION_COUNT; section++)
        print_section(command, section);
    printf("\nExamples:\n%s", help->examples);
}

static void print_overview(void) {
    printf("quire %s: reads texts far longer than a language model was trained for\n\n"
           "Usage: quire COMMAND -m MODEL_DIR [options]\n"
           "       mpirun -n RANKS quire COMMAND -m MODEL_DIR [options]\n"
           "       quire COMMAND --help\n"
           "       quire --version\n\n",
           QUIRE_VERSION);
    print_wrapped(
        "Runs Llama-type models on CPUs, the work and the memory shared by the ranks of an "
        "MPI job. Where a text is longer than the model's trained context, SelfExtend "
        "(arXiv 2401.01325) groups distant tokens, so that the model reads on without "
        "further training. The answer does not depend on the number of ranks.",
        0, 0);
    printf("\nCommands:\n");
    for (enum command c = 0; c < COMMAND_HELP; c++)
        printf("  %-12s%s\n", command_name(c), command_helps[c].purpose);
    printf("\nResults go to standard output, everything else to standard error. Exit status: 0 "
           "done,\n1 failed, 2 wrong usage, 85 stopped after a commit, to be started again.\n\n"
           "Environment: QUIRE_ISA=generic|avx2|avx512|avx512_bf16|amx forces a lower instruction "
           "set.\n\n"
           "Examples:\n%s%s%s",
           command_helps[COMMAND_INSPECT].examples, command_helps[COMMAND_GENERATE].examples,
           command_helps[COMMAND_PERPLEXITY].examples);
}

void options_help(enum command command) {
    if (command < COMMAND_HELP)
        print_command(command);
    else
        print_overview();
}
