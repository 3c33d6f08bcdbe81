#include "dist/probe.h"
#include "launch/options.h"
#include "tests/testing.h"

#define WORDS_MAX 64

/* Parses a command line whose words are separated by blanks; "''" is an empty word. The words live
 * until the next call. */
static enum status parse(const char *line, struct options *options) {
    static char text[4096];
    char *words[WORDS_MAX + 1] = {"quire"};
    int count = 1;
    ck_assert_uint_lt(strlen(line), sizeof text);
    strcpy(text, line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        ck_assert_int_lt(count, WORDS_MAX);
        words[count++] = strcmp(word, "''") == 0 ? "" : word;
    }
    return options_parse(count, words, options);
}

static void accept(const char *line, struct options *options) {
    enum status status = parse(line, options);
    ck_assert_msg(status == STATUS_OK, "%s: %s", line, status_text());
}

/* Wrong usage; the message begins with the option and has all its parts. */
static void refuse(const char *line, const char *option) {
    struct options options;
    enum status status = parse(line, &options);
    const char *text = status_text();
    ck_assert_msg(status == STATUS_USAGE, "%s: %d", line, (int)status);
    ck_assert_msg(strncmp(text, option, strlen(option)) == 0 && text[strlen(option)] == ':',
                  "%s: %s", line, text);
    const char *found = strstr(text, ": found "), *expected = strstr(text, ", expected ");
    ck_assert_msg(found && expected > found && strstr(expected, "; "), "%s: %s", line, text);
    options_free(&options);
}

START_TEST(defaults) {
    struct options o;
    accept("generate -m DIR -p text", &o);
    ck_assert_int_eq(o.command, COMMAND_GENERATE);
    ck_assert_str_eq(o.model, "DIR");
    ck_assert(!o.scheme.plain);
    ck_assert_int_eq(o.scheme.group, 0);
    ck_assert_int_eq(o.scheme.window, 0);
    ck_assert_int_eq(o.mesh.pp + o.mesh.tp + o.mesh.sp, 0);
    ck_assert_int_eq(o.chunk, 512);
    ck_assert_int_eq(o.kv, KV_BF16);
    ck_assert_int_eq(o.threads, 0);
    ck_assert_int_eq(o.count, 128);
    ck_assert_double_eq(o.sample.temperature, 0);
    ck_assert_double_eq(o.sample.top_p, 1);
    ck_assert_int_eq(o.sample.top_k, 0);
    ck_assert_uint_eq(o.sample.seed, 0);
    ck_assert_int_lt(o.logprobs, 0);
    ck_assert_ptr_null(o.json);
    options_free(&o);
    accept("passkey -m DIR", &o);
    const int64_t depths[] = {0, 25, 50, 75, 100};
    ck_assert_int_eq(o.depths.count, 5);
    ck_assert_mem_eq(o.depths.values, depths, sizeof depths);
    ck_assert_int_eq(o.trials, 5);
    ck_assert_int_eq(o.lengths.count, 0);
    ck_assert_int_eq(o.compute, COMPUTE_AUTO);
    options_free(&o);
    accept("capture -m DIR -p text -o out.h5", &o);
    ck_assert_uint_eq(o.sites, (1u << SITE_COUNT) - 1);
    ck_assert_int_eq(o.layers.count, 0);
    ck_assert_int_eq(o.range.first, 0);
    ck_assert_int_lt(o.range.count, 0);
    options_free(&o);
}
END_TEST

START_TEST(values) {
    struct options o;
    accept("generate -m DIR -p text --group 8 --window=64 --mesh tp=2,sp=3 --chunk=7 --kv f32 "
           "--compute f32 --threads 3 --json - --reserve 9 -n 0 --temperature 0.75 --top-k 40 "
           "--top-p .9 --seed 18446744073709551615 --stop END --stop=a=b --ignore-eos --logprobs 0",
           &o);
    ck_assert_int_eq(o.scheme.group, 8);
    ck_assert_int_eq(o.scheme.window, 64);
    ck_assert_int_eq(o.mesh.pp, 0);
    ck_assert_int_eq(o.mesh.tp, 2);
    ck_assert_int_eq(o.mesh.sp, 3);
    ck_assert_int_eq(o.chunk, 7);
    ck_assert_int_eq(o.kv, KV_F32);
    ck_assert_int_eq(o.compute, COMPUTE_F32);
    ck_assert_int_eq(o.threads, 3);
    ck_assert_str_eq(o.json, "-");
    ck_assert_int_eq(o.reserve, 9);
    ck_assert_int_eq(o.count, 0);
    ck_assert_double_eq(o.sample.temperature, 0.75);
    ck_assert_int_eq(o.sample.top_k, 40);
    ck_assert_double_eq(o.sample.top_p, 0.9);
    ck_assert_uint_eq(o.sample.seed, UINT64_MAX);
    ck_assert_int_eq(o.stop_count, 2);
    ck_assert_str_eq(o.stops[0], "END");
    ck_assert_str_eq(o.stops[1], "a=b");
    ck_assert(o.ignore_eos);
    ck_assert_int_eq(o.logprobs, 0);
    options_free(&o);
    accept("inspect -m DIR --group auto --window auto --threads auto --length 4096 --ranks 16", &o);
    ck_assert_int_eq(o.scheme.group + o.scheme.window + o.threads, 0);
    ck_assert_int_eq(o.length, 4096);
    ck_assert_int_eq(o.ranks, 16);
    options_free(&o);
}
END_TEST

