/* SPDX-License-Identifier: MIT */
/*
 * Writes a golden database with the program as it is now: store_golden_make FILE. For a new schema
 * only, once, and the result is committed. It tells nothing of the machine that made it.
 */
#include "hash.h"
#include "store_golden.h"
#include "store_state.h"

#include <stdio.h>
#include <stdlib.h>

/* Another machine's. */
static void hide_place(const struct fixture *fixture) {
    struct store_place place = {.machine = "00000000000000000000000000000000",
                                .inode = 12,
                                .birth_ns = UINT64_C(1700000000000000000),
                                .host = "golden",
                                .path = "/golden/chord.db",
                                .address = "127.0.0.1:4001"};
    char path[200];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/chord.db", fixture->directory);
    if (sqlite3_open(path, &db) != SQLITE_OK || state_put(db, RECORD_PLACE, &place) != SQLITE_OK ||
        sqlite3_exec(db, "VACUUM", NULL, NULL, NULL) != SQLITE_OK) {
        abort();
    }
    sqlite3_close(db);
}

int main(int argc, char **argv) {
    static struct fixture fixture;
    char command[1000];
    if (argc != 2 || !hash_open()) {
        fputs("usage: store_golden_make FILE\n", stderr);
        return 2;
    }
    fixture_new(&fixture);
    fixture_reopen(&fixture);
    golden_write(&fixture);

    fixture_close(&fixture);
    golden_spoil(&fixture);
    hide_place(&fixture);
    snprintf(command, sizeof command, "cp %s/chord.db %s", fixture.directory, argv[1]);
    int code = system(command) == 0 ? 0 : 1;
    fixture_free(&fixture);
    return code;
}
