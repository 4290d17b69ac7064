/* SPDX-License-Identifier: MIT */
/* Percent-decoding, queries, Host and Origin; see url.h. */
#include "url.h"

#include <string.h>
#include <strings.h>

#include "ids.h"

bool url_decode(struct buf *out, const char *text, size_t size, bool plus) {
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(unsigned char)(high * 16 + low);
            i += 2;
        }
        if (!buf_append(out, &c, 1)) {
            return false;
        }
    }
    return true;
}

bool url_parameter(const char *query, const char *name, struct buf *out, bool *malformed) {
    if (malformed != NULL) {
        *malformed = false;
    }
    size_t name_size = strlen(name);
    for (const char *at = query; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, "&");
        if (size >= name_size && strncmp(at, name, name_size) == 0 &&
            (size == name_size || at[name_size] == '=')) {
            size_t skip = size == name_size ? size : name_size + 1;
            buf_clear(out);
            bool ok = url_decode(out, at + skip, size - skip, true) && buf_append(out, "", 1);
            if (ok) {
                out->size--;
            } else if (malformed != NULL) {
                *malformed = true;
            }
            return ok;
        }
        at += size;
        at += *at == '&';
    }
    return false;
}

bool url_parameter_text(const char *query, const char *name, char *out, size_t out_size) {
    struct buf value = {0};
    bool ok = url_parameter(query, name, &value, NULL) && value.size < out_size &&
              memchr(value.data, 0, value.size) == NULL;
    if (ok) {
        memcpy(out, value.data, value.size + 1);
    }
    buf_free(&value);
    return ok;
}

bool url_parameter_number(const char *query, const char *name, uint64_t min, uint64_t max,
                          uint64_t otherwise, uint64_t *value) {
    struct buf text = {0};
    bool malformed = false;
    *value = otherwise;
    bool given = url_parameter(query, name, &text, &malformed);
    bool ok = given ? strlen((const char *)text.data) == text.size &&
                          number_read((const char *)text.data, min, max, value)
                    : !malformed;
    buf_free(&text);
    return ok;
}

/* The length of the name in "name:port" or "[v6]:port"; 0 = not well-formed. */
static size_t host_name_size(const char *host) {
    size_t size = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (size > strlen(host)) {
        return 0;
    }
    if (host[size] == ':') {
        size_t digits = strspn(host + size + 1, "0123456789");
        return digits > 0 && digits <= 5 && host[size + 1 + digits] == '\0' ? size : 0;
    }
    return host[size] == '\0' ? size : 0;
}

bool url_host_allowed(const char *host, const char *const *names, size_t names_count) {
    size_t size = host_name_size(host);
    /* "name." is the same name, fully qualified. */
    if (size > 1 && host[size - 1] == '.') {
        size--;
    }
    for (size_t i = 0; size > 0 && i < names_count; i++) {
        if (strlen(names[i]) == size && strncasecmp(names[i], host, size) == 0) {
            return true;
        }
    }
    return false;
}

bool url_origin_is_host(const char *origin, const char *host) {
    const char *rest = NULL;
    const char *port = NULL;
    if (strncasecmp(origin, "http://", 7) == 0) {
        rest = origin + 7;
        port = ":80";
    } else if (strncasecmp(origin, "https://", 8) == 0) {
        rest = origin + 8;
        port = ":443";
    } else {
        return false;
    }
    if (strcasecmp(rest, host) == 0) {
        return true;
    }
    /* One of the two may spell out the default port. */
    size_t size = strlen(rest);
    return (strncasecmp(rest, host, size) == 0 && strcmp(host + size, port) == 0) ||
           (strncasecmp(rest, host, strlen(host)) == 0 && strcmp(rest + strlen(host), port) == 0);
}
