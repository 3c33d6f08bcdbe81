#include "launch/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_open(struct table *table, int64_t columns) {
    memset(table, 0, sizeof *table);
    table->columns = columns;
}

void table_close(struct table *table) {
    free(table->cells);
    memset(table, 0, sizeof *table);
}

void table_put(struct table *table, const char *format, ...) {
    if (table->count == table->room) {
        int64_t room = table->room ? 2 * table->room : 64;
        void *cells = realloc(table->cells, (size_t)room * sizeof *table->cells);
        if (!cells) {
            table->out_of_memory = true;
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(table->cells[table->count++], TABLE_CELL_MAX, format, args);
    va_end(args);
}

static int column_width(const struct table *table, int64_t column) {
    size_t widest = 0;
    for (int64_t i = column; i < table->count; i += table->columns) {
        size_t len = strlen(table->cells[i]);
        widest = len > widest ? len : widest;
    }
    return (int)widest;
}

enum status table_print(const struct table *table) {
    return table_print_to(table, stdout);
}

enum status table_print_to(const struct table *table, FILE *file) {
    int *widths = calloc((size_t)table->columns, sizeof *widths);
    if (!widths || table->out_of_memory) {
        free(widths);
        return status_no_memory("table", table->room * TABLE_CELL_MAX);
    }
    for (int64_t column = 0; column < table->columns; column++)
        widths[column] = column_width(table, column);
    for (int64_t i = 0; i < table->count; i++) {
        int64_t column = i % table->columns;
        int width = column < 64 && table->words >> column & 1 ? -widths[column] : widths[column];
        fprintf(file, "%s%*s", column ? "  " : "", width, table->cells[i]);
        if (column == table->columns - 1)
            fputc('\n', file);
    }
    free(widths);
    return STATUS_OK;
}
