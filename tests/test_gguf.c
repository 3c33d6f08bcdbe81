#include "partition/gguf.h"
#include "tests/testing.h"

#include <math.h>
#include <stdint.h>

/* -- a file in memory -------------------------------------------------------------------------- */

struct image {
    char bytes[4096];
    size_t len;
};

static void put(struct image *image, const void *bytes, size_t len) {
    REQUIRE(image->len + len <= sizeof image->bytes);
    memcpy(image->bytes + image->len, bytes, len);
    image->len += len;
}

static void put_u32(struct image *image, uint32_t number) {
    put(image, &number, sizeof number);
}

static void put_u64(struct image *image, uint64_t number) {
    put(image, &number, sizeof number);
}

static void put_text(struct image *image, const char *text) {
    put_u64(image, strlen(text));
    put(image, text, strlen(text));
}

static void put_head(struct image *image, uint32_t version, uint64_t tensors, uint64_t values) {
    image->len = 0;
    put(image, "GGUF", 4);
    put_u32(image, version);
    put_u64(image, tensors);
    put_u64(image, values);
}

static void put_value(struct image *image, const char *key, enum gguf_type type, const void *number,
                      size_t len) {
    put_text(image, key);
    put_u32(image, type);
    put(image, number, len);
}

static void put_u16_value(struct image *image, const char *key, uint16_t number) {
    put_value(image, key, GGUF_U16, &number, sizeof number);
}

static void put_tensor(struct image *image, const char *name, uint32_t dims, const uint64_t *shape,
                       uint32_t type, uint64_t offset) {
    put_text(image, name);
    put_u32(image, dims);
    for (uint32_t i = 0; i < dims; i++)
        put_u64(image, shape[i]);
    put_u32(image, type);
    put_u64(image, offset);
}

static void pad(struct image *image, size_t alignment) {
    while (image->len % alignment)
        put(image, "", 1);
}

/* Every kind of value, three tensors: f32 [2, 3], Q8_0 [2, 32], and one without bytes. */
static void put_example(struct image *image, uint32_t version) {
    put_head(image, version, 3, 17);
    put_value(image, "u8", GGUF_U8, &(uint8_t){200}, 1);
    put_value(image, "i8", GGUF_I8, &(int8_t){-100}, 1);
    put_u16_value(image, "u16", 60000);
    put_value(image, "i16", GGUF_I16, &(int16_t){-30000}, 2);
    put_value(image, "u32", GGUF_U32, &(uint32_t){4000000000u}, 4);
    put_value(image, "i32", GGUF_I32, &(int32_t){-2000000000}, 4);
    put_value(image, "u64", GGUF_U64, &(uint64_t){UINT64_MAX}, 8);
    put_value(image, "i64", GGUF_I64, &(int64_t){INT64_MIN}, 8);
    put_value(image, "f32", GGUF_F32, &(float){0.5f}, 4);
    put_value(image, "f64", GGUF_F64, &(double){0.1}, 8);
    put_value(image, "nan", GGUF_F32, &(float){NAN}, 4);
    put_value(image, "yes", GGUF_BOOL, &(char){1}, 1);
    put_text(image, "text");
    put_u32(image, GGUF_STRING);
    put_text(image, "h\xc3\xa4llo");
    put_text(image, "nul");
    put_u32(image, GGUF_STRING);
    put_u64(image, 3);
    put(image, "a\0b", 3);
    put_text(image, "strings");
    put_u32(image, GGUF_ARRAY);
    put_u32(image, GGUF_STRING);
    put_u64(image, 3);
    put_text(image, "one");
    put_text(image, "");
    put_text(image, "three");
    put_text(image, "shorts");
    put_u32(image, GGUF_ARRAY);
    put_u32(image, GGUF_I16);
    put_u64(image, 2);
    put(image, (int16_t[]){-1, 2}, 4);
    put_value(image, "general.alignment", GGUF_U32, &(uint32_t){64}, 4);
    put_tensor(image, "q", 2, (uint64_t[]){32, 2}, 8, 64);
    put_tensor(image, "a.weight", 2, (uint64_t[]){3, 2}, 0, 0);
    put_tensor(image, "none", 1, (uint64_t[]){0}, 0, 192);
    pad(image, 64);
    put(image, (float[]){1, 2, 3, 4, 5, 6}, 24);
    pad(image, 64);
    for (char i = 0; i < 68; i++)
        put(image, &i, 1);
    pad(image, 64);
}

