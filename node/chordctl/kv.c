/* chordctl get, put, del: one key. A change is repeated only when it was certainly not made. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fate.h"
#include "output.h"
#include "key.h"
#include "text.h"

enum {
    ASK_MS = 3000,
    ASK_MS_MIN = 50,
    PAUSE_MS_MAX = 500,
    OP_ID_BYTES = 16,
    READ_BYTES = 64 * 1024
};

int key_read(const struct arguments *arguments, struct key *key) {
    const char *word = arguments->words[0];
    key->base64 = arguments_option(arguments, "base64") != NULL;
    if (!key->base64) {
        bytes_append(&key->bytes, word, strlen(word));
    } else if (!base64_decode(word, &key->bytes)) {
        ctl_error("the key '%s' is no base64", word);
        return CTL_USAGE;
    }
    if (key->bytes.size < 1 || key->bytes.size > CTL_KEY_BYTES_MAX) {
        ctl_error("the key has %zu bytes; give 1 to %d", key->bytes.size, CTL_KEY_BYTES_MAX);
        bytes_free(&key->bytes);
        return CTL_USAGE;
    }
    return CTL_OK;
}

/* ---- one operation ---- */

struct operation_answer {
    struct rpc_reply reply; /* holds the result */
    const Chord__V1__OperationResult *result;
    Chord__V1__Code code; /* of the envelope, or of the result */
    const char *address;
    bool stale;
    char missing[400]; /* the sentence of the last that named missing members; "" = none did */
};

static void answer_read(struct operation_answer *answer) {
    const Chord__V1__BatchResponse *response =
        (const Chord__V1__BatchResponse *)(const void *)answer->reply.response;
    answer->result = NULL;
    answer->code = answer->reply.code;
    if (answer->code != CHORD__V1__CODE__CODE_OK) {
        return;
    }
    if (response == NULL || response->n_results != 1) {
        answer->code = CHORD__V1__CODE__CODE_INTERNAL;
        snprintf(answer->reply.message, sizeof answer->reply.message, "its answer has no result");
        return;
    }
    answer->result = response->results[0];
    answer->code = answer->result->code;
    answer->stale = response->stale;
}

static uint64_t operation_pause_ms(const struct operation_answer *answer, uint32_t attempt) {
    uint64_t wait_ms =
        answer->reply.retry_after_ms > 0 ? answer->reply.retry_after_ms : 25ull * attempt;
    return wait_ms < PAUSE_MS_MAX ? wait_ms : PAUSE_MS_MAX;
}

/* Why no node could: which members of the range are missing, as the last said that could tell, or
 * what the last node said. */
static const char *answer_reason(struct operation_answer *answer) {
    const Chord__V1__BatchResponse *response = (const void *)answer->reply.response;
    size_t size = sizeof answer->missing;
    if (answer->code == CHORD__V1__CODE__CODE_UNAVAILABLE && answer->result != NULL &&
        response->n_missing > 0) {
        int used = snprintf(answer->missing, size,
                            "too few copies of the key answer; start those that are missing (if "
                            "their disks are lost for good: chordctl recover). Missing:");
        for (size_t i = 0; i < response->n_missing && used > 0 && (size_t)used < size; i++) {
            used +=
                snprintf(answer->missing + used, size - (size_t)used, " %s", response->missing[i]);
        }
    }
    return answer->missing[0] != '\0' ? answer->missing : answer->reply.message;
}

/* A read may be asked again whatever has become of it, a write by its op_id (proto/README.md). */
static bool answer_unknown(const struct operation_answer *answer, bool read) {
    return call_fate(&answer->reply, !read) == CALL_LOST ||
           chord_outcome_of_code(answer->code).fate == CHORD_MAYBE_DONE;
}

static bool answer_told_version(const struct operation_answer *answer) {
    return answer->result != NULL && answer->result->version != NULL &&
           answer->result->version->epoch > 0;
}

/* Whether to try again after `wait_ms`; *exit_code when not. `maybe`: an attempt of this write may
 * have been carried out. An attempt that has no time for its answer would only turn "refused" into
 * "not known". */
