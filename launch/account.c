#include "launch/account.h"

#include "launch/table.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t peak_bytes(void) {
    char line[256];
    int64_t kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %" SCNd64 " kB", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

enum status account_gather(const struct session *session, struct account **accounts) {
    struct account own = {session->dist.times, peak_bytes()};
    const struct axis *world = &session->dist.world;
    enum status status = STATUS_OK;
    *accounts = NULL;
    if (world->rank == 0) {
        *accounts = malloc((size_t)world->size * sizeof **accounts);
        if (!*accounts)
            status = status_no_memory("report", world->size * (long long)sizeof **accounts);
    }
    TRY(status_agree(world->comm, status));
    MPI_Gather(&own, sizeof own, MPI_BYTE, *accounts, sizeof own, MPI_BYTE, 0, world->comm);
    return STATUS_OK;
}

struct part_name {
    const char *title, *key;
};

static const struct part_name parts[TIME_PARTS] = {
    [TIME_PRODUCTS] = {"products", "products_s"},
    [TIME_ATTENTION] = {"attention", "attention_s"},
    [TIME_ELEMENTWISE] = {"elementwise", "elementwise_s"},
    [TIME_HEAD] = {"head", "head_s"},
    [TIME_COMMUNICATION] = {"communication", "communication_s"},
    [TIME_WAITING] = {"waiting", "waiting_s"},
};

static const char *const phases[TIME_PHASES] = {"reading", "generating"};

static double phase_seconds(const struct times *times, enum time_phase phase) {
    return times_computation(times, phase) + times->seconds[phase][TIME_COMMUNICATION] +
           times->seconds[phase][TIME_WAITING];
}

static void put_row(struct table *table, const struct account *a, int64_t rank,
                    enum time_phase phase) {
    const double *seconds = a->times.seconds[phase];
    table_put(table, "%" PRId64, rank);
    table_put(table, "%s", phases[phase]);
    table_put(table, "%.3f", times_computation(&a->times, phase));
    for (enum time_part part = 0; part < TIME_PARTS; part++)
        table_put(table, "%.3f", seconds[part]);
    table_put(table, "%s", units_bytes(a->peak_bytes).text);
}

enum status account_print(const struct account *accounts, int64_t ranks) {
    struct table table;
    table_open(&table, 4 + TIME_PARTS);
    table_put(&table, "rank");
    table_put(&table, "seconds of");
    table_put(&table, "computation");
    for (enum time_part part = 0; part < TIME_PARTS; part++)
        table_put(&table, "%s", parts[part].title);
    table_put(&table, "peak memory");
    for (int64_t rank = 0; rank < ranks; rank++)
        for (enum time_phase phase = 0; phase < TIME_PHASES; phase++)
            if (phase_seconds(&accounts[rank].times, phase) > 0)
                put_row(&table, &accounts[rank], rank, phase);
    enum status status = table_print_to(&table, stderr);
    table_close(&table);
    return status;
}

/* Adds computation and its parts, communication and waiting, of one phase or of both. */
static void put_seconds(json_t *object, const struct times *times, enum time_phase first,
                        enum time_phase last) {
    double computation = 0;
    for (enum time_phase phase = first; phase <= last; phase++)
        computation += times_computation(times, phase);
    json_object_set_new(object, "computation_s", json_real(computation));
    for (enum time_part part = 0; part < TIME_PARTS; part++) {
        double seconds = 0;
        for (enum time_phase phase = first; phase <= last; phase++)
            seconds += times->seconds[phase][part];
        json_object_set_new(object, parts[part].key, json_real(seconds));
    }
}

json_t *account_json(const struct account *accounts, int64_t ranks) {
    json_t *list = json_array();
    for (int64_t rank = 0; rank < ranks; rank++) {
        const struct times *times = &accounts[rank].times;
        json_t *object = json_object();
        json_object_set_new(object, "rank", json_integer(rank));
        put_seconds(object, times, TIME_READING, TIME_GENERATING);
        for (enum time_phase phase = 0; phase < TIME_PHASES; phase++) {
            json_t *own = json_object();
            put_seconds(own, times, phase, phase);
            json_object_set_new(object, phases[phase], own);
        }
        json_object_set_new(object, "peak_bytes", json_integer(accounts[rank].peak_bytes));
        json_array_append_new(list, object);
    }
    return list;
}
