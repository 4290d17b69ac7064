/* SPDX-License-Identifier: MIT */
/*
 * Carrying out what the core decided: requests, replies, store jobs, log lines. No protocol
 * decision is taken here.
 */
#include "node.h"

#include "hash.h"
#include "join_words.h"
#include "log.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- log ---- */

static int print_id(char *text, size_t bytes, const struct chord_id *id, unsigned m) {
    unsigned digits = m == 0 ? 2 * CHORD_ID_BYTES : (m + 3) / 4;
    int length = 0;
    for (unsigned i = 2 * CHORD_ID_BYTES - digits; i < 2 * CHORD_ID_BYTES; i++) {
        unsigned nibble = (unsigned)id->bytes[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15u;
        length += snprintf(text + length, bytes - (size_t)length, "%x", nibble);
    }
    return length;
}

static void log_trace(struct node *node, const struct chord_trace *trace) {
    char text[400];
    char lo[48], hi[48];
    int length = snprintf(text, sizeof text, "%s", trace->note);
    size_t size = sizeof text;
    if (trace->address[0] != '\0') {
        length += snprintf(text + length, size - (size_t)length, " %s", trace->address);
    }
    if (trace->has_id) {
        print_id(lo, sizeof lo, &trace->id, node->m);
        length += snprintf(text + length, size - (size_t)length, " id=%s", lo);
    }
    if (trace->has_range) {
        print_id(lo, sizeof lo, &trace->range.lo, node->m);
        print_id(hi, sizeof hi, &trace->range.hi, node->m);
        length += snprintf(text + length, size - (size_t)length, " range=(%s,%s]", lo, hi);
    }
    if (trace->epoch != 0) {
        length += snprintf(text + length, size - (size_t)length, " epoch=%llu",
                           (unsigned long long)trace->epoch);
    }
    if (trace->count != 0) {
        snprintf(text + length, size - (size_t)length, " count=%llu",
                 (unsigned long long)trace->count);
    }
    log_write((enum log_level)trace->level, chord_word_text(trace->word), "%s", text);
}

/* ---- requests out ---- */

static void on_reply(void *context, struct rpc_reply *reply) {
    struct call_context *call = context;
    struct item *item = item_new(ITEM_REPLY);
    item->context = call;
    item->reply = *reply;
    node_enqueue(call->node, item, true);
}

static void send_request(struct node *node, const struct chord_action *action) {
    struct wire_context wire = {&node->scratch, node->m};
    const struct chord_request *request = &action->send_request.request;
    const struct chord_slice *slice = &action->send_request.slice;
    struct call_context *context = calloc(1, sizeof *context);
    ProtobufCMessage *message = NULL;
    if (context == NULL) {
        abort();
    }
    context->node = node;
    context->call_id = action->send_request.call_id;
    context->kind = request->kind;
    snprintf(context->to.text, sizeof context->to.text, "%s", action->send_request.address);
    context->request_id = slice->request_id;
    struct request *origin = slice->request_id != 0 ? request_find(node, slice->request_id) : NULL;
    if (request->kind == CHORD_BATCH && origin != NULL) {
        message = kv_forward(node, origin, slice, request, context);
    } else if (request->kind == CHORD_APPLY && origin != NULL) {
        size_t count;
        struct store_row *rows = kv_rows(node, origin, slice, true, &node->scratch, &count);
        message = wire_encode_request(&wire, request, rows, count);
    } else {
        message = wire_encode_request(&wire, request, NULL, 0);
    }
    if (message == NULL) {
        abort(); /* the core asked for what the shell cannot say: our bug */
    }
    rpc_client_call(node->client, action->send_request.address, wire_method(request->kind), message,
                    action->send_request.timeout_ms, on_reply, context);
}

/* The answer as the core's form; false: there is none. */
static bool read_reply(struct node *node, struct item *item, struct chord_response *response) {
    struct call_context *context = item->context;
    struct rpc_reply *reply = &item->reply;
    const char *error = NULL;
    memset(response, 0, sizeof *response);
    response->kind = context->kind;
    if (context->kind == CHORD_BATCH) {
        Chord__V1__BatchResponse *batch = (Chord__V1__BatchResponse *)(void *)reply->response;
        bool answered = reply->code == CHORD__V1__CODE__CODE_OK && batch != NULL;
        response->code = answered ? CHORD_OK : (enum chord_code)reply->code;
        if (reply->local) {
            if (!reply->unsent) {
                kv_forwarded(node, context, NULL);
            } else {
                kv_unsent(node, context);
            }
            return false;
        }
        if (answered) {
            if (!wire_decode_response(CHORD_BATCH, reply->response, response, &error)) {
                response->batch.hint.address[0] = '\0'; /* the results stand without it */
            }
            response->batch.finished = kv_forwarded(node, context, batch);
        }
        return true;
    }
    if (reply->local) {
        return false;
    }
    if (reply->code != CHORD__V1__CODE__CODE_OK) {
        response->code = (enum chord_code)reply->code;
        response->retry_after_ms = reply->retry_after_ms;
        return true;
    }
    if (reply->response == NULL ||
        !wire_decode_response(context->kind, reply->response, response, &error)) {
        log_write(LOG_WARN, "wire", "unreadable answer to %s: %s",
                  rpc_method_name(wire_method(context->kind)), error != NULL ? error : "empty");
        response->code = CHORD_INTERNAL;
    }
    return true;
}

void action_replied(struct node *node, struct item *item) {
    struct chord_response response;
    struct chord_event event = {.kind = CHORD_EVENT_REPLY};
    if (read_reply(node, item, &response)) {
        event.reply.call_id = item->context->call_id;
        event.reply.microseconds = item->reply.microseconds > 0 ? item->reply.microseconds : 1;
        event.reply.response = &response;
    } else {
        event.kind = CHORD_EVENT_FAILURE;
        event.failure.call_id = item->context->call_id;
        event.failure.refused = false;
    }
    join_words_reply(node, item->context, &item->reply);
    notices_reply(node, item->context, &item->reply);
    readiness_reply(node, item->context, &item->reply);
    node->reply_message = item->reply.response;
    node_event(node, &event);
    node->reply_message = NULL;
    rpc_reply_free(&item->reply);
    free(item->context->indices);
    free(item->context);
}

/* ---- replies out ---- */

static void send_reply(struct node *node, const struct chord_action *action) {
    struct wire_context wire = {&node->scratch, node->m};
    const struct chord_response *response = &action->send_reply.response;
    struct request *request = request_find(node, action->send_reply.request_id);
    if (request == NULL) {
        abort();
    }
    if (response->code != CHORD_OK) {
        rpc_call_reply(request->call, (Chord__V1__Code)response->code, NULL,
                       response->retry_after_ms, NULL);
        request->call = NULL;
    } else if (response->kind == CHORD_BATCH) {
        kv_reply(node, request, response);
    } else {
        size_t rows_count = request->page != NULL ? request->page->rows_count : 0;
        const struct store_row *rows = request->page != NULL ? request->page->rows : NULL;
        ProtobufCMessage *message =
            response->kind == CHORD_LOOKUP
                ? &wire_encode_lookup(&wire, response, &request->key_id)->base
                : wire_encode_response(&wire, response, rows, rows_count);
        rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, 0, message);
        request->call = NULL;
    }
    if (!action->send_reply.hold) {
        request_end(node, request);
    }
}

