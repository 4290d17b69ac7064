/* SPDX-License-Identifier: MIT */
/*
 * The conformance driver of libchord-client: requests as JSON lines from stdin, answers as JSON
 * lines to stdout (README.md, "The driver"). The main thread reads and starts operations, one
 * thread writes; what the library does only while its caller waits has a thread for each request.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { LINE_BYTES_MAX = 64 * 1024 * 1024, MEMBERS_SIZE = 4096 };

struct request {
    struct request *next; /* to be answered */
    json_t *asked;
    json_t *answer; /* of what is no operation on a key */
    size_t count;   /* operations: 1, or those of a batch */
    struct chord_operation *operations;
    struct chord_result *results;
};

static struct chord_client *client; /* the main thread's; NULL: not open */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct request *first_done, **last_done = &first_done;
static size_t waiting_threads; /* requests that have a thread */
static bool ended;

_Noreturn static void give_up(const char *why) {
    fprintf(stderr, "chord-conformance-driver: %s\n", why);
    exit(2);
}

/* ---- bytes, versions, fates ---- */

/* Of a base64 text; NULL where it is none. The caller frees them. */
static unsigned char *bytes_take(const json_t *text, size_t *size) {
    size_t length = json_string_length(text);
    unsigned char *bytes = json_is_string(text) && length % 4 == 0 ? malloc(length + 1) : NULL;
    int got = bytes == NULL ? -1
                            : EVP_DecodeBlock(bytes, (const unsigned char *)json_string_value(text),
                                              (int)length);
    if (got < 0) {
        free(bytes);
        return NULL;
    }
    *size = (size_t)got;
    for (size_t i = length; i > 0 && json_string_value(text)[i - 1] == '='; i--) {
        --*size; /* EVP_DecodeBlock counts what the padding stands for */
    }
    return bytes;
}

static json_t *bytes_json(const uint8_t *bytes, size_t size) {
    unsigned char *text = malloc(4 * (size / 3 + 1) + 1);
    if (text == NULL) {
        give_up("no memory");
    }
    int length = EVP_EncodeBlock(text, size == 0 ? (const uint8_t *)"" : bytes, (int)size);
    json_t *json = json_stringn((const char *)text, (size_t)length);
    free(text);
    return json;
}

static bool version_take(const json_t *text, struct chord_version *version) {
    char *end = NULL;
    if (!json_is_string(text)) {
        return false;
    }
    version->epoch = strtoull(json_string_value(text), &end, 10);
    if (*end != '.') {
        return false;
    }
    version->counter = strtoull(end + 1, &end, 10);
    return *end == '\0';
}

static json_t *fate_json(enum chord_fate fate) {
    return json_string(fate == CHORD_DONE       ? "done"
                       : fate == CHORD_NOT_DONE ? "not done"
                                                : "maybe done");
}

static json_t *outcome_json(int code, enum chord_fate fate, const char *message) {
    json_t *json = json_object();
    json_object_set_new(json, "code", json_string(chord_code_text(code)));
    json_object_set_new(json, "fate", fate_json(fate));
    if (fate != CHORD_DONE) {
        json_object_set_new(json, "message", json_string(message));
    }
    return json;
}

static json_t *refusal_json(const char *message) {
    return outcome_json(CHORD_CODE_INVALID_ARGUMENT, CHORD_NOT_DONE, message);
}

/* ---- answers ---- */

