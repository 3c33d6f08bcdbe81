#include "dist/capture_file.h"

#include "dist/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Bytes of a chunk of a compressed dataset, and of what is copied at a time. */
#define CHUNK_BYTES ((int64_t)1 << 20)

int64_t capture_count(const struct capture_options *o) {
    return (o->tokens.count + o->stride - 1) / o->stride;
}

int64_t capture_width(const struct shape *s, enum site site) {
    if (site == SITE_Q)
        return s->heads * s->head_dim;
    if (site == SITE_K || site == SITE_V)
        return s->kv_heads * s->head_dim;
    return site == SITE_LOGITS ? s->vocab : s->hidden;
}

bool capture_has(const struct capture_options *o, const struct shape *shape, int64_t layer,
                 enum site site) {
    bool kept = site == SITE_LOGITS ? layer == shape->layers : layer < shape->layers;
    bool listed = o->layer_count == 0 || site == SITE_LOGITS;
    for (int64_t i = 0; i < o->layer_count; i++)
        listed = listed || o->layers[i] == layer;
    return kept && listed && (o->sites >> site & 1);
}

/* Dimensions of a site's dataset; returns how many. */
static int site_dims(const struct shape *s, const struct capture_options *o, enum site site,
                     hsize_t dims[3]) {
    dims[0] = (hsize_t)capture_count(o);
    dims[1] = (hsize_t)capture_width(s, site);
    if (site != SITE_Q && site != SITE_K && site != SITE_V)
        return 2;
    dims[1] /= (hsize_t)s->head_dim;
    dims[2] = (hsize_t)s->head_dim;
    return 3;
}

static const char *site_axes(enum site site) {
    if (site == SITE_Q)
        return "token, query head, head dimension";
    if (site == SITE_K || site == SITE_V)
        return "token, key/value head, head dimension";
    return site == SITE_LOGITS ? "token, vocabulary" : "token, hidden dimension";
}

static void site_path(int64_t layer, enum site site, char *path, size_t size) {
    if (site == SITE_LOGITS)
        snprintf(path, size, "%s", site_name(site));
    else
        snprintf(path, size, "layers/%03" PRId64 "/%s", layer, site_name(site));
}

static enum status not_created(const char *path, const char *what) {
    return status_fail(path, what,
                       "found no way to create it, expected a file system that HDF5 can write; "
                       "check its free space, or choose another -o");
}

/* What is captured, in words: a capture goes on only with the same. */
static void describe_selection(const struct capture_options *o, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "tokens %" PRId64 ":%" PRId64 ":%" PRId64 ", sites",
                                   o->tokens.first, range_end(o->tokens), o->stride);
    for (int site = 0; site < SITE_COUNT && used < size; site++)
        if (o->sites >> site & 1)
            used += (size_t)snprintf(text + used, size - used, " %s", site_name((enum site)site));
    if (used < size)
        used +=
            (size_t)snprintf(text + used, size - used, ", layers%s", o->layer_count ? "" : " all");
    for (int64_t i = 0; i < o->layer_count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %" PRId64, o->layers[i]);
}

#define SELECTION_SIZE 4096

static herr_t describe(hid_t file, const struct shape *shape, const struct sequence_options *q,
                       const struct capture_options *o) {
    char selection[SELECTION_SIZE];
    bool grouped = q->scheme.rule == ZONE_GROUPED, sliding = q->scheme.rule == ZONE_MASKED;
    describe_selection(o, selection, sizeof selection);
    herr_t wrong = h5_put_text(file, "model", o->model_name);
    wrong |= h5_put_text(file, "family", shape->family);
    wrong |= h5_put_text(file, "method", grouped ? "self_extend" : "plain");
    wrong |= h5_put_number(file, "group", grouped ? q->scheme.group : 0);
    wrong |= h5_put_number(file, "window", grouped ? q->scheme.window : 0);
    wrong |= h5_put_number(file, "sliding_window", sliding ? shape->sliding_window : 0);
    wrong |= h5_put_number(file, "context", shape->context);
    wrong |= h5_put_text(file, "dtype", o->dtype);
    wrong |= h5_put_text(file, "kv", kv_type_name(q->kv));
    wrong |= h5_put_text(file, "compute", compute_name(q->compute));
    wrong |= h5_put_number(file, "first_token", o->tokens.first);
    wrong |= h5_put_number(file, "stride", o->stride);
    wrong |= h5_put_text(file, "selection", selection);
    wrong |= h5_put_text(file, "quire_version", QUIRE_VERSION);
    return wrong;
}

/* The captured tokens' ids or offsets into a dataset of their own. */
static herr_t put_column(hid_t file, const char *name, hid_t stored, hid_t given, size_t size,
                         const void *values, const struct capture_options *o) {
    int64_t count = capture_count(o);
    hsize_t dims[1] = {(hsize_t)count};
    char *kept = malloc((size_t)count * size + 1);
    for (int64_t i = 0; kept && i < count; i++)
        memcpy(kept + (size_t)i * size,
               (const char *)values + (size_t)(o->tokens.first + i * o->stride) * size, size);
    hid_t dataset = h5_make_dataset(file, name, stored, 1, dims, "token");
    herr_t wrong =
        kept && dataset >= 0 ? H5Dwrite(dataset, given, H5S_ALL, H5S_ALL, H5P_DEFAULT, kept) : -1;
    if (dataset >= 0)
        wrong |= H5Dclose(dataset); /* which may be what writes it */
    free(kept);
    return wrong;
}