/* ---- store ---- */

/* Rows of epochs before skip_epoch are not taken. */
static void rows_of_apply(struct store_job *job, Chord__V1__Row *const *messages, size_t count,
                          bool copy, uint64_t skip_epoch) {
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * (count + 1));
    for (size_t i = 0; i < count; i++) {
        struct store_row *row = &job->rows[job->rows_count];
        if (!wire_read_row(messages[i], row) || row->epoch < skip_epoch) {
            continue; /* a row outside the limits is nobody's row */
        }
        if (copy) {
            row->key = arena_copy(&job->arena, row->key, row->key_bytes);
            row->value = arena_copy(&job->arena, row->value, row->value_bytes);
        }
        job->rows_count++;
    }
}

static void copy_views(struct node *node, struct store_job *job) {
    uint16_t count = chord_views_count(node->chord);
    job->views = arena_alloc(&job->arena, sizeof *job->views * (count + 1u));
    job->views_count = count;
    for (uint16_t i = 0; i < count; i++) {
        chord_stored_view(node->chord, i, &job->views[i]);
    }
}

static const enum store_job_kind job_kinds[] = {
    [CHORD_STORE_IDENTITY] = STORE_JOB_IDENTITY,
    [CHORD_STORE_VIEWS] = STORE_JOB_VIEWS,
    [CHORD_STORE_EXAMINE_OPERATIONS] = STORE_JOB_EXAMINE,
    [CHORD_STORE_WRITE_OPERATIONS] = STORE_JOB_WRITE,
    [CHORD_STORE_READ_OPERATIONS] = STORE_JOB_READ,
    [CHORD_STORE_WRITE_ROWS] = STORE_JOB_WRITE,
    [CHORD_STORE_WRITE_PULLED] = STORE_JOB_WRITE,
    [CHORD_STORE_READ_RANGE] = STORE_JOB_READ_RANGE,
    [CHORD_STORE_DIGEST] = STORE_JOB_DIGEST,
    [CHORD_STORE_TOMBSTONES] = STORE_JOB_TOMBSTONES,
    [CHORD_STORE_DROP_RANGE] = STORE_JOB_DROP_RANGE,
    [CHORD_STORE_OTHER_RING] = STORE_JOB_OTHER_RING,
};

