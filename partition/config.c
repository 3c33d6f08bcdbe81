#include "partition/config.h"

#include <string.h>

enum status config_open(const char *path, const json_t *root, struct config *config) {
    *config = (struct config){.path = path, .root = root, .prefix = "", .asked = json_object()};
    return config->asked ? STATUS_OK : status_no_memory(path, 64);
}

void config_close(struct config *config) {
    json_decref(config->asked);
    config->asked = NULL;
}

struct config_key config_key(const struct config *c, const char *key) {
    struct config_key whole;
    snprintf(whole.text, sizeof whole.text, "%s%s", c->prefix, key);
    return whole;
}

static struct config_key ask(const struct config *c, const char *key) {
    struct config_key whole = config_key(c, key);
    json_object_set_new(c->asked, whole.text, json_true());
    return whole;
}

enum status config_field(const struct config *c, const char *key, const json_t **value) {
    return json_field(c->path, c->root, ask(c, key).text, value);
}

enum status config_int(const struct config *c, const char *key, bool required, int64_t min,
                       int64_t max, int64_t *out) {
    return json_int(c->path, c->root, ask(c, key).text, required, min, max, out);
}

enum status config_real(const struct config *c, const char *key, bool required, double min,
                        double max, double *out) {
    return json_real_in(c->path, c->root, ask(c, key).text, required, min, max, out);
}

enum status config_bool(const struct config *c, const char *key, bool required, bool *out) {
    return json_bool(c->path, c->root, ask(c, key).text, required, out);
}

enum status config_text(const struct config *c, const char *key, bool required, const char **out) {
    return json_text(c->path, c->root, ask(c, key).text, required, out);
}

bool config_has(const struct config *c, const char *key) {
    const json_t *object = c->root;
    struct config_key within = config_key(c, "");
    if (within.text[0]) {
        within.text[strlen(within.text) - 1] = '\0';
        object = json_object_get(c->root, within.text);
    }
    return json_object_get(object, key) != NULL;
}

/* Whether some field within the object `name` was asked for. */
static bool entered(const struct config *c, const char *name) {
    const char *key;
    json_t *value;
    size_t len = strlen(name);
    json_object_foreach(c->asked, key, value) {
        if (strncmp(key, name, len) == 0 && key[len] == '.')
            return true;
    }
    return false;
}

static void list_unused(const struct config *c, const json_t *object, const char *path,
                        json_t *list) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        char name[sizeof(struct config_key)];
        int len = snprintf(name, sizeof name, "%s%s", path, key);
        bool cut = len < 0 || (size_t)len + 1 >= sizeof name;
        if (!cut && json_is_object(value) && entered(c, name)) {
            memcpy(name + len, ".", 2);
            list_unused(c, value, name, list);
        } else if (cut || !json_object_get(c->asked, name)) {
            json_array_append_new(list, json_string(name));
        }
    }
}

json_t *config_unused(const struct config *c) {
    json_t *list = json_array();
    if (list)
        list_unused(c, c->root, "", list);
    return list;
}
