/* Characters: UTF-8 and the properties of code points that tokenizers ask about. The properties are
 * those of Unicode 16, which the reference tokenizers have: libutf8proc and PCRE2 know 15 and 14,
 * and a table here adds what came later. */
#ifndef QUIRE_LAUNCH_UNICODE_H
#define QUIRE_LAUNCH_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the character that begins with this byte, 1 to 4; 1 for bytes that begin none. */
static inline int unicode_length(unsigned char first) {
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The code point at text, which is valid UTF-8, and its bytes in *length. */
static inline int32_t unicode_decode(const char *text, int *length) {
    const unsigned char *byte = (const unsigned char *)text;
    *length = unicode_length(byte[0]);
    switch (*length) {
    case 1:
        return byte[0];
    case 2:
        return (byte[0] & 0x1f) << 6 | (byte[1] & 0x3f);
    case 3:
        return (byte[0] & 0x0f) << 12 | (byte[1] & 0x3f) << 6 | (byte[2] & 0x3f);
    default:
        return (byte[0] & 0x07) << 18 | (byte[1] & 0x3f) << 12 | (byte[2] & 0x3f) << 6 |
               (byte[3] & 0x3f);
    }
}

/* Writes a code point as 1 to 4 bytes and returns their number. */
int unicode_encode(int32_t point, char bytes[4]);

/* Looks at the front of bytes that may be anything [len >= 1]: the length of a whole valid
 * character; 0 when they are the beginning of one that needs more bytes; or minus the number of
 * bytes that belong together as one invalid piece (the longest beginning of a valid character, at
 * least 1). */
int unicode_scan(const char *bytes, int64_t len);

/* White_Space, as the reference trims and matches it. */
bool unicode_is_space(int32_t point);

/* A character of a word: letters, marks, decimal digits, connectors, joiners. */
bool unicode_is_word(int32_t point);

/* Any kind of number (Nd, Nl, No). */
bool unicode_is_number(int32_t point);

/* Full lower case of one character, without context, in points; returns their number. */
int unicode_lower(int32_t point, int32_t points[3]);

/* Characters assigned by Unicode 15, 15.1 and 16, by general category. */
struct unicode_range {
    int32_t first, last;
    char category[3];
};
extern const struct unicode_range unicode_newer[];
extern const int unicode_newer_count;

#endif
