#include "launch/tokenizer_vocabulary.h"

#include "launch/tokenizer_pieces.h"
#include <stdlib.h>
#include <string.h>

void vocabulary_close(struct vocabulary *vocabulary) {
    free(vocabulary->text);
    free(vocabulary->entries);
    free(vocabulary->slots);
    *vocabulary = (struct vocabulary){0};
}

static uint64_t hash(const char *text, int64_t len) {
    uint64_t value = (uint64_t)len * 0x9e3779b97f4a7c15u;
    for (; len >= 8; text += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        value = (value ^ word) * 0xff51afd7ed558ccdu;
        value ^= value >> 32;
    }
    uint64_t word = 0;
    memcpy(&word, text, (size_t)len);
    value = (value ^ word) * 0xc4ceb9fe1a85ec53u;
    return value ^ value >> 29;
}

/* The slot that holds the string, or the empty one where it belongs. */
static int64_t slot_of(const struct vocabulary *vocabulary, const char *text, int64_t len) {
    int64_t mask = vocabulary->slot_count - 1;
    int64_t slot = (int64_t)(hash(text, len) & (uint64_t)mask);
    while (vocabulary->slots[slot] >= 0) {
        const struct vocabulary_entry *entry = &vocabulary->entries[vocabulary->slots[slot]];
        if (entry->len == len && !memcmp(vocabulary->text + entry->begin - 1, text, (size_t)len))
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

/* Keeps the table at most half full. */
static enum status grow_slots(struct vocabulary *vocabulary) {
    if (vocabulary->count * 2 < vocabulary->slot_count)
        return STATUS_OK;
    int64_t old_count = vocabulary->slot_count, count = old_count ? old_count * 2 : 1024;
    int32_t *old = vocabulary->slots, *slots = malloc((size_t)count * sizeof *slots);
    if (!slots)
        return status_no_memory("a vocabulary", count * (long long)sizeof *slots);
    memset(slots, 0xff, (size_t)count * sizeof *slots);
    vocabulary->slots = slots;
    vocabulary->slot_count = count;
    for (int64_t i = 0; i < old_count; i++)
        if (old[i] >= 0) {
            const struct vocabulary_entry *entry = &vocabulary->entries[old[i]];
            slots[slot_of(vocabulary, vocabulary->text + entry->begin - 1, entry->len)] = old[i];
        }
    free(old);
    return STATUS_OK;
}

static enum status add(struct vocabulary *vocabulary, const char *file, const char *field,
                       const char *text, int64_t len, int64_t id, bool again) {
    if (id < 0 || id >= VOCABULARY_ID_LIMIT)
        return status_fail(file, field,
                           "found id %lld of \"%.*s\", expected 0 to %lld; "
                           "restore the file as it was published",
                           (long long)id, (int)(len < 64 ? len : 64), text,
                           (long long)VOCABULARY_ID_LIMIT - 1);
    TRY(grow_slots(vocabulary));
    int64_t slot = slot_of(vocabulary, text, len);
    if (vocabulary->slots[slot] >= 0 && !again)
        return status_fail(file, field,
                           "found \"%.*s\" twice, expected each piece once; "
                           "restore the file as it was published",
                           (int)(len < 64 ? len : 64), text);
    if (id < vocabulary->size && vocabulary->entries[id].begin)
        return status_fail(file, field,
                           "found id %lld twice, expected each id once; "
                           "restore the file as it was published",
                           (long long)id);
    TRY(array_reserve(&vocabulary->entries, &vocabulary->entry_capacity, id + 1,
                      sizeof *vocabulary->entries));
    TRY(array_reserve(&vocabulary->text, &vocabulary->text_capacity, vocabulary->text_len + len + 1,
                      1));
    for (; vocabulary->size <= id; vocabulary->size++)
        vocabulary->entries[vocabulary->size] = (struct vocabulary_entry){0};
    vocabulary->entries[id] = (struct vocabulary_entry){vocabulary->text_len + 1, len};
    memcpy(vocabulary->text + vocabulary->text_len, text, (size_t)len);
    vocabulary->text_len += len;
    vocabulary->slots[slot] = (int32_t)id;
    vocabulary->count++;
    return STATUS_OK;
}

enum status vocabulary_add(struct vocabulary *vocabulary, const char *file, const char *field,
                           const char *text, int64_t len, int64_t id) {
    return add(vocabulary, file, field, text, len, id, false);
}

enum status vocabulary_add_last(struct vocabulary *vocabulary, const char *file, const char *field,
                                const char *text, int64_t len, int64_t id) {
    return add(vocabulary, file, field, text, len, id, true);
}

int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, int64_t len) {
    if (!vocabulary->slot_count)
        return -1;
    return vocabulary->slots[slot_of(vocabulary, text, len)];
}

const char *vocabulary_text(const struct vocabulary *vocabulary, int64_t id, int64_t *len) {
    *len = 0;
    if (id < 0 || id >= vocabulary->size || !vocabulary->entries[id].begin)
        return NULL;
    *len = vocabulary->entries[id].len;
    return vocabulary->text + vocabulary->entries[id].begin - 1;
}
