/* What the suites share: the program around a suite, a temporary directory of the test's own, what
 * is written there, and where the fixtures stand. All of it asserts, so a test reads on without
 * checks. */
#ifndef QUIRE_TESTS_TESTING_H
#define QUIRE_TESTS_TESTING_H

#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For inner loops: Check writes a record of every assertion of its own that it passes. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)

/* Adds a case of these tests, NULL behind the last. */
static inline void suite_add(Suite *suite, const char *name, const TTest *const *tests) {
    TCase *cases = tcase_create(name);
    for (; *tests; tests++)
        tcase_add_test(cases, *tests);
    suite_add_tcase(suite, cases);
}

/* Runs and frees a suite; what main returns. */
static inline int suite_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

struct path {
    char text[1024];
};

static inline struct path path_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline struct path path_of(const char *format, ...) {
    struct path path;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(path.text, sizeof path.text, format, args);
    va_end(args);
    ck_assert_int_lt(len, (int)sizeof path.text);
    return path;
}

/* A new directory; files_remove deletes it with all that is in it. */
static inline struct path files_new(void) {
    const char *parent = getenv("TMPDIR");
    struct path path = path_of("%s/quire-test-XXXXXX", parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path.text));
    return path;
}

static inline int files_remove_one(const char *path, const struct stat *info, int type,
                                   struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void files_remove(struct path dir) {
    ck_assert_int_eq(nftw(dir.text, files_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void file_write(const char *dir, const char *name, const void *bytes, size_t len) {
    FILE *file = fopen(path_of("%s/%s", dir, name).text, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void file_write_text(const char *dir, const char *name, const char *text) {
    file_write(dir, name, text, strlen(text));
}

/* The whole file, owned by the caller, one NUL byte behind it. */
static inline char *file_load(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*len + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *len, file), *len);
    bytes[*len] = '\0';
    fclose(file);
    return bytes;
}

static inline void file_copy(const char *from, const char *dir, const char *name) {
    size_t len;
    char *bytes = file_load(from, &len);
    file_write(dir, name, bytes, len);
    free(bytes);
}

/* A fixture committed with the tests. */
static inline struct path fixture(const char *name) {
    return path_of("%s/tests/%s", QUIRE_SOURCE_DIR, name);
}

/* A file of the shared data; false, with a visible line, where that is not there. */
static inline bool shared(const char *name, struct path *path) {
    const char *root = getenv("QUIRE_SHARED");
    *path =
        root ? path_of("%s/%s", root, name) : path_of("%s/../shared/%s", QUIRE_SOURCE_DIR, name);
    if (access(path->text, R_OK) == 0)
        return true;
    printf("SKIP: %s (no shared data)\n", name);
    return false;
}

#endif
