/* SPDX-License-Identifier: MIT */
/*
 * See core_host.h: carrying out the actions of a step. What a client is told follows chord.h's
 * duty 5.
 */
#include "core_host_state.h"

static void note(struct host *host, uint64_t value) {
    uint64_t z = host->digest ^ value;
    host->digest = random_of(&z);
}

static void note_text(struct host *host, const char *text) {
    for (; *text != '\0'; text++) {
        note(host, (uint8_t)*text);
    }
}

/* The rows that a slice's writes make, or the keys of its reads; who they belong to. */
static size_t rows_of(const struct host *host, const struct open *open,
                      const struct chord_slice *slice, bool writes, struct core_row **rows,
                      uint32_t **indices) {
    size_t count = 0;
    *rows = memory(sizeof **rows * open->parcel->operations_count);
    *indices = memory(sizeof **indices * open->parcel->operations_count);
    for (uint32_t i = 0; i < open->parcel->operations_count; i++) {
        struct host_operation *operation = &open->parcel->operations[i];
        const struct chord_operation *bare = &open->operations[i];
        if (writes ? !operation_is_written(bare, &open->states[i], &slice->range, host->config.m)
                   : !operation_is_read(bare, &slice->range, host->config.m)) {
            continue;
        }
        struct core_row *row = &(*rows)[count];
        memcpy(row->hash, open->operations[i].hash, CHORD_ID_BYTES);
        memcpy(row->key, operation->key, CORE_TEXT_BYTES);
        if (writes) {
            memcpy(row->value, operation->value, CORE_TEXT_BYTES);
            struct row_version version = operation_version(slice, i);
            row->epoch = version.epoch;
            row->counter = version.counter;
            row->tombstone = operation->kind == CHORD_DELETE;
            row->expires_at_ms = operation->expires_at_ms;
            row->op_id = operation->op_id;
            row->existed = operation_existed(bare, &open->states[i]);
            operation_sent(bare, &open->states[i]);
        }
        (*indices)[count++] = i;
    }
    return count;
}

static void send_request(struct host *host, int index, const struct chord_action *action) {
    struct node *node = &host->nodes[index];
    const struct chord_slice *slice = &action->send_request.slice;
    struct parcel *parcel = parcel_request(&action->send_request.request);
    struct open *origin = slice->request_id != 0 ? open_find(node, slice->request_id) : NULL;
    CHORD_ASSERT(slice->request_id == 0 || origin != NULL);
    uint32_t *indices = NULL;
    uint32_t count = 0;
    if (parcel->kind == CHORD_APPLY && origin != NULL) {
        parcel->rows_count = rows_of(host, origin, slice, true, &parcel->rows, &indices);
    } else if (parcel->kind == CHORD_BATCH) {
        CHORD_ASSERT(origin != NULL);
        uint32_t all = origin->parcel->operations_count;
        parcel->operations = memory(sizeof *parcel->operations * all);
        indices = memory(sizeof *indices * all);
        for (uint32_t i = 0; i < all; i++) {
            if (chord_operation_in(&origin->operations[i], &slice->range, host->config.m)) {
                operation_sent(&origin->operations[i], &origin->states[i]);
                parcel->operations[count] = origin->parcel->operations[i];
                indices[count++] = i;
            }
        }
        parcel->operations_count = count;
    }
    int to = host_reached(host, action->send_request.address);
    CHORD_ASSERT(action->send_request.timeout_ms > 0);
    struct slot *slot = call_new(host, index, to, action->send_request.timeout_ms, parcel);
    slot->call_id = action->send_request.call_id;
    slot->request_id = slice->request_id;
    slot->indices = indices;
    slot->indices_count = count;
}

/* What the client of a batch is told. */
static void batch_results(struct open *open, const struct chord_response *response) {
    for (uint32_t i = 0; i < open->parcel->operations_count; i++) {
        struct host_operation *operation = &open->parcel->operations[i];
        struct operation_result told =
            operation_told(&open->operations[i], &open->states[i], response->batch.unfinished);
        operation->code = told.code;
        operation->existed = told.existed;
        operation->epoch = told.version.epoch;
        operation->counter = told.version.counter;
    }
}

