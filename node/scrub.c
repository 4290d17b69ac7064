/* SPDX-License-Identifier: MIT */
/*
 * The scrub as the node drives it: one bounded store job a second, round and round, and the list of
 * rows that are known to be bad. Nothing is repaired here: a bad row is never given out, its copy
 * equals no other, and the core is told of it as long as it is there, so that this copy is compared
 * with the others' (node/chord/data/damage.c).
 */
#include "node.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

enum {
    SCRUB_PERIOD_MS = 1000,    /* STORE_SCRUB_ROWS or STORE_SCRUB_BYTES in this time */
    SCRUB_REST_MS = 60 * 1000, /* after all rows */
};

static void bad_remove(struct scrub *scrub, unsigned index) {
    scrub->bad_count--;
    memmove(scrub->bad[index], scrub->bad[index + 1],
            sizeof scrub->bad[0] * (scrub->bad_count - index));
}

static bool bad_known(const struct scrub *scrub, const uint8_t *hash) {
    for (unsigned i = 0; i < scrub->bad_count; i++) {
        if (memcmp(scrub->bad[i], hash, CHORD_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static void bad_row(struct node *node, const struct store_row *row) {
    struct scrub *scrub = &node->scrub;
    char hash[2 * CHORD_ID_BYTES + 1];
    if (bad_known(scrub, row->hash) || scrub->bad_count == SCRUB_BAD_MAX) {
        return;
    }
    memcpy(scrub->bad[scrub->bad_count++], row->hash, CHORD_ID_BYTES);
    uint64_t soon_ms = node_now_ms() + SCRUB_PERIOD_MS;
    scrub->next_ms = scrub->next_ms < soon_ms ? scrub->next_ms : soon_ms;
    rpc_hex(hash, row->hash, CHORD_ID_BYTES);
    log_write(
        LOG_ERROR, "store",
        "the row with hash %s and a key of %zu bytes is damaged: its checksum does not match. "
        "It is not given out, and is replaced from the other copies",
        hash, row->key_bytes);
}

static void tell_core(struct node *node, const struct store_row *row) {
    struct chord_status status;
    chord_read_status(node->chord, &status);
    if (status.parameters.m != 0) {
        struct chord_event event = {.kind = CHORD_EVENT_DAMAGED};
        event.damaged = id_from_hash(row->hash, status.parameters.m);
        node_event(node, &event);
    }
}

void scrub_look(struct node *node, const struct store_job *job) {
    for (size_t i = 0; i < job->rows_count; i++) {
        if (job->rows[i].bad) {
            bad_row(node, &job->rows[i]);
            tell_core(node, &job->rows[i]);
        }
    }
}

/* The greatest hash below, so that (after, hash] is one. False: there is none below. */
static bool hash_before(uint8_t hash[CHORD_ID_BYTES]) {
    for (unsigned i = CHORD_ID_BYTES; i-- > 0;) {
        if (hash[i]-- != 0) {
            return true;
        }
    }
    return false;
}

void scrub_tick(struct node *node) {
    struct scrub *scrub = &node->scrub;
    uint64_t now_ms = node_now_ms();
    if (scrub->open || now_ms < scrub->next_ms) {
        return;
    }
    bool pass = scrub->pass_ms <= now_ms;
    scrub->again = scrub->bad_count > 0 && !(pass && scrub->again);
    if (!scrub->again && !pass) {
        scrub->next_ms = scrub->pass_ms;
        return;
    }
    struct store_job *job = store_job_new(STORE_JOB_SCRUB);
    if (scrub->again) { /* whether a bad one has been replaced */
        const uint8_t *hash = scrub->bad[scrub->turn++ % scrub->bad_count];
        memcpy(job->last, hash, CHORD_ID_BYTES);
        memcpy(job->after, hash, CHORD_ID_BYTES);
        job->has_after = hash_before(job->after);
    } else {
        memset(job->last, 0xff, CHORD_ID_BYTES);
        job->has_after = scrub->has_after;
        memcpy(job->after, scrub->after, CHORD_ID_BYTES);
    }
    scrub->open = true;
    node_submit(node, job, NULL);
}

void scrub_done(struct node *node, const struct store_job *job) {
    struct scrub *scrub = &node->scrub;
    scrub->open = false;
    scrub->next_ms = node_now_ms() + SCRUB_PERIOD_MS;
    if (!job->ok) {
        return;
    }
    for (unsigned i = scrub->bad_count; i-- > 0;) {
        bool looked_at =
            memcmp(scrub->bad[i], job->last, CHORD_ID_BYTES) <= 0 &&
            !(job->has_after && memcmp(scrub->bad[i], job->after, CHORD_ID_BYTES) <= 0);
        bool bad = false;
        for (size_t k = 0; k < job->rows_count && looked_at && !bad; k++) {
            bad = memcmp(job->rows[k].hash, scrub->bad[i], CHORD_ID_BYTES) == 0;
        }
        if (looked_at && !bad) {
            bad_remove(scrub, i);
        }
    }
    scrub_look(node, job);
    if (!scrub->again) {
        scrub->has_after = !job->done;
        memcpy(scrub->after, job->last, CHORD_ID_BYTES);
        scrub->pass_ms = node_now_ms() + (job->done ? SCRUB_REST_MS : SCRUB_PERIOD_MS);
    }
}
