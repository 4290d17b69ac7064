/* SPDX-License-Identifier: MIT */
/* See store_files.h. */
#include "store_files.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

bool store_file_note(struct store_file *file, const char *path) {
    struct stat now;
    if (stat(path, &now) != 0) {
        return false;
    }
    *file = (struct store_file){path, now.st_dev, now.st_ino};
    return true;
}

bool store_file_moved(const struct store_file *file) {
    struct stat now;
    return stat(file->path, &now) != 0 || now.st_dev != file->device || now.st_ino != file->inode;
}

uint64_t store_path_free(const char *path) {
    struct statvfs disk;
    return statvfs(path, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : UINT64_MAX;
}
