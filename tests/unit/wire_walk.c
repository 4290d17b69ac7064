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

static void fill_text(const struct wire_walk *walk, char *to, size_t bytes) {
    size_t count = some_of(walk, 1, bytes - 1);
    for (size_t i = 0; i < count; i++) {
        to[i] = (char)('!' + roll(walk, 90));
    }
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
    case WIRE_CHOICE:
        wire_set_number(core, row->core, roll(walk, 2));
        break;
    case WIRE_TEXT:
        fill_text(walk, (char *)to, row->core.bytes);
        break;
    case WIRE_PART:
        fill_part(walk, row->inner, to);
        break;
    case WIRE_LIST:
    case WIRE_TEXTS:
        count = some_of(walk, row->least, row->most);
        wire_set_number(core, row->count, count);
        for (uint64_t i = 0; i < count; i++, to += row->core.bytes) {
            if (row->form == WIRE_LIST) {
                fill_part(walk, row->inner, to);
            } else {
                fill_text(walk, (char *)to, row->core.bytes);
            }
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

/* How many of `core` a field has, one behind the other. */
static uint64_t items_of(const struct wire_field *row, const void *core) {
    bool many = row->form == WIRE_LIST || row->form == WIRE_TEXTS || row->form == WIRE_ROWS;
    return many && row->count.bytes != 0 ? wire_number(core, row->count) : 1;
}

static struct wire_member item_of(const struct wire_field *row, uint64_t index) {
    return (struct wire_member){(uint16_t)(row->core.at + index * row->core.bytes),
                                row->core.bytes};
}

static bool bytes_differ(const struct wire_field *row, const void *a, const void *b) {
    const void *from_a = at(a, row->core), *from_b = at(b, row->core);
    size_t bytes = row->core.bytes;
    if (row->form == WIRE_SHORT || row->form == WIRE_SLICE) {
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
        if (is_there(row, a) != is_there(row, b)) {
            return row->name;
        }
        if (!is_there(row, a) || row->form == WIRE_BESIDE) {
            continue;
        }
        uint64_t count = items_of(row, a);
        if (items_of(row, b) != count) {
            return row->name;
        }
        for (uint64_t k = 0; k < count && row->inner != NULL && row->form != WIRE_ROWS; k++) {
            struct wire_member item = item_of(row, k);
            const char *inner = wire_walk_differ(row->inner, at(a, item), at(b, item));
            if (inner != NULL) {
                return inner;
            }
        }
        for (uint64_t k = 0; k < count && row->inner == NULL; k++) {
            struct wire_field item = *row;
            item.core = item_of(row, k);
            if (bytes_differ(&item, a, b)) {
                return row->name;
            }
        }
        if (row->form == WIRE_ROWS && bytes_differ(row, a, b)) { /* the last one's hash */
            return row->name;
        }
        if (ends_here(row, a)) {
            break;
        }
    }
    return NULL;
}

static bool is_beyond(const struct wire_field *row, const void *core) {
    uint64_t number = wire_number(core, row->core);
    switch (row->form) {
    case WIRE_NUMBER:
        return number < row->least || number > wire_most(row) ||
               (row->below.bytes != 0 && number >= wire_number(core, row->below));
    case WIRE_CHOICE:
        return number > 1;
    case WIRE_SHORT:
        return wire_number(core, row->count) > row->core.bytes;
    case WIRE_SLICE:
    case WIRE_LIST:
    case WIRE_TEXTS:
        number = wire_number(core, row->count);
        return number < row->least || number > wire_most(row);
    default:
        return false;
    }
}

/* A text without end, a list with a hole, or what lies deeper. */
static const char *item_beyond(const struct wire_field *row, const uint8_t *item) {
    const struct wire_table *inner = row->inner;
    if (row->form == WIRE_TEXT || row->form == WIRE_TEXTS) {
        return memchr(item, '\0', row->core.bytes) == NULL ? row->name : NULL;
    }
    if (row->form == WIRE_LIST && inner->key.bytes != 0 && wire_number(item, inner->key) == 0) {
        return row->name;
    }
    return row->form == WIRE_LIST || row->form == WIRE_PART ? wire_walk_beyond(inner, item) : NULL;
}

const char *wire_walk_beyond(const struct wire_table *table, const void *core) {
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        if (!is_there(row, core)) {
            continue;
        }
        if (is_beyond(row, core)) {
            return row->name;
        }
        for (uint64_t k = 0; k < items_of(row, core); k++) {
            const char *name = item_beyond(row, at(core, item_of(row, k)));
            if (name != NULL) {
                return name;
            }
        }
        if (ends_here(row, core)) {
            break;
        }
    }
    return NULL;
}
