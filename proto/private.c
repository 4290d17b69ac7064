/* SPDX-License-Identifier: MIT */
/* The owner's files; see private.h. The launcher asks the same (deploy/launcher/settings.py). */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 1024, OTHERS = S_IRWXG | S_IRWXO };

void private_umask(void) {
    umask(OTHERS);
}

bool private_folder(const char *path, char *error, size_t error_size) {
    struct stat about;
    if ((mkdir(path, S_IRWXU) != 0 && errno != EEXIST) || stat(path, &about) != 0) {
        snprintf(error, error_size, "cannot make the folder %s: %s; choose another", path,
                 strerror(errno));
        return false;
    }
    if (!S_ISDIR(about.st_mode)) {
        snprintf(error, error_size, "%s is not a folder; choose another", path);
        return false;
    }
    if (about.st_uid != geteuid()) {
        snprintf(error, error_size,
                 "the folder %s belongs to user %u, this is user %u: start as "
                 "that user, or choose another folder",
                 path, (unsigned)about.st_uid, (unsigned)geteuid());
        return false;
    }
    if ((about.st_mode & OTHERS) != 0) {
        snprintf(
            error, error_size,
            "the folder %s is open to other users (mode %03o), who could "
            "read every row: choose another, or, if only Chord's data is in it, chmod -R go= %s",
            path, (unsigned)about.st_mode & 0777u, path);
        return false;
    }
    if (access(path, W_OK | X_OK) != 0) {
        snprintf(error, error_size, "cannot write in %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static bool file_kept(const char *path, char *error, size_t error_size) {
    struct stat about;
    if (lstat(path, &about) != 0) {
        if (errno != ENOENT) {
            snprintf(error, error_size, "cannot look at %s: %s", path, strerror(errno));
        }
        return errno == ENOENT;
    }
    if (!S_ISREG(about.st_mode)) {
        snprintf(error, error_size, "%s is %s: remove it", path,
                 S_ISLNK(about.st_mode) ? "a symbolic link, which is not followed" : "no file");
        return false;
    }
    if (about.st_uid != geteuid()) {
        snprintf(error, error_size, "%s belongs to user %u, this is user %u", path,
                 (unsigned)about.st_uid, (unsigned)geteuid());
        return false;
    }
    if ((about.st_mode & OTHERS) != 0 && chmod(path, S_IRUSR | S_IWUSR) != 0) {
        snprintf(error, error_size, "cannot keep %s from others: %s", path, strerror(errno));
        return false;
    }
    return true;
}

bool private_database(const char *path, char *error, size_t error_size) {
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        if (!file_kept(name, error, error_size)) {
            return false;
        }
    }
    return true;
}

FILE *private_append(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "a");
    if (fd >= 0 && file == NULL) {
        close(fd);
    }
    return file;
}

/* PostgreSQL's rule for its keys: the owner's alone, or root's and then readable for a group. */
static bool secret_kept(const struct stat *about) {
    bool own = about->st_uid == geteuid() && (about->st_mode & OTHERS) == 0;
    bool roots = about->st_uid == 0 && (about->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
    return own || (roots && geteuid() != 0);
}

static int secret_bytes(int fd, char *out, size_t bytes_max, size_t *bytes) {
    struct stat about;
    ssize_t got = -1;
    if (fstat(fd, &about) != 0) {
        return -errno;
    }
    if (S_ISDIR(about.st_mode)) {
        return -EISDIR;
    }
    if (!secret_kept(&about)) {
        return -EPERM;
    }
    *bytes = 0;
    while (*bytes < bytes_max && (got = read(fd, out + *bytes, bytes_max - *bytes)) > 0) {
        *bytes += (size_t)got;
    }
    if (got < 0) {
        return -errno;
    }
    static const char *const marks[] = {"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (*bytes >= strlen(marks[i]) && memcmp(out, marks[i], strlen(marks[i])) == 0) {
            return -EILSEQ;
        }
    }
    return 0;
}

int private_read(const char *path, char *out, size_t bytes_max, size_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = secret_bytes(fd, out, bytes_max, bytes);
    close(fd);
    return rc;
}

bool private_secret_is_weak(const char *line, size_t count) {
    enum { DIFFERENT_MIN = 8 };
    bool seen[256] = {false};
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        different += !seen[(uint8_t)line[i]];
        seen[(uint8_t)line[i]] = true;
    }
    for (size_t period = 1; period <= count / 2; period++) {
        if (memcmp(line, line + period, count - period) == 0) {
            return true;
        }
    }
    return different < DIFFERENT_MIN;
}

int private_secret(const char *path, void *out, size_t bytes_min, size_t bytes_max, size_t *bytes) {
    char line[SECRET_BYTES_MAX];
    size_t count = 0;
    int rc = private_read(path, line, sizeof line, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (line[i] == '\r' || line[i] == '\n') {
            count = i;
        }
    }
    if (rc == 0 && (count < bytes_min || count > bytes_max)) {
        rc = -EINVAL;
    }
    if (rc == 0 && private_secret_is_weak(line, count)) {
        rc = -EKEYREJECTED;
    }
    if (rc == 0) {
        memcpy(out, line, count);
        *bytes = count;
    }
    OPENSSL_cleanse(line, sizeof line);
    return rc;
}

const char *private_secret_error(int rc) {
    switch (rc) {
    case -EKEYREJECTED:
        return "its first line can be guessed (few different characters, or a text repeated): make "
               "one by head -c 32 /dev/urandom | base64";
    case -EINVAL:
        return "its first line is too short or too long: a ring key has 16 to 64 bytes";
    case -EILSEQ:
        return "it begins with a byte order mark (BOM), which would count as a part of the secret: "
               "save it as plain text without";
    case -EPERM:
        return "other users may read or change it: chown it to this user and chmod 600 it";
    default:
        return strerror(-rc);
    }
}
