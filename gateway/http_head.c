/* SPDX-License-Identifier: MIT */
/* The head of a request by RFC 9110 and 9112; see http_head.h. */
#include "http_head.h"

#include <string.h>
#include <strings.h>

static struct http_refusal refuse(int status, const char *reason) {
    return (struct http_refusal){.status = status,
                                 .code = status == 501 || status == 505 ? "UNIMPLEMENTED"
                                         : status == 400                ? "INVALID_ARGUMENT"
                                                                        : "OUT_OF_RANGE",
                                 .reason = reason};
}

static struct http_refusal fine(void) {
    return (struct http_refusal){0};
}

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool http_is_token(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!is_alnum(text[i]) && (text[i] == '\0' || strchr("!#$%&'*+-.^_`|~", text[i]) == NULL)) {
            return false;
        }
    }
    return size > 0;
}

int64_t http_head_find(const char *data, size_t size, size_t *scanned) {
    size_t i = *scanned;
    for (; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\r') {
            if (i + 1 == size) {
                break;
            }
            if (data[i + 1] != '\n') {
                return -1;
            }
            i++;
            if (i >= 3 && data[i - 2] == '\n') {
                return (int64_t)i + 1;
            }
        } else if ((c < ' ' && c != '\t') || c == 127) {
            return -1;
        }
    }
    *scanned = i;
    return 0;
}

struct http_refusal http_head_too_long(const char *data, size_t size) {
    const char *line_end = memchr(data, '\r', size);
    if (line_end == NULL || line_end - data > HTTP_TARGET_BYTES_MAX) {
        return refuse(414, "the address is longer than 8 KiB");
    }
    return refuse(431, "the head of the request is longer than 16 KiB");
}

const char *http_head_field(const struct http_head *head, const char *name, size_t index) {
    for (size_t i = 0; i < head->fields_count; i++) {
        if (strcasecmp(head->fields[i].name, name) == 0 && index-- == 0) {
            return head->fields[i].value;
        }
    }
    return NULL;
}

bool http_list_has(const char *list, const char *word) {
    size_t word_size = strlen(word);
    for (const char *at = list; *at != '\0';) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ",");
        size_t trimmed = size;
        while (trimmed > 0 && (at[trimmed - 1] == ' ' || at[trimmed - 1] == '\t')) {
            trimmed--;
        }
        if (trimmed == word_size && strncasecmp(at, word, word_size) == 0) {
            return true;
        }
        at += size;
    }
    return false;
}

/* ---- the request line ---- */

/* uri-host [":" port]; an empty name is none. */
static bool host_valid(const char *text, size_t size) {
    size_t name = 0;
    if (size > 0 && text[0] == '[') {
        name = 1;
        while (name < size && (is_alnum(text[name]) || text[name] == ':' || text[name] == '.')) {
            name++;
        }
        if (name >= size || text[name++] != ']') {
            return false;
        }
    } else {
        while (name < size && (is_alnum(text[name]) ||
                               (text[name] != '\0' && strchr("-._~%!$&'()*+;=", text[name])))) {
            name++;
        }
    }
    if (name == 0 || size > HTTP_HOST_BYTES_MAX) {
        return false;
    }
    size_t at = name;
    unsigned port = 0;
    if (at < size && text[at] == ':') {
        at++;
        while (at < size && text[at] >= '0' && text[at] <= '9' && port <= 65535) {
            port = port * 10 + (unsigned)(text[at++] - '0');
        }
    }
    return at == size && port <= 65535;
}

static bool host_take(struct http_head *head, const char *text, size_t size) {
    if (!host_valid(text, size)) {
        return false;
    }
    size -= text[size - 1] == ':'; /* an empty port is none */
    memcpy(head->host, text, size);
    head->host[size] = '\0';
    return true;
}

/* "http://host:port/path?query": names the host itself, whatever Host says. */
static struct http_refusal absolute_split(struct http_head *head, char *target) {
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    if (scheme == 0) {
        return refuse(400, "the address must be a path that begins with /");
    }
    char *host = target + scheme;
    size_t size = strcspn(host, "/?");
    if (!host_take(head, host, size)) {
        return refuse(400, "the address has no well-formed host");
    }
    char *rest = host + size;
    head->path = *rest == '/' ? rest : strcmp(head->method, "OPTIONS") == 0 && !*rest ? "*" : "/";
    if (*rest == '?') {
        head->query = rest + 1;
    }
    return fine();
}

static struct http_refusal target_split(struct http_head *head, char *target) {
    struct http_refusal refusal = fine();
    if (strlen(target) > HTTP_TARGET_BYTES_MAX) {
        return refuse(414, "the address is longer than 8 KiB");
    }
    if (strcmp(head->method, "CONNECT") == 0) {
        return refuse(501, "CONNECT is for proxies, and this is not one");
    }
    if (strchr(target, '#') != NULL) {
        return refuse(400, "the address has a #, which must be written %23");
    }
    if (strcmp(target, "*") == 0 && strcmp(head->method, "OPTIONS") == 0) {
        head->path = target;
    } else if (target[0] == '/') {
        head->path = target;
    } else {
        refusal = absolute_split(head, target);
    }
    char *mark = strchr(target, '?');
    if (refusal.status == 0 && mark != NULL) {
        *mark = '\0';
        head->query = mark + 1;
    }
    return refusal;
}

