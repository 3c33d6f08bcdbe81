#include "partition/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char remedy[] = "restore the file as it was published";

enum status json_parse(const char *path, const char *text, int64_t len, json_t **root) {
    json_error_t error;
    *root = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!*root)
        return status_fail(path, NULL,
                           "found at line %d, column %d: %s, expected well-formed JSON; %s",
                           error.line, error.column, error.text, remedy);
    return STATUS_OK;
}

enum status json_parse_object(const char *path, const char *text, int64_t len, json_t **root) {
    TRY(json_parse(path, text, len, root));
    if (!json_is_object(*root)) {
        struct json_words found = json_words(*root);
        json_decref(*root);
        *root = NULL;
        return status_fail(path, NULL, "found %s, expected an object; %s", found.text, remedy);
    }
    return STATUS_OK;
}

enum status json_read(const char *path, int64_t max_bytes, json_t **root) {
    char *text;
    int64_t len;
    *root = NULL;
    TRY(file_read(path, max_bytes, &text, &len));
    enum status status = json_parse_object(path, text, len, root);
    free(text);
    return status;
}

/* A string in quotes, shortened to whole UTF-8 characters where it is long. */
static struct json_words string_words(const char *string) {
    struct json_words words;
    int most = (int)sizeof words.text - (int)sizeof "\"...\"";
    int len = (int)strnlen(string, (size_t)most + 1);
    bool cut = len > most;
    if (cut)
        for (len = most; len > 0 && ((unsigned char)string[len] & 0xc0) == 0x80;)
            len--;
    snprintf(words.text, sizeof words.text, "\"%.*s%s\"", len, string, cut ? "..." : "");
    return words;
}

struct json_words json_words(const json_t *value) {
    struct json_words words = {.text = "nothing"};
    size_t size = sizeof words.text;
    if (json_is_object(value)) {
        snprintf(words.text, size, "an object with %zu fields", json_object_size(value));
    } else if (json_is_array(value)) {
        snprintf(words.text, size, "a list of %zu", json_array_size(value));
    } else if (json_is_string(value)) {
        return string_words(json_string_value(value));
    } else if (value) {
        size_t len = json_dumpb(value, words.text, size, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        words.text[len < size ? len : size - 1] = '\0';
    }
    return words;
}

static const json_t *present(const json_t *value) {
    return json_is_null(value) ? NULL : value;
}

enum status json_field(const char *path, const json_t *object, const char *key,
                       const json_t **value) {
    const char *dot = strchr(key, '.');
    *value = NULL;
    while (dot) {
        size_t len = (size_t)(dot - key);
        char name[128];
        if (len >= sizeof name)
            return STATUS_OK;
        memcpy(name, key, len);
        name[len] = '\0';
        object = present(json_object_get(object, name));
        if (!object)
            return STATUS_OK;
        if (!json_is_object(object))
            return status_fail(path, name, "found %s, expected an object; %s",
                               json_words(object).text, remedy);
        key = dot + 1;
        dot = strchr(key, '.');
    }
    *value = present(json_object_get(object, key));
    return STATUS_OK;
}

/* json_field, and the refusal of what is absent but required. */
static enum status find(const char *path, const json_t *object, const char *key, bool required,
                        const char *expected, const json_t **value) {
    TRY(json_field(path, object, key, value));
    if (!*value && required)
        return status_fail(path, key, "found nothing, expected %s; %s", expected, remedy);
    return STATUS_OK;
}

static enum status refuse(const char *path, const char *key, const json_t *value,
                          const char *expected) {
    return status_fail(path, key, "found %s, expected %s; %s", json_words(value).text, expected,
                       remedy);
}

enum status json_int(const char *path, const json_t *object, const char *key, bool required,
                     int64_t min, int64_t max, int64_t *out) {
    char expected[80];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min,
             (long long)max);
    const json_t *value;
    TRY(find(path, object, key, required, expected, &value));
    if (!value)
        return STATUS_OK;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return refuse(path, key, value, expected);
    *out = json_integer_value(value);
    return STATUS_OK;
}

enum status json_real_in(const char *path, const json_t *object, const char *key, bool required,
                         double min, double max, double *out) {
    char expected[80];
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    const json_t *value;
    TRY(find(path, object, key, required, expected, &value));
    if (!value)
        return STATUS_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number < min || number > max)
        return refuse(path, key, value, expected);
    *out = number;
    return STATUS_OK;
}

enum status json_bool(const char *path, const json_t *object, const char *key, bool required,
                      bool *out) {
    const json_t *value;
    TRY(find(path, object, key, required, "true or false", &value));
    if (!value)
        return STATUS_OK;
    if (!json_is_boolean(value))
        return refuse(path, key, value, "true or false");
    *out = json_is_true(value);
    return STATUS_OK;
}

enum status json_text(const char *path, const json_t *object, const char *key, bool required,
                      const char **out) {
    const json_t *value;
    TRY(find(path, object, key, required, "a string", &value));
    if (!value)
        return STATUS_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return refuse(path, key, value, "a string");
    *out = json_string_value(value);
    return STATUS_OK;
}