static herr_t make_sites(hid_t file, const struct shape *shape, const struct capture_options *o) {
    herr_t wrong = 0;
    for (int64_t layer = 0; layer <= shape->layers; layer++)
        for (int site = 0; site < SITE_COUNT; site++) {
            char path[64];
            hsize_t dims[3];
            if (!capture_has(o, shape, layer, (enum site)site))
                continue;
            site_path(layer, (enum site)site, path, sizeof path);
            int rank = site_dims(shape, o, (enum site)site, dims);
            hid_t dataset =
                h5_make_dataset(file, path, H5T_IEEE_F32LE, rank, dims, site_axes((enum site)site));
            wrong |= dataset < 0 ? -1 : H5Dclose(dataset);
        }
    return wrong;
}

static enum status reserve_space(const char *path) {
    struct stat about = {0};
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int failed = fd < 0 || fstat(fd, &about) != 0 ? errno : h5_reserve(fd);
    if (fd >= 0)
        close(fd);
    if (failed)
        return status_fail(
            path, "size",
            "found no room for %lld bytes (%s), expected it before the first token; "
            "take fewer --sites, --layers, a shorter --range or a larger --stride, or "
            "another disk",
            (long long)about.st_size, strerror(failed));
    return STATUS_OK;
}

enum status capture_file_create(const char *path, const struct shape *shape,
                                const struct sequence_options *sequence,
                                const struct capture_options *options, const char *ids_hash,
                                const int32_t *ids, const int64_t *byte_offsets) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return status_fail(path, "-o",
                           "found %s, expected a place that can be written; choose another",
                           strerror(errno));
    close(fd);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (file < 0)
        return not_created(path, "HDF5");
    herr_t wrong = describe(file, shape, sequence, options);
    wrong |= h5_put_text(file, "ids_hash", ids_hash);
    wrong |= put_column(file, "tokens", H5T_STD_I32LE, H5T_NATIVE_INT32, sizeof *ids, ids, options);
    if (byte_offsets)
        wrong |= put_column(file, "byte_offsets", H5T_STD_I64LE, H5T_NATIVE_INT64,
                            sizeof *byte_offsets, byte_offsets, options);
    wrong |= make_sites(file, shape, options);
    wrong |= H5Fflush(file, H5F_SCOPE_GLOBAL);
    wrong |= H5Fclose(file);
    TRY(wrong < 0 ? not_created(path, "HDF5") : reserve_space(path));
    return h5_sync(path);
}

/* -- opening ----------------------------------------------------------------------------------- */

static enum status find_sites(const char *path, hid_t file, const struct shape *shape,
                              const struct capture_options *o, int64_t *places) {
    for (int64_t layer = 0; layer <= shape->layers; layer++)
        for (int site = 0; site < SITE_COUNT; site++) {
            char name[64];
            int64_t *place = &places[layer * SITE_COUNT + site];
            *place = -1;
            if (!capture_has(o, shape, layer, (enum site)site))
                continue;
            site_path(layer, (enum site)site, name, sizeof name);
            hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
            haddr_t at = dataset < 0 ? HADDR_UNDEF : H5Dget_offset(dataset);
            if (dataset >= 0)
                H5Dclose(dataset);
            if (at == HADDR_UNDEF && capture_count(o) > 0)
                return status_fail(path, name,
                                   "found no such dataset, expected one; remove the file and "
                                   "start anew");
            *place = (int64_t)at;
        }
    return STATUS_OK;
}

enum status capture_file_open(const char *path, const struct shape *shape,
                              const struct capture_options *options, int64_t *places) {
    char found[SELECTION_SIZE] = "", expected[SELECTION_SIZE];
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return status_fail(path, NULL,
                           "found a file that HDF5 cannot open, expected a capture to go on with; "
                           "remove it to start anew");
    enum status status = STATUS_OK;
    describe_selection(options, expected, sizeof expected);
    if (h5_get_text(file, "selection", found, sizeof found) < 0 || strcmp(found, expected) != 0)
        status = status_fail(path, "selection",
                             "found %.200s, expected %.200s; start with the arguments of the "
                             "capture, or remove the file to start anew",
                             *found ? found : "none", expected);
    if (status == STATUS_OK)
        status = find_sites(path, file, shape, options, places);
    H5Fclose(file);
    return status;
}