static struct gguf *open_ok(struct path dir, const char *name) {
    struct gguf *gguf;
    ck_assert_msg(gguf_open(path_of("%s/%s", dir.text, name).text, &gguf) == STATUS_OK, "%s",
                  status_text());
    return gguf;
}

static void check_refusal(enum status status, const char *words) {
    ck_assert_msg(status == STATUS_FAILED, "not refused: %s", words);
    ck_assert_msg(strstr(status_text(), words) != NULL, "%s: %s", words, status_text());
    ck_assert_msg(strstr(status_text(), "expected ") != NULL, "%s: %s", words, status_text());
}

/* -- values ------------------------------------------------------------------------------------ */

static void check_int(struct gguf *gguf, const char *key, int64_t expected) {
    int64_t number = 7;
    ck_assert_int_eq(gguf_int(gguf, key, true, INT64_MIN, INT64_MAX, &number), STATUS_OK);
    ck_assert_int_eq(number, expected);
}

START_TEST(values_of_every_type) {
    struct path dir = files_new();
    struct image image;
    int64_t number = 7;
    double real;
    bool yes = false;
    const char *text = "none";
    put_example(&image, _i ? 3 : 2);
    file_write(dir.text, "m.gguf", image.bytes, image.len);
    struct gguf *gguf = open_ok(dir, "m.gguf");
    ck_assert(gguf_is(gguf_path(gguf, 0)));
    check_int(gguf, "u8", 200);
    check_int(gguf, "i8", -100);
    check_int(gguf, "u16", 60000);
    check_int(gguf, "i16", -30000);
    check_int(gguf, "u32", 4000000000);
    check_int(gguf, "i32", -2000000000);
    check_int(gguf, "u64", INT64_MAX);
    check_int(gguf, "i64", INT64_MIN);
    ck_assert_int_eq(gguf_int(gguf, "absent", false, 0, 9, &number), STATUS_OK);
    ck_assert_int_eq(number, 7);
    check_refusal(gguf_int(gguf, "absent", true, 0, 9, &number), "absent: found nothing");
    check_refusal(gguf_int(gguf, "u8", true, 0, 9, &number), "u8: found 200");
    check_refusal(gguf_int(gguf, "f32", true, 0, 9, &number), "f32: found 0.5");
    check_refusal(gguf_int(gguf, "shorts", true, 0, 9, &number), "shorts: found an array of 2");
    ck_assert_int_eq(gguf_real_in(gguf, "f32", true, 0, 1, &real), STATUS_OK);
    ck_assert(real == 0.5);
    ck_assert_int_eq(gguf_real_in(gguf, "f64", true, 0, 1, &real), STATUS_OK);
    ck_assert(real == 0.1);
    ck_assert_int_eq(gguf_real_in(gguf, "u8", true, 0, 1000, &real), STATUS_OK);
    ck_assert(real == 200);
    check_refusal(gguf_real_in(gguf, "nan", true, 0, 1, &real), "nan: found ");
    check_refusal(gguf_real_in(gguf, "text", true, 0, 1, &real), "text: found \"h");
    ck_assert_int_eq(gguf_bool(gguf, "yes", true, &yes), STATUS_OK);
    ck_assert(yes);
    check_refusal(gguf_bool(gguf, "u8", true, &yes), "u8: found 200");
    ck_assert_int_eq(gguf_text(gguf, "text", true, &text), STATUS_OK);
    ck_assert_str_eq(text, "h\xc3\xa4llo");
    check_refusal(gguf_text(gguf, "nul", true, &text), "nul: found ");
    ck_assert_int_eq(memcmp(gguf_bytes(gguf, "nul", &number), "a\0b", 4), 0);
    ck_assert_int_eq(number, 3);
    ck_assert_ptr_null(gguf_bytes(gguf, "u8", &number));
    int64_t unread = 0;
    for (int64_t i = 0; gguf_value_at(gguf, i); i++)
        unread += !gguf_value_at(gguf, i)->is_read;
    ck_assert_int_eq(unread, 2); /* "strings" and the alignment */
    gguf_close(&gguf);
    ck_assert_ptr_null(gguf);
    files_remove(dir);
}
END_TEST

