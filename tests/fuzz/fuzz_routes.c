/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the gateway's routes and their parameters: a request goes through the reader of heads,
 * the table of routes and the handler, with a ring that answers as the first DICE bytes say.
 * Whatever it asks for, it gets exactly one answer that HTTP allows, and the ring is asked for
 * nothing beyond the bounds of its contract (gateway_world.h).
 */
#include "gateway_world.h"

#include <stdlib.h>
#include <string.h>

#include "operations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DICE = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct app app = {.settings = {.host = "127.0.0.1",
                                          .port = 3000,
                                          .rpc_port = 4000,
                                          .slots = 2,
                                          .data = "/a folder's"}};
    static struct http_head head;
    static struct access access;
    size_t scanned = 0;
    if (size < DICE) {
        return 0;
    }
    const uint8_t *text = data + DICE;
    int64_t head_size = http_head_find((const char *)text, size - DICE, &scanned);
    if (head_size <= 0) {
        return 0;
    }
    char *copy = malloc((size_t)head_size);
    world_must(copy != NULL, "no memory");
    memcpy(copy, text, (size_t)head_size);
    if (http_head_parse(&head, copy, (size_t)head_size).status == 0) {
        app.operations = operations_new(NULL, NULL);
        access.guesses = guesses_new();
        world_must(app.operations != NULL && access.guesses != NULL, "no memory");
        app.settings.access = data[0] % 2 == 0 ? &access : NULL;
        world_request(&app, &head, (struct bytes){data, DICE},
                      (struct bytes){text + head_size, size - DICE - (size_t)head_size});
        guesses_free(access.guesses);
        operations_free(app.operations);
    }
    free(copy);
    return 0;
}
