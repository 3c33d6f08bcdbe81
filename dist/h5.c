#include "dist/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static herr_t put_attribute(hid_t at, const char *name, hid_t stored, hid_t given,
                            const void *value) {
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(at, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t result = attribute < 0 ? -1 : H5Awrite(attribute, given, value);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    return result;
}

herr_t h5_put_text(hid_t at, const char *name, const char *text) {
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    herr_t result = put_attribute(at, name, type, type, &text);
    H5Tclose(type);
    return result;
}

herr_t h5_put_number(hid_t at, const char *name, int64_t value) {
    return put_attribute(at, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

static herr_t copy_text(hid_t attribute, hid_t type, char *text, size_t size) {
    char *value = NULL;
    hid_t memory = H5Tcopy(H5T_C_S1);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    herr_t result = H5Aread(attribute, memory, &value);
    H5Tclose(memory);
    if (result < 0 || !value || strlen(value) >= size)
        result = -1;
    else
        strcpy(text, value);
    H5free_memory(value);
    return result;
}

herr_t h5_get_text(hid_t at, const char *name, char *text, size_t size) {
    hid_t attribute = H5Aopen(at, name, H5P_DEFAULT);
    if (attribute < 0)
        return -1;
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    herr_t result = -1;
    if (H5Tis_variable_str(type) > 0 && H5Sget_simple_extent_npoints(space) == 1)
        result = copy_text(attribute, type, text, size);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return result;
}

herr_t h5_get_number(hid_t at, const char *name, int64_t *value) {
    hid_t attribute = H5Aopen(at, name, H5P_DEFAULT);
    if (attribute < 0)
        return -1;
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    herr_t result = -1;
    if (H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_npoints(space) == 1)
        result = H5Aread(attribute, H5T_NATIVE_INT64, value);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return result;
}

enum status h5_check_path(const char *path, const char *option) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return status_fail(path, option,
                           "found something that is not a regular file, expected a file or "
                           "nothing; choose another path");
    return STATUS_OK;
}

hid_t h5_make_dataset(hid_t at, const char *name, hid_t type, int rank, const hsize_t *dims,
                      const char *axes) {
    hid_t space = H5Screate_simple(rank, dims, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_layout(how, H5D_CONTIGUOUS);
    H5Pset_alloc_time(how, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(how, H5D_FILL_TIME_NEVER);
    hid_t dataset = H5Dcreate2(at, name, type, space, links, how, H5P_DEFAULT);
    if (dataset >= 0)
        h5_put_text(dataset, "axes", axes);
    H5Pclose(links);
    H5Pclose(how);
    H5Sclose(space);
    return dataset;
}

int h5_reserve(int fd) {
    struct stat about;
    struct statvfs space;
    int failed;
    if (fstat(fd, &about) != 0)
        return errno;
    do
        failed = fallocate(fd, 0, 0, about.st_size) == 0 ? 0 : errno;
    while (failed == EINTR);
    if (failed != EOPNOTSUPP && failed != ENOSYS)
        return failed;
    if (fstatvfs(fd, &space) != 0)
        return 0;
    return (int64_t)space.f_bavail < about.st_size / (int64_t)space.f_frsize ? ENOSPC : 0;
}

/* 0 or the errno. File systems that keep names by themselves say EINVAL of a directory. */
static int sync_at(const char *path, int flags) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return (flags & O_DIRECTORY) && error == EINVAL ? 0 : error;
}

static int sync_directory_of(const char *path) {
    char *copy = strdup(path);
    int error = copy ? sync_at(dirname(copy), O_DIRECTORY) : ENOMEM;
    free(copy);
    return error;
}

static enum status not_synced(const char *path, int error) {
    return status_fail(path, NULL, "found %s, expected the file on disk; check the disk",
                       strerror(error));
}

enum status h5_sync(const char *path) {
    int error = sync_at(path, 0);
    error = error ? error : sync_directory_of(path);
    return error ? not_synced(path, error) : STATUS_OK;
}

enum status h5_publish(const char *partial, const char *path) {
    int error = sync_at(partial, 0);
    if (error)
        return not_synced(partial, error);
    if (rename(partial, path) != 0)
        return status_fail(path, NULL,
                           "found %s, expected to rename %s to it; choose another place",
                           strerror(errno), partial);
    error = sync_directory_of(path);
    return error ? not_synced(path, error) : STATUS_OK;
}
