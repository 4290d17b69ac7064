/* SPDX-License-Identifier: MIT */
/*
 * check-history FILE...: the verdict on histories of real processes, by the checker of the
 * simulator. Prints one JSON object; what is wrong goes to stderr with the operations around it.
 * Exit codes: 0 all is well, 1 something is wrong, 2 a file cannot be read.
 */
#include "history_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct counts {
    uint64_t keys, operations, reads, acknowledged, refused, unknown, not_linearizable, lost,
        not_read, given_up;
};

static void count_entries(struct counts *counts, const struct history *history) {
    for (size_t i = 0; i < history->count; i++) {
        const struct linear_operation *operation = &history->entries[i].operation;
        bool read = operation->kind == LINEAR_GET;
        counts->operations++;
        counts->reads += read;
        counts->acknowledged += !read && operation->outcome == LINEAR_DONE;
        counts->refused += operation->outcome == LINEAR_REFUSED;
        counts->unknown += operation->outcome == LINEAR_UNKNOWN;
    }
}

static void tell(const struct history_key *key, const char *wrong, size_t entry) {
    fprintf(stderr, "key %s: %s\n", key->name, wrong);
    history_print(&key->history, entry, stderr);
}

static void check_key(struct counts *counts, const struct history_key *key) {
    size_t entry = 0;
    bool given_up = false;
    const char *wrong = NULL;
    counts->keys++;
    count_entries(counts, &key->history);
    if (key->read_last) {
        wrong = history_check_kept(&key->history, &key->last, &entry);
    } else {
        counts->not_read++;
    }
    if (wrong != NULL) {
        counts->lost++;
        tell(key, wrong, entry);
    }
    wrong = history_check(&key->history, &entry, &given_up);
    if (wrong != NULL) {
        counts->not_linearizable++;
        tell(key, wrong, entry);
    }
    counts->given_up += given_up;
}

int main(int argc, char **argv) {
    struct counts counts = {0};
    if (argc < 2) {
        fputs("check-history FILE...: are these histories linearizable? (history_file.h)\n",
              stderr);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        struct history_file file;
        const char *wrong = "cannot be opened";
        FILE *in = fopen(argv[i], "r");
        size_t line = in != NULL ? history_file_read(&file, in, &wrong) : 1;
        if (line > 0) {
            fprintf(stderr, "%s:%zu: %s\n", argv[i], line, wrong);
            return 2;
        }
        fclose(in);
        for (size_t k = 0; k < file.count; k++) {
            check_key(&counts, &file.keys[k]);
        }
        history_file_free(&file);
    }
    printf("{\"keys\": %" PRIu64 ", \"operations\": %" PRIu64 ", \"reads\": %" PRIu64
           ", \"acknowledged\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"unknown\": %" PRIu64
           ", \"not_linearizable\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"not_read\": %" PRIu64
           ", \"given_up\": %" PRIu64 "}\n",
           counts.keys, counts.operations, counts.reads, counts.acknowledged, counts.refused,
           counts.unknown, counts.not_linearizable, counts.lost, counts.not_read, counts.given_up);
    return counts.not_linearizable > 0 || counts.lost > 0 || counts.not_read > 0 ||
           counts.given_up > 0;
}
