/* SPDX-License-Identifier: MIT */
/*
 * What nng alone can do, beside which the ring is measured: REQ and REP sockets, one message there
 * and one back, of the sizes that the ring's would have; nothing in between. With --file the server
 * writes each put to that file and syncs it before it answers, as many as have come meanwhile with
 * one sync: a store of one copy without any rule.
 *
 *     echo --listen 127.0.0.1:5001 [--file FILE]
 *     echo --address 127.0.0.1:5001 --kind get --value-bytes 64 --in-flight 64 --seconds 5
 *
 * A request is the size of the wanted answer and whether it is a put (5 bytes), room for what an
 * envelope takes, and of a put the value.
 */
#include <errno.h>
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"

enum {
    ENVELOPE_BYTES = 128, /* about what the ring's request or answer has beside the value */
    HEAD_BYTES = 5,
    ANSWERERS = 512,
    MESSAGE_BYTES_MAX = 2 * 1024 * 1024,
};

static void must(int code, const char *what) {
    if (code != 0) {
        flags_refuse("%s: %s", what, nng_strerror(code));
    }
}

static void url_of(const char *address, char *url, size_t size) {
    snprintf(url, size, "tcp://%s", address);
}

/* ---- server ---- */

/* One request at a time: receives it, has it stored if so, answers. */
struct answerer {
    struct server *server;
    struct answerer *next; /* of those whose put waits for the disk */
    nng_ctx context;
    nng_aio *aio;
    nng_msg *message; /* the request */
    bool sending;
};

struct server {
    nng_socket socket;
    int file; /* -1: puts are not stored */
    struct answerer answerers[ANSWERERS];
    pthread_mutex_t lock;
    pthread_cond_t some_wait;
    struct answerer *waiting;
};

static void receive(struct answerer *answerer) {
    answerer->sending = false;
    nng_ctx_recv(answerer->context, answerer->aio);
}

static void answer(struct answerer *answerer) {
    const uint8_t *head = nng_msg_body(answerer->message);
    uint32_t size = 0;
    memcpy(&size, head, sizeof size);
    nng_msg *message = answerer->message;
    must(nng_msg_realloc(message, size), "an answer");
    memset(nng_msg_body(message), '.', size);
    answerer->sending = true;
    nng_aio_set_msg(answerer->aio, message);
    nng_ctx_send(answerer->context, answerer->aio);
}

static void wait_for_disk(struct answerer *answerer) {
    struct server *server = answerer->server;
    pthread_mutex_lock(&server->lock);
    answerer->next = server->waiting;
    server->waiting = answerer;
    pthread_cond_signal(&server->some_wait);
    pthread_mutex_unlock(&server->lock);
}

static void served(void *context) {
    struct answerer *answerer = context;
    if (nng_aio_result(answerer->aio) != 0) {
        return; /* the server ends */
    }
    if (answerer->sending) {
        receive(answerer);
        return;
    }
    answerer->message = nng_aio_get_msg(answerer->aio);
    const uint8_t *head = nng_msg_body(answerer->message);
    if (nng_msg_len(answerer->message) < HEAD_BYTES) {
        flags_refuse("a request of %zu bytes", nng_msg_len(answerer->message));
    }
    if (head[HEAD_BYTES - 1] != 0 && answerer->server->file >= 0) {
        wait_for_disk(answerer);
    } else {
        answer(answerer);
    }
}

static void write_all(int file, const void *bytes, size_t count) {
    for (const char *at = bytes; count > 0;) {
        ssize_t written = write(file, at, count);
        if (written <= 0) {
            flags_refuse("the file cannot be written: %s", strerror(errno));
        }
        at += written;
        count -= (size_t)written;
    }
}

/* Never returns: takes all that wait, stores them with one sync, answers them. */
static _Noreturn void store_for_ever(struct server *server) {
    for (;;) {
        pthread_mutex_lock(&server->lock);
        while (server->waiting == NULL) {
            pthread_cond_wait(&server->some_wait, &server->lock);
        }
        struct answerer *some = server->waiting;
        server->waiting = NULL;
        pthread_mutex_unlock(&server->lock);
        for (struct answerer *one = some; one != NULL; one = one->next) {
            write_all(server->file, nng_msg_body(one->message), nng_msg_len(one->message));
        }
        if (fdatasync(server->file) != 0) {
            flags_refuse("the file cannot be synced: %s", strerror(errno));
        }
        for (struct answerer *one = some, *next; one != NULL; one = next) {
            next = one->next;
            answer(one);
        }
    }
}

