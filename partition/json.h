/* Reading JSON files strictly, with messages that name the file and the field; on jansson. */
#ifndef QUIRE_PARTITION_JSON_H
#define QUIRE_PARTITION_JSON_H

#include "partition/file.h"
#include "partition/status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Parses text as JSON, duplicate keys refused, U+0000 in strings allowed. `path` is for messages.
 * The root is owned by the caller (json_decref). */
enum status json_parse(const char *path, const char *text, int64_t len, json_t **root);

/* The same, and the root must be an object. */
enum status json_parse_object(const char *path, const char *text, int64_t len, json_t **root);

/* file_read and json_parse_object. */
enum status json_read(const char *path, int64_t max_bytes, json_t **root);

/* A value in a few words for messages: a scalar as JSON writes it (long ones cut), "an object with
 * 3 fields", "nothing" for NULL. */
struct json_words {
    char text[72];
};
struct json_words json_words(const json_t *value);

/* The value at `key`, borrowed; NULL when it is absent or null. A key with dots descends into
 * objects: "rope_scaling.factor". Errors: what a dot descends into is no object. */
enum status json_field(const char *path, const json_t *object, const char *key,
                       const json_t **value);

/* An object's field (see json_field) as an integer in [min, max], a finite real in [min, max]
 * (integers count as reals), a boolean or a string (borrowed, without U+0000). A field that is
 * absent or null: *out keeps the value that the caller put there, or, when `required`, is
 * refused. */
enum status json_int(const char *path, const json_t *object, const char *key, bool required,
                     int64_t min, int64_t max, int64_t *out);
enum status json_real_in(const char *path, const json_t *object, const char *key, bool required,
                         double min, double max, double *out);
enum status json_bool(const char *path, const json_t *object, const char *key, bool required,
                      bool *out);
enum status json_text(const char *path, const json_t *object, const char *key, bool required,
                      const char **out);

#endif
