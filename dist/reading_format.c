#include "dist/reading_format.h"

#include "dist/h5.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define FORMAT_NAME "quire reading"

/* -- attributes -------------------------------------------------------------------------------- */

/* What must be alike: for any use of the reading, for going on with the same text, or nothing. */
enum alike { ALIKE_ALWAYS, ALIKE_TEXT, ALIKE_NOT };

struct field {
    const char *name;
    size_t place;
    size_t size; /* of a text's buffer; 0: a number */
    enum alike alike;
};

#define TEXT(name, alike)                                                                          \
    {                                                                                              \
#name, offsetof(struct reading_header, name), sizeof((struct reading_header *)0)->name,    \
            alike                                                                                  \
    }
#define NUMBER(name, alike)                                                                        \
    { #name, offsetof(struct reading_header, name), 0, alike }

static const struct field fields[] = {
    TEXT(model_identity, ALIKE_ALWAYS),
    NUMBER(layers, ALIKE_ALWAYS),
    NUMBER(kv_heads, ALIKE_ALWAYS),
    NUMBER(head_dim, ALIKE_ALWAYS),
    NUMBER(context, ALIKE_ALWAYS),
    TEXT(rope, ALIKE_ALWAYS),
    TEXT(weights, ALIKE_ALWAYS),
    TEXT(compute, ALIKE_ALWAYS),
    TEXT(kv, ALIKE_ALWAYS),
    TEXT(method, ALIKE_ALWAYS),
    NUMBER(group, ALIKE_ALWAYS),
    NUMBER(window, ALIKE_ALWAYS),
    NUMBER(chunk, ALIKE_TEXT),
    TEXT(text_hash, ALIKE_TEXT),
    TEXT(ids_hash, ALIKE_TEXT),
    NUMBER(text_bytes, ALIKE_TEXT),
    NUMBER(text_tokens, ALIKE_TEXT),
    NUMBER(capacity, ALIKE_TEXT),
    TEXT(text_name, ALIKE_NOT),
    TEXT(model, ALIKE_NOT),
    TEXT(family, ALIKE_NOT),
    TEXT(dtype, ALIKE_NOT),
    TEXT(mesh, ALIKE_NOT),
    TEXT(quire_version, ALIKE_NOT),
};
#define FIELDS ((int)(sizeof fields / sizeof fields[0]))

static const char *text_of(const struct reading_header *header, const struct field *field) {
    return (const char *)header + field->place;
}

static int64_t number_of(const struct reading_header *header, const struct field *field) {
    int64_t number;
    memcpy(&number, (const char *)header + field->place, sizeof number);
    return number;
}

void reading_header_walk(const struct reading_header *header,
                         void (*visit)(void *context, const char *name, const char *text,
                                       const int64_t *number),
                         void *context) {
    for (int i = 0; i < FIELDS; i++) {
        int64_t number = fields[i].size ? 0 : number_of(header, &fields[i]);
        visit(context, fields[i].name, fields[i].size ? text_of(header, &fields[i]) : NULL,
              fields[i].size ? NULL : &number);
    }
}

/* All of them as lines of text. */
struct lines {
    char text[4096];
    size_t len;
};

static void put_line(void *context, const char *name, const char *text, const int64_t *number) {
    struct lines *l = context;
    size_t room = sizeof l->text - l->len;
    int len = text ? snprintf(l->text + l->len, room, "%s=%s\n", name, text)
                   : snprintf(l->text + l->len, room, "%s=%" PRId64 "\n", name, *number);
    l->len += (size_t)len < room ? (size_t)len : room;
}

uint64_t reading_header_hash(const struct reading_header *header) {
    struct lines lines = {.len = 0};
    reading_header_walk(header, put_line, &lines);
    return XXH3_64bits(lines.text, lines.len);
}

static herr_t put_fields(hid_t file, const struct reading_header *header) {
    herr_t wrong = h5_put_text(file, "format", FORMAT_NAME);
    wrong |= h5_put_number(file, "format_version", READING_VERSION);
    for (int i = 0; i < FIELDS; i++)
        wrong |= fields[i].size
                     ? h5_put_text(file, fields[i].name, text_of(header, &fields[i]))
                     : h5_put_number(file, fields[i].name, number_of(header, &fields[i]));
    return wrong;
}

static enum status get_fields(const char *path, hid_t file, struct reading_header *header) {
    memset(header, 0, sizeof *header);
    for (int i = 0; i < FIELDS; i++) {
        char *at = (char *)header + fields[i].place;
        herr_t wrong = fields[i].size ? h5_get_text(file, fields[i].name, at, fields[i].size)
                                      : h5_get_number(file, fields[i].name, (int64_t *)(void *)at);
        if (wrong < 0)
            return status_fail(path, fields[i].name,
                               "found no such attribute that can be read, expected one; the file "
                               "is damaged, take a copy that is whole");
    }
    return STATUS_OK;
}

enum status reading_header_compare(const char *path, const struct reading_header *found,
                                   const struct reading_header *expected, bool text,
                                   const char *remedy) {
    for (int i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        if (f->alike == ALIKE_NOT || (f->alike == ALIKE_TEXT && !text))
            continue;
        if (f->size && strcmp(text_of(found, f), text_of(expected, f)) != 0)
            return status_fail(path, f->name, "found %s, expected %s; %s", text_of(found, f),
                               text_of(expected, f), remedy);
        if (!f->size && number_of(found, f) != number_of(expected, f))
            return status_fail(path, f->name, "found %" PRId64 ", expected %" PRId64 "; %s",
                               number_of(found, f), number_of(expected, f), remedy);
    }
    return STATUS_OK;
}

/* -- rows -------------------------------------------------------------------------------------- */

int64_t reading_row_bytes(enum kv_type type, int64_t head_dim) {
    return kv_row_bytes(type, head_dim);
}

bool reading_kv_type(const struct reading_header *header, enum kv_type *type) {
    for (*type = KV_F32; *type < KV_TYPES; ++*type)
        if (strcmp(kv_type_name(*type), header->kv) == 0)
            return true;
    return false;
}

void reading_pack(enum kv_type type, const float *rows, int64_t stride, int64_t count, int64_t d,
                  unsigned char *out) {
    for (int64_t t = 0; t < count; t++, rows += stride, out += reading_row_bytes(type, d))
        kv_pack(type, d, rows, out);
}

void reading_unpack(enum kv_type type, const unsigned char *rows, int64_t count, int64_t d,
                    float *out, int64_t stride) {
    for (int64_t t = 0; t < count; t++, out += stride, rows += reading_row_bytes(type, d))
        kv_unpack(type, d, rows, out);
}

/* The HDF5 type of an element. bf16: a float of 16 bits, sign, 8 of exponent, 7 of mantissa; q8_0:
 * a byte of a row's blocks, for HDF5 has no such number. */
static hid_t element_type(enum kv_type type) {
    hid_t t = H5Tcopy(type == KV_Q8_0 ? H5T_STD_U8LE : H5T_IEEE_F32LE);
    if (type == KV_BF16) {
        H5Tset_fields(t, 15, 7, 8, 0, 7);
        H5Tset_size(t, 2);
        H5Tset_ebias(t, 127);
    }
    return t;
}

/* -- datasets ---------------------------------------------------------------------------------- */

enum place_kind { KIND_BYTES, KIND_IDS, KIND_OFFSETS, KIND_ROWS, KIND_SUMS };

/* A dataset, its place in struct reading_places, and its shape. */
struct dataset {
    const char *name;
    size_t place;
    enum place_kind kind;
    const char *axes;
};

#define PLACE(name) offsetof(struct reading_places, name)

static const struct dataset datasets[] = {
    {"commits", PLACE(commits), KIND_BYTES, "slot, byte"},
    {"tokens", PLACE(tokens), KIND_IDS, "token"},
    {"byte_offsets", PLACE(byte_offsets), KIND_OFFSETS, "token"},
    {"keys", PLACE(keys), KIND_ROWS, "layer, key/value head, token, head dimension"},
    {"values", PLACE(values), KIND_ROWS, "layer, key/value head, token, head dimension"},
    {"checksums/tokens", PLACE(sums_tokens), KIND_SUMS, "block of 64 tokens"},
    {"checksums/keys", PLACE(sums_keys), KIND_SUMS, "layer, key/value head, block of 64 tokens"},
    {"checksums/values", PLACE(sums_values), KIND_SUMS,
     "layer, key/value head, block of 64 tokens"},
    {"checksums/last_tokens", PLACE(last_tokens), KIND_SUMS, "slot"},
    {"checksums/last_keys", PLACE(last_keys), KIND_SUMS, "slot, layer, key/value head"},
    {"checksums/last_values", PLACE(last_values), KIND_SUMS, "slot, layer, key/value head"},
};
#define DATASETS ((int)(sizeof datasets / sizeof datasets[0]))

/* Elements of a token's row. */
static int64_t row_elements(const struct reading_header *h) {
    enum kv_type type = KV_F32;
    reading_kv_type(h, &type);
    return type == KV_Q8_0 ? kv_row_bytes(type, h->head_dim) : h->head_dim;
}

/* Dimensions; returns how many. */
static int dataset_dims(const struct reading_header *h, const struct dataset *d, hsize_t dims[4]) {
    hsize_t layers = (hsize_t)h->layers, heads = (hsize_t)h->kv_heads;
    hsize_t tokens = (hsize_t)h->capacity, blocks = (hsize_t)reading_blocks(h->capacity);
    bool of_tokens = d->place == PLACE(sums_tokens);
    if (d->kind == KIND_BYTES) {
        memcpy(dims, (hsize_t[]){2, READING_SLOT_BYTES}, 2 * sizeof *dims);
        return 2;
    }
    if (d->kind == KIND_ROWS) {
        memcpy(dims, (hsize_t[]){layers, heads, tokens, (hsize_t)row_elements(h)},
               4 * sizeof *dims);
        return 4;
    }
    if (d->kind != KIND_SUMS || of_tokens || d->place == PLACE(last_tokens)) {
        dims[0] = d->kind != KIND_SUMS ? tokens : of_tokens ? blocks : 2;
        return 1;
    }
    if (d->place == PLACE(sums_keys) || d->place == PLACE(sums_values))
        memcpy(dims, (hsize_t[]){layers, heads, blocks}, 3 * sizeof *dims);
    else
        memcpy(dims, (hsize_t[]){2, layers, heads}, 3 * sizeof *dims);
    return 3;
}

static int64_t dataset_bytes(const struct reading_header *h, const struct dataset *d) {
    enum kv_type type = KV_F32;
    hsize_t dims[4];
    int64_t count = 1;
    int rank = dataset_dims(h, d, dims);
    for (int i = 0; i < rank; i++)
        count *= (int64_t)dims[i];
    reading_kv_type(h, &type);
    if (d->kind == KIND_ROWS)
        return count / row_elements(h) * reading_row_bytes(type, h->head_dim);
    return count * (d->kind == KIND_BYTES ? 1 : d->kind == KIND_IDS ? 4 : 8);
}

int64_t reading_bytes(const struct reading_header *header) {
    int64_t bytes = 0;
    for (int i = 0; i < DATASETS; i++)
        bytes += dataset_bytes(header, &datasets[i]);
    return bytes;
}

static hid_t dataset_type(const struct reading_header *h, const struct dataset *d) {
    enum kv_type type = KV_F32;
    reading_kv_type(h, &type);
    switch (d->kind) {
    case KIND_BYTES:
        return H5Tcopy(H5T_STD_U8LE);
    case KIND_IDS:
        return H5Tcopy(H5T_STD_I32LE);
    case KIND_OFFSETS:
        return H5Tcopy(H5T_STD_I64LE);
    case KIND_SUMS:
        return H5Tcopy(H5T_STD_U64LE);
    case KIND_ROWS:
        break;
    }
    return element_type(type);
}

static herr_t make_dataset(hid_t file, const struct reading_header *h, const struct dataset *d) {
    hsize_t dims[4];
    int rank = dataset_dims(h, d, dims);
    hid_t type = dataset_type(h, d);
    hid_t dataset = h5_make_dataset(file, d->name, type, rank, dims, d->axes);
    H5Tclose(type);
    return dataset < 0 ? -1 : H5Dclose(dataset);
}

/* The serial driver, without HDF5's own lock; what fills a page begins at one, so that a commit
 * record shares it with nothing. */
static hid_t file_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_alignment(access, READING_SLOT_BYTES, READING_SLOT_BYTES);
    H5Pset_file_locking(access, false, true);
    return access;
}