START_TEST(arrays) {
    static const char *const expected[] = {"one", "", "three"};
    struct path dir = files_new();
    struct image image;
    struct gguf_array array;
    int64_t at = 0, len;
    put_example(&image, 3);
    file_write(dir.text, "m.gguf", image.bytes, image.len);
    struct gguf *gguf = open_ok(dir, "m.gguf");
    ck_assert_int_eq(gguf_array(gguf, "strings", GGUF_STRINGS, true, &array), STATUS_OK);
    ck_assert_int_eq(array.count, 3);
    for (int i = 0; i < 3; i++) {
        const char *text = gguf_array_next(&array, &at, &len);
        ck_assert_int_eq(len, (int64_t)strlen(expected[i]));
        ck_assert_int_eq(memcmp(text, expected[i], (size_t)len), 0);
    }
    ck_assert_int_eq(gguf_array(gguf, "shorts", GGUF_INTEGERS, true, &array), STATUS_OK);
    ck_assert_int_eq(gguf_array_int(&array, 0), -1);
    ck_assert_int_eq(gguf_array_int(&array, 1), 2);
    ck_assert_int_eq(gguf_array(gguf, "shorts", GGUF_REALS, true, &array), STATUS_OK);
    ck_assert(gguf_array_real(&array, 0) == -1);
    check_refusal(gguf_array(gguf, "shorts", GGUF_STRINGS, true, &array), "an array of strings");
    check_refusal(gguf_array(gguf, "u8", GGUF_INTEGERS, true, &array), "u8: found 200");
    check_refusal(gguf_array(gguf, "absent", GGUF_BOOLS, true, &array), "found nothing");
    ck_assert_int_eq(gguf_array(gguf, "absent", GGUF_BOOLS, false, &array), STATUS_OK);
    ck_assert_int_eq(array.count, 0);
    gguf_close(&gguf);
    files_remove(dir);
}
END_TEST

/* -- tensors ----------------------------------------------------------------------------------- */

START_TEST(tensors_and_their_bytes) {
    struct path dir = files_new();
    struct image image;
    float floats[6];
    char bytes[8];
    put_example(&image, 3);
    file_write(dir.text, "m.gguf", image.bytes, image.len);
    struct gguf *gguf = open_ok(dir, "m.gguf");
    ck_assert_int_eq(gguf_tensor_count(gguf), 3);
    ck_assert_str_eq(gguf_tensor_at(gguf, 0)->name, "a.weight");
    ck_assert_ptr_null(gguf_tensor_find(gguf, "b"));
    const struct gguf_tensor *a = gguf_tensor_find(gguf, "a.weight"),
                             *q = gguf_tensor_find(gguf, "q"), *none = gguf_tensor_at(gguf, 1);
    ck_assert_int_eq(a->dims, 2);
    ck_assert_int_eq(a->shape[0], 2);
    ck_assert_int_eq(a->shape[1], 3);
    ck_assert_int_eq(none->end - none->begin, 0);
    ck_assert_str_eq(gguf_format(q->type)->name, "Q8_0");
    ck_assert_int_eq(q->end - q->begin, 68);
    ck_assert_int_eq(gguf_read(gguf, a, 0, sizeof floats, floats), STATUS_OK);
    for (int i = 0; i < 6; i++)
        ck_assert(floats[i] == (float)(i + 1));
    ck_assert_int_eq(gguf_read(gguf, q, 34, 8, bytes), STATUS_OK);
    ck_assert_int_eq(bytes[0], 34);
    ck_assert_int_eq(bytes[7], 41);
    check_refusal(gguf_read(gguf, q, 61, 8, bytes), "q: found 68 bytes");
    check_refusal(gguf_read(gguf, q, -1, 8, bytes), "q: found 68 bytes");
    gguf_close(&gguf);
    files_remove(dir);
}
END_TEST