static bool operation_again(struct operation_answer *answer, bool read, bool maybe,
                            uint64_t wait_ms, uint64_t end_ms, int *exit_code) {
    const char *message = answer_reason(answer);
    *exit_code = CTL_OK;
    if (answer->code == CHORD__V1__CODE__CODE_OK ||
        answer->code == CHORD__V1__CODE__CODE_NOT_FOUND) {
        return false;
    }
    enum call_fate fate = call_fate(&answer->reply, !read);
    bool again = answer_unknown(answer, read)
                     ? read || !answer_told_version(answer)
                     : fate == CALL_NOT_SENT ||
                           chord_outcome_of_code(answer->code).again != CHORD_AGAIN_NEVER;
    if (again && clock_now_ms() + wait_ms + ASK_MS_MIN < end_ms) {
        return true;
    }
    if (maybe) {
        *exit_code = call_refused(CHORD__V1__CODE__CODE_UNKNOWN, answer->address, message);
    } else if (answer->missing[0] != '\0') {
        *exit_code =
            call_refused(CHORD__V1__CODE__CODE_UNAVAILABLE, answer->address, answer->missing);
    } else if (fate == CALL_NOT_SENT || fate == CALL_LOST) {
        ctl_error("no answer from %s: %s", answer->address, message);
        *exit_code = CTL_NO_NODE;
    } else {
        *exit_code = call_refused(answer->code, answer->address, message);
    }
    return false;
}

/* After an attempt that is not the last. True: at once, there is nothing to wait for. */
static bool operation_next(Chord__V1__Operation *operation, const struct operation_answer *answer,
                           bool maybe) {
    if (operation->op_id.len == 0) {
        return false;
    }
    if (answer->code == CHORD__V1__CODE__CODE_ABORTED && !maybe && answer_told_version(answer)) {
        operation->seen->epoch = answer->result->version->epoch;
        operation->seen->counter = answer->result->version->counter;
        return true; /* nothing was done: the key is newer than was known */
    }
    operation->attempt += answer_unknown(answer, false);
    return false;
}

/* Sends one attempt to a node that listens, *at or after. false: none does. */
static bool operation_send(struct ctl *ctl, const Chord__V1__BatchRequest *request, uint64_t end_ms,
                           size_t *at, struct operation_answer *answer) {
    char reason[200] = "";
    for (size_t tried = 0; tried < ctl->nodes_count; tried++, (*at)++) {
        const char *address = ctl->nodes[*at % ctl->nodes_count];
        uint64_t now_ms = clock_now_ms();
        uint64_t left_ms = now_ms < end_ms ? end_ms - now_ms : 1;
        uint32_t ask_ms = (uint32_t)(left_ms > ASK_MS ? ASK_MS : left_ms);
        int error = address_probe(address, ask_ms < 1000 ? ask_ms : 1000);
        if (error != 0) {
            snprintf(reason, sizeof reason, "%s: %s", address, strerror(error));
            continue;
        }
        answer->address = address;
        rpc_client_call_wait(ctl->client, address, RPC_KV_BATCH, &request->base, ask_ms,
                             &answer->reply);
        call_learn_ring(ctl, &answer->reply);
        answer_read(answer);
        return true;
    }
    (void)call_no_node(ctl, reason);
    return false;
}

/* CTL_OK: answer->code is OK or NOT_FOUND. Free answer->reply then. */
static int operation_run(struct ctl *ctl, Chord__V1__Operation *operation, bool stale,
                         struct operation_answer *answer) {
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    bool read = operation->kind == CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET;
    uint64_t end_ms = clock_now_ms() + ctl->timeout_ms;
    uint8_t op_id[OP_ID_BYTES];
    size_t at = 0;
    int exit_code;
    bool maybe = false;
    Chord__V1__Version seen = CHORD__V1__VERSION__INIT; /* nothing is known of the key */
    if (!read && getrandom(op_id, sizeof op_id, 0) == (ssize_t)sizeof op_id) {
        operation->op_id = (ProtobufCBinaryData){sizeof op_id, op_id};
        operation->seen = &seen;
        if (operation->precondition != NULL && operation->precondition->version != NULL) {
            seen = *operation->precondition->version; /* who asks for it has seen it */
        }
    }
    request.operations = &operation;
    request.n_operations = 1;
    request.consistency = stale ? CHORD__V1__CONSISTENCY__CONSISTENCY_STALE
                                : CHORD__V1__CONSISTENCY__CONSISTENCY_LINEARIZABLE;
    operation->attempt = 1;
    answer->missing[0] = '\0';
    for (unsigned tries = 1;; tries++) {
        if (!operation_send(ctl, &request, end_ms, &at, answer)) {
            return maybe ? call_refused(CHORD__V1__CODE__CODE_UNKNOWN, ctl->nodes[0],
                                        "no node listens any more")
                         : CTL_NO_NODE;
        }
        uint64_t wait_ms = operation_pause_ms(answer, tries);
        maybe = maybe || (!read && answer_unknown(answer, read));
        if (!operation_again(answer, read, maybe, wait_ms, end_ms, &exit_code)) {
            break;
        }
        bool at_once = operation_next(operation, answer, maybe);
        rpc_reply_free(&answer->reply);
        if (!at_once) {
            pause_ms(wait_ms);
            at++;
        }
    }
    operation->seen = NULL;
    if (exit_code != CTL_OK) {
        rpc_reply_free(&answer->reply);
    }
    return exit_code;
}

