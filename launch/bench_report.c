#include "launch/bench_report.h"

#include "launch/comparison.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>

static const double giga = 1e-9;

/* The scheme and length that the report speaks of in general: of the longest run. */
static void put_session(struct bench *b) {
    const struct session *s = &b->session;
    struct sequence_options longest = session_sequence(s, true, s->shape.context, s->shape.context);
    for (int64_t i = 0; i < b->runs.count; i++)
        if (i == 0 || b->runs.rows[i].sequence.capacity >= longest.capacity)
            longest = b->runs.rows[i].sequence;
    report_session(&b->report, s, &longest.scheme, longest.capacity);
}

/* A rate that the level does not have is null. */
static json_t *rate_or_null(const struct samples *samples) {
    double median = samples_median(samples);
    return median > 0 ? json_real(median * giga) : json_null();
}

static void put_rates(json_t *object, const struct samples rates[SPEED_COUNT]) {
    json_object_set_new(object, "f32_gflops", rate_or_null(&rates[SPEED_F32]));
    json_object_set_new(object, "bf16_gflops", rate_or_null(&rates[SPEED_BF16]));
    json_object_set_new(object, "read_gbs", rate_or_null(&rates[SPEED_READ]));
}

static json_t *machine_object(const struct bench *b) {
    json_t *machine = json_object(), *by_threads = json_array();
    json_object_set_new(machine, "isa", json_string(isa_name(b->session.isa)));
    json_object_set_new(machine, "threads", json_integer(b->speed.threads));
    put_rates(machine, b->speed.all);
    json_object_set_new(machine, "processor", json_string(bench_processor()));
    for (int64_t i = 0; i < b->machine.count; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "threads", json_integer(b->machine.rows[i].threads));
        put_rates(row, b->machine.rows[i].rates);
        json_array_append_new(by_threads, row);
    }
    json_object_set_new(machine, "by_threads", by_threads);
    return machine;
}

static json_t *kernel_object(const struct bench *b, const struct bench_kernel *k) {
    bool by_memory;
    double of_peak = bench_kernel_of_peak(k, &by_memory);
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(k->name));
    json_object_set_new(object, "shape", json_string(k->shape));
    json_object_set_new(object, "isa", json_string(isa_name(k->isa)));
    json_object_set_new(object, "threads", json_integer(b->speed.threads));
    json_object_set_new(object, "gflops", json_real(bench_kernel_operations(k) * giga));
    json_object_set_new(object, "gbs", json_real(bench_kernel_bytes(k) * giga));
    json_object_set_new(object, "of_peak", json_real(of_peak));
    json_object_set_new(object, "bound", json_string(by_memory ? "memory" : "compute"));
    json_object_set_new(object, "peak_gflops", rate_or_null(&k->peaks[k->peak]));
    json_object_set_new(object, "peak_gbs", rate_or_null(&k->peaks[SPEED_READ]));
    return object;
}

static const char *phase_name(enum phase phase) {
    return phase == PHASE_PREFILL ? "prefill" : "decode";
}

static const char *const part_names[TIME_PARTS] = {
    [TIME_PRODUCTS] = "products",           [TIME_ATTENTION] = "attention",
    [TIME_ELEMENTWISE] = "elementwise",     [TIME_HEAD] = "head",
    [TIME_COMMUNICATION] = "communication", [TIME_WAITING] = "waiting"};

static json_t *seconds_object(const struct bench_run *r) {
    json_t *seconds = json_object();
    json_object_set_new(seconds, "total", json_real(samples_median(&r->seconds)));
    for (enum time_part part = 0; part < TIME_PARTS; part++)
        json_object_set_new(seconds, part_names[part], json_real(samples_median(&r->parts[part])));
    return seconds;
}

static json_t *run_object(const struct bench *b, const struct bench_run *r) {
    const struct session *s = &b->session;
    json_t *object = json_object();
    comparison_put_scheme(object, &r->sequence.scheme, s->shape.context);
    json_object_set_new(object, "phase", json_string(phase_name(r->phase)));
    json_object_set_new(object, "method", json_string(method_name(r->method)));
    json_object_set_new(object, "ranks", json_integer(s->dist.world.size));
    json_object_set_new(object, "threads", json_integer(s->threads));
    json_object_set_new(object, "depth", json_integer(r->depth));
    json_object_set_new(object, "tokens", json_integer(r->tokens));
    json_object_set_new(object, "tokens_per_s", json_real(samples_median(&r->tokens_per_s)));
    json_object_set_new(object, "tokens_per_s_min", json_real(samples_least(&r->tokens_per_s)));
    json_object_set_new(object, "tokens_per_s_max", json_real(samples_most(&r->tokens_per_s)));
    json_object_set_new(object, "of_peak", json_real(bench_run_of_peak(r)));
    json_object_set_new(object, r->phase == PHASE_PREFILL ? "peak_gflops" : "peak_gbs",
                        rate_or_null(&r->peak));
    json_object_set_new(object, "seconds", seconds_object(r));
    return object;
}

void bench_put_report(struct bench *b) {
    json_t *root = b->report.root;
    if (!report_wanted(&b->report))
        return;
    put_session(b);
    json_t *kernels = json_array(), *runs = json_array();
    for (int64_t i = 0; i < b->kernels.count; i++)
        json_array_append_new(kernels, kernel_object(b, &b->kernels.rows[i]));
    for (int64_t i = 0; i < b->runs.count; i++)
        json_array_append_new(runs, run_object(b, &b->runs.rows[i]));
    json_object_set_new(root, "machine", machine_object(b));
    json_object_set_new(root, "kernels", kernels);
    json_object_set_new(root, "runs", runs);
}

