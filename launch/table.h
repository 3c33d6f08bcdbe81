/* A table of text: cells are put in row by row and come out in aligned columns, numbers to the
 * right and, where columns of words are named, these to the left. */
#ifndef QUIRE_LAUNCH_TABLE_H
#define QUIRE_LAUNCH_TABLE_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_CELL_MAX 64

struct table {
    int64_t columns;
    uint64_t words;                /* bit per column: words */
    int64_t count, room;           /* cells */
    char (*cells)[TABLE_CELL_MAX]; /* owned */
    bool out_of_memory;
};

void table_open(struct table *table, int64_t columns);
void table_close(struct table *table);

/* The next cell, printf fashion, cut to TABLE_CELL_MAX - 1 bytes. */
void table_put(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the rows to standard output. Errors: memory, also that of earlier table_put calls. */
enum status table_print(const struct table *table);
enum status table_print_to(const struct table *table, FILE *file);

#endif
