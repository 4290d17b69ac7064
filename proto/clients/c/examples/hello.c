/* SPDX-License-Identifier: MIT */
/* cc hello.c $(pkg-config --cflags --libs chord-client) -o hello && ./hello 127.0.0.1:4001 */
#include <chord_client.h>
#include <stdio.h>

int main(int argc, char **argv) {
    struct chord_client_options options = {.members = argc > 1 ? argv[1] : "127.0.0.1:4001"};
    struct chord_client *client;
    struct chord_result result;
    char error[200];
    if (chord_client_open(&client, &options, error, sizeof error) != 0) {
        fprintf(stderr, "hello: %s\n", error);
        return 2;
    }
    enum chord_fate fate = chord_put(client, "greeting", "hello, ring", 11, &result);
    if (fate == CHORD_DONE) {
        chord_result_free(&result);
        fate = chord_get(client, "greeting", &result);
    }
    if (fate == CHORD_DONE) {
        printf("%.*s\n", (int)result.value_size, (const char *)result.value);
    } else { /* NOT_DONE: try again as you like; MAYBE_DONE: look before you do */
        fprintf(stderr, "hello: %s: %s\n", chord_code_text(result.code), result.message);
    }
    chord_result_free(&result);
    chord_client_close(client);
    return fate == CHORD_DONE ? 0 : 1;
}