/* The parts keep the order of the command line, and a value may look like an option. */
START_TEST(texts) {
    struct options o;
    accept("perplexity -p one -m DIR -f two -p --help -f - -p ''", &o);
    const char *const parts[] = {"one", "two", "--help", "-", ""};
    ck_assert_int_eq(o.text_count, 5);
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(o.texts[i].value, parts[i]);
        ck_assert_int_eq(o.texts[i].is_file, i % 2);
    }
    options_free(&o);
    accept("perplexity -m DIR --tokens ids", &o);
    ck_assert_str_eq(o.tokens_file, "ids");
    options_free(&o);
}
END_TEST

START_TEST(lists) {
    struct options o;
    accept("passkey -m DIR --lengths 4096,256,1024 --depths 10,90", &o);
    const int64_t lengths[] = {4096, 256, 1024}, depths[] = {10, 90};
    ck_assert_int_eq(o.lengths.count, 3);
    ck_assert_mem_eq(o.lengths.values, lengths, sizeof lengths);
    ck_assert_int_eq(o.depths.count, 2);
    ck_assert_mem_eq(o.depths.values, depths, sizeof depths);
    options_free(&o);
    accept("capture -m DIR -p x -o y --layers 7,0-3,2-4 --sites logits,q --range 5:9", &o);
    const int64_t layers[] = {0, 1, 2, 3, 4, 7};
    ck_assert_int_eq(o.layers.count, 6);
    ck_assert_mem_eq(o.layers.values, layers, sizeof layers);
    ck_assert_uint_eq(o.sites, 1u << SITE_LOGITS | 1u << SITE_Q);
    ck_assert_int_eq(o.range.first, 5);
    ck_assert_int_eq(o.range.count, 4);
    options_free(&o);
    accept("capture -m DIR -p x -o y --range :3", &o);
    ck_assert_int_eq(o.range.first, 0);
    ck_assert_int_eq(o.range.count, 3);
    options_free(&o);
    accept("capture -m DIR -p x -o y --range 3:", &o);
    ck_assert_int_eq(o.range.first, 3);
    ck_assert_int_lt(o.range.count, 0);
    options_free(&o);
}
END_TEST

START_TEST(numbers_refused) {
    static const struct {
        const char *option;
        const char *values[12];
    } rows[] = {
        {"--group", {"0", "-1", "8x", "''", "1.5", "auto,", "2147483648", "99999999999999999999"}},
        {"--window", {"0", "-1", "0x10", "+4", "Auto"}},
        {"--chunk", {"0", "-5", "auto"}},
        {"--threads", {"0", "-1", "5000"}},
        {"--reserve", {"-1", "x"}},
        {"-n", {"-1", "1e3", "''"}},
        {"--temperature", {"-1", "nan", "inf", "1x", "''", "1e999", "1e-30", "0x1p3"}},
        {"--top-p", {"0", "1.5", "-0.5", "nan", "''"}},
        {"--top-k", {"-1", "2.0"}},
        {"--seed", {"-1", "18446744073709551616", "''", "0x1"}},
        {"--logprobs", {"101", "-1"}},
        {"--kv", {"f16", "''", "F32"}},
        {"--compute", {"f16", "BF16", "''"}},
        {"--mesh", {"pp=0", "tp=1,tp=1", "xp=2", "tp", "tp=1,", "''", "sp=-1"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int v = 0; rows[i].values[v]; v++) {
            char line[256];
            const char *value = rows[i].values[v];
            snprintf(line, sizeof line, "generate -m DIR -p x --json r %s %s", rows[i].option,
                     value);
            refuse(line, rows[i].option);
        }
}
END_TEST

START_TEST(lists_refused) {
    static const char *const lengths[] = {"''", "0", "1,", ",1", "1,,2", "1;2", "-1", "1,x"};
    static const char *const layers[] = {"''",   "-",     "3-",      "3-1",         "-3",
                                         "1,,2", "0-3-4", "1000000", "0-999999,0-9"};
    static const char *const ranges[] = {"''", "5", "5:5", "6:5", "-1:4", "1:2:3", "a:b", "1:x"};
    static const char *const sites[] = {"''", "w", "q,", "q,,k", "Q"};
    char line[256];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        snprintf(line, sizeof line, "perplexity -m DIR -p x --lengths %s", lengths[i]);
        refuse(line, "--lengths");
    }
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        snprintf(line, sizeof line, "capture -m DIR -p x -o y --layers %s", layers[i]);
        refuse(line, "--layers");
    }
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        snprintf(line, sizeof line, "capture -m DIR -p x -o y --range %s", ranges[i]);
        refuse(line, "--range");
    }
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++) {
        snprintf(line, sizeof line, "capture -m DIR -p x -o y --sites %s", sites[i]);
        refuse(line, "--sites");
    }
    refuse("passkey -m DIR --depths 101", "--depths");
    refuse("passkey -m DIR --trials 0", "--trials");
}
END_TEST

