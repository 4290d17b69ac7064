/* SPDX-License-Identifier: MIT */
/* See sd_notify.h. */
#include "sd_notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OWED_AGAIN_MS = 100 };

static bool number_read(const char *text, uint64_t *number) {
    char *end = NULL;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* A path, or a name without a file, which begins with '@' here and with a zero byte in the
 * kernel. */
static bool socket_open(struct sd_notify *notify, const char *name, char *error,
                        size_t error_bytes) {
    size_t bytes = strlen(name);
    notify->to.sun_family = AF_UNIX;
    if ((name[0] != '/' && name[0] != '@') || bytes < 2 || bytes >= sizeof notify->to.sun_path) {
        snprintf(error, error_bytes,
                 "NOTIFY_SOCKET=%.120s cannot be used: it must be a path, or '@' and a name, of at "
                 "most %zu bytes; the service manager is told nothing",
                 name, sizeof notify->to.sun_path - 1);
        return false;
    }
    memcpy(notify->to.sun_path, name, bytes);
    if (name[0] == '@') {
        notify->to.sun_path[0] = '\0';
    }
    notify->to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0) {
        snprintf(error, error_bytes,
                 "NOTIFY_SOCKET=%s cannot be used: %s; the service manager is told nothing", name,
                 strerror(errno));
        return false;
    }
    return true;
}

static bool watchdog_read(struct sd_notify *notify, const char *interval, const char *pid,
                          char *error, size_t error_bytes) {
    uint64_t microseconds = 0, whose = 0;
    if (interval == NULL) {
        return true;
    }
    if (!number_read(interval, &microseconds) || microseconds == 0 ||
        (pid != NULL && !number_read(pid, &whose))) {
        snprintf(error, error_bytes,
                 "WATCHDOG_USEC=%.40s with WATCHDOG_PID=%.40s cannot be used: both must be whole "
                 "numbers; the watchdog is told nothing",
                 interval, pid != NULL ? pid : "");
        return false;
    }
    if (pid == NULL || whose == (uint64_t)getpid()) {
        uint64_t half_ms = microseconds / 2000;
        notify->watchdog_ms = half_ms > 0 ? half_ms : 1;
    }
    return true;
}

bool sd_notify_open(struct sd_notify *notify, char *error, size_t error_bytes) {
    const char *name = getenv("NOTIFY_SOCKET");
    memset(notify, 0, sizeof *notify);
    notify->fd = -1;
    bool ok = name == NULL || name[0] == '\0' ||
              (socket_open(notify, name, error, error_bytes) &&
               watchdog_read(notify, getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), error,
                             error_bytes));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return ok;
}

/* False: the manager has no room now. Whatever else is wrong does not become better. */
static bool message_send(struct sd_notify *notify, const char *text) {
    if (notify->fd < 0) {
        return true;
    }
    ssize_t sent = sendto(notify->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify->to, notify->to_bytes);
    return sent >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOBUFS);
}

static void owed_send(struct sd_notify *notify) {
    char text[SD_NOTIFY_STATUS_BYTES + 8];
    if (notify->owes_ready) {
        notify->owes_ready = !message_send(notify, "READY=1");
    }
    if (notify->owes_status && !notify->owes_ready) {
        snprintf(text, sizeof text, "STATUS=%s", notify->status);
        notify->owes_status = !message_send(notify, text);
    }
}

void sd_notify_ready(struct sd_notify *notify) {
    notify->owes_ready = notify->owes_ready || !notify->is_ready;
    notify->is_ready = true;
    owed_send(notify);
}

/* A line break would begin another variable. */
void sd_notify_status(struct sd_notify *notify, const char *text) {
    char line[SD_NOTIFY_STATUS_BYTES];
    snprintf(line, sizeof line, "%s", text);
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, notify->status) != 0) {
        memcpy(notify->status, line, sizeof line);
        notify->owes_status = true;
        owed_send(notify);
    }
}

void sd_notify_stopping(struct sd_notify *notify) {
    (void)message_send(notify, "STOPPING=1");
}

static bool owes(const struct sd_notify *notify) {
    return notify->owes_ready || notify->owes_status;
}

void sd_notify_tick(struct sd_notify *notify, uint64_t now_ms) {
    if (owes(notify) && now_ms >= notify->again_ms) {
        owed_send(notify);
        notify->again_ms = now_ms + OWED_AGAIN_MS;
    }
    if (notify->watchdog_ms != 0 && now_ms >= notify->next_ms) {
        bool sent = message_send(notify, "WATCHDOG=1");
        notify->next_ms = now_ms + (sent ? notify->watchdog_ms : OWED_AGAIN_MS);
    }
}

uint64_t sd_notify_next_ms(const struct sd_notify *notify) {
    uint64_t watchdog_ms = notify->watchdog_ms != 0 ? notify->next_ms : UINT64_MAX;
    uint64_t owed_ms = owes(notify) ? notify->again_ms : UINT64_MAX;
    return watchdog_ms < owed_ms ? watchdog_ms : owed_ms;
}

void sd_notify_close(struct sd_notify *notify) {
    if (notify->fd >= 0) {
        close(notify->fd);
    }
    notify->fd = -1;
}
