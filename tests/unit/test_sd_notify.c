/* SPDX-License-Identifier: MIT */
/* What a service manager hears, on a real datagram socket: a file, or a name without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sd_notify.h"

static char folder[] = "/tmp/sd-notify-XXXXXX";
static char name[120]; /* as NOTIFY_SOCKET has it */
static struct sd_notify notify;

/* ---- the manager ---- */

static int manager_open(bool is_abstract) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(name, sizeof name, "%s%s/socket", is_abstract ? "@" : "", folder);
    memcpy(at.sun_path, name, strlen(name));
    if (is_abstract) {
        at.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void manager_close(int fd) {
    close(fd);
    sd_notify_close(&notify);
    if (name[0] == '/') {
        unlink(name);
    }
}

static void hears(int fd, const char *expected) {
    char text[2000] = "";
    ssize_t got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    text[got] = '\0';
    assert_string_equal(text, expected);
}

static void hears_nothing(int fd) {
    char text[2000];
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static void open_well(void) {
    char error[300] = "";
    assert_true(sd_notify_open(&notify, error, sizeof error));
    assert_string_equal(error, "");
}

static void refused(const char *word) {
    char error[300] = "";
    assert_false(sd_notify_open(&notify, error, sizeof error));
    assert_non_null(strstr(error, word));
    sd_notify_close(&notify);
}

/* ---- tests ---- */

static void says_what_it_is(bool is_abstract) {
    int fd = manager_open(is_abstract);
    open_well();
    hears_nothing(fd);
    sd_notify_status(&notify, "joins the ring");
    hears(fd, "STATUS=joins the ring");
    sd_notify_status(&notify, "joins the ring");
    hears_nothing(fd);
    sd_notify_ready(&notify);
    sd_notify_ready(&notify);
    hears(fd, "READY=1");
    hears_nothing(fd);
    sd_notify_stopping(&notify);
    hears(fd, "STOPPING=1");
    manager_close(fd);
}

static void file_socket(void **state) {
    (void)state;
    says_what_it_is(false);
}

static void abstract_socket(void **state) {
    (void)state;
    says_what_it_is(true);
}

static void children_hear_of_nothing(void **state) {
    (void)state;
    int fd = manager_open(false);
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    open_well();
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_true((fcntl(notify.fd, F_GETFD) & FD_CLOEXEC) != 0);
    manager_close(fd);
}

static void without_a_manager_nothing_happens(void **state) {
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "2000000", 1);
    open_well();
    sd_notify_status(&notify, "x");
    sd_notify_ready(&notify);
    sd_notify_tick(&notify, 5000);
    sd_notify_stopping(&notify);
    assert_true(sd_notify_next_ms(&notify) == UINT64_MAX);
    sd_notify_close(&notify);
}

/* At half of the interval, and only when the loop says that it has gone round. */
static void watchdog_hears_of_each_round(void **state) {
    (void)state;
    int fd = manager_open(false);
    setenv("WATCHDOG_USEC", "3000000", 1);
    open_well();
    assert_true(sd_notify_next_ms(&notify) <= 1000);
    sd_notify_tick(&notify, 1000);
    hears(fd, "WATCHDOG=1");
    assert_true(sd_notify_next_ms(&notify) == 2500);
    sd_notify_tick(&notify, 2499);
    hears_nothing(fd);
    sd_notify_tick(&notify, 2500);
    hears(fd, "WATCHDOG=1");
    sd_notify_tick(&notify, 9000);
    hears(fd, "WATCHDOG=1");
    hears_nothing(fd);
    manager_close(fd);
}

static void watchdog_of_another_process(void **state) {
    (void)state;
    int fd = manager_open(false);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    open_well();
    sd_notify_tick(&notify, 1000);
    hears_nothing(fd);
    assert_true(sd_notify_next_ms(&notify) == UINT64_MAX);
    manager_close(fd);
}

static void a_line_break_begins_no_other_variable(void **state) {
    (void)state;
    int fd = manager_open(false);
    char large[2 * SD_NOTIFY_STATUS_BYTES];
    char expected[SD_NOTIFY_STATUS_BYTES + 8];
    open_well();
    sd_notify_status(&notify, "waits\nMAINPID=1");
    hears(fd, "STATUS=waits");
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    sd_notify_status(&notify, large);
    snprintf(expected, sizeof expected, "STATUS=%.*s", SD_NOTIFY_STATUS_BYTES - 1, large);
    hears(fd, expected);
    manager_close(fd);
}

/* READY must arrive, and must not be waited for. */
static void a_full_queue_gets_it_later(void **state) {
    (void)state;
    int fd = manager_open(false);
    unsigned count = 0;
    open_well();
    for (char text[20]; count < 100000 && !notify.owes_status; count++) {
        snprintf(text, sizeof text, "%u", count);
        sd_notify_status(&notify, text);
    }
    assert_true(notify.owes_status);
    sd_notify_ready(&notify);
    assert_true(notify.owes_ready);
    sd_notify_tick(&notify, 1000);
    assert_true(notify.owes_ready);
    assert_true(sd_notify_next_ms(&notify) > 1000 && sd_notify_next_ms(&notify) < 2000);
    char text[100];
    while (recv(fd, text, sizeof text, MSG_DONTWAIT) > 0) {
    }
    sd_notify_tick(&notify, 2000);
    hears(fd, "READY=1");
    snprintf(text, sizeof text, "STATUS=%u", count - 1);
    hears(fd, text);
    hears_nothing(fd);
    assert_true(sd_notify_next_ms(&notify) == UINT64_MAX);
    manager_close(fd);
}

static void a_manager_that_is_gone_is_no_reason_to_try_for_ever(void **state) {
    (void)state;
    int fd = manager_open(false);
    open_well();
    close(fd);
    unlink(name);
    sd_notify_ready(&notify);
    sd_notify_tick(&notify, 1000);
    assert_false(notify.owes_ready);
    sd_notify_close(&notify);
}

static void what_cannot_be_used_is_told(void **state) {
    (void)state;
    char large[sizeof notify.to.sun_path + 2];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    large[0] = '/';
    const char *const names[] = {"relative", "vsock:2:1234", "@", "/", large};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        refused("NOTIFY_SOCKET");
        assert_null(getenv("NOTIFY_SOCKET"));
    }
    const char *const intervals[] = {"0", "", "-1", "1s", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        int fd = manager_open(false);
        setenv("WATCHDOG_USEC", intervals[i], 1);
        refused("WATCHDOG_USEC");
        manager_close(fd);
    }
}

static int folder_make(void **state) {
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int folder_remove(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_socket),
        cmocka_unit_test(abstract_socket),
        cmocka_unit_test(children_hear_of_nothing),
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test(watchdog_hears_of_each_round),
        cmocka_unit_test(watchdog_of_another_process),
        cmocka_unit_test(a_line_break_begins_no_other_variable),
        cmocka_unit_test(a_full_queue_gets_it_later),
        cmocka_unit_test(a_manager_that_is_gone_is_no_reason_to_try_for_ever),
        cmocka_unit_test(what_cannot_be_used_is_told),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