enum status reading_format_create(const char *path, const struct reading_header *header,
                                  bool has_offsets) {
    hid_t access = file_access();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    herr_t wrong = file < 0 ? -1 : put_fields(file, header);
    if (file >= 0) {
        for (int i = 0; i < DATASETS; i++)
            if (datasets[i].kind != KIND_OFFSETS || has_offsets)
                wrong |= make_dataset(file, header, &datasets[i]);
        wrong |= H5Fflush(file, H5F_SCOPE_GLOBAL);
        wrong |= H5Fclose(file);
    }
    if (wrong < 0)
        return status_fail(path, "HDF5",
                           "found no way to create the file, expected a file system that HDF5 can "
                           "write; check its free space, or choose another");
    return STATUS_OK;
}

/* -- opening ----------------------------------------------------------------------------------- */

static enum status cut_short(const char *path, int64_t size, int64_t end) {
    return status_fail(path, "size",
                       "found %" PRId64 " bytes, expected %" PRId64
                       "; the file is cut short, take a copy that is whole",
                       size, end);
}

/* The end of the file as its superblock (version 0 or 1: what quire writes) states it; 0: unknown.
 */
static int64_t stated_end(const char *path) {
    unsigned char head[48];
    uint64_t end;
    FILE *file = fopen(path, "rb");
    size_t got = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    if (got < sizeof head || memcmp(head, "\211HDF\r\n\032\n", 8) != 0 || head[8] != 0)
        return 0;
    memcpy(&end, head + 40, sizeof end);
    return end < INT64_MAX ? (int64_t)end : 0;
}

