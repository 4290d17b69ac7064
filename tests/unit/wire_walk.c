/* SPDX-License-Identifier: MIT */
/* See wire_walk.h. */
#include "wire_walk.h"

#include <string.h>

static bool is_bool(struct wire_member member) {
    return member.bytes == 1;
}

static const void *at(const void *core, struct wire_member member) {
    return (const uint8_t *)core + member.at;
}

/* Whether it is in this struct: what is not there has no bounds and nothing to compare. */
static bool is_there(const struct wire_field *row, const void *core) {
    return (row->shown.bytes == 0 || wire_number(core, row->shown) != 0) &&
           (row->unless.bytes == 0 || wire_number(core, row->unless) == 0);
}

static bool ends_here(const struct wire_field *row, const void *core) {
    return row->flags & WIRE_ENDS && wire_number(core, row->core) != 0;
}

/* ---- fill ---- */

static uint64_t roll(const struct wire_walk *walk, uint64_t sides) {
    return walk->dice(walk->context, sides);
}

uint64_t wire_walk_number(const struct wire_walk *walk) {
    static const uint64_t bounds[] = {0,         1,         127, 128, UINT32_MAX, (uint64_t)1 << 32,
                                      INT64_MAX, UINT64_MAX};
    return roll(walk, 2) == 0 ? bounds[roll(walk, 8)] : roll(walk, UINT64_MAX);
}

static uint64_t some_of(const struct wire_walk *walk, uint64_t least, uint64_t most) {
    uint64_t shape = roll(walk, 4);
    uint64_t any = wire_walk_number(walk);
    return shape == 0   ? least
           : shape == 1 ? most
                        : least + (most - least == UINT64_MAX ? any : any % (most - least + 1));
}

static void some_bytes(const struct wire_walk *walk, uint8_t *bytes, size_t count) {
    uint64_t shape = roll(walk, 4);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = shape == 0 ? 0 : shape == 1 ? 0xff : (uint8_t)roll(walk, 256);
    }
}

static void fill_number(const struct wire_walk *walk, const struct wire_field *row,
                        const ProtobufCFieldDescriptor *field, void *core) {
    const ProtobufCEnumDescriptor *values = field->descriptor;
    uint64_t value,
        most = row->below.bytes != 0 ? wire_number(core, row->below) - 1 : wire_most(row);
    value = field->type == PROTOBUF_C_TYPE_BOOL ? roll(walk, 2)
            : field->type == PROTOBUF_C_TYPE_ENUM
                ? (uint64_t)values->values[roll(walk, values->n_values)].value
                : some_of(walk, row->least, most);
    wire_set_number(core, row->core, value < row->least ? row->least : value);
}

static void fill_bytes(const struct wire_walk *walk, const struct wire_field *row, void *core) {
    uint8_t *to = (uint8_t *)core + row->core.at;
    size_t count = row->core.bytes;
    if (row->form == WIRE_ID) {
        uint8_t hash[CHORD_ID_BYTES];
        some_bytes(walk, hash, sizeof hash);
        struct chord_id id = id_from_hash(hash, walk->m == 0 ? CHORD_M_MAX : walk->m);
        memcpy(to, &id, sizeof id);
        return;
    }
    if (row->form == WIRE_TEXT) {
        count = some_of(walk, 1, count - 1);
        for (size_t i = 0; i < count; i++) {
            to[i] = (uint8_t)('!' + roll(walk, 90));
        }
        return;
    }
    if (row->form == WIRE_SLICE) {
        count = some_of(walk, row->least, wire_most(row) < 3000 ? wire_most(row) : 3000);
        uint8_t *slice = arena_alloc(walk->arena, count + 1);
        memcpy(to, &slice, sizeof slice);
        to = slice;
    } else if (row->form == WIRE_SHORT) {
        count = some_of(walk, 0, count);
    }
    if (row->count.bytes != 0) {
        wire_set_number(core, row->count, count);
    }
    some_bytes(walk, to, count);
}

/* Not a number that says that nothing is there. */
static void fill_part(const struct wire_walk *walk, const struct wire_table *inner, void *core) {
    wire_walk_fill(walk, inner, core);
    struct wire_member some =
        inner->void_without != 0 ? inner->fields[inner->void_without - 1].core : inner->key;
    if (some.bytes != 0 && wire_number(core, some) == 0) {
        wire_set_number(core, some, 1);
    }
}

static void fill_field(const struct wire_walk *walk, const struct wire_field *row,
                       const ProtobufCFieldDescriptor *field, void *core) {
    uint8_t *to = (uint8_t *)core + row->core.at;
    uint64_t count;
    switch (row->form) {
    case WIRE_NUMBER:
        fill_number(walk, row, field, core);
        break;
    case WIRE_PART:
        fill_part(walk, row->inner, to);
        break;
    case WIRE_LIST:
        count = some_of(walk, row->least, row->most);
        wire_set_number(core, row->count, count);
        for (uint64_t i = 0; i < count; i++) {
            fill_part(walk, row->inner, to + i * row->core.bytes);
        }
        break;
    case WIRE_ROWS:
    case WIRE_BESIDE:
        break;
    default:
        fill_bytes(walk, row, core);
    }
}

