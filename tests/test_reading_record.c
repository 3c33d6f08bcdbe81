/* Commit records: whatever single byte of them is wrong, a valid commit is found and the damage
 * noticed; the newest valid one counts. */
#include "dist/reading_format.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES 128
#define COPY_BYTES (READING_SLOT_BYTES / 2)

static struct reading_header header_of(int64_t group) {
    struct reading_header h = {
        .layers = 2, .kv_heads = 2, .head_dim = 8, .group = group, .chunk = 64, .capacity = 1000};
    strcpy(h.kv, "f32");
    return h;
}

static struct reading_commit commit_of(int64_t sequence) {
    return (struct reading_commit){.sequence = sequence,
                                   .tokens = 100 * sequence,
                                   .known = 100 * sequence + 1,
                                   .time = 1000000 + sequence,
                                   .mesh = {1, 2, 3}};
}

static void put(unsigned char slots[READING_COMMIT_BYTES], const struct reading_header *h,
                int64_t sequence) {
    struct reading_commit commit = commit_of(sequence);
    reading_commit_encode(h, &commit, slots + sequence % 2 * READING_SLOT_BYTES);
}

static enum status choose(const struct reading_header *h,
                          const unsigned char slots[READING_COMMIT_BYTES],
                          struct reading_commit *commit, int *damaged) {
    return reading_commit_choose("book.h5", h, slots, commit, damaged);
}

static void ck_same(const struct reading_commit *a, int64_t sequence) {
    struct reading_commit b = commit_of(sequence);
    ck_assert_int_eq(a->sequence, b.sequence);
    ck_assert_int_eq(a->tokens, b.tokens);
    ck_assert_int_eq(a->known, b.known);
    ck_assert_int_eq(a->time, b.time);
    ck_assert_int_eq(a->mesh.pp, b.mesh.pp);
    ck_assert_int_eq(a->mesh.tp, b.mesh.tp);
    ck_assert_int_eq(a->mesh.sp, b.mesh.sp);
}

START_TEST(newest) {
    unsigned char slots[READING_COMMIT_BYTES] = {0};
    struct reading_header h = header_of(4);
    struct reading_commit commit;
    int damaged;
    ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_OK);
    ck_assert_int_eq(commit.sequence, 0);
    ck_assert_int_eq(damaged, 0);
    for (int64_t sequence = 1; sequence < 8; sequence++) {
        put(slots, &h, sequence);
        ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_OK);
        ck_same(&commit, sequence);
        ck_assert_int_eq(damaged, 0);
    }
}
END_TEST

/* In each copy of each slot, each byte, one bit. */
START_TEST(one_wrong_byte) {
    unsigned char slots[READING_COMMIT_BYTES] = {0};
    struct reading_header h = header_of(4);
    put(slots, &h, 3);
    put(slots, &h, 4);
    for (int copy = 0; copy < 4; copy++)
        for (int byte = 0; byte < RECORD_BYTES; byte++) {
            struct reading_commit commit;
            int damaged, at = copy * COPY_BYTES + byte;
            slots[at] ^= (unsigned char)(1 << byte % 8);
            ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_OK);
            ck_same(&commit, 4);
            ck_assert_int_eq(damaged, 1);
            slots[at] ^= (unsigned char)(1 << byte % 8);
        }
}
END_TEST

/* The newest record in both copies: the commit before counts. Without one there is damage, but for
 * a first record that was never whole. */
START_TEST(lost_record) {
    unsigned char slots[READING_COMMIT_BYTES] = {0};
    struct reading_header h = header_of(4);
    struct reading_commit commit;
    int damaged;
    put(slots, &h, 4);
    put(slots, &h, 5);
    memset(slots + READING_SLOT_BYTES, 0xff, READING_SLOT_BYTES);
    ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_OK);
    ck_same(&commit, 4);
    ck_assert_int_eq(damaged, 2);
    memset(slots, 0xff, READING_SLOT_BYTES);
    ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_FAILED);

    for (size_t written = 1; written < RECORD_BYTES; written++) {
        memset(slots, 0, sizeof slots);
        put(slots, &h, 1);
        memset(slots + READING_SLOT_BYTES + written, 0, READING_SLOT_BYTES - written);
        ck_assert_int_eq(choose(&h, slots, &commit, &damaged), STATUS_OK);
        ck_assert_int_eq(commit.sequence, 0);
    }
}
END_TEST

START_TEST(other_attributes) {
    unsigned char slots[READING_COMMIT_BYTES] = {0};
    struct reading_header h = header_of(4), other = header_of(5);
    struct reading_commit commit;
    int damaged;
    put(slots, &h, 1);
    ck_assert_int_eq(choose(&other, slots, &commit, &damaged), STATUS_FAILED);
    ck_assert_ptr_nonnull(strstr(status_text(), "attributes"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reading_record");
    TCase *tcase = tcase_create("reading_record");
    tcase_add_test(tcase, newest);
    tcase_add_test(tcase, one_wrong_byte);
    tcase_add_test(tcase, lost_record);
    tcase_add_test(tcase, other_attributes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
