/* SPDX-License-Identifier: MIT */
/* chordctl get, put, del: one key. A change is repeated only when it was certainly not made. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "key.h"

enum { READ_BYTES = 64 * 1024 };

void key_read(const struct arguments *arguments, struct key *key) {
    const char *word = arguments->words[0];
    *key = (struct key){.base64 = arguments_option(arguments, "base64") != NULL};
    if (!key->base64) {
        bytes_append(&key->bytes, word, strlen(word));
    } else if (!base64_decode(word, &key->bytes)) {
        ctl_fail(CTL_USAGE, "the key '%s' is no base64", word);
    }
    if (key->bytes.size < 1 || key->bytes.size > CHORD_KEY_BYTES_MAX) {
        ctl_fail(CTL_USAGE, "the key has %zu bytes; give 1 to %d", key->bytes.size,
                 CHORD_KEY_BYTES_MAX);
    }
}

/* ---- one operation ---- */

/* Why it is not done, or not known to be. */
_Noreturn static void result_refused(struct ctl *ctl, const struct chord_result *result) {
    char text[400];
    if (result->missing_count > 0) {
        int used = snprintf(text, sizeof text,
                            "too few copies of the key answer; start those that are missing (if "
                            "their disks are lost for good: chordctl recover). Missing:");
        for (size_t i = 0; i < result->missing_count && used > 0 && (size_t)used < sizeof text;
             i++) {
            used += snprintf(text + used, sizeof text - (size_t)used, " %s", result->missing[i]);
        }
        call_refused((Chord__V1__Code)result->code, result->address, text);
    }
    bool not_done = result->fate == CHORD_NOT_DONE;
    struct chord_answer answer = {.nobody = result->nobody && not_done,
                                  .answered = result->answered || !not_done,
                                  .code = result->code};
    memcpy(answer.address, result->address, sizeof answer.address);
    memcpy(answer.message, result->message, sizeof answer.message);
    call_ended(ctl, &answer);
}

/* Done, or there is no such key; free the result. */
static void operation_run(struct ctl *ctl, struct chord_operation *operation, const struct key *key,
                          struct chord_result *result) {
    operation->key = key->bytes.data;
    operation->key_size = key->bytes.size;
    chord_run(ctl->ring, operation, 1, result);
    if (result->fate != CHORD_DONE) {
        result_refused(ctl, result);
    }
}

/* The exit code of a get or a del. */
static int found_exit(const struct arguments *arguments, const struct chord_result *result) {
    if (result->code != CHORD_CODE_OK) {
        ctl_error("the key '%s' is not in the ring", arguments->words[0]);
        return CTL_NOT_FOUND;
    }
    return CTL_OK;
}

static json_t *answer_json(const struct key *key, const struct chord_result *result) {
    json_t *json = json_object();
    json_put_bytes(json, "key", key->bytes.data, key->bytes.size);
    json_put(json, "found", json_boolean(result->code == CHORD_CODE_OK));
    if (result->version.epoch > 0 || result->version.counter > 0) {
        char version[48];
        snprintf(version, sizeof version, "%llu.%llu", (unsigned long long)result->version.epoch,
                 (unsigned long long)result->version.counter);
        json_put(json, "version", json_string(version));
    }
    return json;
}

static void answer_print(const char *what, const struct key *key) {
    char *text = text_escape(key->bytes.data, key->bytes.size);
    printf("%s %s\n", what, text);
    free(text);
}

/* --if-match VERSION, --if-absent. */
static void condition_read(const struct arguments *arguments, struct chord_operation *operation) {
    const char *match = arguments_option(arguments, "if-match");
    unsigned long long epoch = 0, counter = 0;
    int used = 0;
    operation->if_absent = arguments_option(arguments, "if-absent") != NULL;
    operation->if_match = match != NULL;
    if (operation->if_match && operation->if_absent) {
        ctl_fail(CTL_USAGE, "--if-match and --if-absent cannot go together");
    }
    if (match != NULL &&
        (sscanf(match, "%llu.%llu%n", &epoch, &counter, &used) != 2 || match[used] != '\0')) {
        ctl_fail(CTL_USAGE, "--if-match takes the version that a get shows, such as 3.17");
    }
    operation->version = (struct chord_version){epoch, counter};
}

/* ---- get ---- */

/* To a terminal only what cannot move its cursor; to anything else the very bytes. */
static void value_print(const struct chord_result *result, bool base64, bool raw) {
    if (base64) {
        json_t *text = json_base64(result->value, result->value_size);
        puts(json_string_value(text));
        json_decref(text);
    } else if (!raw && isatty(STDOUT_FILENO)) {
        char *text = text_escape(result->value, result->value_size);
        puts(text);
        free(text);
    } else if (result->value_size > 0) {
        fwrite(result->value, 1, result->value_size, stdout);
    }
}

