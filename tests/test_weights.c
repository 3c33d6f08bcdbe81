#include "partition/json.h"
#include "partition/tensor_table.h"
#include "partition/weights.h"
#include "tests/testing.h"

#include <math.h>

static const char single[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

/* A safetensors file in memory, as the format's description has it: the length of the header in
 * eight bytes, low ones first, the header, the data. Owned by the caller. */
static char *assemble(uint64_t header_bytes, const char *header, const void *data, size_t data_len,
                      size_t *len) {
    size_t header_len = strlen(header);
    *len = 8 + header_len + data_len;
    char *bytes = malloc(*len + 1);
    ck_assert_ptr_nonnull(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(header_bytes >> (8 * i) & 0xff);
    memcpy(bytes + 8, header, header_len);
    if (data_len)
        memcpy(bytes + 8 + header_len, data, data_len);
    return bytes;
}

static void write_tensors(const char *dir, const char *name, const char *header, const void *data,
                          size_t data_len) {
    size_t len;
    char *bytes = assemble(strlen(header), header, data, data_len, &len);
    file_write(dir, name, bytes, len);
    free(bytes);
}

static struct weights *open_ok(const char *dir) {
    struct weights *weights;
    ck_assert_msg(weights_open(dir, &weights) == STATUS_OK, "%s", status_text());
    return weights;
}

static void check_refusal(enum status status, const char *file, const char *words) {
    ck_assert_msg(status == STATUS_FAILED, "not refused: %s", words);
    ck_assert_msg(strstr(status_text(), file) != NULL, "%s: %s", words, status_text());
    ck_assert_msg(strstr(status_text(), words) != NULL, "%s: %s", words, status_text());
    ck_assert_msg(strstr(status_text(), "expected ") != NULL, "%s: %s", words, status_text());
}

/* Opening the directory fails, and leaves nothing behind. */
static void refuse_open(const char *dir, const char *file, const char *words) {
    struct weights *weights = (struct weights *)-1;
    status_adopt("");
    check_refusal(weights_open(dir, &weights), file, words);
    ck_assert_ptr_null(weights);
}

static struct range range(int64_t first, int64_t count) {
    return (struct range){first, count};
}

enum { ROWS = 7, COLS = 5 };

/* The number that stands at a place of the test's own matrix: small enough for every type. */
static float number_at(int64_t row, int64_t col) {
    return (float)(row * 16 + col) * 0.25f - 8.0f;
}

/* The same number as the bits of a half and of a bfloat16. Only normal numbers, no rounding. */
static uint16_t f16_bits(float value) {
    int exponent;
    double fraction = frexp(fabs((double)value), &exponent);
    if (value == 0)
        return 0;
    return (uint16_t)((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 |
                      ((int)(fraction * 2048) & 0x3ff));
}

static uint16_t bf16_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* One file with the matrix in all three types, a vector, and tensors that no model uses; the places
 * are not in the order of the names. */
static void write_matrices(const char *dir) {
    struct {
        float f32[ROWS][COLS];
        uint16_t f16[ROWS][COLS], bf16[ROWS][COLS];
        int64_t i64[2];
        float vector[ROWS];
    } __attribute__((packed)) data;
    for (int row = 0; row < ROWS; row++) {
        for (int col = 0; col < COLS; col++) {
            data.f32[row][col] = number_at(row, col);
            data.f16[row][col] = f16_bits(number_at(row, col));
            data.bf16[row][col] = bf16_bits(number_at(row, col));
        }
        data.vector[row] = number_at(row, 3);
    }
    data.i64[0] = data.i64[1] = -1;
    ck_assert_uint_eq(sizeof data, 324);
    write_tensors(
        dir, single,
        "{\"__metadata__\": {\"format\": \"pt\"},"
        " \"half\": {\"dtype\": \"F16\", \"shape\": [7, 5], \"data_offsets\": [140, 210]},"
        " \"full\": {\"dtype\": \"F32\", \"shape\": [7, 5], \"data_offsets\": [0, 140]},"
        " \"vector\": {\"dtype\": \"F32\", \"shape\": [7], \"data_offsets\": [296, 324]},"
        " \"empty\": {\"dtype\": \"BOOL\", \"shape\": [0, 4], \"data_offsets\": [280, 280]},"
        " \"inv_freq\": {\"dtype\": \"I64\", \"shape\": [2], \"data_offsets\": [280, 296]},"
        " \"brain\": {\"dtype\": \"BF16\", \"shape\": [7, 5], \"data_offsets\": [210, 280]}}   ",
        &data, sizeof data);
}

/* The value of 16 bits by the definition of the format, in double. */
static double value_of(uint32_t bits, int exponent_bits, int fraction_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    int exponent = (int)(bits >> fraction_bits) & top;
    uint32_t fraction = bits & ((1u << fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == top)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1u << fraction_bits), exponent - bias - fraction_bits);
}

static const char *const matrix_names[] = {"full", "half", "brain"};
static const char *const matrix_dtypes[] = {"F32", "F16", "BF16"};
static const int64_t matrix_bytes[] = {4, 2, 2};

START_TEST(every_slice) {
    struct path dir = files_new();
    write_matrices(dir.text);
    struct weights *weights = open_ok(dir.text);
    int64_t bytes = 0;
    for (int type = 0; type < 3; type++) {
        ck_assert_int_eq(weights_check(weights, matrix_names[type], ROWS, COLS), STATUS_OK);
        ck_assert_str_eq(weights_dtype(weights, matrix_names[type]), matrix_dtypes[type]);
        for (int64_t r = 0; r <= ROWS; r++)
            for (int64_t h = 0; h <= ROWS - r; h++)
                for (int64_t c = 0; c <= COLS; c++)
                    for (int64_t w = 0; w <= COLS - c; w++) {
                        float out[ROWS * COLS + 1];
                        for (int i = 0; i <= ROWS * COLS; i++)
                            out[i] = 1e9f;
                        ck_assert_int_eq(weights_read(weights, matrix_names[type], range(r, h),
                                                      range(c, w), out),
                                         STATUS_OK);
                        for (int64_t i = 0; i < h * w; i++)
                            ck_assert_float_eq(out[i], number_at(r + i / w, c + i % w));
                        ck_assert_float_eq(out[h * w], 1e9f);
                        bytes += h * w * matrix_bytes[type];
                        ck_assert_int_eq(weights_bytes_read(weights), bytes);
                        uint16_t halves[ROWS * COLS + 1];
                        halves[h * w] = 0x1234;
                        ck_assert_int_eq(weights_read_bf16(weights, matrix_names[type], range(r, h),
                                                           range(c, w), halves),
                                         STATUS_OK);
                        for (int64_t i = 0; i < h * w; i++)
                            ck_assert_double_eq(value_of(halves[i], 8, 7),
                                                number_at(r + i / w, c + i % w));
                        ck_assert_uint_eq(halves[h * w], 0x1234);
                        bytes += h * w * matrix_bytes[type];
                    }
    }
    ck_assert_int_eq(weights_check(weights, "vector", ROWS, 0), STATUS_OK);
    float out[4];
    ck_assert_int_eq(weights_read(weights, "vector", range(2, 4), range(0, 0), out), STATUS_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq(out[i], number_at(2 + i, 3));
    ck_assert_int_eq(weights_bytes_read(weights), bytes + 16);
    ck_assert_int_eq(weights_bytes_total(weights), 324);
    weights_close(&weights);
    ck_assert_ptr_null(weights);
    files_remove(dir);
}
END_TEST

START_TEST(checks) {
    struct path dir = files_new();
    write_matrices(dir.text);
    struct weights *weights = open_ok(dir.text);
    ck_assert(weights_has(weights, "full"));
    ck_assert(!weights_has(weights, "ful"));
    ck_assert(!weights_has(weights, "__metadata__"));
    ck_assert_ptr_null(weights_dtype(weights, "lm_head.weight"));
    check_refusal(weights_check(weights, "lm_head.weight", 7, 5), single,
                  "lm_head.weight: found nothing, expected a tensor of shape [7, 5]");
    check_refusal(weights_check(weights, "norm", 7, 0), single,
                  "norm: found nothing, expected a tensor of shape [7]; ");
    check_refusal(weights_check(weights, "full", 5, 7), single,
                  "full: found shape [7, 5], expected [5, 7] ");
    check_refusal(weights_check(weights, "full", 35, 0), single,
                  "full: found shape [7, 5], expected [35] ");
    check_refusal(weights_check(weights, "full", 7, 0), single,
                  "full: found shape [7, 5], expected [7] ");
    check_refusal(weights_check(weights, "vector", 7, 1), single,
                  "vector: found shape [7], expected [7, 1] ");
    check_refusal(weights_check(weights, "inv_freq", 2, 0), single,
                  "inv_freq: found dtype I64, expected F32, F16 or BF16");
    /* Beyond the tensor, whatever the caller checked before. */
    float out[ROWS * COLS] = {0};
    static const struct range wrong[][2] = {
        {{0, 8}, {0, 5}}, {{7, 1}, {0, 5}}, {{0, 7}, {1, 5}}, {{-1, 2}, {0, 5}}, {{0, 7}, {0, -1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_refusal(weights_read(weights, "full", wrong[i][0], wrong[i][1], out), single,
                      "full: found F32 of 7 rows and 5 columns, ");
    check_refusal(weights_read(weights, "inv_freq", range(0, 2), range(0, 0), out), single,
                  "inv_freq: found I64 ");
    check_refusal(weights_read(weights, "none", range(0, 1), range(0, 1), out), single,
                  "none: found nothing, ");
    ck_assert_int_eq(weights_bytes_read(weights), 0);
    weights_close(&weights);
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

START_TEST(every_half) {
    enum { ALL = 1 << 16 };
    static uint16_t data[2][ALL];
    static float out[ALL];
    struct path dir = files_new();
    for (int i = 0; i < ALL; i++)
        data[0][i] = data[1][i] = (uint16_t)i;
    write_tensors(
        dir.text, single,
        "{\"half\": {\"dtype\": \"F16\", \"shape\": [65536], \"data_offsets\": [0, 131072]},"
        " \"brain\": {\"dtype\": \"BF16\", \"shape\": [65536], \"data_offsets\": [131072, "
        "262144]}}",
        data, sizeof data);
    struct weights *weights = open_ok(dir.text);
    for (int type = 0; type < 2; type++) {
        ck_assert_int_eq(
            weights_read(weights, type ? "brain" : "half", range(0, ALL), range(0, 0), out),
            STATUS_OK);
        for (uint32_t i = 0; i < ALL; i++) {
            double expected = type ? value_of(i, 8, 7) : value_of(i, 5, 10);
            bool same = isnan(expected)
                            ? isnan(out[i])
                            : out[i] == expected && !signbit(out[i]) == !signbit(expected);
            if (!same)
                ck_abort_msg("type %d, bits %x: %g, expected %g", type, i, out[i], expected);
        }
    }
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

/* The nearest bf16, ties to even, by arithmetic: 8 bits of fraction, the first one implied. */
static double nearest_bf16(double x) {
    int exponent;
    if (x == 0 || !isfinite(x))
        return x;
    frexp(x, &exponent);
    double step = ldexp(1, exponent - 8 < -133 ? -133 : exponent - 8);
    double nearest = rint(x / step) * step;
    return fabs(nearest) >= 0x1p128 ? copysign(INFINITY, x) : nearest;
}

/* F16 of every bit pattern; F32 of every sign and exponent with fractions below, on and above the
 * middle between two bf16 numbers of both parities. */
START_TEST(every_rounding) {
    enum { ALL = 1 << 16, LOW = 8 };
    static const uint16_t low[LOW] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x4000, 0xc000};
    static struct {
        uint32_t full[ALL * LOW];
        uint16_t half[ALL];
    } data;
    static uint16_t out[ALL * LOW];
    struct path dir = files_new();
    for (uint32_t i = 0; i < ALL; i++) {
        data.half[i] = (uint16_t)i;
        for (uint32_t l = 0; l < LOW; l++)
            data.full[i * LOW + l] = i << 16 | low[l];
    }
    write_tensors(
        dir.text, single,
        "{\"full\": {\"dtype\": \"F32\", \"shape\": [524288], \"data_offsets\": [0, 2097152]},"
        " \"half\": {\"dtype\": \"F16\", \"shape\": [65536], \"data_offsets\": [2097152, "
        "2228224]}}",
        &data, sizeof data);
    struct weights *weights = open_ok(dir.text);
    for (int type = 0; type < 2; type++) {
        uint32_t count = type ? ALL : ALL * LOW;
        ck_assert_int_eq(
            weights_read_bf16(weights, type ? "half" : "full", range(0, count), range(0, 0), out),
            STATUS_OK);
        for (uint32_t i = 0; i < count; i++) {
            float full;
            memcpy(&full, &data.full[i < ALL * LOW ? i : 0], sizeof full);
            double expected = nearest_bf16(type ? value_of(i, 5, 10) : full);
            double got = value_of(out[i], 8, 7);
            bool same = isnan(expected) ? isnan(got)
                                        : got == expected && !signbit(got) == !signbit(expected);
            if (!same)
                ck_abort_msg("type %d, number %u: %g, expected %g", type, i, got, expected);
        }
    }
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

/* Larger than a piece of the reader, so that pieces must join; columns narrow and rows many. */
START_TEST(large_slices) {
    enum { HIGH = 70000, WIDE = 12 };
    float *data = malloc(sizeof(float) * HIGH * WIDE), *out = malloc(sizeof(float) * HIGH * WIDE);
    ck_assert(data && out);
    for (int i = 0; i < HIGH * WIDE; i++)
        data[i] = (float)i;
    struct path dir = files_new();
    write_tensors(dir.text, single,
                  "{\"w\": {\"dtype\": \"F32\", \"shape\": [70000, 12], \"data_offsets\": [0, "
                  "3360000]}}",
                  data, sizeof(float) * HIGH * WIDE);
    struct weights *weights = open_ok(dir.text);
    static const struct range cols[] = {{0, 12}, {5, 7}, {0, 1}, {11, 1}};
    for (int i = 0; i < 4; i++) {
        int64_t width = cols[i].count;
        ck_assert_int_eq(weights_read(weights, "w", range(3, HIGH - 5), cols[i], out), STATUS_OK);
        int64_t wrong = 0;
        for (int64_t k = 0; k < (HIGH - 5) * width; k++)
            wrong += out[k] != data[(3 + k / width) * WIDE + cols[i].first + k % width];
        ck_assert_int_eq(wrong, 0);
    }
    weights_close(&weights);
    files_remove(dir);
    free(data);
    free(out);
}
END_TEST

START_TEST(cut_after_opening) {
    struct path dir = files_new();
    write_matrices(dir.text);
    struct weights *weights = open_ok(dir.text);
    struct path file = path_of("%s/%s", dir.text, single);
    struct stat info;
    ck_assert_int_eq(stat(file.text, &info), 0);
    ck_assert_int_eq(truncate(file.text, info.st_size - 324 + 137), 0);
    float out[ROWS * COLS];
    ck_assert_int_eq(weights_read(weights, "full", range(0, 6), range(0, COLS), out), STATUS_OK);
    check_refusal(weights_read(weights, "full", range(0, 7), range(0, COLS), out), single,
                  path_of("full: found the end of the file at byte %lld, ",
                          (long long)info.st_size - 324 + 137)
                      .text);
    check_refusal(weights_read(weights, "vector", range(0, 1), range(0, 0), out), single,
                  "vector: found the end of the file at byte ");
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

#define F32_4 "{\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": "

/* Headers that lie, each before 16 bytes of data. */
static const struct {
    const char *header, *words;
} lies[] = {
    {"", "header: found no JSON object, "},
    {"  {}", "header: found no JSON object, "},
    {"[1]", "header: found no JSON object, "},
    {"{\"a\": ", "header: found at byte 13: "},
    {"{} x", "header: found at byte 11: more behind the end, "},
    {"{}}", "header: found at byte 10: more behind the end, "},
    {"{\"a\" 1}", "header: found at byte 13: no ':', "},
    {"{1: 1}", "header: found at byte 10: no name before the value, "},
    {"{,}", "header: found at byte 9: "},
    {"{{}: 1}", "header: found at byte 11: no name before the value, "},
    {"{}", "data_offsets: found tensors up to byte 10 of the file, expected 26, "},
    {"{\"a\": 1}", "a: found 1, expected an object "},
    {"{\"a\": {}}", "a: dtype: found nothing, "},
    {"{\"a\": {\"dtype\": \"F33\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "a: dtype: found \"F33\", expected one of BOOL, "},
    {"{\"a\": {\"dtype\": 32, \"shape\": [4], \"data_offsets\": [0, 16]}}", "a: dtype: found 32, "},
    {"{\"a\": {\"dtype\": \"F32\", \"data_offsets\": [0, 16]}}", "a: shape: found nothing, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": 4, \"data_offsets\": [0, 16]}}",
     "a: shape: found 4, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [-4], \"data_offsets\": [0, 16]}}",
     "a: shape: found size -4, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [-2, -2], \"data_offsets\": [0, 16]}}",
     "a: shape: found size -2, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4.0], \"data_offsets\": [0, 16]}}",
     "a: shape: found size 4.0, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [\"4\"], \"data_offsets\": [0, 16]}}",
     "a: shape: found size \"4\", "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [1,1,1,1,1,1,1,1,4], \"data_offsets\": [0, 16]}}",
     "a: shape: found a list of 9, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4294967296, 4294967296], \"data_offsets\": [0, "
     "16]}}",
     "a: shape: found sizes whose product is beyond 64 bits, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4611686018427387908], \"data_offsets\": [0, 16]}}",
     "a: shape: found sizes whose product is beyond 64 bits, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [9223372036854775808], \"data_offsets\": [0, 16]}}",
     "too big integer"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [0, 16]}}",
     "a: data_offsets: found 16 bytes, expected 12 "},
    {"{\"a\": {\"dtype\": \"F64\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "a: data_offsets: found 16 bytes, expected 32 "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4]}}", "a: data_offsets: found nothing, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0]}}",
     "a: data_offsets: found a list of 1, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16, 16]}}",
     "a: data_offsets: found a list of 3, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16.0]}}",
     "a: data_offsets: found a list of 2, expected a list of two integers"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [-16, 0]}}",
     "a: data_offsets: found -16 and 0, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [16, 0]}}",
     "a: data_offsets: found 16 and 0, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [5], \"data_offsets\": [0, 20]}}",
     "a: data_offsets: found 0 and 20, expected 0 <= begin <= end <= 16, "},
    {"{\"a\": {\"dtype\": \"U8\", \"shape\": [17], \"data_offsets\": [0, 17]}}",
     "a: data_offsets: found 0 and 17, expected 0 <= begin <= end <= 16, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [9223372036854775791, "
     "9223372036854775807]}}",
     "a: data_offsets: found 9223372036854775791 and 9223372036854775807, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]},"
     " \"a\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [16, 16]}}",
     "a: found two tensors of this name, expected one"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]},}",
     "header: found at byte 70: "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]} \"b\": {}}",
     "header: found at byte 70: no '}', "},
    {"{\"a\": {\"dtype\": \"F32\", \"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "duplicate object key"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [0, 12]}, \"b\": {\"dtype\": "
     "\"F32\", \"shape\": [2], \"data_offsets\": [8, 16]}}",
     "b: data_offsets: found begin 8, expected 12, where the tensor before it ends (the two "
     "overlap)"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}, \"b\": {\"dtype\": "
     "\"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "data_offsets: found begin 0, expected 16, where the tensor before it ends (the two overlap)"},
    {"{\"a\": " F32_4 "[0, 4]}, \"b\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8, "
     "16]}}",
     "b: data_offsets: found begin 8, expected 4, where the tensor before it ends (there is a "
     "hole)"},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [4, 16]}}",
     "a: data_offsets: found begin 4, expected 0, "},
    {"{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [0, 12]}}",
     "data_offsets: found tensors up to byte "},
    {"{\"__metadata__\": {}, \"__metadata__\": {}, \"a\": {\"dtype\": \"U8\", \"shape\": [16], "
     "\"data_offsets\": [0, 16]}}",
     "header: found at byte 47: a second __metadata__, "},
    {"{\"__metadata__\": 1, \"a\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, "
     "16]}}",
     "__metadata__: found 1, expected an object of strings"},
    {"{\"__metadata__\": {\"k\": 1}, \"a\": {\"dtype\": \"F32\", \"shape\": [4], "
     "\"data_offsets\": [0, 16]}}",
     "__metadata__: k: found 1, expected a string"},
    {"{\"a\\u0000b\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "header: found at byte 9: "},
    {"{\"\xff\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}}",
     "header: found at byte 9: "},
};