/* Two files; the metadata stands in the first alone. */
static void write_parts(struct path dir, uint16_t second_of) {
    struct image image;
    for (uint16_t i = 0; i < 2; i++) {
        put_head(&image, 3, 1, i ? 3 : 4);
        put_u16_value(&image, "split.no", i);
        put_u16_value(&image, "split.count", i ? second_of : 2);
        put_value(&image, "split.tensors.count", GGUF_I32, &(int32_t){2}, 4);
        if (i == 0)
            put_u16_value(&image, "only.here", 9);
        put_tensor(&image, i ? "second" : "first", 1, (uint64_t[]){1}, 0, 0);
        pad(&image, 32);
        put(&image, &(float){(float)i}, 4);
        file_write(dir.text, i ? "m-00002-of-00002.gguf" : "m-00001-of-00002.gguf", image.bytes,
                   image.len);
    }
}

START_TEST(split_models) {
    struct path dir = files_new();
    struct gguf *gguf;
    float number;
    write_parts(dir, 2);
    for (int first = 0; first < 2; first++) {
        gguf = open_ok(dir, first ? "m-00001-of-00002.gguf" : "m-00002-of-00002.gguf");
        ck_assert_int_eq(gguf_file_count(gguf), 2);
        check_int(gguf, "only.here", 9);
        const struct gguf_tensor *second = gguf_tensor_find(gguf, "second");
        ck_assert_int_eq(gguf_tensor_count(gguf), 2);
        ck_assert_int_eq(gguf_read(gguf, second, 0, 4, &number), STATUS_OK);
        ck_assert(number == 1);
        gguf_close(&gguf);
    }
    struct path one = path_of("%s/m-00001-of-00002.gguf", dir.text);
    file_copy(one.text, dir.text, "renamed.gguf");
    check_refusal(gguf_open(path_of("%s/renamed.gguf", dir.text).text, &gguf), "by another name");
    file_copy(one.text, dir.text, "m-00002-of-00002.gguf");
    check_refusal(gguf_open(one.text, &gguf), "found file 1 of 2, expected 2 of 2");
    write_parts(dir, 3);
    check_refusal(gguf_open(one.text, &gguf), "found file 2 of 3, expected 2 of 2");
    ck_assert_int_eq(remove(path_of("%s/m-00002-of-00002.gguf", dir.text).text), 0);
    check_refusal(gguf_open(one.text, &gguf), "m-00002-of-00002.gguf: found No such file");
    ck_assert_ptr_null(gguf);
    files_remove(dir);
}
END_TEST

/* -- hostile files ----------------------------------------------------------------------------- */

static enum status parse(const struct image *image, size_t len) {
    struct gguf_table table;
    bool is_whole;
    enum status status =
        gguf_table_parse("m.gguf", image->bytes, (int64_t)len, (int64_t)len, &table, &is_whole);
    REQUIRE(is_whole);
    if (status != STATUS_OK)
        REQUIRE(!table.values && !table.tensors && !table.names);
    gguf_table_free(&table);
    return status;
}

START_TEST(cut_and_changed_files) {
    struct image image, changed;
    struct gguf_table table;
    bool is_whole;
    put_example(&image, 3);
    ck_assert_int_eq(parse(&image, image.len), STATUS_OK);
    size_t data = image.len - 64 * 3;
    for (size_t len = 0; len < data; len++) {
        REQUIRE(parse(&image, len) == STATUS_FAILED);
        /* The same bytes of a longer file only ask for more. */
        enum status status = gguf_table_parse("m.gguf", image.bytes, (int64_t)len,
                                              (int64_t)image.len, &table, &is_whole);
        REQUIRE(status == STATUS_OK && (!is_whole || len > data - 64));
        gguf_table_free(&table);
    }
    for (size_t at = 0; at < image.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            changed = image;
            changed.bytes[at] = (char)(changed.bytes[at] ^ 1 << bit);
            parse(&changed, changed.len);
        }
}
END_TEST

