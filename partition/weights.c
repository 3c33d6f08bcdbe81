#include "partition/weights.h"
#include "partition/gguf.h"
#include "partition/json.h"
#include "partition/safetensors.h"
#include "partition/weights_random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const int64_t index_bytes_max = 16 << 20;

/* A tensor of the model and the file that holds it. */
struct entry {
    const char *name;                 /* borrowed: from the index, then from the file's table */
    const char *file_name;            /* borrowed from the index while it is read */
    struct safetensors *file;         /* borrowed from weights->files */
    const struct tensor *tensor;      /* borrowed from its file's table, or from weights->views */
    const struct gguf_tensor *blocks; /* borrowed from the GGUF: a tensor in blocks; else NULL */
};

struct weights {
    char *path;                /* owned: the single file or the index; for messages */
    struct safetensors *files; /* owned */
    int64_t file_count;
    struct entry *entries; /* owned; by name, ascending */
    int64_t entry_count;
    int64_t random_hidden; /* of a model without files; 0: there are files */
    struct gguf *gguf;     /* owned; NULL: safetensors */
    struct tensor *views;  /* owned: its tensors as those of safetensors are, stacks as matrices */
};

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->file_name, ((const struct entry *)b)->file_name);
}

static enum status reserve_entries(struct weights *weights, int64_t count) {
    weights->entries = calloc((size_t)count + 1, sizeof *weights->entries);
    if (!weights->entries)
        return status_no_memory(weights->path, (long long)count * (long long)sizeof(struct entry));
    weights->entry_count = count;
    return STATUS_OK;
}

static enum status reserve_files(struct weights *weights, int64_t count) {
    weights->files = calloc((size_t)count + 1, sizeof *weights->files);
    if (!weights->files)
        return status_no_memory(weights->path,
                                (long long)count * (long long)sizeof(struct safetensors));
    return STATUS_OK;
}

/* Only files that opened count, so that half an object can be closed. */
static enum status open_file(struct weights *weights, const char *path) {
    TRY(safetensors_open(path, &weights->files[weights->file_count]));
    weights->file_count++;
    return STATUS_OK;
}

static enum status open_single(struct weights *weights) {
    TRY(reserve_files(weights, 1));
    TRY(open_file(weights, weights->path));
    struct safetensors *file = &weights->files[0];
    TRY(reserve_entries(weights, file->table.count));
    for (int64_t i = 0; i < file->table.count; i++)
        weights->entries[i] = (struct entry){
            .name = file->table.tensors[i].name, .file = file, .tensor = &file->table.tensors[i]};
    return STATUS_OK;
}

/* weight_map as entries without files. A file's name may not lead out of the directory. */
static enum status read_map(struct weights *weights, const json_t *index) {
    const json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map))
        return status_fail(weights->path, "weight_map",
                           "found %s, expected an object of file names; fetch the file again",
                           json_words(map).text);
    TRY(reserve_entries(weights, (int64_t)json_object_size(map)));
    struct entry *entry = weights->entries;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value) {
        const char *file = json_string_value(value);
        if (!file || strlen(file) != json_string_length(value) || strchr(file, '/') ||
            strcmp(file, "") == 0 || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
            return status_fail(weights->path, name,
                               "found %s, expected the name of a file beside the index; fetch the "
                               "file again",
                               json_words(value).text);
        *entry++ = (struct entry){.name = name, .file_name = file};
    }
    return STATUS_OK;
}

