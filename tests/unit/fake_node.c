/* SPDX-License-Identifier: MIT */
/*
 * A node that is no node: one process that answers KvService and AdminService as the only member of
 * a ring, with rows in memory. For the tests of the gateway, which need misbehaviour on demand.
 *
 *     fake_node HOST:PORT [--fail N]     every Nth operation of a batch is refused once
 *                         [--slow MS]    a batch takes that long
 *                         [--full 1]     its disk is full: no change has a known outcome
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "ids.h"
#include "rpc.h"

enum { ROWS_MAX = 2000000, M = 32, WIRE_BYTES = 4 };

struct row {
    uint8_t hash[20];
    uint64_t counter;
    size_t key_size;
    size_t value_size;
    uint8_t data[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct row **rows;
static size_t rows_count;
static uint64_t counter;
static uint64_t operations;
static uint64_t fail_every;
static unsigned slow_ms;
static bool disk_full;
static char address[64];
static uint8_t self_id[20];
static Chord__V1__NodeState state = CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
static struct timespec started;

static int row_compare(const struct row *row, const uint8_t *hash, const uint8_t *key,
                       size_t size) {
    int order = memcmp(row->hash, hash, 20);
    if (order != 0) {
        return order;
    }
    size_t common = row->key_size < size ? row->key_size : size;
    order = common == 0 ? 0 : memcmp(row->data, key, common);
    return order != 0 ? order : (row->key_size > size) - (row->key_size < size);
}

/* The first row that is not before (hash, key). */
static size_t row_lower(const uint8_t *hash, const uint8_t *key, size_t size) {
    size_t low = 0;
    size_t high = rows_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (row_compare(rows[middle], hash, key, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct row *row_find(ProtobufCBinaryData key, size_t *at) {
    uint8_t hash[20];
    (void)id_hash_key(key.data, key.len, hash);
    *at = row_lower(hash, key.data, key.len);
    bool found = *at < rows_count && row_compare(rows[*at], hash, key.data, key.len) == 0;
    return found ? rows[*at] : NULL;
}

static Chord__V1__Code row_put(const Chord__V1__Operation *operation, uint64_t *version,
                               bool *existed) {
    size_t at = 0;
    struct row *old = row_find(operation->key, &at);
    const Chord__V1__Precondition *wanted = operation->precondition;
    *existed = old != NULL;
    *version = old == NULL ? 0 : old->counter;
    if (wanted != NULL &&
        ((wanted->absent && old != NULL) ||
         (wanted->version != NULL && (old == NULL || wanted->version->counter != old->counter)))) {
        return CHORD__V1__CODE__CODE_FAILED_PRECONDITION;
    }
    if (operation->kind == CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE) {
        if (old == NULL) {
            return CHORD__V1__CODE__CODE_NOT_FOUND;
        }
        free(old);
        memmove(&rows[at], &rows[at + 1], (--rows_count - at) * sizeof(rows[0]));
        return CHORD__V1__CODE__CODE_OK;
    }
    struct row *row = malloc(sizeof(*row) + operation->key.len + operation->value.len);
    if (row == NULL || rows_count >= ROWS_MAX) {
        abort();
    }
    (void)id_hash_key(operation->key.data, operation->key.len, row->hash);
    row->counter = *version = ++counter;
    row->key_size = operation->key.len;
    row->value_size = operation->value.len;
    memcpy(row->data, operation->key.data, row->key_size);
    if (row->value_size > 0) {
        memcpy(row->data + row->key_size, operation->value.data, row->value_size);
    }
    if (old != NULL) {
        free(old);
    } else {
        memmove(&rows[at + 1], &rows[at], (rows_count++ - at) * sizeof(rows[0]));
    }
    rows[at] = row;
    return CHORD__V1__CODE__CODE_OK;
}

/* ---- KvService ---- */

struct answer {
    Chord__V1__OperationResult result;
    Chord__V1__Version version;
};

static void answer_init(struct answer *answer, Chord__V1__Code code, uint64_t version) {
    chord__v1__operation_result__init(&answer->result);
    chord__v1__version__init(&answer->version);
    answer->result.code = code;
    answer->version.epoch = 1;
    answer->version.counter = version;
    answer->result.version = &answer->version;
}

static void look(ProtobufCBinaryData key, struct answer *answer) {
    size_t at = 0;
    struct row *row = row_find(key, &at);
    answer_init(answer, row == NULL ? CHORD__V1__CODE__CODE_NOT_FOUND : CHORD__V1__CODE__CODE_OK,
                row == NULL ? 0 : row->counter);
    if (row != NULL) {
        answer->result.value = (ProtobufCBinaryData){row->value_size, row->data + row->key_size};
    }
}

static void handle_get(Chord__V1__KvService_Service *service, const Chord__V1__GetRequest *request,
                       Chord__V1__GetResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__GetResponse response = CHORD__V1__GET_RESPONSE__INIT;
    struct answer answer;
    pthread_mutex_lock(&lock);
    look(request->key, &answer);
    response.result = &answer.result;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
    pthread_mutex_unlock(&lock);
}

static bool key_starts(const Chord__V1__Operation *operation, const char *text) {
    size_t size = strlen(text);
    return operation->key.len >= size && memcmp(operation->key.data, text, size) == 0;
}

/* Under a key "unknown ..." it is done, but nobody can tell any more; under "broken ..." it is
 * done, nobody can tell, and the next attempt meets a broken node. */
static void change(const Chord__V1__Operation *operation, struct answer *answer) {
    uint64_t version = 0;
    bool existed = false;
    if (disk_full) {
        answer_init(answer, CHORD__V1__CODE__CODE_UNKNOWN, 0);
        answer->result.version = NULL;
        return;
    }
    if (key_starts(operation, "broken ") && operation->attempt > 1) {
        answer_init(answer, CHORD__V1__CODE__CODE_INTERNAL, 0);
        return;
    }
    Chord__V1__Code code = row_put(operation, &version, &existed);
    bool lost = key_starts(operation, "unknown ") || key_starts(operation, "broken ");
    answer_init(answer, lost ? CHORD__V1__CODE__CODE_UNKNOWN : code, version);
    answer->result.existed = existed;
    if (key_starts(operation, "broken ")) {
        answer->result.version = NULL;
    }
}

static void handle_put(Chord__V1__KvService_Service *service, const Chord__V1__PutRequest *request,
                       Chord__V1__PutResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__PutResponse response = CHORD__V1__PUT_RESPONSE__INIT;
    struct answer answer;
    pthread_mutex_lock(&lock);
    change(request->operation, &answer);
    pthread_mutex_unlock(&lock);
    response.result = &answer.result;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_delete(Chord__V1__KvService_Service *service,
                          const Chord__V1__DeleteRequest *request,
                          Chord__V1__DeleteResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__DeleteResponse response = CHORD__V1__DELETE_RESPONSE__INIT;
    struct answer answer;
    pthread_mutex_lock(&lock);
    change(request->operation, &answer);
    pthread_mutex_unlock(&lock);
    response.result = &answer.result;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_batch(Chord__V1__KvService_Service *service,
                         const Chord__V1__BatchRequest *request,
                         Chord__V1__BatchResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__BatchResponse response = CHORD__V1__BATCH_RESPONSE__INIT;
    struct answer *answers = calloc(request->n_operations + 1, sizeof(*answers));
    Chord__V1__OperationResult **results = calloc(request->n_operations + 1, sizeof(*results));
    if (answers == NULL || results == NULL) {
        abort();
    }
    if (slow_ms > 0) {
        struct timespec wait = {.tv_sec = slow_ms / 1000,
                                .tv_nsec = (long)(slow_ms % 1000) * 1000000};
        nanosleep(&wait, NULL);
    }
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < request->n_operations; i++) {
        if (request->operations[i]->kind == CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET) {
            look(request->operations[i]->key, &answers[i]);
        } else if (fail_every > 0 && ++operations % fail_every == 0 &&
                   request->operations[i]->attempt <= 1) {
            answer_init(&answers[i], CHORD__V1__CODE__CODE_UNAVAILABLE, 0);
            answers[i].result.version = NULL;
        } else {
            change(request->operations[i], &answers[i]);
        }
        results[i] = &answers[i].result;
    }
    response.results = results;
    response.n_results = request->n_operations;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
    pthread_mutex_unlock(&lock); /* values are packed by now */
    free(answers);
    free(results);
}

static void peer_init(Chord__V1__Peer *peer) {
    chord__v1__peer__init(peer);
    peer->id.data = self_id;
    peer->id.len = WIRE_BYTES;
    peer->address = address;
    peer->incarnation = 1;
}

static void handle_lookup(Chord__V1__KvService_Service *service,
                          const Chord__V1__LookupRequest *request,
                          Chord__V1__LookupResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__LookupResponse response = CHORD__V1__LOOKUP_RESPONSE__INIT;
    Chord__V1__Peer peer;
    Chord__V1__Hop hop = CHORD__V1__HOP__INIT;
    Chord__V1__Hop *hops[] = {&hop};
    uint8_t hash[20];
    (void)id_hash_key(request->key.data, request->key.len, hash);
    peer_init(&peer);
    hop.node = &peer;
    response.key_id.data = hash;
    response.key_id.len = WIRE_BYTES;
    response.owner = &peer;
    response.hops = hops;
    response.n_hops = 1;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

/* ---- AdminService ---- */

static void handle_status(Chord__V1__AdminService_Service *service,
                          const Chord__V1__StatusRequest *request,
                          Chord__V1__StatusResponse_Closure closure, void *call) {
    (void)service;
    (void)request;
    (void)closure;
    static uint8_t ring_id[16] = {1, 2, 3};
    static uint8_t store_id[16] = {9};
    Chord__V1__StatusResponse response = CHORD__V1__STATUS_RESPONSE__INIT;
    Chord__V1__Peer self;
    Chord__V1__RingParameters parameters = CHORD__V1__RING_PARAMETERS__INIT;
    Chord__V1__RangeStatus status = CHORD__V1__RANGE_STATUS__INIT;
    Chord__V1__RangeStatus *ranges[] = {&status};
    Chord__V1__View view = CHORD__V1__VIEW__INIT;
    Chord__V1__Range range = CHORD__V1__RANGE__INIT;
    Chord__V1__Member member = CHORD__V1__MEMBER__INIT;
    Chord__V1__Member *members[] = {&member};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    peer_init(&self);
    parameters.ring_id = (ProtobufCBinaryData){16, ring_id};
    parameters.m = M;
    parameters.n = 3;
    parameters.replicas = 3;
    range.lo = range.hi = self.id;
    member.store_id = (ProtobufCBinaryData){16, store_id};
    member.address = address;
    view.range = &range;
    view.epoch = 1;
    view.members = members;
    view.n_members = 1;
    status.view = &view;
    status.state = CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN;
    status.copies = 1;
    pthread_mutex_lock(&lock);
    status.keys = rows_count;
    response.self = &self;
    response.state = state;
    response.parameters = &parameters;
    response.ranges = ranges;
    response.n_ranges = state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
    response.keys_led = response.keys_stored = rows_count;
    pthread_mutex_unlock(&lock);
    response.uptime_ms = (uint64_t)(now.tv_sec - started.tv_sec) * 1000 + 1;
    response.log_sequence = 1;
    response.read_only = disk_full;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_logs(Chord__V1__AdminService_Service *service,
                        const Chord__V1__LogsRequest *request,
                        Chord__V1__LogsResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__LogsResponse response = CHORD__V1__LOGS_RESPONSE__INIT;
    Chord__V1__LogLine line = CHORD__V1__LOG_LINE__INIT;
    Chord__V1__LogLine *lines[] = {&line};
    line.sequence = 1;
    line.time_unix_ms = 1;
    line.level = CHORD__V1__LOG_LEVEL__LOG_LEVEL_INFO;
    line.word = (char *)(uintptr_t) "join";
    line.text = (char *)(uintptr_t) "not \xff UTF-8 <b>";
    response.lines = lines;
    response.n_lines = request->after_sequence == 0;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_list_keys(Chord__V1__AdminService_Service *service,
                             const Chord__V1__ListKeysRequest *request,
                             Chord__V1__ListKeysResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    static Chord__V1__KeyInfo infos[1000];
    static Chord__V1__KeyInfo *pointers[1000];
    static Chord__V1__Version versions[1000];
    Chord__V1__ListKeysResponse response = CHORD__V1__LIST_KEYS_RESPONSE__INIT;
    Chord__V1__Cursor next = CHORD__V1__CURSOR__INIT;
    size_t limit = request->limit == 0 ? 100 : request->limit > 1000 ? 1000 : request->limit;
    size_t bytes = 0;
    pthread_mutex_lock(&lock);
    size_t at = 0;
    if (request->after != NULL && request->after->hash.len == 20) {
        const Chord__V1__Cursor *after = request->after;
        at = row_lower(after->hash.data, after->key.data, after->key.len);
        if (at < rows_count &&
            row_compare(rows[at], after->hash.data, after->key.data, after->key.len) == 0) {
            at++;
        }
    }
    for (; at < rows_count && response.n_keys < limit && bytes < 1000 * 1000; at++) {
        struct row *row = rows[at];
        if (bytes > 0 && bytes + row->key_size + row->value_size > 1000 * 1000) {
            break;
        }
        next.hash = (ProtobufCBinaryData){20, row->hash};
        next.key = (ProtobufCBinaryData){row->key_size, row->data};
        if (request->prefix.len > 0 &&
            (row->key_size < request->prefix.len ||
             memcmp(row->data, request->prefix.data, request->prefix.len) != 0)) {
            continue;
        }
        size_t i = response.n_keys++;
        chord__v1__key_info__init(&infos[i]);
        chord__v1__version__init(&versions[i]);
        versions[i].epoch = 1;
        versions[i].counter = row->counter;
        infos[i].version = &versions[i];
        infos[i].key = next.key;
        infos[i].hash = next.hash;
        infos[i].id = (ProtobufCBinaryData){WIRE_BYTES, row->hash};
        infos[i].value_bytes = (uint32_t)row->value_size;
        infos[i].led = true;
        if (request->values) {
            infos[i].value = (ProtobufCBinaryData){row->value_size, row->data + row->key_size};
            bytes += row->value_size;
        }
        bytes += row->key_size + 60;
        pointers[i] = &infos[i];
    }
    response.keys = pointers;
    response.done = at >= rows_count;
    response.next = response.done ? NULL : &next;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
    pthread_mutex_unlock(&lock);
}

static void state_set(Chord__V1__NodeState wanted) {
    pthread_mutex_lock(&lock);
    state = wanted;
    pthread_mutex_unlock(&lock);
}

static void handle_leave(Chord__V1__AdminService_Service *service,
                         const Chord__V1__AdminLeaveRequest *request,
                         Chord__V1__AdminLeaveResponse_Closure closure, void *call) {
    (void)service;
    (void)request;
    (void)closure;
    Chord__V1__AdminLeaveResponse response = CHORD__V1__ADMIN_LEAVE_RESPONSE__INIT;
    response.warning = (char *)(uintptr_t) "this is the last member";
    state_set(CHORD__V1__NODE_STATE__NODE_STATE_LEFT);
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_join(Chord__V1__AdminService_Service *service,
                        const Chord__V1__AdminJoinRequest *request,
                        Chord__V1__AdminJoinResponse_Closure closure, void *call) {
    (void)service;
    (void)request;
    (void)closure;
    Chord__V1__AdminJoinResponse response = CHORD__V1__ADMIN_JOIN_RESPONSE__INIT;
    state_set(CHORD__V1__NODE_STATE__NODE_STATE_MEMBER);
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_kill(Chord__V1__AdminService_Service *service,
                        const Chord__V1__KillRequest *request,
                        Chord__V1__KillResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    Chord__V1__KillResponse response = CHORD__V1__KILL_RESPONSE__INIT;
    bool right = request->confirm.len == WIRE_BYTES &&
                 memcmp(request->confirm.data, self_id, WIRE_BYTES) == 0;
    rpc_call_reply(call,
                   right ? CHORD__V1__CODE__CODE_OK : CHORD__V1__CODE__CODE_FAILED_PRECONDITION,
                   NULL, 0, &response.base);
    if (right) {
        alarm(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: fake_node HOST:PORT [--fail N] [--slow MS] [--full 1]\n", stderr);
        return 2;
    }
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--fail") == 0) {
            fail_every = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--slow") == 0) {
            slow_ms = (unsigned)atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--full") == 0) {
            disk_full = atoi(argv[i + 1]) != 0;
        }
    }
    snprintf(address, sizeof(address), "%s", argv[1]);
    char named[80];
    snprintf(named, sizeof(named), "%s#0", address);
    (void)id_hash_key((const uint8_t *)named, strlen(named), self_id);
    clock_gettime(CLOCK_MONOTONIC, &started);
    rows = calloc(ROWS_MAX, sizeof(rows[0]));
    static Chord__V1__KvService_Service kv = {.base = CHORD__V1__KV_SERVICE__BASE_INIT,
                                              .batch = handle_batch,
                                              .get = handle_get,
                                              .put = handle_put,
                                              .delete = handle_delete,
                                              .lookup = handle_lookup};
    static Chord__V1__AdminService_Service admin = {.base = CHORD__V1__ADMIN_SERVICE__BASE_INIT,
                                                    .status = handle_status,
                                                    .leave = handle_leave,
                                                    .join = handle_join,
                                                    .kill = handle_kill,
                                                    .logs = handle_logs,
                                                    .list_keys = handle_list_keys};
    ProtobufCService *const services[] = {&kv.base, &admin.base};
    const struct rpc_server_options options = {
        .address = address, .services = services, .services_count = 2, .data_calls_max = 1000};
    struct rpc_server *server = NULL;
    if (rows == NULL || rpc_server_open(&server, &options) != 0) {
        fprintf(stderr, "fake_node: cannot listen on %s\n", address);
        return 3;
    }
    printf("listening %s\n", address);
    fflush(stdout);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int got = 0;
    sigwait(&signals, &got);
    _exit(0);
}
