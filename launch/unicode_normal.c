#include "launch/unicode_normal.h"

#include "launch/unicode.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The characters that belong together: one that nothing before it can join, and what follows up to
 * the next such. */
struct group {
    int32_t *points; /* [count] decomposed; has_room for capacity */
    int64_t count, capacity;
    int32_t *sorted; /* [count] room for reordering */
    int64_t sorted_capacity;
};

static bool is_inert(int32_t point) {
    int low = 0, high = unicode_inert_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (point > unicode_inert[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < unicode_inert_count && point >= unicode_inert[low].first;
}

static int combining_class(int32_t point) {
    return is_inert(point) ? 0 : utf8proc_get_property(point)->combining_class;
}

/* Characters of class 0 that a composition may take second (DerivedNormalizationProps.txt,
 * NFC_QC=Maybe), Hangul vowels and final consonants among them. */
static bool joins_before(int32_t point) {
    static const int32_t second[] = {0x09be,  0x09d7,  0x0b3e,  0x0b56,  0x0b57,  0x0bbe,
                                     0x0bd7,  0x0cc2,  0x0cd5,  0x0cd6,  0x0d3e,  0x0d57,
                                     0x0dcf,  0x0ddf,  0x102e,  0x1b35,  0x11127, 0x1133e,
                                     0x11357, 0x114b0, 0x114ba, 0x114bd, 0x115af};
    if ((point >= 0x1161 && point <= 0x1175) || (point >= 0x11a8 && point <= 0x11c2))
        return true;
    for (int i = 0; i < (int)(sizeof second / sizeof *second); i++)
        if (second[i] == point)
            return true;
    return false;
}

/* Below this every character stands for itself and nothing before it can join it. */
static int32_t stable_below(enum unicode_form form) {
    return form == UNICODE_NFC ? 0x300 : form == UNICODE_NFD ? 0xc0 : 0xa0;
}

/* Decomposes one character, fully, into points; returns their number (the longest has 18). */
static int decompose(enum unicode_form form, int32_t point, int32_t points[32]) {
    points[0] = point;
    if (is_inert(point))
        return 1;
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == UNICODE_NFKC || form == UNICODE_NFKD)
        options |= UTF8PROC_COMPAT;
    int boundary = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char(point, points, 32, options, &boundary);
    if (count < 1 || count > 32) {
        points[0] = point;
        return 1;
    }
    return (int)count;
}

/* Sorts marks by combining class, keeping the order within a class: by counting, since a run may be
 * as long as the text. */
static enum status sort_marks(struct group *group, int64_t begin, int64_t end) {
    int64_t first[257] = {0};
    TRY(array_reserve(&group->sorted, &group->sorted_capacity, end - begin, sizeof *group->sorted));
    for (int64_t i = begin; i < end; i++)
        first[combining_class(group->points[i]) + 1]++;
    for (int i = 0; i < 256; i++)
        first[i + 1] += first[i];
    for (int64_t i = begin; i < end; i++)
        group->sorted[first[combining_class(group->points[i])]++] = group->points[i];
    memcpy(group->points + begin, group->sorted, (size_t)(end - begin) * sizeof *group->sorted);
    return STATUS_OK;
}

static enum status reorder(struct group *group) {
    for (int64_t i = 0; i < group->count;) {
        int64_t end = i;
        while (end < group->count && combining_class(group->points[end]) > 0)
            end++;
        if (end - i > 1)
            TRY(sort_marks(group, i, end));
        i = end > i ? end : i + 1;
    }
    return STATUS_OK;
}

/* Reads the group that begins at text[at] and returns its end. */
static enum status group_read(enum unicode_form form, const char *text, int64_t len, int64_t at,
                              struct group *group, int64_t *end) {
    group->count = 0;
    *end = at;
    while (*end < len) {
        int length;
        int32_t point = unicode_decode(text + *end, &length), points[32];
        int count = decompose(form, point, points);
        if (*end > at && (point < stable_below(form) ||
                          (combining_class(points[0]) == 0 && !joins_before(points[0]))))
            return STATUS_OK;
        TRY(array_reserve(&group->points, &group->capacity, group->count + count,
                          sizeof *group->points));
        memcpy(group->points + group->count, points, (size_t)count * sizeof *points);
        group->count += count;
        *end += length;
    }
    return STATUS_OK;
}

static bool is_unchanged(const char *text, int64_t len, const struct group *group) {
    int64_t at = 0, i = 0;
    int length;
    for (; at < len && i < group->count; at += length, i++)
        if (unicode_decode(text + at, &length) != group->points[i])
            return false;
    return at == len && i == group->count;
}

static enum status group_write(enum unicode_form form, const char *text, const int64_t *origin,
                               int64_t at, int64_t end, struct group *group, struct pieces *out) {
    TRY(reorder(group));
    if (form == UNICODE_NFC || form == UNICODE_NFKC) {
        utf8proc_ssize_t count = utf8proc_normalize_utf32(group->points, group->count,
                                                          UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (count >= 0)
            group->count = count;
    }
    if (is_unchanged(text + at, end - at, group))
        return pieces_put(out, text + at, end - at, origin + at);
    for (int64_t i = 0; i < group->count; i++) {
        char bytes[4];
        TRY(pieces_put_from(out, bytes, unicode_encode(group->points[i], bytes), origin[at]));
    }
    return STATUS_OK;
}

enum status unicode_normalize(enum unicode_form form, const char *text, const int64_t *origin,
                              int64_t len, struct pieces *out) {
    struct group group = {0};
    enum status status = STATUS_OK;
    for (int64_t at = 0; at < len;) {
        /* Plain characters, but for the last of a run, which a mark may follow. */
        int64_t end = at, before = at;
        while (end < len) {
            int length;
            if (unicode_decode(text + end, &length) >= stable_below(form))
                break;
            before = end;
            end += length;
        }
        int64_t plain = end == len ? end : before;
        TRY_TO(done, pieces_put(out, text + at, plain - at, origin + at));
        if (plain == len)
            break;
        TRY_TO(done, group_read(form, text, len, plain, &group, &end));
        TRY_TO(done, group_write(form, text, origin, plain, end, &group, out));
        at = end;
    }
done:
    free(group.points);
    free(group.sorted);
    return status;
}
