#include "dist/capture.h"

#include "dist/h5.h"
#include "kernels/kv.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Floats of one independent transfer: HDF5 1.10 fails above 2 GiB. */
#define TRANSFER_FLOATS ((int64_t)1 << 27)

struct capture {
    struct dist *dist;
    struct shape shape;
    struct capture_options options; /* borrowed strings and lists */
    char *partial;                  /* owned, PATH.partial */
    struct range tokens;
    hid_t file;
    hid_t *datasets; /* [layers + 1][SITE_COUNT], the last row for the logits; -1: not captured */
    enum status status;
    struct probe probe;
    bool created; /* the partial file is ours */
};

static bool site_is_kept(const struct capture *c, enum site site) {
    return c->options.sites >> site & 1;
}

static bool layer_is_kept(const struct capture *c, int64_t layer) {
    for (int64_t i = 0; i < c->options.layer_count; i++)
        if (c->options.layers[i] == layer)
            return true;
    return c->options.layer_count == 0;
}

static hid_t *dataset_of(const struct capture *c, int64_t layer, enum site site) {
    return &c->datasets[layer * SITE_COUNT + site];
}

/* Dimensions of a site's dataset behind the tokens; returns the rank, tokens included. */
static int site_dims(const struct shape *s, enum site site, hsize_t dims[3]) {
    if (site == SITE_Q || site == SITE_K || site == SITE_V) {
        dims[1] = (hsize_t)(site == SITE_Q ? s->heads : s->kv_heads);
        dims[2] = (hsize_t)s->head_dim;
        return 3;
    }
    dims[1] = (hsize_t)(site == SITE_LOGITS ? s->vocab : s->hidden);
    return 2;
}

static const char *site_axes(enum site site) {
    if (site == SITE_Q)
        return "token, query head, head dimension";
    if (site == SITE_K || site == SITE_V)
        return "token, key/value head, head dimension";
    return site == SITE_LOGITS ? "token, vocabulary" : "token, hidden dimension";
}

static enum status creation_failed(const struct capture *c, const char *what) {
    return status_fail(c->partial, what,
                       "found no way to create it, expected a file system that "
                       "HDF5 can write; choose another -o");
}

/* What the values belong to, in attributes of the file. */
static enum status describe(const struct capture *c, const struct sequence_options *o) {
    bool grouped = o->scheme.rule == ZONE_GROUPED;
    bool sliding = o->scheme.rule == ZONE_MASKED;
    herr_t wrong = h5_put_text(c->file, "model", c->options.model_name);
    wrong |= h5_put_text(c->file, "family", c->shape.family);
    wrong |= h5_put_text(c->file, "method", grouped ? "self_extend" : "plain");
    wrong |= h5_put_number(c->file, "group", grouped ? o->scheme.group : 0);
    wrong |= h5_put_number(c->file, "window", grouped ? o->scheme.window : 0);
    wrong |= h5_put_number(c->file, "sliding_window", sliding ? c->shape.sliding_window : 0);
    wrong |= h5_put_number(c->file, "context", c->shape.context);
    wrong |= h5_put_text(c->file, "dtype", c->options.dtype);
    wrong |= h5_put_text(c->file, "kv", kv_type_name(o->kv));
    wrong |= h5_put_text(c->file, "compute", compute_name(o->compute));
    wrong |= h5_put_number(c->file, "first_token", c->tokens.first);
    wrong |= h5_put_text(c->file, "quire_version", QUIRE_VERSION);
    return wrong < 0 ? creation_failed(c, "attributes") : STATUS_OK;
}

static enum status make_layer(struct capture *c, hid_t layers, int64_t layer) {
    char name[24];
    snprintf(name, sizeof name, "%03" PRId64, layer);
    hid_t group = H5Gcreate2(layers, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0)
        return creation_failed(c, name);
    enum status status = STATUS_OK;
    for (int site = 0; site < SITE_LOGITS && status == STATUS_OK; site++) {
        hsize_t dims[3] = {(hsize_t)c->tokens.count};
        if (!site_is_kept(c, (enum site)site))
            continue;
        int rank = site_dims(&c->shape, (enum site)site, dims);
        hid_t dataset = h5_make_dataset(group, site_name((enum site)site), H5T_IEEE_F32LE, rank,
                                        dims, site_axes((enum site)site));
        *dataset_of(c, layer, (enum site)site) = dataset;
        if (dataset < 0)
            status = creation_failed(c, site_name((enum site)site));
    }
    H5Gclose(group);
    return status;
}

