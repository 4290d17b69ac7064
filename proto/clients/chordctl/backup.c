/* SPDX-License-Identifier: MIT */
/* chordctl backup: each node copies its database on its own host, one after the other. */
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "ctl.h"

enum { KEEP_MAX = 16 };

struct backups {
    struct ctl *ctl;
    uint32_t keep;
    struct table *table; /* either */
    json_t *list;
    unsigned failed;
    bool steady;
};

static void failed_add(struct backups *backups, const char *address, const char *code,
                       const char *message) {
    ctl_error("no backup of %s: %s%s%s", address, code, code[0] != '\0' ? ": " : "", message);
    backups->failed++;
    if (backups->list != NULL) {
        (void)json_array_append_new(
            backups->list,
            json_pack("{s:o, s:o}", "node", json_text(address), "error", json_text(message)));
    }
}

static void made_add(struct backups *backups, const char *address,
                     const Chord__V1__BackupResponse *made) {
    if (backups->list != NULL) {
        (void)json_array_append_new(
            backups->list, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "node", json_text(address),
                                     "path", json_text(made->path), "rows", json_u64(made->rows),
                                     "bytes", json_u64(made->bytes), "unix_ms",
                                     json_u64(made->unix_ms), "took_ms", json_u64(made->took_ms)));
        return;
    }
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%.1f", (double)made->took_ms / 1000);
    table_text(backups->table, address);
    table_number(backups->table, made->rows);
    table_number(backups->table, made->bytes);
    table_text(backups->table, seconds);
    table_text(backups->table, made->path);
}

static void backup_one(struct backups *backups, const char *address) {
    Chord__V1__BackupRequest request = CHORD__V1__BACKUP_REQUEST__INIT;
    struct chord_answer answer;
    struct rpc_reply reply;
    request.keep = backups->keep;
    const struct client_call call = {
        .address = address,
        .method = RPC_ADMIN_BACKUP,
        .request = &request.base,
        .timeout_ms = backups->ctl->timeout_given ? backups->ctl->timeout_ms : RPC_TIMEOUT_MS_MAX};
    if (client_call(backups->ctl->ring, &call, &answer, &reply)) {
        made_add(backups, address, (const void *)reply.response);
    } else {
        const char *code =
            answer.answered ? rpc_code_text((Chord__V1__Code)answer.code) : "no answer";
        failed_add(backups, address, code, answer.message);
    }
    rpc_reply_free(&reply);
}

/* Which ranges there are and the epoch of each, in the order of the nodes. */
static void epochs_write(const struct ring_walk *walk, struct buf *text) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const Chord__V1__StatusResponse *status = walk->nodes[i].status;
        for (size_t k = 0; status != NULL && !walk->nodes[i].alias && k < status->n_ranges; k++) {
            const Chord__V1__View *view = status->ranges[k]->view;
            char hi[ID_HEX_SIZE];
            if (view != NULL && view->range != NULL) {
                ring_id_text(hi, view->range->hi, status_m(status));
                if (!buf_format(text, "%s %llu\n", hi, (unsigned long long)view->epoch)) {
                    memory_missing();
                }
            }
        }
    }
}

static void epochs_read(struct ctl *ctl, struct buf *text) {
    struct ring_walk walk;
    walk_ring(ctl, &walk);
    epochs_write(&walk, text);
    ring_walk_free(&walk);
}

static void backup_each(struct backups *backups, struct buf *epochs) {
    struct ring_walk walk;
    walk_ring(backups->ctl, &walk);
    epochs_write(&walk, epochs);
    for (size_t i = 0; i < walk.nodes_count; i++) {
        const struct ring_node *node = &walk.nodes[i];
        if (node->alias) {
            continue;
        }
        if (node->status == NULL) {
            failed_add(backups, node->address, "", "it does not answer");
        } else {
            backup_one(backups, node->address);
        }
    }
    ring_walk_free(&walk);
}

/* Whether the copies go together: no range got other members or another leader meanwhile. */
static void backup_all(struct backups *backups) {
    struct buf before = {0}, after = {0};
    backup_each(backups, &before);
    epochs_read(backups->ctl, &after);
    backups->steady = before.size > 0 && before.size == after.size &&
                      memcmp(before.data, after.data, before.size) == 0;
    if (!backups->steady) {
        ctl_note("ranges changed hands while the copies were made: each is good for its own node, "
                 "but together they are no ring; take another set for that");
    }
    buf_free(&before);
    buf_free(&after);
}

static int backup_run(struct ctl *ctl, const struct arguments *arguments) {
    struct backups backups = {.ctl = ctl, .steady = true};
    char address[CHORD_ADDRESS_SIZE];
    backups.keep = (uint32_t)arguments_number(arguments, "keep", 1, KEEP_MAX, 0);
    if (ctl->json) {
        backups.list = json_array();
    } else {
        backups.table = table_new("NODE >ROWS >BYTES >SECONDS PATH");
    }
    if (arguments->words_count > 0) {
        node_resolve(ctl, arguments->words[0], address);
        backup_one(&backups, address);
    } else {
        backup_all(&backups);
    }
    if (ctl->json) {
        json_print(json_pack("{s:o, s:b}", "backups", backups.list, "steady", backups.steady));
    } else {
        table_print(backups.table);
    }
    return backups.failed == 0 ? CTL_OK : CTL_NOT_FOUND;
}

static const struct flag backup_options[] = {
    {0, "keep", "K",
     "so many stay on each node, 1..16, and the oldest go; else all, and 16 at most"},
    {0, NULL, NULL, NULL},
};
const struct command backup_command = {
    .name = "backup",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "a checked copy of each node's database, or of one",
    .help = "Each node writes it on its own host, into the folder 'backup' of its data, while it "
            "serves.\nchord-node --restore FILE --data FOLDER makes a node of it. Exit code 1: a "
            "node made none.\n--timeout is for each node (default 600000).\n",
    .options = backup_options,
    .run = backup_run,
};
