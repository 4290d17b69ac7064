/* SPDX-License-Identifier: MIT */
/* See host_id.h. */
#include "host_id.h"

#include "hash.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MACHINE_ID_DIGITS = 32 };

/* A machine's own id is not to be told (machine-id(5)), and its hash is enough. */
static uint64_t number_of(const char *kind, const char *text) {
    char whole[128];
    uint8_t hash[CHORD_ID_BYTES];
    uint64_t id = 0;
    int length = snprintf(whole, sizeof whole, "chord %s %s", kind, text);
    hash_key((const uint8_t *)whole, (size_t)length, hash);
    for (unsigned i = 0; i < sizeof id; i++) {
        id = id << 8 | hash[i];
    }
    return id != 0 ? id : 1;
}

/* The first line of a file. */
static bool line_read(const char *path, char *line, int size) {
    FILE *file = fopen(path, "re");
    bool ok = file != NULL && fgets(line, size, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    line[ok ? strcspn(line, "\n") : 0] = '\0';
    return ok;
}

static uint64_t machine(void) {
    char line[64];
    if (line_read("/etc/machine-id", line, sizeof line) &&
        strspn(line, "0123456789abcdef") == MACHINE_ID_DIGITS && line[MACHINE_ID_DIGITS] == '\0') {
        return number_of("machine", line);
    }
    if (line_read("/proc/sys/kernel/random/boot_id", line, sizeof line) && line[0] != '\0') {
        return number_of("boot", line);
    }
    return 0;
}

bool host_id_read(const char *text, struct host_id *host) {
    memset(host, 0, sizeof *host);
    if (text != NULL && text[0] != '\0') {
        snprintf(host->name, sizeof host->name, "%s", text);
        utf8_make_line(host->name);
        host->id = number_of("name", text);
        return strcmp(host->name, text) == 0; /* it was one line, and not too long */
    }
    host->id = machine();
    if (gethostname(host->name, sizeof host->name - 1) != 0) {
        host->name[0] = '\0';
    }
    utf8_make_line(host->name);
    return true;
}
