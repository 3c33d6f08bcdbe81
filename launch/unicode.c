#include "launch/unicode.h"

#include "launch/tokenizer.h"
#include <string.h>
#include <utf8proc.h>

int unicode_encode(int32_t point, char bytes[4]) {
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    bytes[0] = (char)(0xf0 | point >> 18);
    bytes[1] = (char)(0x80 | (point >> 12 & 0x3f));
    bytes[2] = (char)(0x80 | (point >> 6 & 0x3f));
    bytes[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

/* The second byte decides over overlong forms, surrogates and what lies beyond U+10FFFF (table 3-7
 * of the Unicode Standard). */
static bool second_byte_fits(unsigned char first, unsigned char second) {
    switch (first) {
    case 0xe0:
        return second >= 0xa0 && second <= 0xbf;
    case 0xed:
        return second >= 0x80 && second <= 0x9f;
    case 0xf0:
        return second >= 0x90 && second <= 0xbf;
    case 0xf4:
        return second >= 0x80 && second <= 0x8f;
    default:
        return second >= 0x80 && second <= 0xbf;
    }
}

int unicode_scan(const char *bytes, int64_t len) {
    const unsigned char *byte = (const unsigned char *)bytes;
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] < 0xc2 || byte[0] > 0xf4)
        return -1;
    int length = unicode_length(byte[0]);
    if (len < 2)
        return 0;
    if (!second_byte_fits(byte[0], byte[1]))
        return -1;
    for (int i = 2; i < length; i++) {
        if (i >= len)
            return 0;
        if ((byte[i] & 0xc0) != 0x80)
            return -i;
    }
    return length;
}

int64_t text_valid_utf8(const char *text, int64_t len) {
    int64_t at = 0;
    while (at < len) {
        /* Eight ASCII bytes at a time. */
        uint64_t word;
        if (at + (int64_t)sizeof word <= len) {
            memcpy(&word, text + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        int length = unicode_scan(text + at, len - at);
        if (length <= 0)
            return at;
        at += length;
    }
    return len;
}

bool unicode_is_space(int32_t point) {
    return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

static const char *category(int32_t point) {
    if (utf8proc_category(point) != UTF8PROC_CATEGORY_CN)
        return utf8proc_category_string(point);
    for (int i = 0; i < unicode_newer_count; i++)
        if (point >= unicode_newer[i].first && point <= unicode_newer[i].last)
            return unicode_newer[i].category;
    return "Cn";
}

bool unicode_is_word(int32_t point) {
    const char *name = category(point);
    /* Alphabetic beyond the letters and marks: letter numbers and the letters in circles, squares
     * and the like, which are symbols (PropList.txt, Other_Alphabetic). */
    return name[0] == 'L' || name[0] == 'M' || !strcmp(name, "Nd") || !strcmp(name, "Nl") ||
           !strcmp(name, "Pc") || point == 0x200c || point == 0x200d ||
           (point >= 0x24b6 && point <= 0x24e9) || (point >= 0x1f130 && point <= 0x1f149) ||
           (point >= 0x1f150 && point <= 0x1f169) || (point >= 0x1f170 && point <= 0x1f189);
}

bool unicode_is_number(int32_t point) {
    /* The reference asks Rust's standard library here, which has Unicode 17's two additions. */
    return category(point)[0] == 'N' || (point >= 0x11de0 && point <= 0x11de9) ||
           (point >= 0x16ff4 && point <= 0x16ff6);
}

/* Lower case of Unicode 16 and 17's own capitals. */
static int32_t newer_lower(int32_t point) {
    static const int32_t pairs[][2] = {{0x1c89, 0x1c8a}, {0xa7cb, 0x0264}, {0xa7cc, 0xa7cd},
                                       {0xa7ce, 0xa7cf}, {0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d5},
                                       {0xa7da, 0xa7db}, {0xa7dc, 0x019b}};
    for (int i = 0; i < (int)(sizeof pairs / sizeof *pairs); i++)
        if (pairs[i][0] == point)
            return pairs[i][1];
    if (point >= 0x10d50 && point <= 0x10d65)
        return point + 0x20;
    if (point >= 0x16ea0 && point <= 0x16eb8)
        return point + 0x1b;
    return point;
}

int unicode_lower(int32_t point, int32_t points[3]) {
    if (point == 0x130) { /* the only one with two characters: i and a dot above */
        points[0] = 'i';
        points[1] = 0x307;
        return 2;
    }
    points[0] = newer_lower(utf8proc_tolower(point));
    return 1;
}
