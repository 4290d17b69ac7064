/*
 * Where a database file lives, so that a copy of it is known as one: the machine and the file's
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

/* In the database as it stands here: of fixed size, without holes. */
struct place {
    char machine[40]; /* the first line of /etc/machine-id; "" = there is none */
    uint64_t inode;
    uint64_t birth_ns; /* since 1970; 0 = the file system does not know */
    char host[64], path[1024], address[CHORD_ADDRESS_BYTES]; /* for people */
};

static bool place_of(const char *path, const char *address, struct place *place) {
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

static bool place_same(const struct place *a, const struct place *b) {
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
                             struct store_former *former, struct store_found *found, char *reason,
                             size_t reason_bytes) {
    struct place here, last;
    memset(former, 0, sizeof *former);
    if (!place_of(path, address, &here)) {
        snprintf(reason, reason_bytes, "cannot look at %s", path);
        return PLACE_UNKNOWN;
    }
    int rc = store_meta_get(db, "place", &last, sizeof last, found);
    bool known = rc == SQLITE_OK;
    if (rc == SQLITE_OK || rc == SQLITE_NOTFOUND) {
        rc = store_meta_get(db, "former", former, sizeof *former, found);
    }
    if (rc == SQLITE_OK && former->count > CHORD_FORMER_MAX) {
        rc = store_found_form(found, "former", sizeof *former);
    }
    if (rc != SQLITE_OK && rc != SQLITE_NOTFOUND) {
        snprintf(reason, reason_bytes, "cannot read %s: %s", path, sqlite3_errstr(rc));
        return rc == STORE_UNKNOWN_FORM ? PLACE_UNKNOWN_FORM : PLACE_UNKNOWN;
    }
    if (known && !place_same(&here, &last) && !moved) {
        snprintf(
            reason, reason_bytes,
            "%s (on %s) is a copy of a node's database: the original is %s on %s, and last ran "
            "at %s. Both must never run: acknowledged writes would be lost. If the original is "
            "gone for good and this is its newest and only copy, start once with --moved; else "
            "start with an empty folder, or get the rows with chordctl restore",
            here.path, here.host, last.path, last.host, last.address);
        return PLACE_COPY;
    }
    if (known && !place_same(&here, &last)) {
        log_write(LOG_WARN, "moved", "%s was %s on %s: goes on here, as --moved says", here.path,
                  last.path, last.host);
    }
    former_add(former, address);
    rc = store_meta_put(db, "place", &here, sizeof here);
    rc = rc == SQLITE_OK ? store_meta_put(db, "former", former, sizeof *former) : rc;
    if (rc != SQLITE_OK) {
        snprintf(reason, reason_bytes, "cannot write %s: %s", path, sqlite3_errstr(rc));
        return PLACE_UNKNOWN;
    }
    return PLACE_OK;
}