START_TEST(usage_refused) {
    refuse("", "command");
    refuse("frobnicate", "command");
    refuse("--help more", "--help");
    refuse("generate -p x", "-m");
    refuse("generate -m DIR", "generate");
    refuse("generate -m DIR -p x --tokens ids", "--tokens");
    refuse("generate -m DIR -p x word", "generate");
    refuse("generate -m DIR -p x --grouq 4", "--grouq");
    refuse("generate -m DIR -p x --group", "--group");
    refuse("generate -m DIR -p x --ignore-eos=yes", "--ignore-eos");
    refuse("generate -m DIR -p x -n 1 -n 2", "-n");
    refuse("generate -m DIR -p x --stop ''", "--stop");
    refuse("generate -m DIR -f - -f -", "-f");
    refuse("generate -m DIR -p x --logprobs 3", "--logprobs");
    refuse("generate -m '' -p x", "-m");
    refuse("capture -m DIR -p x", "-o");
    refuse("perplexity -m DIR -p x --no-plain --no-self-extend", "--no-plain");
    /* Options of other commands are refused by name. */
    refuse("generate -m DIR -p x --depths 50", "--depths");
    refuse("generate -m DIR -p x --lengths 5", "--lengths");
    refuse("inspect -m DIR -p x", "-p");
    refuse("passkey -m DIR --tokens ids", "--tokens");
    refuse("perplexity -m DIR -p x --temperature 1", "--temperature");
}
END_TEST

START_TEST(help) {
    struct options o;
    accept("--help", &o);
    ck_assert_int_eq(o.command, COMMAND_HELP);
    ck_assert_int_eq(o.help_on, COMMAND_HELP);
    options_free(&o);
    accept("--version", &o);
    ck_assert_int_eq(o.command, COMMAND_VERSION);
    options_free(&o);
    for (enum command c = 0; c < COMMAND_HELP; c++) {
        char line[64];
        snprintf(line, sizeof line, "%s --help", command_name(c));
        accept(line, &o);
        ck_assert_int_eq(o.command, COMMAND_HELP);
        ck_assert_int_eq(o.help_on, c);
        options_free(&o);
    }
}
END_TEST

START_TEST(bench) {
    struct options o;
    accept("bench", &o);
    ck_assert_str_eq(o.shape, "tinyllama-1.1b");
    ck_assert_ptr_null(o.model);
    ck_assert_int_eq(o.prefills.count + o.decode_depths.count, 0);
    ck_assert_uint_eq(o.methods, 1u << METHOD_PLAIN | 1u << METHOD_SELF_EXTEND);
    ck_assert_int_eq(o.runs, 3);
    ck_assert_int_eq(o.decode_tokens, 32);
    ck_assert(!o.only_machine && !o.only_kernels);
    options_free(&o);
    accept("bench -m DIR --prefill 512,4096 --decode-depth 0,16384 --method self_extend --runs 5 "
           "--generate 7 --machine --kernels --threads 2",
           &o);
    ck_assert_ptr_null(o.shape);
    ck_assert_str_eq(options_model(&o), "DIR");
    ck_assert_int_eq(o.prefills.values[1], 4096);
    ck_assert_int_eq(o.decode_depths.values[0], 0);
    ck_assert_uint_eq(o.methods, 1u << METHOD_SELF_EXTEND);
    ck_assert_int_eq(o.runs, 5);
    ck_assert_int_eq(o.decode_tokens, 7);
    ck_assert(o.only_machine && o.only_kernels);
    options_free(&o);
    accept("bench --shape phi-2", &o);
    ck_assert_str_eq(options_model(&o), "phi-2");
    options_free(&o);
    refuse("bench --shape phi-2 -m DIR", "--shape");
    refuse("bench --shape phi", "--shape");
    refuse("bench --prefill 0", "--prefill");
    refuse("bench --prefill 1,,2", "--prefill");
    refuse("bench --decode-depth 1x", "--decode-depth");
    refuse("bench --method plain,", "--method");
    refuse("bench --runs 0", "--runs");
    refuse("generate -m DIR -p x --shape phi-2", "--shape");
}
END_TEST

int main(void) {
    const TTest *const tests[] = {defaults,      values,        texts, lists, numbers_refused,
                                  lists_refused, usage_refused, bench, help,  NULL};
    Suite *suite = suite_create("options");
    suite_add(suite, "options", tests);
    return suite_run(suite);
}
