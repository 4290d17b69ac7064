/* SPDX-License-Identifier: MIT */
/* The client of DATA_DIR/supervisor.sock: one JSON line out, one in; see supervisor.h. */
#include "supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { SUPERVISOR_ANSWER_BYTES_MAX = 64 * 1024, SUPERVISOR_TIMEOUT_S = 10 };

/* A socket's name has 108 bytes at most; a long DATA_DIR is reached through its descriptor. */
static int supervisor_connect(const char *folder) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int size = snprintf(at.sun_path, sizeof(at.sun_path), "%s/supervisor.sock", folder);
    if (size < 0 || (size_t)size >= sizeof(at.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = SUPERVISOR_TIMEOUT_S};
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) != 0) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
    }
    return fd;
}

json_t *supervisor_ask(const struct app *app, json_t *command, char *error, size_t error_size) {
    char answer[SUPERVISOR_ANSWER_BYTES_MAX];
    size_t size = 0;
    json_t *json = NULL;
    char *line = json_dumps(command, JSON_COMPACT);
    int fd = supervisor_connect(app->settings.data);
    if (line == NULL || fd < 0) {
        snprintf(error, error_size, "no supervisor answers on %s/supervisor.sock (%s)",
                 app->settings.data, strerror(errno));
        goto out;
    }
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0) {
        snprintf(error, error_size, "the supervisor does not listen: %s", strerror(errno));
        goto out;
    }
    while (size + 1 < sizeof(answer) && memchr(answer, '\n', size) == NULL) {
        ssize_t got = recv(fd, answer + size, sizeof(answer) - 1 - size, 0);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    answer[size] = '\0';
    json = json_loads(answer, 0, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        json = NULL;
        snprintf(error, error_size, "the supervisor gave no answer that can be read");
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    free(line);
    return json;
}