static void send_reply(struct host *host, int index, const struct chord_action *action) {
    struct node *node = &host->nodes[index];
    struct open *open = open_find(node, action->send_reply.request_id);
    CHORD_ASSERT(open != NULL && !open->replied); /* exactly one reply per request */
    CHORD_ASSERT(action->send_reply.response.kind == open->parcel->kind);
    open->replied = true;
    struct parcel *parcel = parcel_response(&action->send_reply.response);
    if (parcel->kind == CHORD_BATCH && action->send_reply.response.code == CHORD_OK) {
        batch_results(open, &action->send_reply.response);
        parcel->operations_count = open->parcel->operations_count;
        parcel->operations = copy_of(open->parcel->operations,
                                     sizeof *parcel->operations * parcel->operations_count);
    }
    if (open->page != NULL) {
        parcel->rows = open->page;
        parcel->rows_count = open->page_count;
        open->page = NULL;
    }
    reply_new(host, index, open, parcel);
    if (!action->send_reply.hold) {
        open_free(node, open);
    }
}

/* ---- the store ---- */

static void store(struct host *host, int index, const struct chord_action *action) {
    struct node *node = &host->nodes[index];
    const struct chord_slice *slice = &action->store.slice;
    struct job *job = memory(sizeof *job);
    struct open *open = slice->request_id != 0 ? open_find(node, slice->request_id) : NULL;
    job->kind = action->store.kind;
    job->store_op = action->store.store_op;
    job->request_id = slice->request_id;
    job->range = slice->range;
    switch (job->kind) {
    case CHORD_STORE_IDENTITY:
    case CHORD_STORE_OTHER_RING:
        job->identity = action->store.identity;
        break;
    case CHORD_STORE_VIEWS:
        job->views_count = chord_views_count(node->public.chord);
        job->views = memory(sizeof *job->views * job->views_count);
        for (uint16_t i = 0; i < job->views_count; i++) {
            chord_stored_view(node->public.chord, i, &job->views[i]);
        }
        break;
    case CHORD_STORE_EXAMINE_OPERATIONS:
        CHORD_ASSERT(open != NULL);
        job->floor = action->store.floor;
        job->epoch = slice->epoch;
        job->counter = slice->counter;
        break;
    case CHORD_STORE_WRITE_OPERATIONS:
    case CHORD_STORE_READ_OPERATIONS:
        CHORD_ASSERT(open != NULL);
        job->rows_count = rows_of(host, open, slice, job->kind == CHORD_STORE_WRITE_OPERATIONS,
                                  &job->rows, &job->indices);
        break;
    case CHORD_STORE_WRITE_ROWS:
        CHORD_ASSERT(open != NULL);
        job->rows_count = open->parcel->rows_count;
        job->rows = copy_of(open->parcel->rows, sizeof *job->rows * job->rows_count);
        break;
    case CHORD_STORE_WRITE_PULLED:
        CHORD_ASSERT(host->reply != NULL);
        job->rows_count = host->reply->rows_count;
        host->rows_pulled += job->rows_count;
        job->rows = copy_of(host->reply->rows, sizeof *job->rows * job->rows_count);
        job->drop_epoch = action->store.drop_epoch;
        job->skip_epoch = action->store.skip_epoch;
        job->has_after = action->store.has_after;
        job->done = action->store.done;
        memcpy(job->after, action->store.after, CHORD_ID_BYTES);
        memcpy(job->last, action->store.last, CHORD_ID_BYTES);
        break;
    case CHORD_STORE_READ_RANGE:
        CHORD_ASSERT(open != NULL);
        job->has_after = parcel_request_of(open->parcel)->rows.has_after;
        memcpy(job->after, parcel_request_of(open->parcel)->rows.after, CHORD_ID_BYTES);
        break;
    case CHORD_STORE_DIGEST:
    case CHORD_STORE_TOMBSTONES:
    case CHORD_STORE_DROP_RANGE:
        break;
    }
    uint64_t us =
        between(&host->random_store, host->config.store_us_min, host->config.store_us_max);
    uint64_t ready =
        host->now_us + (node->public.disk == HOST_DISK_SLOW ? us * SLOW_DISK_FACTOR : us);
    node->store_us = ready > node->store_us ? ready : node->store_us;
    job_add(node, job);
    push(host, (struct event){.kind = EVENT_JOB,
                              .time_us = node->store_us,
                              .node = index,
                              .life = node->public.lives});
}