START_TEST(lying_header) {
    struct path dir = files_new();
    write_tensors(dir.text, single, lies[_i].header, "0123456789abcdef", 16);
    refuse_open(dir.text, single, lies[_i].words);
    files_remove(dir);
}
END_TEST

/* A shape of no dimensions is one element, a size of 0 none; every dtype that the format had. */
START_TEST(truthful_headers) {
    static const struct {
        const char *dtype;
        int bytes;
    } dtypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                  {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
                  {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
    struct path dir = files_new();
    struct weights *weights;
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        write_tensors(dir.text, single,
                      path_of("{\"a\": {\"dtype\": \"%s\", \"shape\": [%d], \"data_offsets\": [0, "
                              "16]}}",
                              dtypes[i].dtype, 16 / dtypes[i].bytes)
                          .text,
                      "0123456789abcdef", 16);
        weights = open_ok(dir.text);
        ck_assert_str_eq(weights_dtype(weights, "a"), dtypes[i].dtype);
        weights_close(&weights);
    }
    write_tensors(dir.text, single,
                  "{\"scalar\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [0, 4]},"
                  " \"none\": {\"dtype\": \"F32\", \"shape\": [9223372036854775807, 0],"
                  " \"data_offsets\": [4, 4]}}",
                  "\0\0\0\x40", 4);
    /* The product passes beyond 64 bits before the 0: refused, as the reference does. */
    refuse_open(dir.text, single, "none: shape: found sizes whose product is beyond 64 bits");
    write_tensors(dir.text, single,
                  "{\"scalar\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [0, 4]},"
                  " \"none\": {\"dtype\": \"F32\", \"shape\": [0, 3], \"data_offsets\": [4, 4]}}",
                  "\0\0\0\x40", 4);
    weights = open_ok(dir.text);
    float out = 0;
    ck_assert_int_eq(weights_read(weights, "scalar", range(0, 1), range(0, 0), &out), STATUS_OK);
    ck_assert_float_eq(out, 2);
    ck_assert_int_eq(weights_check(weights, "none", 0, 3), STATUS_OK);
    weights_close(&weights);
    write_tensors(dir.text, single, "{}", NULL, 0);
    weights = open_ok(dir.text);
    ck_assert(!weights_has(weights, "a"));
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

/* Thousands of tensors, metadata longer than any entry may be, and one entry that is too long. */
START_TEST(long_headers) {
    enum { COUNT = 3000, NOTE = 20000 };
    char *header = malloc(NOTE + COUNT * 100), *at = header;
    float data[COUNT];
    ck_assert_ptr_nonnull(header);
    at += sprintf(at, "{\"__metadata__\": {\"note\": \"");
    memset(at, '[', NOTE);
    at += NOTE;
    at += sprintf(at, "\"}");
    for (int i = 0; i < COUNT; i++) {
        data[i] = (float)i;
        at += sprintf(at,
                      ",\n\"%d\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [%d, %d]}",
                      i, 4 * i, 4 * i + 4);
    }
    strcpy(at, "}");
    struct path dir = files_new();
    write_tensors(dir.text, single, header, data, sizeof data);
    struct weights *weights = open_ok(dir.text);
    for (int i = 0; i < COUNT; i++) {
        float out = -1;
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        REQUIRE(weights_read(weights, name, range(0, 1), range(0, 0), &out) == STATUS_OK);
        REQUIRE(out == (float)i);
    }
    weights_close(&weights);

    at = header + sprintf(header, "{\"");
    memset(at, 'a', NOTE);
    strcpy(at + NOTE, "\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]}}");
    write_tensors(dir.text, single, header, NULL, 0);
    refuse_open(dir.text, single, "header: found at byte 9: ");
    files_remove(dir);
    free(header);
}
END_TEST

START_TEST(lying_length) {
    struct path dir = files_new();
    static const char header[] = "{\"a\": {\"dtype\": \"U8\", \"shape\": [6700], \"data_offsets\": "
                                 "[0, 6700]}}";
    static char data[6700];
    static const uint64_t lengths[] = {sizeof header + sizeof data, 999999,     1u << 31,
                                       UINT64_C(1) << 63,           UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len;
        char *bytes = assemble(lengths[i], header, data, sizeof data, &len);
        file_write(dir.text, single, bytes, len);
        free(bytes);
        refuse_open(dir.text, single,
                    path_of("header length: found %llu, expected at most %zu (the file has %zu "
                            "bytes); the file is cut or not a safetensors file",
                            (unsigned long long)lengths[i], len - 8, len)
                        .text);
    }
    /* Beyond the limit of the format, in a sparse file that would hold it. */
    size_t len;
    char *bytes = assemble(100000001, header, data, sizeof data, &len);
    file_write(dir.text, single, bytes, len);
    free(bytes);
    ck_assert_int_eq(truncate(path_of("%s/%s", dir.text, single).text, 200000000), 0);
    refuse_open(dir.text, single, "header length: found 100000001, expected at most 100000000, ");
    files_remove(dir);
}
END_TEST

/* A file cut at any byte is refused. */
START_TEST(cut_anywhere) {
    struct path dir = files_new(), file = path_of("%s/%s", dir.text, single);
    write_matrices(dir.text);
    size_t len;
    char *bytes = file_load(file.text, &len);
    for (size_t cut = 0; cut < len; cut++) {
        file_write(dir.text, single, bytes, cut);
        refuse_open(dir.text, single, "found ");
    }
    free(bytes);
    files_remove(dir);
}
END_TEST

START_TEST(deep_nesting) {
    enum { DEPTH = 1000000 };
    char *header = malloc(DEPTH + 16);
    ck_assert_ptr_nonnull(header);
    memcpy(header, "{\"a\": ", 6);
    memset(header + 6, '[', DEPTH);
    header[6 + DEPTH] = '\0';
    struct path dir = files_new();
    write_tensors(dir.text, single, header, NULL, 0);
    refuse_open(dir.text, single, "depth");
    files_remove(dir);
    free(header);
}
END_TEST

/* Any single byte of a header changed: parsed or refused with a message, never a crash; and what is
 * parsed lies within the file. */
START_TEST(changed_bytes) {
    struct path dir = files_new();
    write_matrices(dir.text);
    size_t len;
    char *bytes = file_load(path_of("%s/%s", dir.text, single).text, &len);
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 8) % (len - 324);
        char saved = bytes[at];
        bytes[at] = (char)(random >> 3);
        struct tensor_table table;
        status_adopt("");
        enum status status =
            tensor_table_parse("m/model.safetensors", bytes, (int64_t)len, (int64_t)len, &table);
        ck_assert((status == STATUS_OK) == (status_text()[0] == '\0'));
        for (int64_t i = 0; i < table.count; i++)
            ck_assert(table.tensors[i].begin >= 8 && table.tensors[i].end <= (int64_t)len);
        tensor_table_free(&table);
        bytes[at] = saved;
    }
    free(bytes);
    files_remove(dir);
}
END_TEST