/* Opens each file once and finds each tensor in the file that the index names for it. */
static enum status open_mapped(struct weights *weights, const char *dir) {
    struct entry *entries = weights->entries;
    int64_t files = 0;
    qsort(entries, (size_t)weights->entry_count, sizeof *entries, compare_files);
    for (int64_t i = 0; i < weights->entry_count; i++)
        files += i == 0 || compare_files(&entries[i - 1], &entries[i]) != 0;
    TRY(reserve_files(weights, files));
    for (int64_t i = 0; i < weights->entry_count; i++) {
        struct entry *entry = &entries[i];
        if (i == 0 || compare_files(entry - 1, entry) != 0) {
            char *path;
            TRY(file_join(dir, entry->file_name, &path));
            enum status status = open_file(weights, path);
            free(path);
            TRY(status);
        }
        entry->file = &weights->files[weights->file_count - 1];
        entry->tensor = tensor_table_find(&entry->file->table, entry->name);
        if (!entry->tensor)
            return status_fail(weights->path, entry->name,
                               "found %s, which has no such tensor, expected the file that holds "
                               "it; fetch both again",
                               entry->file_name);
    }
    return STATUS_OK;
}

static enum status open_index(struct weights *weights, const char *dir) {
    json_t *index;
    TRY(json_read(weights->path, index_bytes_max, &index));
    enum status status;
    TRY_TO(done, read_map(weights, index));
    TRY_TO(done, open_mapped(weights, dir));
    for (int64_t i = 0; i < weights->entry_count; i++) {
        weights->entries[i].name = weights->entries[i].tensor->name;
        weights->entries[i].file_name = NULL;
    }
    qsort(weights->entries, (size_t)weights->entry_count, sizeof *weights->entries, compare_names);
done:
    json_decref(index);
    return status;
}

static enum status open_dir(struct weights *weights, const char *dir) {
    TRY(file_join(dir, single_name, &weights->path));
    if (access(weights->path, F_OK) == 0)
        return open_single(weights);
    free(weights->path);
    TRY(file_join(dir, index_name, &weights->path));
    if (access(weights->path, F_OK) == 0)
        return open_index(weights, dir);
    return status_fail(dir, NULL,
                       "found neither %s nor %s, expected one of them; name a model directory in "
                       "Hugging Face's form",
                       single_name, index_name);
}

/* A GGUF's file for the reading of tensors without blocks; its table stays empty. */
static enum status open_gguf_file(struct weights *weights, const char *path) {
    struct safetensors *file = &weights->files[weights->file_count++];
    *file = (struct safetensors){.path = strdup(path),
                                 .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!file->path)
        return status_no_memory(path, (long long)strlen(path) + 1);
    if (file->fd < 0)
        return status_fail(path, NULL, "found %s, expected a readable file; check the path",
                           strerror(errno));
    return STATUS_OK;
}

/* Matrices in blocks have the bytes of a block as element_bytes, which nobody multiplies. */
static struct tensor view_of(const struct gguf_tensor *tensor) {
    const struct gguf_format *format = gguf_format(tensor->type);
    struct tensor view = {.name = tensor->name,
                          .dtype = format->name,
                          .element_bytes = format->block_bytes,
                          .dims = tensor->dims < 2 ? tensor->dims : 2,
                          .shape = {1, 1},
                          .begin = tensor->begin,
                          .end = tensor->end};
    for (int64_t i = 0; i < tensor->dims; i++)
        view.shape[i == tensor->dims - 1 && tensor->dims > 1] *= tensor->shape[i];
    return view;
}

static enum status open_gguf(struct weights *weights, const char *path) {
    weights->path = strdup(path);
    if (!weights->path)
        return status_no_memory(path, (long long)strlen(path) + 1);
    TRY(gguf_open(path, &weights->gguf));
    int64_t files = gguf_file_count(weights->gguf), tensors = gguf_tensor_count(weights->gguf);
    TRY(reserve_files(weights, files));
    for (int64_t i = 0; i < files; i++)
        TRY(open_gguf_file(weights, gguf_path(weights->gguf, i)));
    TRY(reserve_entries(weights, tensors));
    weights->views = calloc((size_t)tensors + 1, sizeof *weights->views);
    if (!weights->views)
        return status_no_memory(path, (long long)tensors * (long long)sizeof *weights->views);
    for (int64_t i = 0; i < tensors; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(weights->gguf, i);
        weights->views[i] = view_of(tensor);
        weights->entries[i] = (struct entry){.name = tensor->name,
                                             .file = &weights->files[tensor->file],
                                             .tensor = &weights->views[i]};
        if (gguf_format(tensor->type)->block > 1)
            weights->entries[i].blocks = tensor;
    }
    return STATUS_OK;
}