static json_t *result_json(const struct chord_operation *operation,
                           const struct chord_result *result) {
    char version[48];
    json_t *json = outcome_json(result->code, result->fate, result->message);
    bool got = operation->kind == CHORD_GET && result->code == CHORD_CODE_OK;
    if (result->version.epoch > 0) {
        snprintf(version, sizeof version, "%llu.%llu", (unsigned long long)result->version.epoch,
                 (unsigned long long)result->version.counter);
        json_object_set_new(json, "version", json_string(version));
    }
    if (result->retry_after_ms > 0) {
        json_object_set_new(json, "retry_after_ms", json_integer(result->retry_after_ms));
    }
    if (got) {
        json_object_set_new(json, "value", bytes_json(result->value, result->value_size));
        json_object_set_new(json, "expires_at_ms", json_integer((json_int_t)result->expires_at_ms));
    }
    if (operation->kind == CHORD_GET) {
        json_object_set_new(json, "stale", json_boolean(result->stale));
    } else if (result->fate == CHORD_DONE) {
        json_object_set_new(json, "existed", json_boolean(result->existed));
    }
    return json;
}

static json_t *request_json(const struct request *request) {
    if (request->answer != NULL) {
        return json_incref(request->answer);
    }
    if (json_object_get(request->asked, "operations") == NULL) {
        return result_json(&request->operations[0], &request->results[0]);
    }
    json_t *results = json_array();
    for (size_t i = 0; i < request->count; i++) {
        json_array_append_new(results, result_json(&request->operations[i], &request->results[i]));
    }
    return json_pack("{s:o}", "results", results);
}

static void request_free(struct request *request) {
    for (size_t i = 0; i < request->count; i++) {
        free((void *)(uintptr_t)request->operations[i].key);
        free((void *)(uintptr_t)request->operations[i].value);
        chord_result_free(&request->results[i]);
    }
    free(request->operations);
    free(request->results);
    json_decref(request->asked);
    json_decref(request->answer);
    free(request);
}