START_TEST(no_file) {
    struct path dir = files_new();
    refuse_open(dir.text, dir.text,
                "found neither model.safetensors nor model.safetensors.index.json, ");
    ck_assert_int_eq(mkdir(path_of("%s/%s", dir.text, single).text, 0700), 0);
    refuse_open(dir.text, single, "found a directory, ");
    ck_assert_int_eq(rmdir(path_of("%s/%s", dir.text, single).text), 0);
    file_write(dir.text, single, "", 0);
    refuse_open(dir.text, single, "header length: found a file of 0 bytes, ");
    files_remove(dir);
}
END_TEST

/* Three files: the second holds a tensor that the index does not name. */
static void write_shards(const char *dir, const char *map) {
    static const float data[] = {1, 2, 3};
    write_tensors(dir, "one.safetensors", "{\"a\": " F32_4 "[0, 4]}, \"b\": " F32_4 "[4, 8]}}",
                  data, 8);
    write_tensors(dir, "two.safetensors", "{\"c\": " F32_4 "[0, 4]}, \"a\": " F32_4 "[4, 8]}}",
                  data + 1, 8);
    file_write_text(dir, index_name,
                    path_of("{\"metadata\": {\"total_size\": 12}, \"weight_map\": %s}", map).text);
}

START_TEST(many_files) {
    struct path dir = files_new();
    write_shards(dir.text, "{\"c\": \"two.safetensors\", \"b\": \"one.safetensors\","
                           " \"a\": \"one.safetensors\"}");
    struct weights *weights = open_ok(dir.text);
    float a = 0, b = 0, c = 0;
    ck_assert_int_eq(weights_read(weights, "a", range(0, 1), range(0, 0), &a), STATUS_OK);
    ck_assert_int_eq(weights_read(weights, "b", range(0, 1), range(0, 0), &b), STATUS_OK);
    ck_assert_int_eq(weights_read(weights, "c", range(0, 1), range(0, 0), &c), STATUS_OK);
    ck_assert_float_eq(a, 1);
    ck_assert_float_eq(b, 2);
    ck_assert_float_eq(c, 2);
    ck_assert_int_eq(weights_bytes_read(weights), 12);
    ck_assert_int_eq(weights_bytes_total(weights), 16);
    check_refusal(weights_check(weights, "d", 1, 0), index_name, "d: found nothing, ");
    check_refusal(weights_check(weights, "c", 2, 0), "/two.safetensors",
                  "c: found shape [1], expected [2] ");
    weights_close(&weights);
    files_remove(dir);
}
END_TEST

