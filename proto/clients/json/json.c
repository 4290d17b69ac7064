/* SPDX-License-Identifier: MIT */
/* See json.h. */
#include "json.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "csv_reader.h"

json_t *json_text(const char *text) {
    json_t *json = text == NULL ? json_null() : json_string(text);
    char *copy = json != NULL ? NULL : strdup(text);
    if (copy != NULL) {
        for (char *c = copy; *c != '\0'; c++) {
            *c = (unsigned char)*c < 0x80 ? *c : '?';
        }
        json = json_string(copy);
        free(copy);
    }
    return json;
}

json_t *json_text_or_null(const void *data, size_t size) {
    return size == 0 || csv_text_is_valid(data, size) ? json_stringn(size == 0 ? "" : data, size)
                                                      : json_null();
}

json_t *json_base64(const void *data, size_t size) {
    char *text = calloc((size + 2) / 3 * 4 + 1, 1);
    if (text != NULL && size > 0) {
        EVP_EncodeBlock((unsigned char *)text, data, (int)size);
    }
    json_t *json = json_string(text != NULL ? text : "");
    free(text);
    return json;
}

json_t *json_u64(uint64_t value) {
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

void json_put(json_t *object, const char *name, json_t *value) {
    if (object == NULL) {
        json_decref(value);
    } else {
        (void)json_object_set_new(object, name, value);
    }
}

const char *json_get_text(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}
