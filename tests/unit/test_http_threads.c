/* SPDX-License-Identifier: MIT */
/*
 * Whose stacks the HTTP server chooses: those of the threads that serve, however civetweb was
 * built, and nobody else's, not even while it starts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

static size_t own_stack_bytes(void) {
    pthread_attr_t attributes;
    size_t bytes = 0;
    assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
    assert_int_equal(pthread_attr_getstacksize(&attributes, &bytes), 0);
    pthread_attr_destroy(&attributes);
    return bytes;
}

/* ---- threads of somebody else ---- */

static void *stranger_run(void *context) {
    *(size_t *)context = own_stack_bytes();
    return NULL;
}

static size_t stranger_stack_bytes(void) {
    pthread_t thread;
    size_t bytes = 0;
    assert_int_equal(pthread_create(&thread, NULL, stranger_run, &bytes), 0);
    pthread_join(thread, NULL);
    return bytes;
}

struct strangers {
    atomic_bool enough;
    atomic_size_t started;
    size_t wanted_bytes; /* of each one's stack */
    size_t other;        /* those with another */
};

static void *strangers_run(void *context) {
    struct strangers *strangers = context;
    while (!atomic_load(&strangers->enough)) {
        strangers->other += stranger_stack_bytes() != strangers->wanted_bytes;
        atomic_fetch_add(&strangers->started, 1);
    }
    return NULL;
}

/* ---- the server ---- */

static void handle(void *context, struct http_request *request) {
    atomic_store((atomic_size_t *)context, own_stack_bytes());
    http_reply(request, 200, "text/plain", NULL, "", 0);
}

static unsigned traits(const char *path) {
    (void)path;
    return 0;
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int port_free(void) {
    struct sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Returns the port. Somebody else may take the one that was free: then another. */
static int server_open(struct http_server **server, struct http_options *options) {
    char error[256];
    int result;
    do {
        options->port = port_free();
        result = http_server_open(server, options, error, sizeof error);
    } while (result == -EADDRINUSE);
    if (result != 0) {
        fail_msg("%s", error);
    }
    return options->port;
}

static void ask(int port) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[1024];
    struct sockaddr_in at = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    ssize_t got = recvfrom(fd, answer, sizeof answer, 0, NULL, NULL);
    assert_true(got > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0);
    close(fd);
}

static void test_stacks(void **state) {
    (void)state;
    atomic_size_t told_bytes = 0;
    struct strangers strangers = {.wanted_bytes = stranger_stack_bytes()};
    struct http_options options = {.host = "127.0.0.1",
                                   .names = {"localhost"},
                                   .names_count = 1,
                                   .own_names_count = 1,
                                   .traits = traits,
                                   .handler = handle,
                                   .context = &told_bytes};
    struct http_server *server;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, strangers_run, &strangers), 0);
    while (atomic_load(&strangers.started) == 0) {
    }
    int port = server_open(&server, &options);
    atomic_store(&strangers.enough, true);
    pthread_join(thread, NULL);
    ask(port);
    size_t handler_bytes = atomic_load(&told_bytes);
    print_message("stacks: %zu KiB of a handler, %zu KiB of %zu others meanwhile\n",
                  handler_bytes / 1024, strangers.wanted_bytes / 1024,
                  atomic_load(&strangers.started));
    assert_true(handler_bytes >= HTTP_THREAD_STACK_BYTES);
    assert_int_equal(strangers.other, 0);
    assert_int_equal(stranger_stack_bytes(), strangers.wanted_bytes);
    http_server_close(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stacks),
    };
    return cmocka_run_group_tests_name("http_threads", tests, NULL, NULL);
}