START_TEST(lying_index) {
    static const struct {
        const char *map, *words;
    } cases[] = {
        {"{\"a\": \"../one.safetensors\"}", "index.json: a: found \"../one.safetensors\", "},
        {"{\"a\": \"..\"}", "index.json: a: found \"..\", "},
        {"{\"a\": \".\"}", "index.json: a: found \".\", "},
        {"{\"a\": \"\"}", "index.json: a: found \"\", "},
        {"{\"a\": \"/etc/passwd\"}", "index.json: a: found \"/etc/passwd\", "},
        {"{\"a\": \"one.safetensors\\u0000\"}", "index.json: a: found \"one.safetensors\", "},
        {"{\"a\": 1}", "index.json: a: found 1, "},
        {"{\"a\": null}", "index.json: a: found null, "},
        {"[]", "index.json: weight_map: found a list of 0, "},
        {"null", "index.json: weight_map: found null, "},
        {"{\"a\": \"three.safetensors\"}", "/three.safetensors: found No such file "},
        {"{\"b\": \"two.safetensors\"}",
         "index.json: b: found two.safetensors, which has no such tensor, "},
        {"{\"a\": \"one.safetensors\", \"a\": \"two.safetensors\"}", "duplicate object key"},
        {"{\"a\": \"one.safetensors\", \"c\": \"model.safetensors.index.json\"}",
         "index.json: header length: found "},
    };
    struct path dir = files_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_shards(dir.text, cases[i].map);
        refuse_open(dir.text, dir.text, cases[i].words);
    }
    file_write_text(dir.text, index_name, "{}");
    refuse_open(dir.text, index_name, "weight_map: found nothing, ");
    file_write_text(dir.text, index_name, "{\"weight_map\": {\"a\": \"one.safe");
    refuse_open(dir.text, index_name, "found at line 1, ");
    files_remove(dir);
}
END_TEST

