/* SPDX-License-Identifier: MIT */
/* Serving the pages; see assets.h. */
#include "assets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *type_of(const char *path) {
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".csv", "text/csv; charset=utf-8"},
        {".json", "application/json"},
        {".png", "image/png"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(dot, types[i].ending) == 0) {
            return types[i].type;
        }
    }
    return NULL;
}

static void asset_reply(struct http_request *request, const char *path, const void *data,
                        size_t size) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a: tells versions apart, protects nothing */
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    char tag[24];
    char headers[128];
    snprintf(tag, sizeof(tag), "\"%016llx\"", (unsigned long long)hash);
    snprintf(headers, sizeof(headers), "ETag: %s\r\nCache-Control: no-cache\r\n", tag);
    http_reply(request, 200, type_of(path), headers, data, size);
}

/* Development only. Names are plain: no dot at a segment's start, so nothing climbs out. */
static bool web_root_serve(struct app *app, struct http_request *request, const char *path) {
    enum { WEB_FILE_BYTES_MAX = 16 * 1024 * 1024 };
    char name[SETTINGS_PATH_SIZE + 512];
    if (strstr(path, "/.") != NULL || strchr(path, '%') != NULL || type_of(path) == NULL ||
        strlen(path) > 400) {
        return false;
    }
    snprintf(name, sizeof(name), "%s%s", app->settings.web_root, path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct stat about;
    struct buf data = {0};
    bool ok = fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) &&
              about.st_size <= WEB_FILE_BYTES_MAX && buf_reserve(&data, (size_t)about.st_size + 1);
    ssize_t got = 1;
    while (ok && got > 0 && data.size < (size_t)about.st_size) {
        got = read(fd, data.data + data.size, (size_t)about.st_size - data.size);
        data.size += got > 0 ? (size_t)got : 0;
        ok = got >= 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (ok) {
        asset_reply(request, path, data.data, data.size);
    }
    buf_free(&data);
    return ok;
}

bool assets_serve(struct app *app, struct http_request *request) {
    const char *path = request->path;
    if (strcmp(path, "/") == 0) {
        path = request->slot > 0 ? "/node.html" : "/index.html";
    }
    bool read = strcmp(request->method, "GET") == 0 || request->head;
    if (read && app->settings.web_root[0] != '\0' && web_root_serve(app, request, path)) {
        return true;
    }
    for (size_t i = 0; i < assets_count; i++) {
        if (strcmp(assets[i].path, path) == 0) {
            if (read) {
                asset_reply(request, path, assets[i].data, assets[i].size);
            }
            return true;
        }
    }
    return false;
}