static int get_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key;
    struct chord_result result;
    struct chord_operation get = {.kind = CHORD_GET,
                                  .stale = arguments_option(arguments, "stale") != NULL};
    key_read(arguments, &key);
    operation_run(ctl, &get, &key, &result);
    bool found = result.code == CHORD_CODE_OK;
    if (ctl->json) {
        json_t *json = answer_json(&key, &result);
        json_put(json, "stale", json_boolean(result.stale));
        if (found) {
            json_put_bytes(json, "value", result.value, result.value_size);
        }
        json_print(json);
    } else if (found) {
        value_print(&result, key.base64, arguments_option(arguments, "raw") != NULL);
    }
    chord_result_free(&result);
    buf_free(&key.bytes);
    return found_exit(arguments, &result);
}

/* ---- put ---- */

static void value_read(const struct arguments *arguments, bool base64, struct buf *value) {
    static uint8_t data[READ_BYTES];
    const char *word = arguments->words_count > 1 ? arguments->words[1] : "-";
    if (strcmp(word, "-") == 0) {
        size_t got;
        while ((got = fread(data, 1, sizeof data, stdin)) > 0 &&
               value->size <= CHORD_VALUE_BYTES_MAX) {
            bytes_append(value, data, got);
        }
        if (ferror(stdin)) {
            ctl_fail(CTL_USAGE, "the value cannot be read from stdin: %s", strerror(errno));
        }
    } else if (!base64) {
        bytes_append(value, word, strlen(word));
    } else if (!base64_decode(word, value)) {
        ctl_fail(CTL_USAGE, "the value is no base64");
    }
    if (value->size > CHORD_VALUE_BYTES_MAX) {
        ctl_fail(CTL_USAGE, "the value has more than %d bytes, the largest there may be",
                 CHORD_VALUE_BYTES_MAX);
    }
}

static int put_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key;
    struct buf value = {0};
    struct chord_result result;
    struct chord_operation put = {.kind = CHORD_PUT};
    key_read(arguments, &key);
    value_read(arguments, key.base64, &value);
    condition_read(arguments, &put);
    put.value = value.data;
    put.value_size = value.size;
    operation_run(ctl, &put, &key, &result);
    if (ctl->json) {
        json_t *json = answer_json(&key, &result);
        json_put(json, "existed", json_boolean(result.existed));
        json_print(json);
    } else {
        answer_print(result.existed ? "replaced" : "stored", &key);
    }
    chord_result_free(&result);
    buf_free(&value);
    buf_free(&key.bytes);
    return CTL_OK;
}

/* ---- del ---- */

static int del_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key;
    struct chord_result result;
    struct chord_operation del = {.kind = CHORD_DELETE};
    key_read(arguments, &key);
    condition_read(arguments, &del);
    operation_run(ctl, &del, &key, &result);
    if (ctl->json) {
        json_print(answer_json(&key, &result));
    } else if (result.code == CHORD_CODE_OK) {
        answer_print("deleted", &key);
    }
    chord_result_free(&result);
    buf_free(&key.bytes);
    return found_exit(arguments, &result);
}

static const struct flag get_options[] = {
    {0, "stale", NULL, "any member's copy at once, even if it is old"},
    {0, "raw", NULL, "the very bytes also to a terminal"},
    {0, "base64", NULL, "KEY is base64, and so is the value printed"},
    {0, NULL, NULL, NULL},
};
const struct command get_command = {
    .name = "get",
    .words = "KEY",
    .words_min = 1,
    .words_max = 1,
    .summary = "the value of a key, byte for byte",
    .help = "Nothing is added to the value. On a terminal, control characters are escaped.\n"
            "-o json: value, or value_base64 when it is no UTF-8.\n",
    .options = get_options,
    .run = get_run,
};

static const struct flag put_options[] = {
    {0, "base64", NULL, "KEY and VALUE are base64 (stdin is always taken as it is)"},
    {0, "if-match", "VERSION", "only if the key has this version (get -o json shows it)"},
    {0, "if-absent", NULL, "only if the key has no value"},
    {0, NULL, NULL, NULL},
};
const struct command put_command = {
    .name = "put",
    .words = "KEY [VALUE|-]",
    .words_min = 1,
    .words_max = 2,
    .summary = "set the value of a key",
    .help = "Without VALUE, or with '-', the value is read from stdin: 0 bytes to 1 MiB.\n",
    .options = put_options,
    .run = put_run,
};

static const struct flag del_options[] = {
    {0, "base64", NULL, "KEY is base64"},
    {0, "if-match", "VERSION", "only if the key has this version (get -o json shows it)"},
    {0, NULL, NULL, NULL},
};
const struct command del_command = {
    .name = "del",
    .words = "KEY",
    .words_min = 1,
    .words_max = 1,
    .summary = "delete a key",
    .options = del_options,
    .run = del_run,
};
