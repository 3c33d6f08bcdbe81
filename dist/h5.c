#include "dist/h5.h"

#include <sys/stat.h>

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

enum status h5_check_path(const char *path, const char *option) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return status_fail(path, option,
                           "found something that is not a regular file, expected a file or "
                           "nothing; choose another path");
    return STATUS_OK;
}
