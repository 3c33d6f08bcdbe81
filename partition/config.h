/* A config.json while it is read: its fields by name, and which of them were asked for, so that
 * what a file says and nobody used can be shown. Part of shape_read. */
#ifndef QUIRE_PARTITION_CONFIG_H
#define QUIRE_PARTITION_CONFIG_H

#include "partition/json.h"

struct config {
    const char *path;   /* borrowed: for messages */
    const json_t *root; /* borrowed */
    const char *prefix; /* "" or "text_config.": where the text model's fields stand */
    json_t *asked;      /* owned: an object with a key for every field that was looked for */
};

/* Fails when there is no memory. config_close accepts a config that failed to open. */
enum status config_open(const char *path, const json_t *root, struct config *config);
void config_close(struct config *config);

/* As json_field, json_int and so on, the key noted as asked for. `key` may have dots. */
enum status config_field(const struct config *c, const char *key, const json_t **value);
enum status config_int(const struct config *c, const char *key, bool required, int64_t min,
                       int64_t max, int64_t *out);
enum status config_real(const struct config *c, const char *key, bool required, double min,
                        double max, double *out);
enum status config_bool(const struct config *c, const char *key, bool required, bool *out);
enum status config_text(const struct config *c, const char *key, bool required, const char **out);

/* A field's name with the prefix, for messages. */
struct config_key {
    char text[128];
};
struct config_key config_key(const struct config *c, const char *key);

/* Whether the field is there, be it null. Without dots. */
bool config_has(const struct config *c, const char *key);

/* Fields of the root, with dots for those within objects that were entered, which nobody asked
 * for: a list of names that the caller owns. NULL without memory. */
json_t *config_unused(const struct config *c);

#endif