static json_t *answer_json(const struct key *key, const struct operation_answer *answer) {
    json_t *json = json_object();
    json_put_bytes(json, "key", key->bytes.data, key->bytes.size);
    json_put(json, "found", json_boolean(answer->code == CHORD__V1__CODE__CODE_OK));
    if (answer->result != NULL && answer->result->version != NULL) {
        char version[48];
        snprintf(version, sizeof version, "%llu.%llu",
                 (unsigned long long)answer->result->version->epoch,
                 (unsigned long long)answer->result->version->counter);
        json_put(json, "version", json_string(version));
    }
    return json;
}

static void answer_print(const char *what, const struct key *key) {
    char *text = text_escape(key->bytes.data, key->bytes.size);
    printf("%s %s\n", what, text);
    free(text);
}

/* --if-match VERSION, --if-absent. */
static int precondition_read(const struct arguments *arguments, Chord__V1__Operation *operation,
                             Chord__V1__Precondition *precondition, Chord__V1__Version *version) {
    const char *match = arguments_option(arguments, "if-match");
    unsigned long long epoch, counter;
    int used = 0;
    chord__v1__precondition__init(precondition);
    chord__v1__version__init(version);
    precondition->absent = arguments_option(arguments, "if-absent") != NULL;
    if (match != NULL && precondition->absent) {
        ctl_error("--if-match and --if-absent cannot go together");
        return CTL_USAGE;
    }
    if (match != NULL) {
        if (sscanf(match, "%llu.%llu%n", &epoch, &counter, &used) != 2 || match[used] != '\0') {
            ctl_error("--if-match takes the version that a get shows, such as 3.17");
            return CTL_USAGE;
        }
        version->epoch = epoch;
        version->counter = counter;
        precondition->version = version;
    }
    if (match != NULL || precondition->absent) {
        operation->precondition = precondition;
    }
    return CTL_OK;
}

/* ---- get ---- */

/* To a terminal only what cannot move its cursor; to anything else the very bytes. */
static void value_print(const Chord__V1__OperationResult *result, bool base64, bool raw) {
    if (base64) {
        char *text = base64_encode(result->value.data, result->value.len);
        puts(text);
        free(text);
    } else if (!raw && isatty(STDOUT_FILENO)) {
        char *text = text_escape(result->value.data, result->value.len);
        puts(text);
        free(text);
    } else if (result->value.len > 0) {
        fwrite(result->value.data, 1, result->value.len, stdout);
    }
}

static int get_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key = {0};
    struct operation_answer answer = {0};
    Chord__V1__Operation operation = CHORD__V1__OPERATION__INIT;
    int exit_code = key_read(arguments, &key);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    operation.kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET;
    operation.key = (ProtobufCBinaryData){key.bytes.size, key.bytes.data};
    bool stale = arguments_option(arguments, "stale") != NULL;
    exit_code = operation_run(ctl, &operation, stale, &answer);
    if (exit_code == CTL_OK) {
        bool found = answer.code == CHORD__V1__CODE__CODE_OK;
        if (ctl->json) {
            json_t *json = answer_json(&key, &answer);
            json_put(json, "stale", json_boolean(answer.stale));
            if (found) {
                json_put_bytes(json, "value", answer.result->value.data, answer.result->value.len);
            }
            json_print(json);
        } else if (found) {
            value_print(answer.result, key.base64, arguments_option(arguments, "raw") != NULL);
        }
        if (!found) {
            ctl_error("the key '%s' is not in the ring", arguments->words[0]);
            exit_code = CTL_NOT_FOUND;
        }
        rpc_reply_free(&answer.reply);
    }
    bytes_free(&key.bytes);
    return exit_code;
}

/* ---- put ---- */

static int value_from_stdin(struct bytes *value) {
    static uint8_t data[READ_BYTES];
    size_t got;
    while ((got = fread(data, 1, sizeof data, stdin)) > 0 && value->size <= CTL_VALUE_BYTES_MAX) {
        bytes_append(value, data, got);
    }
    if (ferror(stdin)) {
        ctl_error("the value cannot be read from stdin: %s", strerror(errno));
        return CTL_USAGE;
    }
    return CTL_OK;
}

static int value_read(const struct arguments *arguments, bool base64, struct bytes *value) {
    const char *word = arguments->words_count > 1 ? arguments->words[1] : "-";
    int exit_code = CTL_OK;
    if (strcmp(word, "-") == 0) {
        exit_code = value_from_stdin(value);
    } else if (!base64) {
        bytes_append(value, word, strlen(word));
    } else if (!base64_decode(word, value)) {
        ctl_error("the value is no base64");
        exit_code = CTL_USAGE;
    }
    if (exit_code == CTL_OK && value->size > CTL_VALUE_BYTES_MAX) {
        ctl_error("the value has more than %d bytes, the largest there may be",
                  CTL_VALUE_BYTES_MAX);
        exit_code = CTL_USAGE;
    }
    return exit_code;
}