static enum status not_opened(const char *path, int64_t size) {
    int64_t end = stated_end(path);
    if (end > size)
        return cut_short(path, size, end);
    return status_fail(path, NULL,
                       "found a file that HDF5 cannot open, expected a reading; check the path, or "
                       "take a copy that is whole");
}

static enum status check_format(const char *path, hid_t file) {
    char format[64] = "";
    int64_t version = 0;
    if (h5_get_text(file, "format", format, sizeof format) < 0 || strcmp(format, FORMAT_NAME) != 0)
        return status_fail(path, "format",
                           "found %s, expected \"" FORMAT_NAME "\"; give a file that quire ingest "
                           "or generate --save wrote",
                           *format ? format : "no such attribute");
    if (h5_get_number(file, "format_version", &version) < 0 || version < 1)
        return status_fail(path, "format_version",
                           "found none that can be read, expected 1; the file is damaged, take a "
                           "copy that is whole");
    if (version > READING_VERSION)
        return status_fail(path, "format_version",
                           "found %" PRId64 ", expected at most %d; take a newer quire", version,
                           READING_VERSION);
    return STATUS_OK;
}

/* Sizes that the rest can rely on: products stay far below 2^62. */
static enum status check_header(const char *path, const struct reading_header *h) {
    enum kv_type type;
    const struct {
        const char *name;
        int64_t value, most;
    } sizes[] = {{"layers", h->layers, 1 << 20},
                 {"kv_heads", h->kv_heads, 1 << 20},
                 {"head_dim", h->head_dim, 1 << 20},
                 {"capacity", h->capacity, (int64_t)1 << 36},
                 {"chunk", h->chunk, 1 << 20}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return status_fail(path, sizes[i].name,
                               "found %" PRId64 ", expected 1 to %" PRId64
                               "; the file is damaged, take a copy that is whole",
                               sizes[i].value, sizes[i].most);
    if (h->layers * h->kv_heads > (1 << 24) || h->layers * h->kv_heads * h->head_dim > (1 << 24) ||
        h->text_tokens < 0 || h->text_tokens > h->capacity)
        return status_fail(path, "capacity",
                           "found sizes that do not fit together, expected those of a reading; "
                           "the file is damaged, take a copy that is whole");
    if (!reading_kv_type(h, &type))
        return status_fail(path, "kv", "found %s, expected f32, bf16 or q8_0; take a newer quire",
                           h->kv);
    return STATUS_OK;
}

/* Where a dataset lies, if its shape and type are what the header makes them. */
static enum status find_dataset(const char *path, hid_t file, const struct reading_header *h,
                                const struct dataset *d, int64_t size, int64_t *place) {
    hsize_t expected[4], found[4] = {0};
    int rank = dataset_dims(h, d, expected);
    hid_t dataset = H5Dopen2(file, d->name, H5P_DEFAULT);
    if (dataset < 0)
        return status_fail(path, d->name,
                           "found no such dataset that can be read, expected one; the file is "
                           "damaged, take a copy that is whole");
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset), wanted = dataset_type(h, d);
    bool good = H5Sget_simple_extent_ndims(space) == rank &&
                H5Sget_simple_extent_dims(space, found, NULL) == rank &&
                memcmp(found, expected, (size_t)rank * sizeof *found) == 0 &&
                H5Tequal(type, wanted) > 0;
    haddr_t at = H5Dget_offset(dataset);
    H5Tclose(wanted);
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(dataset);
    if (!good || at == HADDR_UNDEF || at > INT64_MAX / 2)
        return status_fail(path, d->name,
                           "found another shape or type, expected that of the attributes; the file "
                           "is damaged, take a copy that is whole");
    *place = (int64_t)at;
    if (*place + dataset_bytes(h, d) > size)
        return cut_short(path, size, *place + dataset_bytes(h, d));
    return STATUS_OK;
}

static enum status read_all(const char *path, hid_t file, int64_t size,
                            struct reading_header *header, struct reading_places *places) {
    TRY(check_format(path, file));
    TRY(get_fields(path, file, header));
    TRY(check_header(path, header));
    places->byte_offsets = -1;
    for (int i = 0; i < DATASETS; i++) {
        int64_t *place = (int64_t *)(void *)((char *)places + datasets[i].place);
        if (datasets[i].kind == KIND_OFFSETS && H5Lexists(file, datasets[i].name, H5P_DEFAULT) <= 0)
            continue;
        TRY(find_dataset(path, file, header, &datasets[i], size, place));
    }
    return STATUS_OK;
}

enum status reading_format_open(const char *path, struct reading_header *header,
                                struct reading_places *places) {
    struct stat about;
    if (stat(path, &about) != 0)
        return status_fail(path, NULL, "found %s, expected a reading; check the path",
                           strerror(errno));
    if (!S_ISREG(about.st_mode))
        return status_fail(path, NULL,
                           "found something that is not a regular file, expected a reading; check "
                           "the path");
    hid_t access = file_access();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (file < 0)
        return not_opened(path, about.st_size);
    enum status status = read_all(path, file, about.st_size, header, places);
    H5Fclose(file);
    return status;
}
