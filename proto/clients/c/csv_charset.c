/* SPDX-License-Identifier: MIT */
/* Charsets over iconv; see csv_charset.h. */
#include "csv_charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv_reader.h"

enum { LOOK_BYTES = 4096, MARK_BYTES = 4, CONVERT_BYTES = 16 * 1024 };

enum charset_state {
    CHARSET_MARK,    /* the first bytes */
    CHARSET_ASCII,   /* the same in all that is left to choose from */
    CHARSET_LOOK,    /* bytes beyond ASCII are held until they tell */
    CHARSET_UTF8,    /* handed on */
    CHARSET_CONVERT, /* by iconv */
};

struct csv_charset {
    enum charset_state state;
    bool automatic;
    const char *name;
    size_t unit; /* bytes to leave out where iconv finds none of its own */
    iconv_t converter;
    struct buf held;
};

static const char *const names[] = {"auto",     "utf-8",        "utf-16",     "utf-16le",
                                    "utf-16be", "windows-1252", "iso-8859-1", "iso-8859-15"};

const char *csv_charset_known(const char *name) {
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static bool charset_choose(struct csv_charset *charset, const char *name) {
    bool utf16 = strncmp(name, "utf-16", 6) == 0;
    charset->name = name;
    charset->unit = utf16 ? 2 : 1;
    if (strcmp(name, "utf-8") == 0) {
        charset->state = CHARSET_UTF8;
        return true;
    }
    charset->state = CHARSET_CONVERT;
    charset->converter = iconv_open("UTF-8", name);
    return charset->converter != (iconv_t)-1;
}

struct csv_charset *csv_charset_new(const char *name) {
    struct csv_charset *charset = calloc(1, sizeof(*charset));
    const char *known = csv_charset_known(name);
    if (charset == NULL || known == NULL) {
        free(charset);
        errno = known == NULL ? EINVAL : ENOMEM;
        return NULL;
    }
    charset->converter = (iconv_t)-1;
    charset->automatic = strcmp(known, "auto") == 0;
    charset->name = charset->automatic ? "utf-8" : known;
    charset->state = CHARSET_MARK; /* byte order marks are removed in any case */
    iconv_t probe = iconv_open("UTF-8", charset->name);
    if (probe == (iconv_t)-1) {
        free(charset);
        return NULL;
    }
    iconv_close(probe);
    return charset;
}

void csv_charset_free(struct csv_charset *charset) {
    if (charset != NULL) {
        if (charset->converter != (iconv_t)-1) {
            iconv_close(charset->converter);
        }
        buf_free(&charset->held);
        free(charset);
    }
}

const char *csv_charset_name(const struct csv_charset *charset) {
    return charset->name;
}

/* ---- recognising ---- */

static bool is_control(uint8_t c) {
    return c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f';
}

/* Bytes beyond ASCII, none of them UTF-8, all of them text in Windows-1252. */
static bool looks_like_1252(const uint8_t *data, size_t size, bool last) {
    static const char undefined[] = "\x81\x8d\x8f\x90\x9d";
    for (size_t at = 0; at < size; at++) {
        if (data[at] < 0x80) {
            if (is_control(data[at])) {
                return false;
            }
            continue;
        }
        bool torn = !last && size - at < 4; /* more may make it UTF-8 */
        if (memchr(undefined, data[at], sizeof(undefined) - 1) != NULL ||
            (!torn && csv_utf8_sequence(data + at, size - at) > 0)) {
            return false;
        }
    }
    return true;
}

static size_t ascii_run(const uint8_t *data, size_t size) {
    size_t run = 0;
    while (run < size && data[run] < 0x80) {
        run++;
    }
    return run;
}

static const char *utf16_of(const uint8_t *data, size_t size, size_t *mark) {
    *mark =
        size >= 2 && ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff))
            ? 2
            : 0;
    if (*mark > 0) {
        return data[0] == 0xff ? "utf-16le" : "utf-16be";
    }
    if (size >= 4 && data[0] != 0 && data[1] == 0 && data[2] != 0 && data[3] == 0) {
        return "utf-16le";
    }
    if (size >= 4 && data[0] == 0 && data[1] != 0 && data[2] == 0 && data[3] != 0) {
        return "utf-16be";
    }
    return NULL;
}