enum status bench_write_report(struct bench *b) {
    struct timings timings = {.loading = b->session.seconds_loading,
                              .total = MPI_Wtime() - b->session.seconds_started};
    for (int64_t i = 0; i < b->runs.count; i++) {
        const struct bench_run *r = &b->runs.rows[i];
        double seconds = samples_median(&r->seconds) * (double)b->options->runs;
        bool reads = r->phase == PHASE_PREFILL;
        *(reads ? &timings.reading : &timings.generating) += seconds;
        *(reads ? &timings.tokens_read : &timings.tokens_generated) += r->tokens * b->options->runs;
    }
    return report_write(&b->report, &b->session, &timings);
}

static void put_heads(struct table *table, const char *const *heads, int64_t columns,
                      uint64_t words) {
    table_open(table, columns);
    table->words = words;
    for (int64_t i = 0; i < columns; i++)
        table_put(table, "%s", heads[i]);
}

static enum status print_and_close(struct table *table) {
    enum status status = table_print(table);
    table_close(table);
    return status;
}

static void put_rate(struct table *table, const struct samples *rates) {
    double median = samples_median(rates);
    table_put(table, median > 0 ? "%.1f" : "-", median * giga);
}

static enum status print_machine(const struct bench *b) {
    static const char *const heads[] = {" threads", "f32 GFLOP/s", "bf16 GFLOP/s", "reading GB/s"};
    const struct session *s = &b->session;
    struct table table;
    printf("The machine: %s, %s; %d rank%s, %" PRId64 " thread%s in all\n", bench_processor(),
           isa_name(s->isa), s->dist.world.size, s->dist.world.size == 1 ? "" : "s",
           b->speed.threads, b->speed.threads == 1 ? "" : "s");
    put_heads(&table, heads, 4, 0);
    for (int64_t i = 0; i < b->machine.count; i++) {
        table_put(&table, " %" PRId64, b->machine.rows[i].threads);
        for (enum speed what = 0; what < SPEED_COUNT; what++)
            put_rate(&table, &b->machine.rows[i].rates[what]);
    }
    return print_and_close(&table);
}

static enum status print_kernels(const struct bench *b) {
    static const char *const heads[] = {" kernel", "level",   "shape", "GFLOP/s",
                                        "GB/s",    "of peak", "by"};
    struct table table;
    printf("\nKernels, %" PRId64 " thread%s: of the machine's arithmetic or memory, whichever "
           "bounds them\n",
           b->speed.threads, b->speed.threads == 1 ? "" : "s");
    put_heads(&table, heads, 7, 0x47);
    for (int64_t i = 0; i < b->kernels.count; i++) {
        const struct bench_kernel *k = &b->kernels.rows[i];
        bool by_memory;
        double of_peak = bench_kernel_of_peak(k, &by_memory);
        table_put(&table, " %s", k->name);
        table_put(&table, "%s", isa_name(k->isa));
        table_put(&table, "%s", k->shape);
        table_put(&table, "%.1f", bench_kernel_operations(k) * giga);
        table_put(&table, "%.1f", bench_kernel_bytes(k) * giga);
        table_put(&table, "%.0f %%", 100 * of_peak);
        table_put(&table, by_memory ? "memory" : "compute");
    }
    return print_and_close(&table);
}

static enum status print_runs(const struct bench *b) {
    static const char *const heads[] = {" phase",    "method",      "G",        "w",
                                        "depth",     "tokens",      "tokens/s", "least",
                                        "most",      "of peak",     "seconds",  "products",
                                        "attention", "elementwise", "head",     "messages"};
    const struct session *s = &b->session;
    struct table table;
    printf("\n%s, --compute %s, --kv %s: medians of %" PRId64 " run%s; reading of the %s peak, "
           "generating of the memory's\n",
           options_model(b->options), compute_name(s->compute), kv_type_name(b->options->kv),
           b->options->runs, b->options->runs == 1 ? "" : "s", compute_name(s->compute));
    put_heads(&table, heads, 16, 3);
    for (int64_t i = 0; i < b->runs.count; i++) {
        const struct bench_run *r = &b->runs.rows[i];
        table_put(&table, " %s", phase_name(r->phase));
        table_put(&table, "%s", method_name(r->method));
        comparison_put_cells(&table, &r->sequence.scheme);
        table_put(&table, "%" PRId64, r->depth);
        table_put(&table, "%" PRId64, r->tokens);
        table_put(&table, "%.1f", samples_median(&r->tokens_per_s));
        table_put(&table, "%.1f", samples_least(&r->tokens_per_s));
        table_put(&table, "%.1f", samples_most(&r->tokens_per_s));
        table_put(&table, "%.0f %%", 100 * bench_run_of_peak(r));
        table_put(&table, "%.2f", samples_median(&r->seconds));
        for (enum time_part part = 0; part < TIME_COMMUNICATION; part++)
            table_put(&table, "%.2f", samples_median(&r->parts[part]));
        table_put(&table, "%.2f",
                  samples_median(&r->parts[TIME_COMMUNICATION]) +
                      samples_median(&r->parts[TIME_WAITING]));
    }
    return print_and_close(&table);
}

enum status bench_print(const struct bench *b) {
    TRY(print_machine(b));
    if (b->kernels.count)
        TRY(print_kernels(b));
    return b->runs.count ? print_runs(b) : STATUS_OK;
}
