#include "partition/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* A weight file counts whole up to this many samples, else by that many spread over it. */
#define SAMPLE_BYTES 4096
#define SAMPLES 1024

static enum status unreadable(const char *path) {
    return status_fail(path, NULL, "found %s, expected a file that can be read; check the path",
                       strerror(errno));
}

static void put_digits(XXH128_hash_t hash, char identity[IDENTITY_SIZE]) {
    snprintf(identity, IDENTITY_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
}

void identity_of_bytes(const void *bytes, int64_t len, char identity[IDENTITY_SIZE]) {
    put_digits(XXH3_128bits(bytes, (size_t)len), identity);
}

/* Puts config.json in one form: keys sorted, without those that say nothing of the arithmetic. */
static enum status put_config(const char *path, XXH3_state_t *state) {
    static const char *const ignored[] = {"_name_or_path", "transformers_version", "torch_dtype",
                                          "dtype", "use_cache"};
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return status_fail(path, NULL, "found %s, expected JSON; check the file", error.text);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        json_object_del(root, ignored[i]);
    char *text = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(root);
    if (!text)
        return status_no_memory("config.json", 1 << 16);
    XXH3_128bits_update(state, text, strlen(text));
    free(text);
    return STATUS_OK;
}

/* Puts a file's size and samples of its bytes. */
static enum status put_samples(const char *path, XXH3_state_t *state) {
    struct stat about;
    char sample[SAMPLE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        enum status status = unreadable(path);
        if (fd >= 0)
            close(fd);
        return status;
    }
    int64_t size = about.st_size, step = size / SAMPLES;
    if (step < SAMPLE_BYTES)
        step = SAMPLE_BYTES;
    XXH3_128bits_update(state, &size, sizeof size);
    enum status status = STATUS_OK;
    for (int64_t at = 0; at < size && status == STATUS_OK; at += step) {
        ssize_t got = pread(fd, sample, sizeof sample, at);
        if (got < 0)
            status = unreadable(path);
        else
            XXH3_128bits_update(state, sample, (size_t)got);
    }
    close(fd);
    return status;
}

static bool is_weight_file(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return (len > 12 && strcmp(entry->d_name + len - 12, ".safetensors") == 0) ||
           (len > 5 && strcmp(entry->d_name + len - 5, ".gguf") == 0);
}

static int select_weights(const struct dirent *entry) {
    return is_weight_file(entry);
}

static enum status put_directory(const char *dir, XXH3_state_t *state) {
    size_t size = strlen(dir) + 300;
    char *path = malloc(size);
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, select_weights, alphasort);
    enum status status = path ? STATUS_OK : status_no_memory("path", (long long)size);
    if (status == STATUS_OK && count < 0)
        status = unreadable(dir);
    if (status == STATUS_OK) {
        snprintf(path, size, "%s/config.json", dir);
        if (access(path, F_OK) == 0) /* a directory of GGUF files says it in them */
            status = put_config(path, state);
    }
    for (int i = 0; i < count; i++) {
        if (status == STATUS_OK) {
            snprintf(path, size, "%s/%s", dir, entries[i]->d_name);
            status = put_samples(path, state);
        }
        free(entries[i]);
    }
    free(entries);
    free(path);
    return status;
}

enum status identity_of_model(const char *path, char identity[IDENTITY_SIZE]) {
    struct stat about;
    if (stat(path, &about) != 0)
        return unreadable(path);
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return status_no_memory("hash", 1024);
    XXH3_128bits_reset(state);
    enum status status =
        S_ISDIR(about.st_mode) ? put_directory(path, state) : put_samples(path, state);
    put_digits(XXH3_128bits_digest(state), identity);
    XXH3_freeState(state);
    return status;
}