static void store(struct node *node, const struct chord_action *action) {
    struct store_job *job = store_job_new(job_kinds[action->store.kind]);
    const struct chord_slice *slice = &action->store.slice;
    struct request *request = NULL;
    job->store_op = action->store.store_op;
    job->range = slice->range;
    switch (action->store.kind) {
    case CHORD_STORE_IDENTITY:
    case CHORD_STORE_OTHER_RING:
        job->identity = arena_copy(&job->arena, &action->store.identity, sizeof *job->identity);
        notices_known(node, job->identity);
        break;
    case CHORD_STORE_VIEWS:
        copy_views(node, job);
        break;
    case CHORD_STORE_WRITE_OPERATIONS:
    case CHORD_STORE_READ_OPERATIONS:
        request = request_find(node, slice->request_id);
        job->rows =
            kv_rows(node, request, slice, action->store.kind == CHORD_STORE_WRITE_OPERATIONS,
                    &job->arena, &job->rows_count);
        break;
    case CHORD_STORE_EXAMINE_OPERATIONS:
        request = request_find(node, slice->request_id);
        job->rows = kv_examine_rows(node, request, slice, &job->arena, &job->rows_count);
        job->epoch = action->store.floor;
        job->first = *slice;
        break;
    case CHORD_STORE_WRITE_ROWS: {
        request = request_find(node, slice->request_id);
        const Chord__V1__ApplyRequest *apply = (const void *)request->message;
        rows_of_apply(job, apply->rows, apply->n_rows, false, 0);
        break;
    }
    case CHORD_STORE_WRITE_PULLED: {
        const Chord__V1__TransferKeysResponse *pulled = (const void *)node->reply_message;
        rows_of_apply(job, pulled->rows, pulled->n_rows, true, action->store.skip_epoch);
        job->kind = action->store.drop_epoch > 0 ? STORE_JOB_EQUAL : STORE_JOB_WRITE;
        job->epoch = action->store.drop_epoch;
        job->has_after = action->store.has_after;
        job->done = action->store.done;
        memcpy(job->after, action->store.after, CHORD_ID_BYTES);
        memcpy(job->last, action->store.last, CHORD_ID_BYTES);
        break;
    }
    case CHORD_STORE_READ_RANGE:
        request = request_find(node, slice->request_id);
        job->page_values = true;
        job->has_after = request->core.rows.has_after;
        memcpy(job->after, request->core.rows.after, CHORD_ID_BYTES);
        break;
    case CHORD_STORE_DIGEST:
        request = slice->request_id != 0 ? request_find(node, slice->request_id) : NULL;
        break;
    case CHORD_STORE_TOMBSTONES:
    case CHORD_STORE_DROP_RANGE:
        break;
    }
    node_submit(node, job, request);
    if (action->store.kind == CHORD_STORE_VIEWS) {
        admin_count(node);
    }
}

