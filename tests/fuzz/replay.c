/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzzer's target over the files of its corpus, with the ordinary compiler: so every input
 * that once broke something stays in the test run.
 *
 *     replay_core tests/fuzz/corpus/core
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 1 << 20 };

static int is_file(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* Says which file it runs before it does, so that a crash names its input. */
static int run(const char *folder, const char *name) {
    static uint8_t data[FILE_BYTES_MAX];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    uint8_t *exact = malloc(size + (size == 0)); /* so that a read beyond its end is seen */
    if (exact == NULL) {
        return 1;
    }
    for (size_t i = 0; i < size; i++) {
        exact[i] = data[i];
    }
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(int argc, char **argv) {
    struct dirent **entries;
    int failed = 0;
    int count = argc == 2 ? scandir(argv[1], &entries, is_file, alphasort) : -1;
    if (count < 0) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        failed += run(argv[1], entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    printf("%d inputs, %d could not be read\n", count, failed);
    return failed == 0 && count > 0 ? 0 : 1;
}