START_TEST(refusals) {
    struct image image;
    put_head(&image, 1, 0, 0);
    check_refusal(parse(&image, image.len), "version: found 1");
    put_head(&image, 0x03000000, 0, 0);
    check_refusal(parse(&image, image.len), "big-endian");
    put_head(&image, 3, UINT64_MAX, 0);
    check_refusal(parse(&image, image.len), "tensor count: found");
    put_head(&image, 3, 0, 1000);
    check_refusal(parse(&image, image.len), "key count: found");
    put_head(&image, 3, 0, 2);
    put_u16_value(&image, "same", 1);
    put_u16_value(&image, "same", 2);
    check_refusal(parse(&image, image.len), "same: found two keys");
    put_head(&image, 3, 0, 1);
    put_value(&image, "general.alignment", GGUF_U32, &(uint32_t){48}, 4);
    check_refusal(parse(&image, image.len), "general.alignment: found 48");
    put_head(&image, 3, 0, 1);
    put_value(&image, "bool", GGUF_BOOL, &(char){2}, 1);
    check_refusal(parse(&image, image.len), "bool: found a boolean 2");
    put_head(&image, 3, 0, 1);
    put_value(&image, "type", (enum gguf_type)13, "", 1);
    check_refusal(parse(&image, image.len), "type: found a value of type 13");
    put_head(&image, 3, 0, 1);
    put_text(&image, "huge");
    put_u32(&image, GGUF_ARRAY);
    put_u32(&image, GGUF_F64);
    put_u64(&image, UINT64_C(1) << 61);
    check_refusal(parse(&image, image.len), "huge: found an array of");
    put_head(&image, 3, 0, 1);
    put_text(&image, "deep");
    put_u32(&image, GGUF_ARRAY);
    put_u32(&image, GGUF_ARRAY);
    put_u64(&image, 0);
    check_refusal(parse(&image, image.len), "deep: found an array of arrays");
}
END_TEST

/* One tensor, or two, of which something does not fit. */
static void refuse_tensors(const char *words, uint32_t count, const struct gguf_tensor *tensors) {
    struct image image;
    put_head(&image, 3, count, 0);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t shape[GGUF_DIMS_MAX];
        for (int k = 0; k < GGUF_DIMS_MAX; k++)
            shape[k] = (uint64_t)tensors[i].shape[k];
        put_tensor(&image, tensors[i].name, (uint32_t)tensors[i].dims, shape, tensors[i].type,
                   (uint64_t)tensors[i].begin);
    }
    pad(&image, 32);
    for (int i = 0; i < 64; i++)
        put(&image, "", 1);
    check_refusal(parse(&image, image.len), words);
}

START_TEST(tensors_that_do_not_fit) {
    typedef struct gguf_tensor t;
    refuse_tensors("a: found tensor type 4", 1, &(t){.name = "a", .type = 4});
    refuse_tensors("a: found rows of 31 in Q4_0", 1,
                   &(t){.name = "a", .type = 2, .dims = 1, .shape = {31}});
    refuse_tensors("a: found its data at offset 16", 1,
                   &(t){.name = "a", .dims = 1, .shape = {1}, .begin = 16});
    refuse_tensors("a: found 68 bytes at offset 0", 1, &(t){.name = "a", .dims = 1, .shape = {17}});
    refuse_tensors("a: found 36 bytes at offset 32", 1,
                   &(t){.name = "a", .dims = 1, .shape = {9}, .begin = 32});
    refuse_tensors("a: found sizes whose product", 1,
                   &(t){.name = "a", .dims = 2, .shape = {INT64_MAX / 8, 8}});
    refuse_tensors("a: found sizes whose product", 1,
                   &(t){.name = "a", .dims = 3, .shape = {INT64_MAX / 8, 0, 8}});
    refuse_tensors("a: found a size of", 1, &(t){.name = "a", .dims = 1, .shape = {-1}});
    refuse_tensors("a: found its data at offset", 1,
                   &(t){.name = "a", .dims = 1, .shape = {1}, .begin = INT64_MIN});
    refuse_tensors("a: found two tensors", 2,
                   (t[]){{.name = "a", .dims = 1, .shape = {1}},
                         {.name = "a", .dims = 1, .shape = {1}, .begin = 32}});
    refuse_tensors("found its data at byte", 2,
                   (t[]){{.name = "a", .dims = 1, .shape = {9}},
                         {.name = "b", .dims = 1, .shape = {1}, .begin = 32}});
    refuse_tensors("a tensor without a name", 1, &(t){.name = ""});
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gguf");
    TCase *cases = tcase_create("files");
    tcase_add_loop_test(cases, values_of_every_type, 0, 2);
    tcase_add_test(cases, arrays);
    tcase_add_test(cases, tensors_and_their_bytes);
    tcase_add_test(cases, split_models);
    tcase_add_test(cases, cut_and_changed_files);
    tcase_add_test(cases, refusals);
    tcase_add_test(cases, tensors_that_do_not_fit);
    suite_add_tcase(suite, cases);
    return suite_run(suite);
}
