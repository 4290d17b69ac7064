/* SPDX-License-Identifier: MIT */
/*
 * Load on a ring through libchord-client, as any program would use it: of its header nothing but
 * chord_client.h. Prints one line of JSON (work.h).
 *
 *     load --members 127.0.0.1:4001 --fill --kind get --value-bytes 64 --in-flight 64 --seconds 5
 */
#include <chord_client.h>
#include <stdio.h>
#include <string.h>

#include "loop.h"

struct load {
    struct loop loop;
    struct chord_client *client;
    bool stale;
};

static void operation_done(void *context, struct chord_result *result) {
    struct loop_slot *slot = context;
    char text[WORK_REASON_SIZE];
    const char *reason = NULL;
    if (result->fate != CHORD_DONE || result->code != CHORD_CODE_OK) {
        snprintf(text, sizeof text, "%s of %s: %s %.180s", slot->task.is_read ? "get" : "put",
                 slot->key, chord_code_text(result->code), result->message);
        reason = text;
    } else if (slot->task.is_read) {
        reason = work_check(&slot->loop->work, slot->task.key, result->value, result->value_size);
    }
    slot->task.hops = result->hops;
    chord_result_free(result);
    loop_done(slot, reason);
}

static void start(struct loop_slot *slot, void *context) {
    struct load *load = context;
    struct chord_operation operation = {
        .kind = CHORD_GET, .key = slot->key, .key_size = strlen(slot->key), .stale = load->stale};
    if (!slot->task.is_read) {
        operation.kind = CHORD_PUT;
        operation.stale = false;
        operation.value = slot->value;
        operation.value_size = slot->loop->work.options.value_bytes;
    }
    chord_start(load->client, &operation, operation_done, slot);
}

int main(int argc, char **argv) {
    static struct load load;
    struct work_options work;
    struct chord_client_options options = {.members = NULL};
    uint64_t timeout_ms = 0;
    uint64_t attempt_ms = 0;
    const struct flag own[] = {
        {.name = "members", .text = &options.members, .help = "HOST:PORT, several with commas"},
        {.name = "ring-key-file", .text = &options.ring_key_file, .help = "the key of the ring"},
        {.name = "stale", .is_there = &load.stale, .help = "gets take any member's value"},
        {.name = "timeout-ms", .number = &timeout_ms, .help = "of an operation; 0: the client's"},
        {.name = "attempt-ms", .number = &attempt_ms, .help = "of one attempt; 0: the client's"},
        {.name = NULL}};
    flags_read(argc, argv, "load on a ring through libchord-client",
               (const struct flag *const[]){own, work_flags(&work)}, 2);
    if (options.members == NULL) {
        flags_refuse("--members HOST:PORT says where the ring is");
    }
    options.timeout_ms = (uint32_t)(timeout_ms < UINT32_MAX ? timeout_ms : UINT32_MAX);
    options.attempt_ms = (uint32_t)(attempt_ms < UINT32_MAX ? attempt_ms : UINT32_MAX);
    loop_init(&load.loop, &work, start, &load);
    char error[200];
    if (chord_client_open(&load.client, &options, error, sizeof error) != 0) {
        flags_refuse("%s", error);
    }
    loop_run(&load.loop);
    chord_client_close(load.client);
    int code = work_print(&load.loop.work);
    loop_free(&load.loop);
    return code;
}
