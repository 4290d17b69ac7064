/* SPDX-License-Identifier: MIT */
/*
 * Tells the service manager that started the program how it is: the protocol of sd_notify(3), one
 * datagram a message to the socket that NOTIFY_SOCKET names. Without that variable every call does
 * nothing. Nothing here ever waits: what the manager has no room for now is sent by a later tick.
 * Knows nothing but sockets. One thread at a time.
 */
#ifndef PROTO_SD_NOTIFY_H
#define PROTO_SD_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SD_NOTIFY_STATUS_BYTES = 600 };

struct sd_notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un to;
    socklen_t to_bytes;
    uint64_t watchdog_ms; /* from one WATCHDOG=1 to the next; 0 = none is wanted */
    uint64_t next_ms;     /* when the next one is due */
    uint64_t again_ms;    /* when what is owed is sent again */
    bool is_ready, owes_ready, owes_status;
    char status[SD_NOTIFY_STATUS_BYTES];
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them, so that no child speaks in
 * our name: before the first thread. False: one of them cannot be used; `error` is one sentence,
 * and the program may go on. */
bool sd_notify_open(struct sd_notify *notify, char *error, size_t error_bytes);
void sd_notify_ready(struct sd_notify *notify);
/* One sentence for people (systemctl status); sent only when it is another one than before. */
void sd_notify_status(struct sd_notify *notify, const char *text);
void sd_notify_stopping(struct sd_notify *notify);
/* The loop that does the work has gone round: sends WATCHDOG=1 when it is due, and what could not
 * be sent before. Called by no other thread than the loop's: a timer would say "alive" for a loop
 * that hangs. */
void sd_notify_tick(struct sd_notify *notify, uint64_t now_ms);
/* When the loop must call sd_notify_tick() again, on the clock of its `now_ms`; UINT64_MAX: it need
 * not. */
uint64_t sd_notify_next_ms(const struct sd_notify *notify);
void sd_notify_close(struct sd_notify *notify);

#endif