static _Noreturn void serve(const char *address, const char *path) {
    static struct server server = {
        .file = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .some_wait = PTHREAD_COND_INITIALIZER};
    char url[200];
    url_of(address, url, sizeof url);
    if (path != NULL) {
        server.file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (server.file < 0) {
            flags_refuse("%s: %s", path, strerror(errno));
        }
    }
    must(nng_rep0_open(&server.socket), "a socket");
    must(nng_socket_set_size(server.socket, NNG_OPT_RECVMAXSZ, MESSAGE_BYTES_MAX), "a socket");
    for (size_t at = 0; at < ANSWERERS; at++) {
        struct answerer *answerer = &server.answerers[at];
        answerer->server = &server;
        must(nng_ctx_open(&answerer->context, server.socket), "a context");
        must(nng_aio_alloc(&answerer->aio, served, answerer), "memory");
        receive(answerer);
    }
    must(nng_listen(server.socket, url, NULL, 0), address);
    printf("listening %s\n", address);
    fflush(stdout);
    store_for_ever(&server);
}

/* ---- client ---- */

struct asker {
    struct loop_slot *slot;
    nng_ctx context;
    nng_aio *aio;
    uint32_t answer_bytes;
    bool receiving;
};

static void asked(void *context) {
    struct asker *asker = context;
    int code = nng_aio_result(asker->aio);
    if (code != 0) {
        if (!asker->receiving) {
            nng_msg_free(nng_aio_get_msg(asker->aio));
        }
        loop_done(asker->slot, nng_strerror(code));
    } else if (!asker->receiving) {
        asker->receiving = true;
        nng_ctx_recv(asker->context, asker->aio);
    } else {
        nng_msg *message = nng_aio_get_msg(asker->aio);
        bool whole = nng_msg_len(message) == asker->answer_bytes;
        nng_msg_free(message);
        loop_done(asker->slot, whole ? NULL : "an answer of another size");
    }
}

static void start(struct loop_slot *slot, void *context) {
    struct asker *asker = (struct asker *)context + slot->number;
    size_t value_bytes = slot->loop->work.options.value_bytes;
    bool is_put = !slot->task.is_read;
    nng_msg *message = NULL;
    must(nng_msg_alloc(&message, ENVELOPE_BYTES), "a message");
    asker->slot = slot;
    asker->receiving = false;
    asker->answer_bytes = (uint32_t)(ENVELOPE_BYTES + (is_put ? 0 : value_bytes));
    uint8_t *body = nng_msg_body(message);
    memset(body, '.', ENVELOPE_BYTES);
    memcpy(body, &asker->answer_bytes, sizeof asker->answer_bytes);
    body[HEAD_BYTES - 1] = is_put;
    if (is_put) {
        must(nng_msg_append(message, slot->value, value_bytes), "a message");
    }
    nng_aio_set_msg(asker->aio, message);
    nng_ctx_send(asker->context, asker->aio);
}

static int ask(const char *address, const struct work_options *options) {
    static struct loop loop;
    nng_socket socket;
    char url[200];
    struct asker *askers = calloc(options->in_flight, sizeof *askers);
    url_of(address, url, sizeof url);
    if (askers == NULL) {
        flags_refuse("no memory");
    }
    loop_init(&loop, options, start, askers);
    must(nng_req0_open(&socket), "a socket");
    must(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, MESSAGE_BYTES_MAX), "a socket");
    must(nng_dial(socket, url, NULL, 0), address);
    for (size_t at = 0; at < options->in_flight; at++) {
        must(nng_ctx_open(&askers[at].context, socket), "a context");
        must(nng_aio_alloc(&askers[at].aio, asked, &askers[at]), "memory");
    }
    loop_run(&loop);
    for (size_t at = 0; at < options->in_flight; at++) {
        nng_aio_free(askers[at].aio);
        nng_ctx_close(askers[at].context);
    }
    nng_close(socket);
    int code = work_print(&loop.work);
    loop_free(&loop);
    free(askers);
    return code;
}

int main(int argc, char **argv) {
    struct work_options work;
    const char *listen_address = NULL;
    const char *address = NULL;
    const char *file = NULL;
    const struct flag own[] = {
        {.name = "listen", .text = &listen_address, .help = "HOST:PORT: answers there until ended"},
        {.name = "file", .text = &file, .help = "with it: where puts are stored and synced"},
        {.name = "address", .text = &address, .help = "HOST:PORT of one that listens"},
        {.name = NULL}};
    flags_read(argc, argv, "nng alone, there and back",
               (const struct flag *const[]){own, work_flags(&work)}, 2);
    if ((listen_address == NULL) == (address == NULL)) {
        flags_refuse("either --listen HOST:PORT or --address HOST:PORT");
    }
    if (listen_address != NULL) {
        work_watch_parent(&work);
        serve(listen_address, file);
    }
    return ask(address, &work);
}