enum status weights_open(const char *dir, struct weights **weights) {
    *weights = calloc(1, sizeof **weights);
    if (!*weights)
        return status_no_memory(dir, (long long)sizeof **weights);
    enum status status = gguf_is(dir) ? open_gguf(*weights, dir) : open_dir(*weights, dir);
    if (status != STATUS_OK)
        weights_close(weights);
    return status;
}

enum status weights_open_random(const char *name, int64_t hidden, struct weights **weights) {
    *weights = calloc(1, sizeof **weights);
    if (!*weights)
        return status_no_memory(name, (long long)sizeof **weights);
    (*weights)->random_hidden = hidden;
    return STATUS_OK;
}

void weights_close(struct weights **weights) {
    struct weights *w = *weights;
    if (!w)
        return;
    for (int64_t i = 0; i < w->file_count; i++)
        safetensors_close(&w->files[i]);
    gguf_close(&w->gguf);
    free(w->views);
    free(w->files);
    free(w->entries);
    free(w->path);
    free(w);
    *weights = NULL;
}

static const struct entry *find(const struct weights *weights, const char *name) {
    struct entry key = {.name = name};
    if (weights->entry_count == 0)
        return NULL;
    return bsearch(&key, weights->entries, (size_t)weights->entry_count, sizeof key, compare_names);
}

bool weights_has(const struct weights *weights, const char *name) {
    return weights->random_hidden || find(weights, name) != NULL;
}

/* "[4096, 128]" */
struct shape_text {
    char text[200];
};

static struct shape_text shape_text(const int64_t *sizes, int64_t dims) {
    struct shape_text shape;
    size_t len = (size_t)snprintf(shape.text, sizeof shape.text, "[");
    for (int64_t i = 0; i < dims && len < sizeof shape.text; i++)
        len += (size_t)snprintf(shape.text + len, sizeof shape.text - len, "%s%lld", i ? ", " : "",
                                (long long)sizes[i]);
    if (len < sizeof shape.text)
        snprintf(shape.text + len, sizeof shape.text - len, "]");
    return shape;
}

static enum status refuse_missing(const struct weights *weights, const char *name,
                                  const char *expected) {
    return status_fail(
        weights->path, name,
        "found nothing, expected a tensor%s; the model is not complete or not of the "
        "family that %s names",
        expected, weights->gguf ? "its metadata" : "config.json");
}

/* Types in blocks that the kernels read. */
static bool is_readable(const struct gguf_tensor *tensor) {
    static const char *const names[] = {"Q8_0", "Q4_0", "Q4_1", "Q5_0",
                                        "Q5_1", "Q4_K", "Q5_K", "Q6_K"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(gguf_format(tensor->type)->name, names[i]) == 0)
            return true;
    return false;
}

enum status weights_check(const struct weights *weights, const char *name, int64_t rows,
                          int64_t cols) {
    const int64_t sizes[] = {rows, cols};
    int64_t dims = cols == 0 ? 1 : 2;
    struct shape_text expected = shape_text(sizes, dims);
    const struct entry *entry = find(weights, name);
    if (weights->random_hidden)
        return STATUS_OK;
    if (!entry) {
        char words[sizeof expected.text + 16];
        snprintf(words, sizeof words, " of shape %s", expected.text);
        return refuse_missing(weights, name, words);
    }
    const struct tensor *tensor = entry->tensor;
    if (!tensor_is_float(tensor) && !(entry->blocks && cols && is_readable(entry->blocks)))
        return status_fail(
            entry->file->path, name, "found dtype %s, expected F32, F16%s; save the model in %s",
            tensor->dtype,
            entry->blocks && cols ? ", BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K"
                                  : " or BF16",
            "one of them");
    if (tensor->dims != dims || memcmp(tensor->shape, sizes, (size_t)dims * sizeof *sizes) != 0)
        return status_fail(
            entry->file->path, name,
            "found shape %s, expected %s by %s; use %s and weights of the same model",
            shape_text(tensor->shape, tensor->dims).text, expected.text,
            weights->gguf ? "its metadata" : "config.json",
            weights->gguf ? "metadata" : "config.json");
    return STATUS_OK;
}