bool capture_file_holds(const char *path, const struct capture_options *options,
                        const char *ids_hash) {
    char selection[SELECTION_SIZE], found[SELECTION_SIZE], hash[IDENTITY_SIZE];
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return false;
    describe_selection(options, selection, sizeof selection);
    bool holds =
        h5_get_text(file, "selection", found, sizeof found) >= 0 && strcmp(found, selection) == 0 &&
        h5_get_text(file, "ids_hash", hash, sizeof hash) >= 0 && strcmp(hash, ids_hash) == 0;
    H5Fclose(file);
    return holds;
}

/* -- compressing ------------------------------------------------------------------------------- */

/* A copy under way: from one file to another. */
struct copy {
    hid_t to;
    int64_t gzip;
    bool shuffle;
    herr_t wrong;
};

static int rows_at_once(int rank, const hsize_t *dims, size_t size) {
    int64_t bytes = (int64_t)size;
    for (int i = 1; i < rank; i++)
        bytes *= (int64_t)dims[i];
    int64_t rows = CHUNK_BYTES / bytes;
    rows = rows < 1 ? 1 : rows;
    return (int)(rows < (int64_t)dims[0] ? rows : (int64_t)dims[0]);
}

static hid_t make_packed(const struct copy *c, const char *name, hid_t type, hid_t space, int rank,
                         const hsize_t *dims) {
    hsize_t chunk[3] = {(hsize_t)rows_at_once(rank, dims, H5Tget_size(type)), dims[1], dims[2]};
    hid_t how = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_chunk(how, rank, chunk);
    if (c->shuffle)
        H5Pset_shuffle(how);
    if (c->gzip)
        H5Pset_deflate(how, (unsigned)c->gzip);
    hid_t made = H5Dcreate2(c->to, name, type, space, links, how, H5P_DEFAULT);
    H5Pclose(how);
    H5Pclose(links);
    return made;
}

static herr_t copy_rows(hid_t from, hid_t to, hid_t type, int rank, const hsize_t *dims) {
    int64_t rows = rows_at_once(rank, dims, H5Tget_size(type));
    hsize_t start[3] = {0, 0, 0}, size[3] = {(hsize_t)rows, dims[1], dims[2]};
    size_t bytes = H5Tget_size(type) * (size_t)rows;
    for (int i = 1; i < rank; i++)
        bytes *= (size_t)dims[i];
    void *data = malloc(bytes);
    herr_t wrong = data ? 0 : -1;
    for (; start[0] < dims[0] && wrong >= 0; start[0] += (hsize_t)rows) {
        size[0] = dims[0] - start[0] < (hsize_t)rows ? dims[0] - start[0] : (hsize_t)rows;
        hid_t memory = H5Screate_simple(rank, size, NULL), space = H5Dget_space(from);
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL);
        wrong = H5Dread(from, type, memory, space, H5P_DEFAULT, data);
        if (wrong >= 0)
            wrong = H5Dwrite(to, type, memory, space, H5P_DEFAULT, data);
        H5Sclose(space);
        H5Sclose(memory);
    }
    free(data);
    return wrong;
}

static herr_t copy_attribute(hid_t from, const char *name, const H5A_info_t *info, void *to) {
    char text[SELECTION_SIZE];
    int64_t number;
    (void)info;
    if (h5_get_text(from, name, text, sizeof text) >= 0)
        return h5_put_text(*(hid_t *)to, name, text);
    if (h5_get_number(from, name, &number) >= 0)
        return h5_put_number(*(hid_t *)to, name, number);
    return -1;
}

static herr_t copy_object(hid_t root, const char *name, const H5O_info_t *info, void *context) {
    struct copy *c = context;
    hsize_t dims[3] = {1, 1, 1};
    if (info->type != H5O_TYPE_DATASET)
        return 0;
    hid_t from = H5Dopen2(root, name, H5P_DEFAULT);
    hid_t type = H5Dget_type(from), space = H5Dget_space(from);
    int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    hid_t to = make_packed(c, name, type, space, rank, dims);
    c->wrong |= to < 0 ? -1 : copy_rows(from, to, type, rank, dims);
    if (to >= 0) {
        c->wrong |= H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &to);
        c->wrong |= H5Dclose(to); /* which may be what writes it */
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(from);
    return c->wrong;
}

enum status capture_file_compress(const char *from, const char *to, int64_t gzip, bool shuffle) {
    hid_t source = H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT);
    struct copy c = {H5Fcreate(to, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), gzip, shuffle, 0};
    if (source < 0 || c.to < 0)
        c.wrong = -1;
    else {
        c.wrong = H5Aiterate2(source, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &c.to);
        if (H5Ovisit(source, H5_INDEX_NAME, H5_ITER_INC, copy_object, &c) < 0)
            c.wrong = -1;
    }
    if (source >= 0)
        H5Fclose(source);
    if (c.to >= 0) {
        c.wrong |= H5Fflush(c.to, H5F_SCOPE_GLOBAL);
        c.wrong |= H5Fclose(c.to);
    }
    if (c.wrong >= 0)
        return STATUS_OK;
    unlink(to);
    return status_fail(to, "--gzip",
                       "found no way to write the compressed copy, expected room for it; make room "
                       "and start again: what was captured is kept");
}
