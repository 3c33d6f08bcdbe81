#include "launch/loss_file.h"

#include "dist/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct loss_file {
    const char *path; /* borrowed */
    char *partial;    /* owned, PATH.partial */
    int64_t context;
    hid_t file; /* -1: not open */
};

static enum status write_failed(const struct loss_file *f, const char *what) {
    return status_fail(f->partial, what,
                       "found a write error, expected the losses on disk; check the disk");
}

static enum status create_partial(struct loss_file *f) {
    int fd = open(f->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return status_fail(f->path, "--nll",
                           "found %s, expected a place that can be written; choose another path",
                           strerror(errno));
    close(fd);
    f->file = H5Fcreate(f->partial, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (f->file < 0) {
        unlink(f->partial);
        return status_fail(f->path, "--nll",
                           "found no way to create an HDF5 file, expected a file "
                           "system that HDF5 can write; choose another path");
    }
    return STATUS_OK;
}

enum status loss_file_create(const char *path, const char *model, const struct shape *shape,
                             struct loss_file **file) {
    TRY(h5_check_path(path, "--nll"));
    size_t size = strlen(path) + sizeof ".partial";
    struct loss_file *f = calloc(1, sizeof *f);
    *file = f;
    if (!f || !(f->partial = malloc(size)))
        return status_no_memory("--nll", (long long)size);
    snprintf(f->partial, size, "%s.partial", path);
    f->path = path;
    f->context = shape->context;
    f->file = -1;
    TRY(create_partial(f));
    if (h5_put_text(f->file, "model", model) < 0 ||
        h5_put_text(f->file, "family", shape->family) < 0 ||
        h5_put_number(f->file, "context", shape->context) < 0 ||
        h5_put_text(f->file, "quire_version", QUIRE_VERSION) < 0)
        return write_failed(f, "attributes");
    return STATUS_OK;
}

static herr_t describe(hid_t dataset, const struct scheme *scheme, int64_t context) {
    bool grouped = scheme->rule == ZONE_GROUPED;
    herr_t wrong = h5_put_text(dataset, "units", "nats");
    wrong |= h5_put_text(dataset, "axes", "token; entry t is the loss of token t + 1");
    wrong |= h5_put_text(dataset, "method", grouped ? "self_extend" : "plain");
    wrong |= h5_put_number(dataset, "group", grouped ? scheme->group : 0);
    wrong |= h5_put_number(dataset, "window", grouped ? scheme->window : 0);
    wrong |= h5_put_number(dataset, "limit", scheme_reach(scheme, context));
    return wrong;
}

enum status loss_file_put(struct loss_file *f, const char *group, int64_t length,
                          const struct scheme *scheme, const float *losses) {
    char name[64];
    snprintf(name, sizeof name, "/%s/%" PRId64, group, length);
    hsize_t entries = (hsize_t)(length - 1);
    hid_t space = H5Screate_simple(1, &entries, NULL), how = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(how, 1);
    hid_t dataset = H5Dcreate2(f->file, name, H5T_IEEE_F32LE, space, how, H5P_DEFAULT, H5P_DEFAULT);
    herr_t wrong = dataset < 0 ? -1 : 0;
    if (!wrong)
        wrong = H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, losses);
    if (!wrong)
        wrong = describe(dataset, scheme, f->context);
    if (dataset >= 0)
        wrong |= H5Dclose(dataset);
    H5Pclose(how);
    H5Sclose(space);
    return wrong < 0 ? write_failed(f, name) : STATUS_OK;
}

enum status loss_file_finish(struct loss_file *f) {
    herr_t wrong = H5Fflush(f->file, H5F_SCOPE_GLOBAL);
    wrong |= H5Fclose(f->file);
    f->file = -1;
    if (wrong < 0) {
        unlink(f->partial);
        return write_failed(f, "close");
    }
    if (rename(f->partial, f->path) != 0)
        return status_fail(f->path, "--nll",
                           "found %s, expected to rename %s to it; rename it by hand",
                           strerror(errno), f->partial);
    return STATUS_OK;
}

void loss_file_close(struct loss_file **file) {
    struct loss_file *f = *file;
    if (!f)
        return;
    if (f->file >= 0) {
        H5Fclose(f->file);
        unlink(f->partial);
    }
    free(f->partial);
    free(f);
    *file = NULL;
}