/* The file's first bytes. */
static bool mark_take(struct csv_charset *charset) {
    const uint8_t *data = charset->held.data;
    size_t size = charset->held.size;
    size_t mark = 0;
    const char *name = charset->name;
    const char *utf16 = utf16_of(data, size, &mark);
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 &&
        (charset->automatic || strcmp(name, "utf-8") == 0)) {
        mark = 3;
        charset->automatic = false; /* the mark says it */
    } else if (utf16 != NULL && charset->automatic) {
        name = utf16;
        charset->automatic = false;
    } else if (strcmp(name, "utf-16") == 0) {
        name = utf16 != NULL ? utf16 : "utf-16le";
    } else if (mark > 0 && strcmp(name, utf16) != 0) {
        mark = 0; /* a mark of another charset than the one that was named */
    }
    buf_drop(&charset->held, mark);
    if (charset->automatic) {
        charset->state = CHARSET_ASCII;
        return true;
    }
    return charset_choose(charset, name);
}

/* ---- converting ---- */

/* Takes what iconv takes; an incomplete end stays. */
static bool held_convert(struct csv_charset *charset, bool last, struct buf *out) {
    char *in = (char *)charset->held.data;
    size_t left = charset->held.size;
    while (left > 0) {
        if (!buf_reserve(out, CONVERT_BYTES)) {
            return false;
        }
        char *to = (char *)out->data + out->size;
        size_t room = CONVERT_BYTES;
        size_t result = iconv(charset->converter, &in, &left, &to, &room);
        out->size += CONVERT_BYTES - room;
        bool incomplete = result == (size_t)-1 && errno == EINVAL;
        if (incomplete && !last) {
            break;
        }
        if (incomplete || (result == (size_t)-1 && errno == EILSEQ)) {
            size_t bad = left < charset->unit ? left : charset->unit;
            in += bad;
            left -= bad;
            if (!buf_append(out, "\xff", 1)) {
                return false;
            }
        }
    }
    buf_drop(&charset->held, charset->held.size - left);
    return true;
}

static bool held_hand_on(struct csv_charset *charset, size_t size, struct buf *out) {
    bool ok = buf_append(out, charset->held.data, size);
    buf_drop(&charset->held, size);
    return ok;
}

bool csv_charset_feed(struct csv_charset *charset, const void *data, size_t size, bool last,
                      struct buf *out) {
    if (charset->state == CHARSET_UTF8 && charset->held.size == 0) {
        return buf_append(out, data, size);
    }
    if (!buf_append(&charset->held, data, size)) {
        return false;
    }
    if (charset->state == CHARSET_MARK) {
        if (charset->held.size < MARK_BYTES && !last) {
            return true;
        }
        if (!mark_take(charset)) {
            return false;
        }
    }
    if (charset->state == CHARSET_ASCII) {
        size_t run = ascii_run(charset->held.data, charset->held.size);
        if (!held_hand_on(charset, run, out)) {
            return false;
        }
        charset->state = charset->held.size > 0 ? CHARSET_LOOK : CHARSET_ASCII;
    }
    if (charset->state == CHARSET_LOOK && (last || charset->held.size >= LOOK_BYTES)) {
        size_t look = charset->held.size < LOOK_BYTES ? charset->held.size : LOOK_BYTES;
        bool latin = looks_like_1252(charset->held.data, look, look < LOOK_BYTES);
        if (!charset_choose(charset, latin ? "windows-1252" : "utf-8")) {
            return false;
        }
    }
    if (charset->state == CHARSET_CONVERT) {
        return held_convert(charset, last, out);
    }
    return charset->state != CHARSET_UTF8 || held_hand_on(charset, charset->held.size, out);
}