static uint64_t content_of(bool deletes, const char value[CORE_TEXT_BYTES]) {
    uint8_t hash[CHORD_ID_BYTES];
    uint64_t content = 1;
    if (!deletes) {
        core_hash(value, hash);
        memcpy(&content, hash, sizeof content);
    }
    return content;
}

static struct operation_write write_of(const struct host_operation *operation,
                                       const uint8_t *hash) {
    struct operation_write write = {
        .deletes = operation->kind == CHORD_DELETE,
        .has_op_id = operation->op_id != 0,
        .has_seen = operation->seen_epoch > 0,
        .attempt = operation->attempt,
        .content = content_of(operation->kind == CHORD_DELETE, operation->value),
        .absent = operation->if_absent,
        .matches = operation->if_match,
        .seen = {operation->seen_epoch, operation->seen_counter},
        .match = {operation->match_epoch, operation->match_counter},
    };
    memcpy(write.hash, hash, CHORD_ID_BYTES);
    memcpy(write.op_id, &operation->op_id, sizeof operation->op_id);
    return write;
}

/* NULL: there is none. */
static struct operation_row row_of(const struct core_row *row) {
    struct operation_row known = {.found = row != NULL};
    if (row != NULL) {
        known.bad = row->bad;
        known.deleted = row->tombstone;
        known.expires_at_ms = row->expires_at_ms;
        known.existed = row->existed;
        known.has_op_id = row->op_id != 0;
        memcpy(known.op_id, &row->op_id, sizeof row->op_id);
        known.content = content_of(row->tombstone, row->value);
        known.version = (struct row_version){row->epoch, row->counter};
    }
    return known;
}

/* Few writes, so that what is no longer remembered is met too. */
static struct operation_memory *examined_of(struct node *node) {
    enum { EXAMINED_WRITES = 48 };
    if (node->examined.writes == NULL) {
        node->examined.room = EXAMINED_WRITES;
        node->examined.writes = memory(sizeof *node->examined.writes * EXAMINED_WRITES);
    }
    return &node->examined;
}

static uint64_t run_examine(struct host *host, struct node *node, const struct job *job,
                            struct open *open) {
    if (open == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < open->parcel->operations_count; i++) {
        const struct host_operation *operation = &open->parcel->operations[i];
        if (!operation_is_examined(&open->operations[i], &job->range, host->config.m)) {
            continue;
        }
        struct operation_write write = write_of(operation, open->operations[i].hash);
        struct operation_row row = row_of(core_store_find(&node->public.store, operation->key));
        struct row_version next = {job->epoch, job->counter + i};
        struct operation_answer answer = operation_examine(&write, &row, job->floor, next,
                                                           clock_ms(host, node), examined_of(node));
        operation_examined(&open->states[i], &answer);
    }
    return operations_left(open->operations, open->states, open->parcel->operations_count,
                           &job->range, host->config.m);
}

/* A read's result, and the value that goes with it. */
static void read_row(struct host *host, struct node *node, struct open *open, uint32_t i) {
    struct host_operation *operation = &open->parcel->operations[i];
    const struct core_row *row = core_store_find(&node->public.store, operation->key);
    struct operation_row known = row_of(row);
    if (open->operations[i].finished) {
        return;
    }
    memset(operation->value, 0, CORE_TEXT_BYTES);
    if (operation_read(&open->operations[i], &open->states[i], &known, clock_ms(host, node))) {
        memcpy(operation->value, row->value, CORE_TEXT_BYTES);
    }
}