static enum status make_layers(struct capture *c) {
    unsigned layer_sites = c->options.sites & ((1u << SITE_LOGITS) - 1);
    if (!layer_sites)
        return STATUS_OK;
    hid_t layers = H5Gcreate2(c->file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (layers < 0)
        return creation_failed(c, "layers");
    enum status status = STATUS_OK;
    for (int64_t l = 0; l < c->shape.layers && status == STATUS_OK; l++)
        if (layer_is_kept(c, l))
            status = make_layer(c, layers, l);
    H5Gclose(layers);
    return status;
}

/* /tokens and /byte_offsets, written by the first rank. */
static enum status make_input(struct capture *c, const int32_t *ids, bool has_offsets,
                              const int64_t *offsets) {
    hsize_t dims[1] = {(hsize_t)c->tokens.count};
    hid_t tokens = h5_make_dataset(c->file, "tokens", H5T_STD_I32LE, 1, dims, "token");
    hid_t bytes = -1;
    if (has_offsets)
        bytes = h5_make_dataset(c->file, "byte_offsets", H5T_STD_I64LE, 1, dims, "token");
    herr_t wrong = tokens < 0 || (has_offsets && bytes < 0) ? -1 : 0;
    if (!wrong && c->dist->world.rank == 0) {
        wrong = H5Dwrite(tokens, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                         ids + c->tokens.first);
        if (!wrong && has_offsets)
            wrong = H5Dwrite(bytes, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                             offsets + c->tokens.first);
    }
    if (tokens >= 0)
        H5Dclose(tokens);
    if (bytes >= 0)
        H5Dclose(bytes);
    return wrong < 0 ? creation_failed(c, "tokens") : STATUS_OK;
}

/* End of the last dataset in the file. */
static int64_t file_end(const struct capture *c) {
    int64_t end = 0;
    for (int64_t i = 0; i < (c->shape.layers + 1) * SITE_COUNT; i++) {
        if (c->datasets[i] < 0)
            continue;
        haddr_t first = H5Dget_offset(c->datasets[i]);
        int64_t last = (int64_t)(first + H5Dget_storage_size(c->datasets[i]));
        if (first != HADDR_UNDEF && last > end)
            end = last;
    }
    return end;
}

/* Takes the file's blocks now, so that a full disk shows before hours of work. HDF5 alone reserves
 * only addresses. Where the file system cannot reserve, its free space is compared instead. */
static enum status reserve_space(const struct capture *c, int64_t bytes) {
    int fd = open(c->partial, O_WRONLY | O_CLOEXEC);
    int failed = fd < 0 || (bytes > 0 && fallocate(fd, 0, 0, bytes) != 0) ? errno : 0;
    struct statvfs space = {0};
    if (failed == EOPNOTSUPP && fstatvfs(fd, &space) == 0)
        failed = (int64_t)space.f_bavail < bytes / (int64_t)space.f_frsize ? ENOSPC : 0;
    if (fd >= 0)
        close(fd);
    if (failed)
        return status_fail(c->options.path, "size",
                           "found no room for %" PRId64
                           " bytes (%s), expected it before the first token; take fewer --sites, "
                           "--layers or a shorter --range, or another disk",
                           bytes, strerror(failed));
    return STATUS_OK;
}

static enum status create_file(struct capture *c) {
    enum status status = STATUS_OK;
    if (c->dist->world.rank == 0)
        status = h5_check_path(c->options.path, "-o");
    if (c->dist->world.rank == 0 && status == STATUS_OK) {
        int fd = open(c->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0)
            status = status_fail(c->options.path, "-o",
                                 "found %s, expected a place that can be written; choose another",
                                 strerror(errno));
        else
            close(fd);
    }
    TRY(status_agree(c->dist->world.comm, status));
    c->created = true;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_mpio(access, c->dist->world.comm, MPI_INFO_NULL);
    c->file = H5Fcreate(c->partial, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    return status_agree(c->dist->world.comm, c->file < 0 ? creation_failed(c, "HDF5") : STATUS_OK);
}

static enum status make_logits(struct capture *c) {
    if (!site_is_kept(c, SITE_LOGITS))
        return STATUS_OK;
    hsize_t dims[3] = {(hsize_t)c->tokens.count};
    int rank = site_dims(&c->shape, SITE_LOGITS, dims);
    hid_t dataset = h5_make_dataset(c->file, site_name(SITE_LOGITS), H5T_IEEE_F32LE, rank, dims,
                                    site_axes(SITE_LOGITS));
    *dataset_of(c, c->shape.layers, SITE_LOGITS) = dataset;
    return dataset < 0 ? creation_failed(c, site_name(SITE_LOGITS)) : STATUS_OK;
}

static enum status make_all(struct capture *c, const struct sequence_options *sequence,
                            const int32_t *ids, const int64_t *byte_offsets) {
    MPI_Comm world = c->dist->world.comm;
    int has_offsets = byte_offsets != NULL;
    MPI_Bcast(&has_offsets, 1, MPI_INT, 0, world);
    TRY(create_file(c));
    TRY(status_agree(world, describe(c, sequence)));
    TRY(status_agree(world, make_input(c, ids, has_offsets, byte_offsets)));
    TRY(status_agree(world, make_layers(c)));
    TRY(status_agree(world, make_logits(c)));
    H5Fflush(c->file, H5F_SCOPE_GLOBAL);
    int64_t end = file_end(c);
    return status_agree(world, c->dist->world.rank == 0 ? reserve_space(c, end) : STATUS_OK);
}

/* Writes the rectangle `part` restricted to tokens of the captured range, `rows` of them at a time.
 */
static herr_t write_part(const struct capture *c, hid_t dataset, const struct site_part *part) {
    int64_t d = c->shape.head_dim, width = part->columns.count;
    hsize_t dims[3];
    int rank = site_dims(&c->shape, part->site, dims);
    struct range kept = range_intersect(part->tokens, c->tokens);
    int64_t step = width < TRANSFER_FLOATS ? TRANSFER_FLOATS / width : 1;
    herr_t wrong = 0;
    for (int64_t first = kept.first; first < range_end(kept) && wrong >= 0; first += step) {
        int64_t rows = range_end(kept) - first < step ? range_end(kept) - first : step;
        hsize_t start[3] = {(hsize_t)(first - c->tokens.first)}, count[3] = {(hsize_t)rows};
        start[1] = (hsize_t)(rank == 3 ? part->columns.first / d : part->columns.first);
        count[1] = (hsize_t)(rank == 3 ? width / d : width);
        start[2] = 0;
        count[2] = (hsize_t)d;
        hid_t file_space = H5Dget_space(dataset), memory = H5Screate_simple(rank, count, NULL);
        H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL);
        wrong = H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, file_space, H5P_DEFAULT,
                         part->data + (first - part->tokens.first) * width);
        H5Sclose(memory);
        H5Sclose(file_space);
    }
    return wrong;
}

