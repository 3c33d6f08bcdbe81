#include "partition/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char message[STATUS_TEXT_MAX];

/* Control characters of a hostile file name or field must not break the one line. */
static void make_one_line(char *text) {
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static void put(const char *file, const char *field, const char *format, va_list args) {
    char body[STATUS_TEXT_MAX];
    vsnprintf(body, sizeof body, format, args);
    char whole[3 * STATUS_TEXT_MAX];
    if (field)
        snprintf(whole, sizeof whole, "%s: %s: %s", file, field, body);
    else
        snprintf(whole, sizeof whole, "%s: %s", file, body);
    status_adopt(whole);
}

enum status status_fail(const char *file, const char *field, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put(file, field, format, args);
    va_end(args);
    return STATUS_FAILED;
}

enum status status_usage(const char *option, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put(option, NULL, format, args);
    va_end(args);
    return STATUS_USAGE;
}

enum status status_no_memory(const char *what, long long bytes) {
    return status_fail("memory", what,
                       "found no room for %lld bytes, expected enough; use more ranks or nodes",
                       bytes);
}

const char *status_text(void) {
    return message;
}

void status_adopt(const char *text) {
    size_t len = strnlen(text, sizeof message - 1);
    memmove(message, text, len);
    message[len] = '\0';
    make_one_line(message);
}