static int put_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key = {0};
    struct bytes value = {0};
    struct operation_answer answer = {0};
    Chord__V1__Operation operation = CHORD__V1__OPERATION__INIT;
    Chord__V1__Precondition precondition;
    Chord__V1__Version version;
    int exit_code = key_read(arguments, &key);
    if (exit_code == CTL_OK) {
        exit_code = value_read(arguments, key.base64, &value);
    }
    if (exit_code == CTL_OK) {
        operation.kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
        operation.key = (ProtobufCBinaryData){key.bytes.size, key.bytes.data};
        operation.value = (ProtobufCBinaryData){value.size, value.data};
        exit_code = precondition_read(arguments, &operation, &precondition, &version);
    }
    if (exit_code == CTL_OK) {
        exit_code = operation_run(ctl, &operation, false, &answer);
    }
    if (exit_code == CTL_OK && answer.result == NULL) {
        exit_code = call_refused(answer.code, answer.address, answer.reply.message);
    } else if (exit_code == CTL_OK) {
        bool existed = answer.result->existed;
        if (ctl->json) {
            json_t *json = answer_json(&key, &answer);
            json_put(json, "existed", json_boolean(existed));
            json_print(json);
        } else {
            answer_print(existed ? "replaced" : "stored", &key);
        }
    }
    rpc_reply_free(&answer.reply);
    bytes_free(&value);
    bytes_free(&key.bytes);
    return exit_code;
}

/* ---- del ---- */

static int del_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key = {0};
    struct operation_answer answer = {0};
    Chord__V1__Operation operation = CHORD__V1__OPERATION__INIT;
    Chord__V1__Precondition precondition;
    Chord__V1__Version version;
    int exit_code = key_read(arguments, &key);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    operation.kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE;
    operation.key = (ProtobufCBinaryData){key.bytes.size, key.bytes.data};
    exit_code = precondition_read(arguments, &operation, &precondition, &version);
    if (exit_code == CTL_OK) {
        exit_code = operation_run(ctl, &operation, false, &answer);
    }
    if (exit_code == CTL_OK) {
        if (ctl->json) {
            json_print(answer_json(&key, &answer));
        } else if (answer.code == CHORD__V1__CODE__CODE_OK) {
            answer_print("deleted", &key);
        }
        if (answer.code != CHORD__V1__CODE__CODE_OK) {
            ctl_error("the key '%s' is not in the ring", arguments->words[0]);
            exit_code = CTL_NOT_FOUND;
        }
        rpc_reply_free(&answer.reply);
    }
    bytes_free(&key.bytes);
    return exit_code;
}

static const struct option get_options[] = {
    {0, "stale", NULL, "any member's copy at once, even if it is old"},
    {0, "raw", NULL, "the very bytes also to a terminal"},
    {0, "base64", NULL, "KEY is base64, and so is the value printed"},
    {0, NULL, NULL, NULL},
};
const struct command get_command = {
    .name = "get",
    .words = "KEY",
    .words_min = 1,
    .words_max = 1,
    .summary = "the value of a key, byte for byte",
    .help = "Nothing is added to the value. On a terminal, control characters are escaped.\n"
            "-o json: value, or value_base64 when it is no UTF-8.\n",
    .options = get_options,
    .run = get_run,
};

static const struct option put_options[] = {
    {0, "base64", NULL, "KEY and VALUE are base64 (stdin is always taken as it is)"},
    {0, "if-match", "VERSION", "only if the key has this version (get -o json shows it)"},
    {0, "if-absent", NULL, "only if the key has no value"},
    {0, NULL, NULL, NULL},
};
const struct command put_command = {
    .name = "put",
    .words = "KEY [VALUE|-]",
    .words_min = 1,
    .words_max = 2,
    .summary = "set the value of a key",
    .help = "Without VALUE, or with '-', the value is read from stdin: 0 bytes to 1 MiB.\n",
    .options = put_options,
    .run = put_run,
};

static const struct option del_options[] = {
    {0, "base64", NULL, "KEY is base64"},
    {0, "if-match", "VERSION", "only if the key has this version (get -o json shows it)"},
    {0, NULL, NULL, NULL},
};
const struct command del_command = {
    .name = "del",
    .words = "KEY",
    .words_min = 1,
    .words_max = 1,
    .summary = "delete a key",
    .options = del_options,
    .run = del_run,
};