enum status weights_read(struct weights *weights, const char *name, struct range rows,
                         struct range cols, float *out) {
    if (weights->random_hidden) {
        weights_random_f32(name, weights->random_hidden, rows, cols, out);
        return STATUS_OK;
    }
    const struct entry *entry = find(weights, name);
    if (!entry)
        return refuse_missing(weights, name, "");
    return safetensors_read(entry->file, entry->tensor, rows, cols, out);
}

enum status weights_read_bf16(struct weights *weights, const char *name, struct range rows,
                              struct range cols, uint16_t *out) {
    if (weights->random_hidden) {
        weights_random_bf16(name, weights->random_hidden, rows, cols, out);
        return STATUS_OK;
    }
    const struct entry *entry = find(weights, name);
    if (!entry)
        return refuse_missing(weights, name, "");
    return safetensors_read_bf16(entry->file, entry->tensor, rows, cols, out);
}

bool weights_in_blocks(const struct weights *weights, const char *name) {
    const struct entry *entry = find(weights, name);
    return entry && entry->blocks;
}

enum status weights_read_blocks(struct weights *weights, const char *name, struct range rows,
                                struct range cols, unsigned char *out) {
    const struct entry *entry = find(weights, name);
    if (!entry || !entry->blocks)
        return refuse_missing(weights, name, " in blocks");
    const struct gguf_format *format = gguf_format(entry->blocks->type);
    int64_t height = entry->tensor->shape[0], width = entry->tensor->shape[1];
    bool inside = rows.first >= 0 && rows.count >= 0 && rows.first <= height - rows.count &&
                  cols.first >= 0 && cols.count >= 0 && cols.first <= width - cols.count;
    if (!inside || cols.first % format->block || cols.count % format->block)
        return status_fail(entry->file->path, name,
                           "found a matrix of %lld rows and %lld columns, expected one that holds "
                           "rows %lld to %lld, columns %lld to %lld; use a model of this shape",
                           (long long)height, (long long)width, (long long)rows.first,
                           (long long)range_end(rows), (long long)cols.first,
                           (long long)range_end(cols));
    int64_t row_bytes = width / format->block * format->block_bytes;
    int64_t first = cols.first / format->block * format->block_bytes;
    int64_t bytes = cols.count / format->block * format->block_bytes, runs = rows.count;
    if (bytes == row_bytes) {
        bytes *= runs;
        runs = runs > 0;
    }
    for (int64_t i = 0; i < runs; i++)
        TRY(gguf_read(weights->gguf, entry->blocks, (rows.first + i) * row_bytes + first, bytes,
                      out + i * bytes));
    entry->file->bytes_read += runs * bytes;
    return STATUS_OK;
}

const char *weights_dtype(const struct weights *weights, const char *name) {
    if (weights->random_hidden)
        return "BF16";
    const struct entry *entry = find(weights, name);
    return entry ? entry->tensor->dtype : NULL;
}

int64_t weights_count(const struct weights *weights) {
    return weights->entry_count;
}

const char *weights_name(const struct weights *weights, int64_t i) {
    return weights->entries[i].name;
}

int64_t weights_bytes_read(const struct weights *weights) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < weights->file_count; i++)
        bytes += weights->files[i].bytes_read;
    return bytes;
}

int64_t weights_bytes_total(const struct weights *weights) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < weights->file_count; i++)
        bytes += weights->files[i].table.data_bytes;
    for (int64_t i = 0; weights->gguf && i < weights->entry_count; i++)
        bytes += weights->views[i].end - weights->views[i].begin;
    return bytes;
}
