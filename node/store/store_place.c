/* SPDX-License-Identifier: MIT */
/*
 * Where a database file lives, so that a copy of it is recognised: the machine and the file's
 * birth time, which no copy keeps (its inode where the file system knows no birth times). Neither
 * the path nor the address: those may change. A file that was moved by `mv` on one file system is
 * the same file. A snapshot of a whole machine keeps all of this; what then runs twice is told
 * apart by the members (chord/seats.c).
 */
#include "store_place.h"

#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool place_of(const char *path, const char *address, struct store_place *place) {
    struct statx file;
    memset(place, 0, sizeof *place);
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &file) != 0) {
        return false;
    }
    place->inode = file.stx_ino;
    if (file.stx_mask & STATX_BTIME) {
        place->birth_ns =
            (uint64_t)file.stx_btime.tv_sec * 1000000000u + (uint64_t)file.stx_btime.tv_nsec;
    }
    FILE *machine = fopen("/etc/machine-id", "re");
    if (machine != NULL) {
        if (fgets(place->machine, sizeof place->machine, machine) == NULL) {
            place->machine[0] = '\0';
        }
        place->machine[strcspn(place->machine, "\n")] = '\0';
        fclose(machine);
    }
    gethostname(place->host, sizeof place->host - 1);
    char *whole = realpath(path, NULL);
    snprintf(place->path, sizeof place->path, "%s", whole != NULL ? whole : path);
    free(whole);
    snprintf(place->address, sizeof place->address, "%s", address);
    return true;
}

static bool place_same(const struct store_place *a, const struct store_place *b) {
    bool born = a->birth_ns != 0 && b->birth_ns != 0;
    return strcmp(a->machine, b->machine) == 0 &&
           (born ? a->birth_ns == b->birth_ns : a->inode == b->inode);
}

static void former_add(struct store_former *former, const char *address) {
    uint16_t at = 0;
    while (at < former->count && strcmp(former->items[at].text, address) != 0) {
        at++;
    }
    if (at == former->count && at < CHORD_FORMER_MAX) {
        former->count++;
    }
    at = at < CHORD_FORMER_MAX ? at : CHORD_FORMER_MAX - 1;
    memmove(&former->items[1], &former->items[0], sizeof former->items[0] * at);
    memset(&former->items[0], 0, sizeof former->items[0]);
    snprintf(former->items[0].text, sizeof former->items[0].text, "%s", address);
}

enum place_result place_take(sqlite3 *db, const char *path, const char *address, bool moved,
                             struct store_state *state, char *reason, size_t reason_bytes) {
    struct store_place here, *last = &state->place;
    bool known = state->has[RECORD_PLACE];
    if (!place_of(path, address, &here)) {
        snprintf(reason, reason_bytes, "cannot look at %s", path);
        return PLACE_UNKNOWN;
    }
    if (known && !place_same(&here, last) && !moved) {
        snprintf(
            reason, reason_bytes,
            "%s (on %s) is a copy of a node's database: the original is %s on %s, and last ran "
            "at %s. Both must never run: acknowledged writes would be lost. If the original is "
            "gone for good and this is its newest and only copy, start once with --moved; else "
            "start with an empty folder, or get the rows with chord-node --restore",
            here.path, here.host, last->path, last->host, last->address);
        return PLACE_COPY;
    }
    if (known && !place_same(&here, last)) {
        log_write(LOG_WARN, "moved", "%s was %s on %s: goes on here, as --moved says", here.path,
                  last->path, last->host);
    }
    former_add(&state->former, address);
    state->place = here;
    int rc = state_put(db, RECORD_PLACE, &state->place);
    rc = rc == SQLITE_OK ? state_put(db, RECORD_FORMER, &state->former) : rc;
    if (rc != SQLITE_OK) {
        snprintf(reason, reason_bytes, "cannot write %s: %s", path, sqlite3_errstr(rc));
        return PLACE_UNKNOWN;
    }
    return PLACE_OK;
}
