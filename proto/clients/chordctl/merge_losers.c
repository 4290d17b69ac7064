/* SPDX-License-Identifier: MIT */
/*
 * chordctl merge, the values that lose: a file in the lossless form of `chordctl export`, so that
 * `chordctl import` takes it back. Each page is written behind the rows before it, over their last
 * line, and with a new last line: the file is whole whenever no page is being written. A file that
 * is there is never changed: what an earlier run has put aside may be nowhere else any more.
 */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv_export.h"
#include "output.h"

enum { FILES_MAX = 1000 };

struct merge_losers {
    struct merge *merge;
    struct csv_export *writer;
    struct buf page; /* rows that are not in the file yet */
    int fd;          /* -1: no value has lost so far */
    off_t size;      /* of the rows in the file, without the last line */
};

struct merge_losers *merge_losers_new(struct merge *merge) {
    struct merge_losers *losers = memory_new(1, sizeof *losers);
    losers->merge = merge;
    losers->fd = -1;
    return losers;
}

void merge_losers_free(struct merge_losers *losers) {
    if (losers->fd >= 0) {
        close(losers->fd);
    }
    csv_export_free(losers->writer);
    buf_free(&losers->page);
    free(losers);
}

_Noreturn static void failed(const struct merge *merge, int error) {
    ctl_fail(CTL_NOT_FOUND,
             "%s cannot be written: %s; nothing of this page was copied: name another file with "
             "--conflicts and run the same command again",
             merge->conflicts_file, strerror(error));
}

/* FILE, or where that is taken FILE.2, FILE.3 and so on. */
static void file_make(struct merge_losers *losers) {
    struct merge *merge = losers->merge;
    const size_t size = sizeof merge->conflicts_file;
    for (unsigned number = 1; losers->fd < 0; number++) {
        int length =
            number == 1
                ? snprintf(merge->conflicts_file, size, "%s", merge->conflicts_path)
                : snprintf(merge->conflicts_file, size, "%s.%u", merge->conflicts_path, number);
        if (length < 0 || (size_t)length >= size) {
            failed(merge, ENAMETOOLONG);
        }
        losers->fd = open(merge->conflicts_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                          0600); /* only the owner may read values */
        if (losers->fd < 0 && (errno != EEXIST || number == FILES_MAX)) {
            failed(merge, errno);
        }
    }
    if (strcmp(merge->conflicts_file, merge->conflicts_path) != 0) {
        ctl_note("%s is there already and stays as it is; values that lose go to %s",
                 merge->conflicts_path, merge->conflicts_file);
    }
}

void merge_losers_add(struct merge_losers *losers, const ProtobufCBinaryData *key,
                      const ProtobufCBinaryData *value, uint64_t expires_at_ms) {
    bool ok = true;
    if (losers->writer == NULL) {
        losers->writer = csv_export_new(CSV_LOSSLESS);
        ok = losers->writer != NULL && csv_export_head(losers->writer, &losers->page);
    }
    if (!ok || !csv_export_row(losers->writer, &losers->page, key->data, key->len, value->data,
                               value->len, expires_at_ms)) {
        ctl_fail(CTL_REFUSED, "there is no memory, or no SHA-256 in this host's libcrypto");
    }
}

static bool write_at(int fd, const struct buf *buf, off_t at) {
    for (size_t done = 0; done < buf->size;) {
        ssize_t part = pwrite(fd, buf->data + done, buf->size - done, at + (off_t)done);
        if (part < 0 && errno != EINTR) {
            return false;
        }
        done += part > 0 ? (size_t)part : 0;
    }
    return true;
}

void merge_losers_write(struct merge_losers *losers) {
    size_t rows = losers->page.size;
    if (rows == 0) {
        return;
    }
    if (losers->fd < 0) {
        file_make(losers);
    }
    if (!csv_export_end(losers->writer, &losers->page)) {
        failed(losers->merge, ENOMEM);
    }
    if (!write_at(losers->fd, &losers->page, losers->size) || fsync(losers->fd) != 0) {
        failed(losers->merge, errno);
    }
    losers->size += (off_t)rows;
    buf_clear(&losers->page);
}
