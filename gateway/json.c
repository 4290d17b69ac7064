/* Helpers over jansson; see json.h. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "csv_reader.h"

json_t *json_text(const void *data, size_t size) {
    if (size > 0 && csv_text_is_valid(data, size)) {
        return json_stringn(data, size);
    }
    if (size == 0) {
        return json_string("");
    }
    char *copy = malloc(size);
    if (copy == NULL) {
        return json_string("");
    }
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        copy[i] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '?';
    }
    json_t *text = json_stringn(copy, size);
    free(copy);
    return text;
}

json_t *json_text_z(const char *text) {
    return text == NULL ? json_string("") : json_text(text, strlen(text));
}

json_t *json_text_or_null(const void *data, size_t size) {
    if (size == 0) {
        return json_string("");
    }
    return csv_text_is_valid(data, size) ? json_stringn(data, size) : json_null();
}

json_t *json_base64(const void *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = data;
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (text == NULL) {
        return json_string("");
    }
    size_t out = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned group = (unsigned)bytes[i] << 16;
        group |= left > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? (unsigned)bytes[i + 2] : 0;
        text[out++] = digits[group >> 18];
        text[out++] = digits[(group >> 12) & 63];
        text[out++] = left > 1 ? digits[(group >> 6) & 63] : '=';
        text[out++] = left > 2 ? digits[group & 63] : '=';
    }
    json_t *json = json_stringn(text, out);
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