static void request_end(struct request *request) {
    pthread_mutex_lock(&lock);
    *last_done = request;
    last_done = &request->next;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void request_answer(struct request *request, json_t *answer) {
    request->answer = answer;
    request_end(request);
}

/* NULL: there will be none any more. */
static struct request *done_take(void) {
    pthread_mutex_lock(&lock);
    while (first_done == NULL && !ended) {
        pthread_cond_wait(&changed, &lock);
    }
    struct request *request = first_done;
    if (request != NULL) {
        first_done = request->next;
        last_done = first_done == NULL ? &first_done : last_done;
    }
    pthread_mutex_unlock(&lock);
    return request;
}

static void *writer(void *context) {
    struct request *request;
    while ((request = done_take()) != NULL) {
        json_t *json = request_json(request);
        json_object_set(json, "id", json_object_get(request->asked, "id"));
        if (json_dumpf(json, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
            fflush(stdout) != 0) {
            give_up("an answer cannot be written");
        }
        json_decref(json);
        request_free(request);
    }
    return context;
}

/* ---- operations on keys ---- */

/* NULL, or what is wrong with it. */
static const char *operation_take(const json_t *json, struct chord_operation *operation) {
    static const char *const kinds[] = {
        [CHORD_GET] = "get", [CHORD_PUT] = "put", [CHORD_DELETE] = "delete"};
    const char *name = json_string_value(json_object_get(json, "do"));
    const json_t *wanted = json_object_get(json, "if_version");
    size_t kind = CHORD_GET;
    while (kind <= CHORD_DELETE && (name == NULL || strcmp(name, kinds[kind]) != 0)) {
        kind++;
    }
    if (kind > CHORD_DELETE) {
        return "'do' is not known here: get, put, delete, and batch of these";
    }
    operation->kind = (enum chord_kind)kind;
    operation->stale = json_is_true(json_object_get(json, "stale"));
    operation->if_absent = json_is_true(json_object_get(json, "if_absent"));
    operation->if_match = wanted != NULL;
    operation->expires_at_ms = (uint64_t)json_integer_value(json_object_get(json, "expires_at_ms"));
    operation->timeout_ms = (uint32_t)json_integer_value(json_object_get(json, "timeout_ms"));
    operation->key = bytes_take(json_object_get(json, "key"), &operation->key_size);
    if (operation->key == NULL) {
        return "'key' is missing or no base64 text";
    }
    operation->value = bytes_take(json_object_get(json, "value"), &operation->value_size);
    if (operation->value == NULL && operation->kind == CHORD_PUT) {
        return "'value' is missing or no base64 text";
    }
    return wanted == NULL || version_take(wanted, &operation->version)
               ? NULL
               : "'if_version' is no version, for example 3.17";
}

/* false: it is answered, something is wrong with it. */
static bool operations_take(struct request *request) {
    const json_t *operations = json_object_get(request->asked, "operations");
    size_t count = operations == NULL ? 1 : json_array_size(operations);
    request->operations = calloc(count + 1, sizeof request->operations[0]);
    request->results = calloc(count + 1, sizeof request->results[0]);
    if (request->operations == NULL || request->results == NULL) {
        give_up("no memory");
    }
    while (request->count < count) {
        size_t i = request->count++;
        const json_t *json = operations == NULL ? request->asked : json_array_get(operations, i);
        const char *wrong = operation_take(json, &request->operations[i]);
        if (wrong != NULL) {
            request_answer(request, refusal_json(wrong));
            return false;
        }
    }
    return true;
}

static void on_done(void *context, struct chord_result *result) {
    struct request *request = context;
    request->results[0] = *result;
    request_end(request);
}

/* ---- what is waited for ---- */

static json_t *lookup_json(struct request *request) {
    struct chord_lookup lookup;
    size_t size = 0;
    unsigned char *key = bytes_take(json_object_get(request->asked, "key"), &size);
    if (key == NULL) {
        return refusal_json("'key' is missing or no base64 text");
    }
    chord_lookup(client, key, size, NULL,
                 (uint32_t)json_integer_value(json_object_get(request->asked, "timeout_ms")),
                 &lookup);
    json_t *json = outcome_json(lookup.answer.code, lookup.answer.fate, lookup.answer.message);
    if (lookup.answer.code == CHORD_CODE_OK) {
        json_object_set_new(json, "owner", json_string(lookup.owner.address));
        json_object_set_new(json, "key_id", json_string(lookup.key_id));
        json_object_set_new(json, "hops", json_integer((json_int_t)lookup.hops_count));
    }
    chord_lookup_free(&lookup);
    free(key);
    return json;
}

/* The public interface has no such call, its users need none. */
static json_t *server_info_json(void) {
    Chord__V1__StatusRequest status = CHORD__V1__STATUS_REQUEST__INIT;
    const struct client_call call = {.method = RPC_ADMIN_STATUS, .request = &status.base};
    struct chord_answer answer;
    struct rpc_reply reply;
    char ring_id[2 * RPC_RING_ID_BYTES + 1];
    bool ok = client_call(client, &call, &answer, &reply);
    const Chord__V1__StatusResponse *told = ok ? (const void *)reply.response : NULL;
    json_t *json = outcome_json(answer.code, answer.fate, answer.message);
    if (ok) {
        client_hear_status(client, told);
    }
    if (ok && told->parameters != NULL) {
        rpc_hex(ring_id, reply.ring_id, sizeof reply.ring_id);
        json_object_set_new(json, "m", json_integer(told->parameters->m));
        json_object_set_new(json, "n", json_integer(told->parameters->n));
        json_object_set_new(json, "replicas", json_integer(told->parameters->replicas));
        json_object_set_new(json, "ring_id", json_string(ring_id));
    }
    rpc_reply_free(&reply);
    return json;
}

static void *waiter(void *context) {
    struct request *request = context;
    const char *name = json_string_value(json_object_get(request->asked, "do"));
    if (strcmp(name, "batch") == 0) {
        chord_run(client, request->operations, request->count, request->results);
        request_end(request);
    } else {
        request_answer(request,
                       strcmp(name, "lookup") == 0 ? lookup_json(request) : server_info_json());
    }
    pthread_mutex_lock(&lock);
    waiting_threads--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void waiter_start(struct request *request) {
    pthread_t thread;
    pthread_mutex_lock(&lock);
    waiting_threads++;
    pthread_mutex_unlock(&lock);
    if (pthread_create(&thread, NULL, waiter, request) != 0) {
        give_up("no thread can be started");
    }
    pthread_detach(thread);
}

/* ---- opening and closing ---- */

static void members_join(const json_t *members, char text[MEMBERS_SIZE]) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(members) && used < MEMBERS_SIZE; i++) {
        const char *member = json_string_value(json_array_get(members, i));
        used += (size_t)snprintf(text + used, MEMBERS_SIZE - used, "%s%s", i > 0 ? "," : "",
                                 member != NULL ? member : "");
    }
}

static json_t *client_open_json(const json_t *asked) {
    struct rpc_key key = {.bytes_count = 0};
    const json_t *secret = json_object_get(asked, "key");
    struct client_setup setup = {
        .key = &key,
        .timeout_ms = (uint32_t)json_integer_value(json_object_get(asked, "timeout_ms")),
        .attempt_ms = (uint32_t)json_integer_value(json_object_get(asked, "attempt_ms")),
        .nobody_ms = CLIENT_NOBODY_MS,
    };
    char members[MEMBERS_SIZE];
    char error[200] = "";
    size_t size = 0;
    unsigned char *bytes = bytes_take(secret, &size);
    if (client != NULL || (secret != NULL && (bytes == NULL || size > sizeof key.bytes))) {
        free(bytes);
        return refusal_json(client != NULL ? "it is open already" : "'key' is no ring key");
    }
    if (bytes != NULL) {
        memcpy(key.bytes, bytes, size);
        key.bytes_count = size;
    }
    free(bytes);
    members_join(json_object_get(asked, "members"), members);
    int rc = client_open(&client, &setup, members, error, sizeof error);
    return rc == 0 ? json_pack("{s:s}", "code", "OK") : refusal_json(error);
}

static void client_end(void) {
    if (client != NULL) {
        chord_client_stop(client);
        pthread_mutex_lock(&lock);
        while (waiting_threads > 0) {
            pthread_cond_wait(&changed, &lock);
        }
        pthread_mutex_unlock(&lock);
        chord_client_close(client);
        client = NULL;
    }
}

/* ---- requests ---- */

static void request_run(struct request *request) {
    const char *name = json_string_value(json_object_get(request->asked, "do"));
    name = name != NULL ? name : "";
    if (strcmp(name, "open") == 0) {
        request_answer(request, client_open_json(request->asked));
    } else if (strcmp(name, "close") == 0) {
        client_end();
        request_answer(request, json_pack("{s:s}", "code", "OK"));
    } else if (strcmp(name, "call") == 0 || strcmp(name, "counters") == 0) {
        /* The library sends no methods by their names, and does not count. */
        request_answer(request, json_pack("{s:b}", "offered", 0));
    } else if (client == NULL) {
        request_answer(request, refusal_json("nothing is open"));
    } else if (strcmp(name, "lookup") == 0 || strcmp(name, "server_info") == 0) {
        waiter_start(request);
    } else if (operations_take(request)) {
        if (strcmp(name, "batch") == 0) {
            waiter_start(request);
        } else {
            chord_start(client, &request->operations[0], on_done, request);
        }
    }
}

static void line_take(const char *line) {
    struct request *request = calloc(1, sizeof *request);
    json_error_t error;
    if (request == NULL) {
        give_up("no memory");
    }
    request->asked = json_loads(line, 0, &error);
    if (!json_is_object(request->asked)) {
        give_up("a line is no JSON object");
    }
    request_run(request);
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, writer, NULL) != 0) {
        give_up("no thread can be started");
    }
    while (getline(&line, &capacity, stdin) > 0) {
        if (capacity > LINE_BYTES_MAX) {
            give_up("a line has more than 64 MiB");
        }
        line_take(line);
    }
    free(line);
    client_end();
    pthread_mutex_lock(&lock);
    ended = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    return 0;
}
