#include "launch/stream.h"
#include "tests/testing.h"

/* What came of some pieces of text: printed when the last piece was in, printed and kept at the
 * end, and the piece after which a stop text was complete (-1: none). */
struct outcome {
    char before_end[64], printed[64], kept[64];
    int stopped_after;
};

static struct outcome run(const char *const *pieces, const char *const *stops) {
    struct outcome out = {.stopped_after = -1};
    struct stream stream;
    int64_t stop_count = 0;
    FILE *file = fmemopen(out.printed, sizeof out.printed, "w");
    ck_assert_ptr_nonnull(file);
    while (stops[stop_count])
        stop_count++;
    stream_open(file, stops, stop_count, &stream);
    for (int i = 0; pieces[i] && out.stopped_after < 0; i++) {
        ck_assert_int_eq(stream_put(&stream, pieces[i], (int64_t)strlen(pieces[i])), STATUS_OK);
        if (stream.stopped)
            out.stopped_after = i;
    }
    strcpy(out.before_end, out.printed);
    ck_assert_int_eq(stream_end(&stream), STATUS_OK);
    ck_assert_int_lt(stream.len, (int64_t)sizeof out.kept);
    if (stream.len)
        memcpy(out.kept, stream.text, (size_t)stream.len);
    stream_close(&stream);
    fclose(file);
    return out;
}

#define LIST(...)                                                                                  \
    (const char *const[]) {                                                                        \
        __VA_ARGS__, NULL                                                                          \
    }

static void check(struct outcome out, const char *before_end, const char *whole, int stopped) {
    ck_assert_str_eq(out.before_end, before_end);
    ck_assert_str_eq(out.printed, whole);
    ck_assert_str_eq(out.kept, whole);
    ck_assert_int_eq(out.stopped_after, stopped);
}

START_TEST(no_stops) {
    check(run(LIST("one", "", " two"), LIST(NULL)), "one two", "one two", -1);
    check(run(LIST(""), LIST(NULL)), "", "", -1);
}
END_TEST

START_TEST(stop_in_a_piece) {
    check(run(LIST("one two three"), LIST("two")), "one ", "one ", 0);
    check(run(LIST("END"), LIST("END")), "", "", 0);
}
END_TEST

START_TEST(stop_over_pieces) {
    check(run(LIST("say E", "N", "D now", "more"), LIST("END")), "say ", "say ", 2);
    check(run(LIST("a", "a", "a", "b"), LIST("aab")), "a", "a", 3);
}
END_TEST

/* What could become a stop text waits, and comes out when it does not. */
START_TEST(held_back) {
    check(run(LIST("say EN"), LIST("END")), "say ", "say EN", -1);
    check(run(LIST("say EN", "E"), LIST("END")), "say EN", "say ENE", -1);
    check(run(LIST("xab"), LIST("abc", "bcd")), "x", "xab", -1);
}
END_TEST

/* The first in the text counts, not the first on the command line. */
START_TEST(several_stops) {
    check(run(LIST("one two three"), LIST("three", "two")), "one ", "one ", 0);
    check(run(LIST("one two"), LIST("two", "one two")), "", "", 0);
}
END_TEST

START_TEST(silent) {
    struct stream stream;
    stream_open(NULL, LIST("b"), 1, &stream);
    ck_assert_int_eq(stream_put(&stream, "ab", 2), STATUS_OK);
    ck_assert(stream.stopped);
    ck_assert_int_eq(stream.len, 1);
    stream_close(&stream);
}
END_TEST

START_TEST(no_room) {
    FILE *full = fopen("/dev/full", "w");
    struct stream stream;
    ck_assert_ptr_nonnull(full);
    stream_open(full, NULL, 0, &stream);
    ck_assert_int_eq(stream_put(&stream, "text", 4), STATUS_FAILED);
    ck_assert_ptr_nonnull(strstr(status_text(), "standard output"));
    stream_close(&stream);
    fclose(full);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {no_stops,      stop_in_a_piece, stop_over_pieces, held_back,
                                  several_stops, silent,          no_room,          NULL};
    Suite *suite = suite_create("stream");
    suite_add(suite, "stream", tests);
    return suite_run(suite);
}