void wire_walk_fill(const struct wire_walk *walk, const struct wire_table *table, void *core) {
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        bool absent = row->unless.bytes != 0 && wire_number(core, row->unless) != 0;
        bool may_lack =
            row->shown.bytes != 0 || (row->form == WIRE_PART && row->inner->void_without != 0);
        if (absent || row->flags & WIRE_ENDS || (may_lack && roll(walk, 3) == 0)) {
            continue;
        }
        if (row->shown.bytes != 0 && is_bool(row->shown)) {
            wire_set_number(core, row->shown, 1);
        }
        fill_field(walk, row, &table->descriptor->fields[i], core);
    }
    for (unsigned i = 0; i < table->fields_count; i++) { /* told by a number that came later */
        const struct wire_field *row = &table->fields[i];
        if (row->form == WIRE_PART && row->shown.bytes > 1 && !is_there(row, core)) {
            memset((uint8_t *)core + row->core.at, 0, row->core.bytes);
        }
    }
}

/* ---- look ---- */

static bool bytes_differ(const struct wire_field *row, const void *a, const void *b) {
    const void *from_a = at(a, row->core), *from_b = at(b, row->core);
    size_t bytes = row->core.bytes;
    if (row->count.bytes != 0) {
        bytes = wire_number(a, row->count);
        if (wire_number(b, row->count) != bytes) {
            return true;
        }
    }
    if (row->form == WIRE_SLICE) {
        memcpy(&from_a, from_a, sizeof from_a);
        memcpy(&from_b, from_b, sizeof from_b);
    }
    return bytes != 0 && memcmp(from_a, from_b, bytes) != 0;
}

const char *wire_walk_differ(const struct wire_table *table, const void *a, const void *b) {
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        const char *inner = NULL;
        if (is_there(row, a) != is_there(row, b)) {
            return row->name;
        }
        if (!is_there(row, a) || row->form == WIRE_BESIDE) {
            continue;
        }
        if (row->form == WIRE_PART) {
            inner = wire_walk_differ(row->inner, at(a, row->core), at(b, row->core));
        } else if (row->form == WIRE_ROWS || row->form == WIRE_LIST) {
            uint64_t count = row->count.bytes != 0 ? wire_number(a, row->count) : 0;
            if (row->count.bytes != 0 && wire_number(b, row->count) != count) {
                return row->name;
            }
            for (uint64_t k = 0; row->form == WIRE_LIST && k < count && inner == NULL; k++) {
                struct wire_member item = {(uint16_t)(row->core.at + k * row->core.bytes), 0};
                inner = wire_walk_differ(row->inner, at(a, item), at(b, item));
            }
            if (row->form == WIRE_ROWS &&
                memcmp(at(a, row->core), at(b, row->core), row->core.bytes) != 0) {
                return row->name;
            }
        } else if (row->form == WIRE_NUMBER ? wire_number(a, row->core) != wire_number(b, row->core)
                                            : bytes_differ(row, a, b)) {
            return row->name;
        }
        if (inner != NULL || ends_here(row, a)) {
            return inner;
        }
    }
    return NULL;
}

static bool is_beyond(const struct wire_field *row, const void *core) {
    uint64_t number = row->form == WIRE_NUMBER ? wire_number(core, row->core)
                      : row->count.bytes != 0  ? wire_number(core, row->count)
                                               : 0;
    switch (row->form) {
    case WIRE_NUMBER:
        return number < row->least || number > wire_most(row) ||
               (row->below.bytes != 0 && number >= wire_number(core, row->below));
    case WIRE_SHORT:
        return number > row->core.bytes;
    case WIRE_SLICE:
    case WIRE_LIST:
        return number < row->least || number > wire_most(row);
    case WIRE_TEXT:
        return memchr(at(core, row->core), '\0', row->core.bytes) == NULL;
    default:
        return false;
    }
}

const char *wire_walk_beyond(const struct wire_table *table, const void *core) {
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        const struct wire_table *inner = row->inner;
        const char *name = NULL;
        if (!is_there(row, core)) {
            continue;
        }
        if (is_beyond(row, core)) {
            return row->name;
        }
        uint64_t count =
            row->form == WIRE_LIST ? wire_number(core, row->count) : row->form == WIRE_PART;
        for (uint64_t k = 0; k < count && name == NULL; k++) {
            struct wire_member item = {(uint16_t)(row->core.at + k * row->core.bytes), 0};
            bool none = row->form == WIRE_LIST && inner->key.bytes != 0 &&
                        wire_number(at(core, item), inner->key) == 0;
            name = none ? row->name : wire_walk_beyond(inner, at(core, item));
        }
        if (name != NULL || ends_here(row, core)) {
            return name;
        }
    }
    return NULL;
}