static struct http_refusal version_read(struct http_head *head, const char *text) {
    if (strncmp(text, "HTTP/", 5) != 0 || strlen(text) != 8 || text[6] != '.' || text[5] < '0' ||
        text[5] > '9' || text[7] < '0' || text[7] > '9') {
        return refuse(400, "the first line must be METHOD ADDRESS HTTP/1.1");
    }
    if (text[5] != '1') {
        return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    head->http_1_0 = text[7] == '0';
    return fine();
}

static struct http_refusal request_line_parse(struct http_head *head, char *line) {
    static const char form[] = "the first line must be METHOD ADDRESS HTTP/1.1";
    char *target = strchr(line, ' ');
    if (target == NULL || !http_is_token(line, (size_t)(target - line))) {
        return refuse(400, form);
    }
    *target++ = '\0';
    char *version = strchr(target, ' ');
    if (version == NULL || version == target) {
        return refuse(400, form);
    }
    *version++ = '\0';
    for (const char *c = target; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return refuse(400, "the address has bytes that must be percent-encoded");
        }
    }
    head->method = line;
    struct http_refusal refusal = version_read(head, version);
    return refusal.status != 0 ? refusal : target_split(head, target);
}

/* ---- fields ---- */

static struct http_refusal field_parse(struct http_head *head, char *line) {
    if (line[0] == ' ' || line[0] == '\t') {
        return refuse(400, "a header line is folded, which HTTP no longer has");
    }
    char *colon = strchr(line, ':');
    if (colon == NULL || !http_is_token(line, (size_t)(colon - line))) {
        return refuse(400, "a header line is not NAME: VALUE");
    }
    if (head->fields_count >= HTTP_FIELDS_MAX) {
        return refuse(431, "the request has more than 100 header lines");
    }
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t size = strlen(value);
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t')) {
        value[--size] = '\0';
    }
    head->fields[head->fields_count++] = (struct http_field){line, value};
    return fine();
}

/* Where two of them could be read in two ways. */
static struct http_refusal singles_check(const struct http_head *head) {
    static const char *const singles[] = {"Host",           "Content-Length", "Content-Type",
                                          "Authorization",  "Origin",         "Sec-Fetch-Site",
                                          "Sec-Fetch-Mode", "Content-Range"};
    for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
        if (http_head_field(head, singles[i], 1) != NULL) {
            return refuse(400, "a header that may occur once occurs twice");
        }
    }
    return fine();
}

static struct http_refusal host_read(struct http_head *head) {
    const char *host = http_head_field(head, "Host", 0);
    bool from_target = head->host[0] != '\0';
    if (host == NULL) {
        return head->http_1_0 ? fine() : refuse(400, "HTTP/1.1 needs a Host header");
    }
    char target_host[sizeof(head->host)];
    memcpy(target_host, head->host, sizeof(target_host));
    if (!host_take(head, host, strlen(host))) {
        return refuse(400, "the Host header is not NAME or NAME:PORT");
    }
    if (from_target) {
        memcpy(head->host, target_host, sizeof(target_host));
    }
    return fine();
}

/* ---- the body's length ---- */

static struct http_refusal length_read(struct http_head *head, const char *text) {
    size_t size = strlen(text);
    if (size == 0 || strspn(text, "0123456789") != size) {
        return refuse(400, "Content-Length is not one number");
    }
    text += strspn(text, "0");
    if (strlen(text) > 18) {
        return refuse(413, "Content-Length is larger than anything that is taken here");
    }
    for (; *text != '\0'; text++) {
        head->body_bytes = head->body_bytes * 10 + (*text - '0');
    }
    return fine();
}

static struct http_refusal encoding_read(struct http_head *head, const char *encoding) {
    if (head->http_1_0) {
        return refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    }
    if (http_head_field(head, "Content-Length", 0) != NULL) {
        return refuse(400, "a body has a Content-Length or a Transfer-Encoding, not both");
    }
    if (http_head_field(head, "Transfer-Encoding", 1) == NULL &&
        strcasecmp(encoding, "chunked") == 0) {
        head->body_bytes = HTTP_BODY_CHUNKED;
        return fine();
    }
    const char *comma = strrchr(encoding, ',');
    if (comma != NULL && http_list_has(comma, "chunked") &&
        strncasecmp(encoding, "chunked", 7) != 0) {
        return refuse(501, "no Transfer-Encoding but chunked is read here");
    }
    return refuse(400, "the only Transfer-Encoding that is read here is chunked, given once");
}

static struct http_refusal body_read(struct http_head *head) {
    const char *length = http_head_field(head, "Content-Length", 0);
    const char *encoding = http_head_field(head, "Transfer-Encoding", 0);
    return encoding != NULL ? encoding_read(head, encoding)
           : length != NULL ? length_read(head, length)
                            : fine();
}

static void connection_read(struct http_head *head) {
    bool close = false;
    bool keep = !head->http_1_0;
    const char *value;
    for (size_t i = 0; (value = http_head_field(head, "Connection", i)) != NULL; i++) {
        close = close || http_list_has(value, "close");
        keep = keep || http_list_has(value, "keep-alive");
    }
    head->keep_alive = keep && !close;
}

struct http_refusal http_head_parse(struct http_head *head, char *data, size_t size) {
    *head = HTTP_HEAD_NONE;
    struct http_refusal refusal = fine();
    char *line = data;
    while (refusal.status == 0 && line < data + size) {
        char *end = memchr(line, '\r', (size_t)(data + size - line));
        if (end == NULL || end == line) {
            break;
        }
        *end = '\0';
        refusal = line == data ? request_line_parse(head, line) : field_parse(head, line);
        line = end + 2;
    }
    struct http_refusal (*const checks[])(struct http_head *) = {host_read, body_read};
    if (refusal.status == 0) {
        refusal = singles_check(head);
    }
    for (size_t i = 0; refusal.status == 0 && i < sizeof(checks) / sizeof(checks[0]); i++) {
        refusal = checks[i](head);
    }
    connection_read(head);
    return refusal;
}
