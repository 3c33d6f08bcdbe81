#include "tests/golden_file.h"

#include "partition/safetensors.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(const char *why) {
    fprintf(stderr, "golden file: %s\n", why);
    exit(1);
}

static void read_ids(const struct safetensors *file, struct golden *golden) {
    const struct tensor *ids = tensor_table_find(&file->table, "input_ids");
    if (!ids || strcmp(ids->dtype, "I32") != 0)
        stop("no input_ids of type I32");
    golden->T = ids->shape[0];
    golden->ids = malloc((size_t)golden->T * sizeof *golden->ids);
    size_t bytes = (size_t)(ids->end - ids->begin);
    if (pread(file->fd, golden->ids, bytes, ids->begin) != (ssize_t)bytes)
        stop("input_ids are cut");
}

void golden_read(const char *path, const char *prefix, struct golden *golden) {
    struct safetensors file;
    memset(golden, 0, sizeof *golden);
    if (safetensors_open(path, &file) != STATUS_OK)
        stop(status_text());
    read_ids(&file, golden);
    for (int64_t i = 0; i < file.table.count; i++) {
        const struct tensor *t = &file.table.tensors[i];
        if (strncmp(t->name, prefix, strlen(prefix)) != 0 || golden->sets_count == 8)
            continue;
        struct golden_logits *set = &golden->sets[golden->sets_count++];
        struct range rows = {0, t->shape[0]}, cols = {0, t->dims > 1 ? t->shape[1] : 1};
        snprintf(set->name, sizeof set->name, "%s", t->name);
        set->width = cols.count;
        set->rows = rows.count;
        set->values = malloc((size_t)(rows.count * cols.count) * sizeof(float));
        if (safetensors_read(&file, t, rows, cols, set->values) != STATUS_OK)
            stop(status_text());
    }
    safetensors_close(&file);
}

void golden_free(struct golden *golden) {
    for (int i = 0; i < golden->sets_count; i++)
        free(golden->sets[i].values);
    free(golden->ids);
}

void golden_scheme(const char *name, int64_t *group, int64_t *window) {
    const char *at = strstr(name, "_G");
    *group = *window = 0;
    if (at && sscanf(at, "_G%" SCNd64 "_w%" SCNd64, group, window) != 2)
        stop(name);
}
