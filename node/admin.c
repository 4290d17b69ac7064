/* SPDX-License-Identifier: MIT */
/*
 * What people and dashboards ask, and what a client may ask about the node: who answers it.
 */
#include "admin.h"

#include "log.h"

enum { LOGS_LIMIT_DEFAULT = 100, LOGS_LIMIT_MAX = 1000 };

void admin_answer(struct node *node, struct request *request, const ProtobufCMessage *message) {
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, 0, message);
    request->call = NULL;
    arena_reset(&node->scratch);
    request_end(node, request);
}

void admin_refuse(struct node *node, struct request *request, Chord__V1__Code code,
                  const char *reason) {
    rpc_call_reply(request->call, code, reason, 0, NULL);
    request->call = NULL;
    request_end(node, request);
}

/* ---- logs ---- */

static void on_logs(struct node *node, struct request *request) {
    const Chord__V1__LogsRequest *logs = (const void *)request->message;
    size_t limit = logs->limit == 0 ? LOGS_LIMIT_DEFAULT : logs->limit;
    limit = limit > LOGS_LIMIT_MAX ? LOGS_LIMIT_MAX : limit;
    struct log_line *lines = arena_alloc(&node->scratch, sizeof *lines * limit);
    enum log_level level = logs->level == 0 ? LOG_DEBUG : (enum log_level)logs->level;
    size_t count = log_read(logs->after_sequence, level, lines, limit);
    Chord__V1__LogsResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__logs_response__init(message);
    message->lines = arena_alloc(&node->scratch, sizeof *message->lines * (count + 1));
    for (size_t i = 0; i < count; i++) {
        Chord__V1__LogLine *line = arena_alloc(&node->scratch, sizeof *line);
        chord__v1__log_line__init(line);
        line->sequence = lines[i].sequence;
        line->time_unix_ms = lines[i].time_unix_ms;
        line->level = (Chord__V1__LogLevel)lines[i].level;
        line->word = lines[i].word;
        line->text = lines[i].text;
        message->lines[message->n_lines++] = line;
    }
    admin_answer(node, request, &message->base);
}

void admin_request(struct node *node, struct request *request) {
    switch (request->method) {
    case RPC_ADMIN_STATUS:
        admin_on_status(node, request);
        break;
    case RPC_ADMIN_LEAVE:
        admin_on_leave(node, request);
        break;
    case RPC_ADMIN_JOIN:
        admin_on_join(node, request);
        break;
    case RPC_ADMIN_KILL:
        admin_on_kill(node, request);
        break;
    case RPC_ADMIN_RECOVER:
        admin_on_recover(node, request);
        break;
    case RPC_ADMIN_LOGS:
        on_logs(node, request);
        break;
    case RPC_ADMIN_LIST_KEYS:
        admin_on_list_keys(node, request);
        break;
    case RPC_ADMIN_BACKUP:
        admin_on_backup(node, request);
        break;
    default:
        meta_request(node, request);
        break;
    }
    arena_reset(&node->scratch);
}
