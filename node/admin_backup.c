/* SPDX-License-Identifier: MIT */
/*
 * A backup while the node serves: the store makes the copy, a thread checks it, and whoever asked
 * hears of it at the end.
 */
#include "admin.h"

#include "log.h"
#include "store_backup.h"

#include <stdlib.h>

static Chord__V1__Code code_of(enum backup_error error) {
    switch (error) {
    case BACKUP_OK:
        return CHORD__V1__CODE__CODE_OK;
    case BACKUP_REFUSED:
        return CHORD__V1__CODE__CODE_FAILED_PRECONDITION;
    case BACKUP_DAMAGED:
        return CHORD__V1__CODE__CODE_DATA_LOSS;
    case BACKUP_FAILED:
        break;
    }
    return CHORD__V1__CODE__CODE_INTERNAL;
}

static void end(struct node *node) {
    struct backup *made = node->backup.made;
    struct request *request = node->backup.request;
    node->backup.made = NULL;
    if (made->error == BACKUP_OK) {
        Chord__V1__BackupResponse message = CHORD__V1__BACKUP_RESPONSE__INIT;
        message.path = made->path;
        message.rows = made->rows;
        message.bytes = made->bytes;
        message.unix_ms = made->unix_ms;
        message.took_ms = node_now_ms() - node->backup.began_ms;
        log_write(LOG_INFO, "backup", "%s: %llu rows, %llu bytes", made->path,
                  (unsigned long long)made->rows, (unsigned long long)made->bytes);
        admin_answer(node, request, &message.base);
    } else {
        log_write(LOG_WARN, "backup", "none was made: %s", made->reason);
        admin_refuse(node, request, code_of(made->error), made->reason);
    }
    free(made);
}

void admin_on_backup(struct node *node, struct request *request) {
    const Chord__V1__BackupRequest *asked = (const void *)request->message;
    if (asked->keep > BACKUP_KEEP_MAX) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                     "at most 16 backups are kept");
        return;
    }
    if (node->backup.made != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                     "a backup of this node is under way");
        return;
    }
    node->backup.made = calloc(1, sizeof *node->backup.made);
    if (node->backup.made == NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    node->backup.request = request;
    node->backup.began_ms = node_now_ms();
    if (!backup_begin(node->backup.made, node->settings.data, asked->keep)) {
        end(node);
        return;
    }
    struct store_job *job = store_job_new(STORE_JOB_BACKUP);
    job->backup = node->backup.made;
    node_submit(node, job, request);
}

static void *check(void *argument) {
    struct node *node = argument;
    backup_check(node->backup.made);
    node_enqueue(node, item_new(ITEM_BACKUP_CHECKED), true);
    return NULL;
}

void backup_copied(struct node *node, const struct store_job *job) {
    struct backup *made = job->backup;
    if (made->error != BACKUP_OK) {
        end(node);
        return;
    }
    node->backup.checked_now = pthread_create(&node->backup.thread, NULL, check, node) == 0;
    if (!node->backup.checked_now) {
        backup_check(made);
        end(node);
    }
}

void backup_checked(struct node *node) {
    pthread_join(node->backup.thread, NULL);
    node->backup.checked_now = false;
    end(node);
}

void backup_stop(struct node *node) {
    if (node->backup.made != NULL) {
        atomic_store(&node->backup.made->stop, true);
    }
    if (node->backup.checked_now) {
        pthread_join(node->backup.thread, NULL);
        node->backup.checked_now = false;
    }
}

void backup_close(struct node *node) {
    free(node->backup.made);
    node->backup.made = NULL;
}
