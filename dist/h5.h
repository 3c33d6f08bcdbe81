/* What all HDF5 files of quire have in common: attributes, and the care for the path. */
#ifndef QUIRE_DIST_H5_H
#define QUIRE_DIST_H5_H

#include "partition/status.h"
#include <hdf5.h>
#include <stdint.h>

/* Puts a scalar attribute at an open object: variable-length UTF-8, which h5py reads as str, or a
 * 64-bit integer. Negative on failure. In a file that several ranks opened, all ranks call it with
 * the same value; local otherwise. */
herr_t h5_put_text(hid_t at, const char *name, const char *text);
herr_t h5_put_number(hid_t at, const char *name, int64_t value);

/* Reads one that h5_put_text or h5_put_number put: a text shorter than `size`, or a number.
 * Negative where there is none of the kind. Local. */
herr_t h5_get_text(hid_t at, const char *name, char *text, size_t size);
herr_t h5_get_number(hid_t at, const char *name, int64_t *value);

/* A contiguous dataset of its final size, with the groups on its way, whose place in the file is
 * fixed now; no fill values are written. `axes` is an attribute. Negative on failure. Collective
 * where several ranks opened the file. */
hid_t h5_make_dataset(hid_t at, const char *name, hid_t type, int rank, const hsize_t *dims,
                      const char *axes);

/* Takes the blocks of an open file's whole size now: HDF5 alone reserves only addresses, and a full
 * disk would show hours later. Where the file system cannot reserve, its free space is compared
 * instead. 0 or the errno. Local. */
int h5_reserve(int fd);

/* Makes a file durable, its name included. Local. */
enum status h5_sync(const char *path);

/* Makes the complete file durable, then renames it to its name, durably too: after a loss of power
 * the name stands for the whole file, or for what it stood for before. Local. */
enum status h5_publish(const char *partial, const char *path);

/* Refuses a path where something other than a regular file stands: a finished file is renamed to
 * its path, which would replace a device or a directory too. `option` is the one that named it.
 * Local. */
enum status h5_check_path(const char *path, const char *option);

#endif
