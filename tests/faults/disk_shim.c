/* SPDX-License-Identifier: MIT */
/*
 * A disk between a node and its files, by LD_PRELOAD: syncs that are kept, that are lied about,
 * that fail, that take 50 ms; or a file system that has become read-only, as after an error of its
 * own. CHORD_DISK_CONTROL names a file whose first letter says which: h(onest), l(ie), f(ail),
 * s(low), r(ead-only).
 *
 * A power cut is played afterwards: the process is killed, and each file becomes what it was at its
 * last honest sync, a copy of which lies beside it as NAME.synced. Knows nothing of SQLite.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KEPT_END ".synced"
enum { CHUNK = 65536, SLOW_NS = 50000000 };

int fsync(int file);
int fdatasync(int file);

static char mode(void) {
    const char *path = getenv("CHORD_DISK_CONTROL");
    char letter = 'h';
    int control = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (control >= 0) {
        if (read(control, &letter, 1) != 1) {
            letter = 'h';
        }
        close(control);
    }
    return letter;
}

/* What cannot be copied would be a lie of this shim's own. */
static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        abort();
    }
}

static void keep(int file) {
    char link[64], path[PATH_MAX], fresh[PATH_MAX + 16], kept[PATH_MAX + 16];
    static __thread char chunk[CHUNK];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    must(length > 0, "disk_shim: readlink");
    path[length] = '\0';
    snprintf(fresh, sizeof fresh, "%s.syncing", path);
    snprintf(kept, sizeof kept, "%s" KEPT_END, path);
    int copy = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(copy >= 0, "disk_shim: open");
    ssize_t got;
    for (off_t at = 0; (got = pread(file, chunk, sizeof chunk, at)) > 0; at += got) {
        must(write(copy, chunk, (size_t)got) == got, "disk_shim: write");
    }
    must(got == 0 && close(copy) == 0 && rename(fresh, kept) == 0, "disk_shim: rename");
}

/* A file that is gone when its folder is synced does not come back. */
static void forget_gone(int folder) {
    DIR *list = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    must(list != NULL, "disk_shim: opendir");
    for (struct dirent *one; (one = readdir(list)) != NULL;) {
        size_t length = strlen(one->d_name), end = strlen(KEPT_END);
        if (length > end && strcmp(one->d_name + length - end, KEPT_END) == 0) {
            char name[sizeof one->d_name];
            snprintf(name, sizeof name, "%.*s", (int)(length - end), one->d_name);
            if (faccessat(folder, name, F_OK, 0) != 0) {
                unlinkat(folder, one->d_name, 0);
            }
        }
    }
    closedir(list);
}

static int sync_file(int file) {
    struct stat status;
    switch (mode()) {
    case 'l':
        return 0;
    case 'f':
        errno = EIO;
        return -1;
    case 's':
        nanosleep(&(struct timespec){.tv_nsec = SLOW_NS}, NULL);
        return 0;
    default:
        must(fstat(file, &status) == 0, "disk_shim: fstat");
        if (S_ISREG(status.st_mode)) {
            keep(file);
        } else if (S_ISDIR(status.st_mode)) {
            forget_gone(file);
        }
        return 0;
    }
}

int fsync(int file) {
    return sync_file(file);
}

int fdatasync(int file) {
    return sync_file(file);
}

/* SQLite's every write. */
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    if (mode() == 'r') {
        errno = EROFS;
        return -1;
    }
    return syscall(SYS_pwrite64, file, bytes, count, at);
}
