/* chordctl restore: a backup of a node's database becomes the database of a new replica. The one
 * command that works on files: it asks no node. */
#include "ctl.h"
#include "output.h"
#include "store_restore.h"

static int restore_run(struct ctl *ctl, const struct arguments *arguments) {
    char reason[8600];
    uint64_t rows = 0;
    enum restore_error error =
        store_restore(arguments->words[0], arguments->words[1], &rows, reason, sizeof reason);
    if (error != RESTORE_OK) {
        ctl_error("nothing was restored: %s", reason);
        return error == RESTORE_NO_BACKUP ? CTL_USAGE : CTL_REFUSED;
    }
    if (ctl->json) {
        json_t *json = json_object();
        json_put(json, "directory", json_text(arguments->words[1]));
        json_put(json, "rows", json_u64(rows));
        json_print(json);
    } else {
        line_print(
            "restored: %s has %llu rows of the backup, under a new store id; start its node, "
            "with JOIN naming a member of its ring",
            arguments->words[1], (unsigned long long)rows);
    }
    return CTL_OK;
}

static const struct option restore_options[] = {{0, NULL, NULL, NULL}};
const struct command restore_command = {
    .name = "restore",
    .words = "BACKUP_DB DATA_DIR",
    .words_min = 2,
    .words_max = 2,
    .summary = "make a backup the database of a new replica",
    .help =
        "BACKUP_DB: a copy of a node's chord.db. DATA_DIR: the data folder of a node that is\n"
        "stopped, without a database. An older copy may not vote any more, so it comes back as a\n"
        "new replica: the others compare its rows with theirs and send what differs. To bring a\n"
        "whole ring back, put all its files back as they were instead.\n",
    .options = restore_options,
    .run = restore_run,
};
