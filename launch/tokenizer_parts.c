#include "launch/tokenizer_parts.h"

#include "partition/json.h"
#include <string.h>

/* Sequences within each other; real files have one. */
#define DEPTH_MAX 8

static enum status read_any(const char *file, const json_t *json, const struct part_reader *reader,
                            void *owner, int depth) {
    const char *type = NULL;
    bool taken = true;
    if (!json_is_object(json) || depth > DEPTH_MAX)
        return status_fail(file, NULL,
                           "found %s, expected an object with a type; "
                           "restore the file as it was published",
                           json_words(json).text);
    TRY(json_text(file, json, "type", true, &type));
    if (strcmp(type, "Sequence") != 0) {
        enum status status = reader->read(owner, file, type, json, &taken);
        if (!taken)
            status = status_fail(file, "type",
                                 "found \"%s\", expected Sequence, %s; use a model with one of "
                                 "these",
                                 type, reader->known);
        return status;
    }
    const json_t *list = json_object_get(json, reader->list), *item;
    if (!json_is_array(list))
        return status_fail(file, reader->list,
                           "found %s, expected a list; restore the file as it was published",
                           json_words(list).text);
    size_t i;
    json_array_foreach(list, i, item) TRY(read_any(file, item, reader, owner, depth + 1));
    return STATUS_OK;
}

enum status parts_read(const char *file, const json_t *json, const struct part_reader *reader,
                       void *owner) {
    return read_any(file, json, reader, owner, 0);
}
