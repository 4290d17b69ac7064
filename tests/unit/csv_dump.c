/* SPDX-License-Identifier: MIT */
/*
 * Rows of a CSV file on stdin as lines of text, for tests that compare the reader with another one:
 *
 *     csv_dump [strict] [delimiter=X] [table [key=COLUMN]]
 *
 * "LINE HEX HEX ..." for a row, "LINE ! REASON" for a bad one; with `table` the two cells are key
 * and value. A last line "end REASON" says how it ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv_reader.h"
#include "csv_table.h"

static void hex(const uint8_t *data, size_t size) {
    putchar(' ');
    for (size_t i = 0; i < size; i++) {
        printf("%02x", data[i]);
    }
}

static bool on_row(void *context, const struct csv_row *row) {
    (void)context;
    printf("%llu", (unsigned long long)row->line);
    for (size_t i = 0; i < row->fields_count; i++) {
        hex(row->fields[i].data, row->fields[i].size);
    }
    printf(row->error != NULL ? " ! %s\n" : "%s\n", row->error != NULL ? row->error : "");
    return true;
}

static bool on_record(void *context, const struct csv_record *record) {
    (void)context;
    printf("%llu", (unsigned long long)record->line);
    if (record->error != NULL) {
        printf(" ! %s\n", record->error);
        return true;
    }
    hex(record->key, record->key_size);
    hex(record->value, record->value_size);
    printf(record->completed ? " completed\n" : "\n");
    return true;
}

int main(int argc, char **argv) {
    static uint8_t block[60000];
    struct csv_table_options options = {0};
    bool table_wanted = false;
    for (int i = 1; i < argc; i++) {
        options.strict = options.strict || strcmp(argv[i], "strict") == 0;
        table_wanted = table_wanted || strcmp(argv[i], "table") == 0;
        if (strncmp(argv[i], "key=", 4) == 0) {
            snprintf(options.key_column, sizeof(options.key_column), "%s", argv[i] + 4);
        }
        if (strncmp(argv[i], "delimiter=", 10) == 0 &&
            !csv_delimiter_read(argv[i] + 10, &options.delimiter)) {
            return 2;
        }
    }
    struct csv_options plain = {.delimiter = options.delimiter, .strict = options.strict};
    struct csv_reader *reader = csv_reader_new(&plain, on_row, NULL);
    struct csv_table *table = csv_table_new(&options, on_record, NULL);
    size_t size;
    while ((size = fread(block, 1, sizeof(block), stdin)) > 0) {
        if (!(table_wanted ? csv_table_feed(table, block, size)
                           : csv_reader_feed(reader, block, size))) {
            break;
        }
    }
    if (table_wanted) {
        (void)csv_table_finish(table);
        printf("end %s\n", csv_table_error(table));
    } else {
        (void)csv_reader_finish(reader);
        printf("end \n");
    }
    csv_reader_free(reader);
    csv_table_free(table);
    return 0;
}