static void run_rows(struct host *host, struct node *node, struct job *job,
                     struct chord_event *event) {
    struct core_store *rows = &node->public.store;
    struct open *open = job->request_id != 0 ? open_find(node, job->request_id) : NULL;
    if (job->drop_epoch > 0 && node->public.disk != HOST_DISK_FULL) {
        core_store_equal(rows, &job->range, host->config.m, job->drop_epoch,
                         job->has_after ? job->after : NULL, job->done ? NULL : job->last);
    }
    for (size_t i = 0; i < job->rows_count; i++) {
        if (job->kind == CHORD_STORE_READ_OPERATIONS) {
            if (open != NULL) {
                read_row(host, node, open, job->indices[i]);
            }
        } else if (node->public.disk == HOST_DISK_FULL) {
            event->stored.ok = false;
        } else if (job->rows[i].epoch >= job->skip_epoch) {
            const struct core_row *stored = core_store_find(rows, job->rows[i].key);
            if (stored != NULL && stored->bad &&
                !row_replaces(row_of(&job->rows[i]).version, row_of(stored).version, true)) {
                event->stored.ok = false; /* a bad row stands in the way of an older one */
                continue;
            }
            bool existed = core_store_write(rows, &job->rows[i]);
            if (open != NULL && job->kind == CHORD_STORE_WRITE_OPERATIONS) {
                uint32_t index = job->indices[i];
                operation_written(&open->operations[index], &open->states[index],
                                  row_of(&job->rows[i]).version, existed);
            }
        }
    }
}

/* Takes effect now: what a kill before this moment loses was never reported. */
void run_job(struct host *host, int index, struct job *job) {
    struct node *node = &host->nodes[index];
    struct core_store *rows = &node->public.store;
    struct open *open = job->request_id != 0 ? open_find(node, job->request_id) : NULL;
    struct chord_event event = {.kind = CHORD_EVENT_STORED};
    event.stored.store_op = job->store_op;
    bool full = node->public.disk == HOST_DISK_FULL;
    event.stored.ok = true;
    switch (job->kind) {
    case CHORD_STORE_IDENTITY:
        rows->identity = job->identity;
        break;
    case CHORD_STORE_OTHER_RING:
        rows->identity = job->identity;
        rows->views_count = 0;
        rows->rows_count = 0;
        break;
    case CHORD_STORE_VIEWS:
        event.stored.ok = !full;
        if (full) {
            break;
        }
        free(rows->views);
        rows->views = job->views;
        job->views = NULL;
        rows->views_count = job->views_count;
        for (uint16_t i = 0; i < rows->views_count; i++) {
            const struct chord_view *view = &rows->views[i].view;
            if (view->floor == view->epoch && !view->cut) {
                core_store_forget(rows, &view->range, host->config.m, view->floor);
            }
        }
        break;
    case CHORD_STORE_READ_RANGE:
        if (open != NULL) {
            free(open->page);
            open->page_count = core_store_page(
                rows, &job->range, host->config.m, job->has_after ? job->after : NULL,
                host->config.page_rows, &open->page, &event.stored.done);
            event.stored.rows = open->page_count;
            for (size_t i = 0; i < open->page_count; i++) {
                event.stored.ok = event.stored.ok && !open->page[i].bad;
            }
            if (open->page_count > 0) {
                memcpy(event.stored.last, open->page[open->page_count - 1].hash, CHORD_ID_BYTES);
            }
        }
        break;
    case CHORD_STORE_EXAMINE_OPERATIONS:
        event.stored.rows = run_examine(host, node, job, open);
        break;
    case CHORD_STORE_DIGEST:
        event.stored.rows =
            core_store_digest(rows, &job->range, host->config.m, event.stored.digest);
        break;
    case CHORD_STORE_TOMBSTONES:
        event.stored.rows = core_store_tombstones(rows, &job->range, host->config.m);
        break;
    case CHORD_STORE_DROP_RANGE:
        event.stored.ok = !full;
        if (!full) {
            core_store_drop(rows, &job->range, host->config.m);
        }
        break;
    default:
        run_rows(host, node, job, &event);
        break;
    }
    if (job->store_op != 0) {
        step(host, index, &event);
    }
}

/* ---- the rest ---- */

struct named {
    char *address;
    unsigned m;
};

static void id_named(void *context, uint32_t salt, struct chord_id *id) {
    struct named *named = context;
    char text[CHORD_ADDRESS_BYTES + 16];
    uint8_t hash[CHORD_ID_BYTES];
    snprintf(text, sizeof text, "%s#%u", named->address, salt);
    core_hash(text, hash);
    *id = id_from_hash(hash, named->m);
}