void action_stored(struct node *node, struct store_job *job) {
    struct request *request = job->owner;
    bool kept = job->kind == STORE_JOB_READ_RANGE && request != NULL;
    if (job->kind == STORE_JOB_SCRUB) {
        scrub_done(node, job);
    } else {
        scrub_look(node, job);
    }
    if (job->kind == STORE_JOB_LIST_KEYS) {
        admin_stored(node, request, job);
    } else if (job->kind == STORE_JOB_BACKUP) {
        backup_copied(node, job);
    } else if (job->kind == STORE_JOB_COUNT) {
        kept = admin_counted(node, job);
    } else if (job->kind == STORE_JOB_EXAMINE && job->ok) {
        job->digest_rows = kv_examined(node, request, job);
    } else if (request != NULL && request->operations != NULL && job->ok) {
        kv_stored(node, request, job, job->kind == STORE_JOB_WRITE);
    }
    struct chord_event event = {.kind = CHORD_EVENT_STORED};
    event.stored.store_op = job->store_op;
    event.stored.ok = job->ok;
    bool counted = job->kind == STORE_JOB_DIGEST || job->kind == STORE_JOB_EXAMINE ||
                   job->kind == STORE_JOB_TOMBSTONES;
    event.stored.rows = counted ? job->digest_rows : job->rows_count;
    event.stored.done = job->done;
    memcpy(event.stored.last, job->last, CHORD_ID_BYTES);
    memcpy(event.stored.digest, job->digest, CHORD_DIGEST_BYTES);
    if (job->kind == STORE_JOB_READ_RANGE && kept) {
        store_job_free(request->page);
        request->page = job;
    }
    if (event.stored.store_op != 0) {
        node_event(node, &event);
    }
    if (request != NULL) {
        request_unref(node, request);
    }
    if (!kept) {
        store_job_free(job);
    }
}

/* ---- the rest ---- */

static void derive_id(struct node *node, const struct chord_action *action) {
    struct item *item = item_new(ITEM_DERIVED);
    item->derived.found = hash_derive_id(node->settings.listen, &action->derive_id,
                                         &item->derived.salt, &item->derived.id);
    node_enqueue(node, item, true);
}

/* The store runs in another process, or ran there last: it may vote in one place only. */
static void refused_copy(struct node *node, const char *address) {
    log_write(LOG_ERROR, "refused",
              "%s has a copy of the data that runs, or ran last, at %s, and stops so that no write "
              "is lost: a new member starts with an empty folder; to go on here, stop that one and "
              "copy its folder again",
              node->settings.listen, address);
    node->stopping = true;
    node->exit_code = NODE_EXIT_COPY;
}

static void refused(struct node *node, const char *reason) {
    struct chord_status status;
    chord_read_status(node->chord, &status);
    fprintf(stderr,
            "chord-node: %s is refused by the ring: %s; --listen must be an address that every "
            "member can dial, and M, N and REPLICAS those of the ring (the ring has M=%u N=%u "
            "REPLICAS=%u",
            node->settings.listen, reason, status.parameters.m, status.parameters.n,
            status.parameters.replicas);
    const struct chord_parameters *wanted = &node->settings.wanted;
    if (wanted->m != 0 || wanted->n != 0 || wanted->replicas != 0) {
        fprintf(stderr, "; here M=%u N=%u REPLICAS=%u, 0 = not given", wanted->m, wanted->n,
                wanted->replicas);
    }
    fputs(")\n", stderr);
    node->stopping = true;
    node->exit_code = NODE_EXIT_REFUSED;
}

void actions_run(struct node *node) {
    /* The core's array is reused by the next step, so nothing here may step. */
    for (uint16_t i = 0; i < node->actions->traces_count; i++) {
        log_trace(node, &node->actions->traces[i]);
    }
    for (uint16_t i = 0; i < node->actions->count; i++) {
        const struct chord_action *action = &node->actions->items[i];
        switch (action->kind) {
        case CHORD_ACTION_SEND_REQUEST:
            send_request(node, action);
            break;
        case CHORD_ACTION_SEND_REPLY:
            send_reply(node, action);
            break;
        case CHORD_ACTION_RELEASE:
            request_end(node, request_find(node, action->request_id));
            break;
        case CHORD_ACTION_RESUME:
            node_resume(node, action->request_id);
            break;
        case CHORD_ACTION_FINISHED:
            kv_finished(node, request_find(node, action->finished.request_id), &action->finished);
            break;
        case CHORD_ACTION_STORE:
            store(node, action);
            break;
        case CHORD_ACTION_DERIVE_ID:
            derive_id(node, action);
            break;
        case CHORD_ACTION_LEFT:
            break;
        case CHORD_ACTION_REFUSED:
            if (action->refused.copy) {
                refused_copy(node, action->refused.address);
            } else {
                refused(node, action->refused.reason);
            }
            break;
        }
        arena_reset(&node->scratch);
    }
}
