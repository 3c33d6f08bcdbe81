/* Which model a file belongs to: a hash of what config.json says and of samples of the weight
 * files. Two directories with the same identity hold the same model for every purpose here. */
#ifndef QUIRE_PARTITION_IDENTITY_H
#define QUIRE_PARTITION_IDENTITY_H

#include "partition/status.h"
#include <stdint.h>

/* 32 hexadecimal digits (XXH3, 128 bits) and a NUL byte. */
#define IDENTITY_SIZE 33

/* The identity of the model at `path`: a directory with config.json and *.safetensors or *.gguf, or
 * one such file. config.json counts without the fields that change no arithmetic, and in any order
 * and form of writing; of each weight file its size and the bytes of evenly spread samples (all of
 * a small one). Local. Errors: what cannot be read. */
enum status identity_of_model(const char *path, char identity[IDENTITY_SIZE]);

/* The hash of some bytes in the same form. */
void identity_of_bytes(const void *bytes, int64_t len, char identity[IDENTITY_SIZE]);

#endif