static void derive(struct host *host, int index, const struct chord_action *action) {
    struct derived *derived = memory(sizeof *derived);
    struct named named = {host->nodes[index].public.address, action->derive_id.m};
    derived->found =
        chord_derive_id(&action->derive_id, id_named, &named, &derived->salt, &derived->id);
    push(host, (struct event){.kind = EVENT_DERIVED,
                              .time_us = host->now_us + 50,
                              .node = index,
                              .life = host->nodes[index].public.lives,
                              .payload = derived});
}

static void finished(struct host *host, struct node *node, const struct chord_slice *slice) {
    struct open *open = open_find(node, slice->request_id);
    CHORD_ASSERT(open != NULL);
    operations_finish(open->operations, open->states, open->parcel->operations_count, &slice->range,
                      host->config.m);
}

static void digest_action(struct host *host, int index, const struct chord_action *action) {
    note(host, host->now_us);
    note(host, (uint64_t)index << 32 | (uint64_t)action->kind);
    if (action->kind == CHORD_ACTION_SEND_REQUEST) {
        note(host, action->send_request.call_id);
        note(host, action->send_request.timeout_ms);
        note(host, action->send_request.request.kind);
        note(host, action->send_request.slice.counter);
        note_text(host, action->send_request.address);
    } else if (action->kind == CHORD_ACTION_SEND_REPLY) {
        note(host, action->send_reply.request_id);
        note(host, action->send_reply.response.kind);
        note(host, (uint64_t)action->send_reply.response.code << 1 |
                       (uint64_t)action->send_reply.response.gone);
    } else if (action->kind == CHORD_ACTION_STORE) {
        note(host, action->store.store_op << 4 | (uint64_t)action->store.kind);
    }
}

void act(struct host *host, int index, const struct chord_action *action) {
    struct node *node = &host->nodes[index];
    digest_action(host, index, action);
    switch (action->kind) {
    case CHORD_ACTION_SEND_REQUEST:
        send_request(host, index, action);
        break;
    case CHORD_ACTION_SEND_REPLY:
        send_reply(host, index, action);
        break;
    case CHORD_ACTION_RELEASE: {
        struct open *open = open_find(node, action->request_id);
        CHORD_ASSERT(open != NULL && open->replied);
        open_free(node, open);
        break;
    }
    case CHORD_ACTION_RESUME:
        push(host, (struct event){.kind = EVENT_RESUME,
                                  .time_us = host->now_us,
                                  .node = index,
                                  .life = node->public.lives,
                                  .request_id = action->request_id});
        break;
    case CHORD_ACTION_FINISHED:
        finished(host, node, &action->finished);
        break;
    case CHORD_ACTION_STORE:
        store(host, index, action);
        break;
    case CHORD_ACTION_DERIVE_ID:
        derive(host, index, action);
        break;
    case CHORD_ACTION_LEFT:
        node->public.left = true;
        break;
    case CHORD_ACTION_REFUSED:
        node->public.refused = action->refused.reason;
        node->public.copy = action->refused.copy;
        break;
    }
}

/* The results of a forwarded batch; parcel NULL: no answer came. */
uint32_t forwarded(struct node *node, const struct slot *slot, const struct parcel *parcel) {
    struct open *open = open_find(node, slot->request_id);
    uint32_t count = 0;
    for (uint32_t k = 0; open != NULL && k < slot->indices_count; k++) {
        uint32_t i = slot->indices[k];
        if (slot->unsent) {
            operation_unsent(&open->states[i]);
            continue;
        }
        const struct host_operation *theirs = parcel != NULL ? &parcel->operations[k] : NULL;
        struct operation_result result = {.code = CHORD_UNKNOWN};
        if (theirs != NULL) {
            result = (struct operation_result){.code = theirs->code,
                                               .existed = theirs->existed,
                                               .version = {theirs->epoch, theirs->counter}};
        }
        if (operation_forwarded(&open->operations[i], &open->states[i],
                                theirs != NULL ? &result : NULL)) {
            count++;
            if (theirs != NULL) {
                memcpy(open->parcel->operations[i].value, theirs->value, CORE_TEXT_BYTES);
            }
        }
    }
    return count;
}