/* Every tensor that a Llama-type model of these golden directories must have. */
START_TEST(golden_directories) {
    static const struct {
        const char *name, *dtype;
        int64_t kv_rows;
        bool head;
    } cases[] = {{"llama", "F32", 32, true},
                 {"llama-bf16", "BF16", 16, true},
                 {"llama3", "F32", 8, false},
                 {"llama3-oldconfig", "F32", 8, false},
                 {"mistral", "F32", 16, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weights *weights = open_ok(fixture(path_of("golden/%s", cases[i].name).text).text);
        ck_assert_int_eq(weights_check(weights, "model.embed_tokens.weight", 64, 32), STATUS_OK);
        ck_assert_int_eq(weights_check(weights, "model.norm.weight", 32, 0), STATUS_OK);
        ck_assert_int_eq(
            weights_check(weights, "model.layers.1.self_attn.v_proj.weight", cases[i].kv_rows, 32),
            STATUS_OK);
        ck_assert_int_eq(weights_check(weights, "model.layers.0.mlp.down_proj.weight", 32, 26),
                         STATUS_OK);
        ck_assert(weights_has(weights, "lm_head.weight") == cases[i].head);
        ck_assert_str_eq(weights_dtype(weights, "model.norm.weight"), cases[i].dtype);
        /* All tensors by the formula of the family, of 4 or 2 bytes each. */
        int64_t layer = 2 * 32 + 2 * 32 * 32 + 2 * cases[i].kv_rows * 32 + 3 * 26 * 32;
        int64_t all = 2 * layer + 32 + (cases[i].head ? 2 : 1) * 64 * 32;
        ck_assert_int_eq(weights_bytes_total(weights),
                         all * (strcmp(cases[i].dtype, "F32") == 0 ? 4 : 2));
        weights_close(&weights);
    }
}
END_TEST

/* The same model in one file and in two, by another project: the same tensors. */
START_TEST(shared_shards) {
    static const char source[] = "models/neural-api-tiny-hf";
    static const char *const shards[] = {"tiny_llama-00001-of-00002.safetensors",
                                         "tiny_llama-00002-of-00002.safetensors"};
    struct path root;
    if (!shared(source, &root))
        return;
    struct path whole = files_new(), split = files_new();
    file_copy(path_of("%s/tiny_llama.safetensors", root.text).text, whole.text, single);
    for (int i = 0; i < 2; i++)
        file_copy(path_of("%s/%s", root.text, shards[i]).text, split.text, shards[i]);
    file_copy(path_of("%s/tiny_llama.safetensors.index.json", root.text).text, split.text,
              index_name);
    struct weights *a = open_ok(whole.text), *b = open_ok(split.text);
    ck_assert_int_eq(weights_bytes_total(a), weights_bytes_total(b));

    json_t *index;
    const char *name;
    json_t *file;
    ck_assert_int_eq(json_read(path_of("%s/%s", split.text, index_name).text, 1 << 20, &index),
                     STATUS_OK);
    json_object_foreach(json_object_get(index, "weight_map"), name, file) {
        float x[2 * 12], y[2 * 12];
        bool vector = strstr(name, "norm") || strstr(name, "inv_freq");
        struct range rows = range(0, 2), cols = range(0, strstr(name, "down_proj") ? 12 : 8);
        ck_assert_msg(weights_read(a, name, rows, cols, x) == STATUS_OK, "%s", status_text());
        ck_assert_msg(weights_read(b, name, rows, cols, y) == STATUS_OK, "%s", status_text());
        size_t count = (size_t)(vector ? 2 : 2 * cols.count);
        ck_assert_msg(memcmp(x, y, count * sizeof *x) == 0, "%s differs", name);
    }
    json_decref(index);
    weights_close(&a);
    weights_close(&b);
    files_remove(whole);
    files_remove(split);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("weights");
    suite_add(suite, "weights",
              (const TTest *const[]){every_slice, checks, every_half, every_rounding, large_slices,
                                     cut_after_opening, truthful_headers, long_headers,
                                     lying_length, cut_anywhere, deep_nesting, changed_bytes,
                                     no_file, many_files, lying_index, golden_directories,
                                     shared_shards, NULL});
    TCase *headers = tcase_create("lying headers");
    tcase_add_loop_test(headers, lying_header, 0, (int)(sizeof lies / sizeof lies[0]));
    suite_add_tcase(suite, headers);
    return suite_run(suite);
}