static void capture_put(void *context, const struct site_part *part) {
    struct capture *c = context;
    int64_t row = part->site == SITE_LOGITS ? c->shape.layers : part->layer;
    hid_t dataset = *dataset_of(c, row, part->site);
    if (dataset < 0 || c->status != STATUS_OK || part->columns.count == 0)
        return;
    if (write_part(c, dataset, part) < 0)
        c->status = status_fail(c->partial, site_name(part->site),
                                "found a write error on rank %d, expected %" PRId64
                                " tokens written; check the disk",
                                c->dist->world.rank, part->tokens.count);
}

enum status capture_open(struct dist *dist, const struct shape *shape,
                         const struct sequence_options *sequence,
                         const struct capture_options *options, const int32_t *ids,
                         const int64_t *byte_offsets, struct capture **capture) {
    struct capture *c = calloc(1, sizeof *c);
    size_t sites = (size_t)(shape->layers + 1) * SITE_COUNT;
    hid_t *datasets = malloc(sites * sizeof *datasets);
    size_t path_size = strlen(options->path) + sizeof ".partial";
    char *partial = malloc(path_size);
    bool room = c && datasets && partial;
    TRY(status_agree(dist->world.comm, room ? STATUS_OK : status_no_memory("capture", 0)));
    snprintf(partial, path_size, "%s.partial", options->path);
    for (size_t i = 0; i < sites; i++)
        datasets[i] = -1;
    c->dist = dist;
    c->shape = *shape;
    c->options = *options;
    c->partial = partial;
    c->tokens = options->tokens;
    c->file = -1;
    c->datasets = datasets;
    c->probe = (struct probe){capture_put, c};
    *capture = c;
    return make_all(c, sequence, ids, byte_offsets);
}

const struct probe *capture_probe(struct capture *capture) {
    return &capture->probe;
}

enum status capture_status(const struct capture *capture) {
    return capture->status;
}

/* Closes what is open of the HDF5 file. Collective. */
static herr_t close_file(struct capture *c) {
    for (int64_t i = 0; i < (c->shape.layers + 1) * SITE_COUNT; i++)
        if (c->datasets[i] >= 0) {
            H5Dclose(c->datasets[i]);
            c->datasets[i] = -1;
        }
    herr_t wrong = c->file >= 0 ? H5Fclose(c->file) : 0;
    c->file = -1;
    return wrong;
}

enum status capture_finish(struct capture *c) {
    MPI_Comm world = c->dist->world.comm;
    TRY(status_agree(world, c->status));
    herr_t wrong = H5Fflush(c->file, H5F_SCOPE_GLOBAL);
    if (close_file(c) < 0)
        wrong = -1;
    enum status status = STATUS_OK;
    if (wrong < 0)
        status = status_fail(c->partial, "close",
                             "found a write error on rank %d, expected the file on disk; check the "
                             "disk",
                             c->dist->world.rank);
    TRY(status_agree(world, status));
    c->created = false;
    return status_agree(world, c->dist->world.rank == 0 ? h5_publish(c->partial, c->options.path)
                                                        : STATUS_OK);
}

void capture_close(struct capture **capture) {
    struct capture *c = *capture;
    if (!c)
        return;
    close_file(c);
    if (c->created && c->dist->world.rank == 0)
        unlink(c->partial);
    free(c->datasets);
    free(c->partial);
    free(c);
    *capture = NULL;
}
