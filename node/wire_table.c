/* SPDX-License-Identifier: MIT */
/*
 * See wire_table.h. Rows stand in the order of the .proto file's numbers. Every count and length
 * from outside has its bounds here, so that the core only sees messages of its own shapes.
 */
#include "wire_table.h"

#include "chord/v1/kv.pb-c.h"
#include "chord/v1/replica.pb-c.h"
#include "chord/v1/ring.pb-c.h"
#include "store.h"
#include "wire.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define AT(type, member)                                                                           \
    { offsetof(struct type, member), sizeof(((struct type *)0)->member) }
/* From one member to before another. */
#define SPAN(type, from, to)                                                                       \
    { offsetof(struct type, from), offsetof(struct type, to) - offsetof(struct type, from) }

#define PLAIN(form_, type, member) .form = form_, .core = AT(type, member)
#define NUMBER(type, member) PLAIN(WIRE_NUMBER, type, member)
#define ID(type, member) PLAIN(WIRE_ID, type, member)
#define CHOICE(type, member, no, yes) PLAIN(WIRE_CHOICE, type, member), .least = (no), .most = (yes)
#define TEXT(type, member) PLAIN(WIRE_TEXT, type, member)
#define FIXED(type, member) PLAIN(WIRE_FIXED, type, member)
#define COUNTED(form_, type, member, counter) PLAIN(form_, type, member), .count = AT(type, counter)
#define PART(type, member, table) PLAIN(WIRE_PART, type, member), .inner = &(table)
/* A message of its own whose fields are members of the same struct. */
#define SAME(table) .form = WIRE_PART, .inner = &(table)
#define LIST(type, items, counter, table)                                                          \
    COUNTED(WIRE_LIST, type, items[0], counter), .most = COUNT(((struct type *)0)->items),         \
                                                 .inner = &(table)
#define SHOWN(type, member) .shown = AT(type, member)

/* Its fields are all that its struct has. */
#define ALL .void_without = 0
#define TABLE(message, rows, ...)                                                                  \
    {                                                                                              \
        .descriptor = &chord__v1__##message##__descriptor, .fields = (rows),                       \
        .fields_count = COUNT(rows), __VA_ARGS__                                                   \
    }

/* ---- parts ---- */

static const struct wire_field peer[] = {
    {"id", ID(chord_peer, id)},
    {"address", TEXT(chord_peer, address)},
    {"incarnation", NUMBER(chord_peer, incarnation)},
    {"store_id", FIXED(chord_peer, store_id), .flags = WIRE_MAYBE},
    {"host_id", NUMBER(chord_peer, host_id)},
};
const struct wire_table wire_peer_table = TABLE(peer, peer, .key = AT(chord_peer, incarnation),
                                                .cleared = {0, sizeof(struct chord_peer)});

static const struct wire_field range[] = {
    {"lo", ID(chord_range, lo)},
    {"hi", ID(chord_range, hi)},
};
const struct wire_table wire_range_table = TABLE(range, range, ALL);

static const struct wire_field parameters[] = {
    {"ring_id", FIXED(chord_parameters, ring_id)},
    {"m", NUMBER(chord_parameters, m)},
    {"n", NUMBER(chord_parameters, n)},
    {"replicas", NUMBER(chord_parameters, replicas)},
};
const struct wire_table wire_parameters_table =
    TABLE(ring_parameters, parameters, .void_without = 2,
          .cleared = {0, sizeof(struct chord_parameters)});

static const struct wire_field member[] = {
    {"store_id", FIXED(chord_member, store_id)},
    {"address", TEXT(chord_member, address)},
};
static const struct wire_table member_table = TABLE(member, member, ALL);

static const struct wire_field merge[] = {
    {"epoch", NUMBER(chord_merge, epoch)},
    {"lo", ID(chord_merge, lo)},
};
static const struct wire_table merge_table = TABLE(merged, merge, ALL);

static const struct wire_field view[] = {
    {"range", PART(chord_view, range, wire_range_table), .flags = WIRE_REQUIRED},
    {"epoch", NUMBER(chord_view, epoch), .least = 1, .most = CHORD_EPOCH_MAX},
    {"members", LIST(chord_view, members, members_count, member_table), .least = 1},
    {"leader", NUMBER(chord_view, leader), .below = AT(chord_view, members_count)},
    {"settled", NUMBER(chord_view, settled)},
    {"cut", NUMBER(chord_view, cut)},
    {"merges", LIST(chord_view, merges.items, merges.count, merge_table)},
    {"recovered", NUMBER(chord_view, recovered)},
    {"floor", NUMBER(chord_view, floor)},
    {"moved", NUMBER(chord_view, moved)},
};
const struct wire_table wire_view_table =
    TABLE(view, view, .cleared = SPAN(chord_view, range, members));

static const struct wire_field hint[] = {
    {"range", PART(chord_hint, range, wire_range_table), SHOWN(chord_hint, epoch)},
    {"address", TEXT(chord_hint, address)},
    {"epoch", NUMBER(chord_hint, epoch)},
    {"counter", NUMBER(chord_hint, counter)},
};
const struct wire_table wire_hint_table =
    TABLE(owner_hint, hint, .cleared = {0, sizeof(struct chord_hint)});

static const struct wire_field row_version[] = {
    {"epoch", NUMBER(store_row, epoch), .most = INT64_MAX},
    {"counter", NUMBER(store_row, counter), .most = INT64_MAX},
};
static const struct wire_table row_version_table = TABLE(version, row_version, ALL);

static const struct wire_field row[] = {
    {"key", COUNTED(WIRE_SLICE, store_row, key, key_bytes), .least = 1,
     .most = STORE_KEY_BYTES_MAX},
    {"version", SAME(row_version_table), .flags = WIRE_REQUIRED},
    {"kind", NUMBER(store_row, kind), .least = STORE_VALUE, .most = STORE_TOMBSTONE},
    {"value", COUNTED(WIRE_SLICE, store_row, value, value_bytes), .most = 1024 * 1024},
    {"op_id", COUNTED(WIRE_SHORT, store_row, op_id, op_id_bytes)},
    {"expires_at_ms", NUMBER(store_row, expires_at_ms), .most = INT64_MAX},
    {"existed", NUMBER(store_row, existed)},
};
const struct wire_table wire_row_table = TABLE(row, row, .cleared = {0, sizeof(struct store_row)});

/* ---- requests ---- */

static const struct wire_field header[] = {
    {"sender", PART(chord_request, sender, wire_peer_table), SHOWN(chord_request, has_sender)},
    {"target_incarnation", NUMBER(chord_request, target_incarnation)},
    {"ring_id", FIXED(chord_request, ring_id), SHOWN(chord_request, has_ring_id),
     .flags = WIRE_MAYBE},
    {"target_store_id", FIXED(chord_request, target_store_id),
     .flags = WIRE_MAYBE | WIRE_ZERO_EMPTY},
};
static const struct wire_table header_table =
    TABLE(ring_header, header, .cleared = SPAN(chord_request, has_sender, id));

#define HEADER "header", SAME(header_table)
#define RANGE_OF(arm)                                                                              \
    "range", PART(chord_request, arm.range, wire_range_table), .flags = WIRE_REQUIRED
#define VIEW(name_, member)                                                                        \
    name_, PART(chord_request, member, wire_view_table), .flags = WIRE_REQUIRED
#define OTHER                                                                                      \
    "other", PART(chord_request, decide.other, wire_view_table), SHOWN(chord_request, decide.joint)

static const struct wire_field plain_request[] = {{HEADER}};

static const struct wire_field id_request[] = {
    {HEADER},
    {"id", ID(chord_request, id)},
};

static const struct wire_field genesis_request[] = {
    {HEADER},
    {"members", LIST(chord_request, genesis.members.items, genesis.members.count, wire_peer_table),
     .least = 1},
    {"formed", NUMBER(chord_request, genesis.formed)},
};

static const struct wire_field leave_request[] = {
    {HEADER},
    {"left", NUMBER(chord_request, left)},
};

static const struct wire_field merge_request[] = {
    {HEADER},
    {"peer", PART(chord_request, peer, wire_peer_table)},
};

static const struct wire_field cursor[] = {
    {"hash", FIXED(chord_request, rows.after), SHOWN(chord_request, rows.has_after),
     .flags = WIRE_MAYBE},
    {"key", .form = WIRE_BESIDE}, /* a page never splits the rows of one hash */
};
static const struct wire_table cursor_table = TABLE(cursor, cursor, ALL);

static const struct wire_field transfer_request[] = {
    {HEADER},
    {RANGE_OF(rows)},
    {"after", SAME(cursor_table), SHOWN(chord_request, rows.has_after)},
    {"epoch", NUMBER(chord_request, rows.epoch)},
};

static const struct wire_field apply_request[] = {
    {HEADER},
    {RANGE_OF(rows)},
    {"epoch", NUMBER(chord_request, rows.epoch)},
    {"rows", .form = WIRE_ROWS, .inner = &wire_row_table},
    {"learner", NUMBER(chord_request, rows.learner)},
};

static const struct wire_field rows_request[] = {
    {HEADER},
    {RANGE_OF(rows)},
    {"epoch", NUMBER(chord_request, rows.epoch)},
};

static const struct wire_field sync_request[] = {
    {HEADER},
    {VIEW("view", sync.view)},
    {RANGE_OF(sync)},
    {"learner", NUMBER(chord_request, sync.learner)},
    {"token", NUMBER(chord_request, sync.token)},
};

static const struct wire_field decided_request[] = {
    {HEADER},
    {"views", LIST(chord_request, decided.views, decided.count, wire_view_table), .least = 1},
};

static const struct wire_field prepare_request[] = {
    {HEADER},
    {VIEW("view", decide.view)},
    {OTHER},
    {"ballot", NUMBER(chord_request, decide.ballot)},
};

static const struct wire_field accept_request[] = {
    {HEADER},
    {VIEW("view", decide.view)},
    {OTHER},
    {"ballot", NUMBER(chord_request, decide.ballot)},
    {VIEW("next", decide.next)},
};

/* ---- responses ---- */

#define GONE "gone", NUMBER(chord_response, gone), .flags = WIRE_ENDS
#define VIEW_IN(name_, arm)                                                                        \
    name_, PART(chord_response, arm.view, wire_view_table), SHOWN(chord_response, arm.has_view)
/* Sent when there is one. */
#define PEER(member)                                                                               \
    PART(chord_response, member, wire_peer_table), SHOWN(chord_response, member.incarnation)
#define PEERS(member) LIST(chord_response, member.items, member.count, wire_peer_table)

static const struct wire_field plain_response[] = {{GONE}};

static const struct wire_field ping_response[] = {
    {GONE},
    {"self", PEER(ping.self)},
    {"state", NUMBER(chord_response, ping.state)},
    {"parameters", PART(chord_response, ping.parameters, wire_parameters_table)},
    {"formed", NUMBER(chord_response, ping.formed)},
    {"restarting", NUMBER(chord_response, ping.restarting)},
};

static const struct wire_field find_response[] = {
    {GONE},
    {"found", NUMBER(chord_response, ring.found)},
    {"node", PEER(ring.node)},
    {"successors", PEERS(ring.successors)},
    {"self", PEER(ring.self)},
};

static const struct wire_field predecessor_response[] = {
    {GONE},
    {"busy", NUMBER(chord_response, ring.busy)},
    {"predecessor", PEER(ring.node)},
    {"successors", PEERS(ring.successors)},
    {"forming", NUMBER(chord_response, ring.forming)},
};

static const struct wire_field successors_response[] = {
    {GONE},
    {"busy", NUMBER(chord_response, ring.busy)},
    {"successors", PEERS(ring.successors)},
    {"forming", NUMBER(chord_response, ring.forming)},
};

static const struct wire_field join_response[] = {
    {GONE},
    {"result", NUMBER(chord_response, join.result)},
    {"retry_after_ms", NUMBER(chord_response, retry_after_ms)},
    {"authority", PEER(join.authority)},
    {"successors", PEERS(join.successors)},
    {"formed", NUMBER(chord_response, join.formed)},
};

static const struct wire_field transfer_response[] = {
    {GONE},
    {"rows", COUNTED(WIRE_ROWS, chord_response, transfer.last, transfer.rows),
     .inner = &wire_row_table},
    {"done", NUMBER(chord_response, transfer.done)},
    {"equal_epoch", NUMBER(chord_response, transfer.equal_epoch)},
};

static const struct wire_field digest_response[] = {
    {GONE},
    {"rows", NUMBER(chord_response, digest.rows)},
    {"digest", FIXED(chord_response, digest.digest)},
    {"equal_epoch", NUMBER(chord_response, digest.equal_epoch)},
};

static const struct wire_field wrong_view_response[] = {
    {GONE},
    {VIEW_IN("wrong_view", view)},
};

static const struct wire_field sync_response[] = {
    {GONE},
    {VIEW_IN("wrong_view", view)},
    {"done", NUMBER(chord_response, view.confirmed)},
};

static const struct wire_field view_response[] = {
    {GONE},
    {VIEW_IN("view", view)},
    {"confirmed", NUMBER(chord_response, view.confirmed)},
};

/* One view in the core's form: the one that is wrong, or the one accepted. */
static const struct wire_field prepare_response[] = {
    {GONE},
    {VIEW_IN("wrong_view", decide)},
    {"refused", NUMBER(chord_response, decide.refused)},
    {"promised", NUMBER(chord_response, decide.promised)},
    {"accepted", PART(chord_response, decide.view, wire_view_table),
     SHOWN(chord_response, decide.has_accepted), .unless = AT(chord_response, decide.has_view)},
    {"accepted_ballot", NUMBER(chord_response, decide.accepted_ballot)},
    {"other_epoch", NUMBER(chord_response, decide.other_epoch)},
    {"other_accepted", NUMBER(chord_response, decide.other_accepted)},
    {"other_ballot", NUMBER(chord_response, decide.other_ballot)},
};

static const struct wire_field accept_response[] = {
    {GONE},
    {VIEW_IN("wrong_view", decide)},
    {"refused", NUMBER(chord_response, decide.refused)},
    {"promised", NUMBER(chord_response, decide.promised)},
};

static const struct wire_field hop[] = {
    {"node", PART(chord_hop, node, wire_peer_table)},
    {"microseconds", NUMBER(chord_hop, microseconds)},
};
static const struct wire_table hop_table = TABLE(hop, hop, ALL);

static const struct wire_field lookup_response[] = {
    {"key_id", .form = WIRE_BESIDE}, /* of the request */
    {"owner", PART(chord_response, lookup.owner, wire_peer_table)},
    {"hops", LIST(chord_response, lookup.hops, lookup.hops_count, hop_table)},
};

/* ---- what clients ask ---- */

static const struct wire_field version[] = {
    {"epoch", NUMBER(row_version, epoch)},
    {"counter", NUMBER(row_version, counter)},
};
static const struct wire_table version_table =
    TABLE(version, version, .cleared = {0, sizeof(struct row_version)});

static const struct wire_field precondition[] = {
    {"version", PART(wire_operation, write.match, version_table),
     SHOWN(wire_operation, write.matches)},
    {"absent", NUMBER(wire_operation, write.absent)},
};
static const struct wire_table precondition_table = TABLE(precondition, precondition, ALL);

static const struct wire_field operation[] = {
    {"kind", NUMBER(wire_operation, kind), .least = CHORD_GET, .most = CHORD_DELETE,
     .refusal = "an operation is GET, PUT or DELETE"},
    {"key", COUNTED(WIRE_SLICE, wire_operation, key, key_bytes), .least = 1,
     .most = STORE_KEY_BYTES_MAX, .refusal = "a key has 1 to 1024 bytes"},
    {"value", COUNTED(WIRE_SLICE, wire_operation, value, value_bytes), .most = 1024 * 1024,
     .refusal = "a value has at most 1 MiB"},
    {"op_id", FIXED(wire_operation, write.op_id), SHOWN(wire_operation, write.has_op_id),
     .flags = WIRE_MAYBE, .refusal = "an op_id has 16 bytes, or none"},
    {"attempt", NUMBER(wire_operation, write.attempt)},
    {"seen", PART(wire_operation, write.seen, version_table),
     SHOWN(wire_operation, write.has_seen)},
    {"precondition", SAME(precondition_table), SHOWN(wire_operation, has_precondition)},
    {"expires_at_ms", NUMBER(wire_operation, expires_at_ms), .most = INT64_MAX,
     .refusal = "expires_at_ms is beyond its range"},
};
const struct wire_table wire_operation_table =
    TABLE(operation, operation, .cleared = {0, sizeof(struct wire_operation)});

static const struct wire_field result[] = {
    {"code", NUMBER(wire_result, told.code)},
    {"version", PART(wire_result, told.version, version_table),
     SHOWN(wire_result, told.version.epoch)},
    {"value", COUNTED(WIRE_SLICE, wire_result, value, value_bytes)},
    {"existed", NUMBER(wire_result, told.existed)},
    {"expires_at_ms", NUMBER(wire_result, told.expires_at_ms)},
};
const struct wire_table wire_result_table = TABLE(operation_result, result, ALL);

static const struct wire_field batch_request[] = {
    {"operations", .form = WIRE_BESIDE},
    {"no_forward", NUMBER(chord_request, batch.no_forward)},
    {"consistency",
     CHOICE(chord_request, batch.stale, CHORD__V1__CONSISTENCY__CONSISTENCY_LINEARIZABLE,
            CHORD__V1__CONSISTENCY__CONSISTENCY_STALE)},
};

#define HINT                                                                                       \
    "hint", PART(chord_response, batch.hint, wire_hint_table),                                     \
        SHOWN(chord_response, batch.hint.address)
#define MISSING                                                                                    \
    "missing",                                                                                     \
        COUNTED(WIRE_TEXTS, chord_response, batch.missing.addresses[0], batch.missing.count),      \
        .most = CHORD_MISSING_MAX
#define STALE "stale", NUMBER(chord_response, batch.stale)

static const struct wire_field batch_response[] = {
    {"results", .form = WIRE_BESIDE},
    {HINT},
    {"hops", NUMBER(chord_response, batch.hops)},
    {STALE},
    {MISSING},
    {"hints", .form = WIRE_BESIDE},
};

/* The answer to a single operation. */
static const struct wire_field get_response[] = {
    {"result", .form = WIRE_BESIDE},
    {HINT},
    {MISSING},
    {STALE},
};
const struct wire_table wire_get_table = TABLE(get_response, get_response, ALL);

static const struct wire_field write_response[] = {
    {"result", .form = WIRE_BESIDE},
    {HINT},
    {MISSING},
};
const struct wire_table wire_put_table = TABLE(put_response, write_response, ALL);
const struct wire_table wire_delete_table = TABLE(delete_response, write_response, ALL);

/* ---- by kind ---- */

/* What an answer has beside the fields of its kind: the members that others of its arm set. */
#define RING_ARM .cleared = SPAN(chord_response, ring, ring.successors.items)
#define VIEW_ARM .cleared = SPAN(chord_response, view, view.view)
#define DECIDE_ARM .cleared = SPAN(chord_response, decide, decide.view)
#define ROWS_ARM .cleared = AT(chord_request, rows)

#define MESSAGE(service, kind, name, request_rows, request_arm, response_rows, response_arm)       \
    [CHORD_##kind] = {RPC_##service##_##kind, TABLE(name##_request, request_rows, request_arm),    \
                      TABLE(name##_response, response_rows, response_arm)}

const struct wire_message wire_messages[] = {
    MESSAGE(RING, PING, ping, plain_request, ALL, ping_response,
            .cleared = AT(chord_response, ping)),
    MESSAGE(RING, FIND_SUCCESSOR, find_successor, id_request, ALL, find_response, RING_ARM),
    MESSAGE(RING, GET_PREDECESSOR, get_predecessor, plain_request, ALL, predecessor_response,
            RING_ARM),
    MESSAGE(RING, GET_SUCCESSORS, get_successors, plain_request, ALL, successors_response,
            RING_ARM),
    MESSAGE(RING, NOTIFY, notify, plain_request, ALL, plain_response, ALL),
    MESSAGE(RING, JOIN, join, plain_request, ALL, join_response, ALL),
    MESSAGE(RING, GENESIS, genesis, genesis_request, ALL, plain_response, ALL),
    MESSAGE(RING, LEAVE, leave, leave_request, ALL, plain_response, ALL),
    MESSAGE(RING, MERGE, merge, merge_request, ALL, plain_response, ALL),
    MESSAGE(RING, TRANSFER_KEYS, transfer_keys, transfer_request, ROWS_ARM, transfer_response,
            .cleared = AT(chord_response, transfer)),
    MESSAGE(REPLICA, APPLY, apply, apply_request, ROWS_ARM, wrong_view_response, VIEW_ARM),
    MESSAGE(REPLICA, SYNC, sync, sync_request, ALL, sync_response, VIEW_ARM),
    MESSAGE(REPLICA, DIGEST, digest, rows_request, ROWS_ARM, digest_response, ALL),
    MESSAGE(REPLICA, DECIDED, decided, decided_request, ALL, wrong_view_response, VIEW_ARM),
    MESSAGE(REPLICA, GET_VIEW, get_view, id_request, ALL, view_response, VIEW_ARM),
    MESSAGE(REPLICA, CHECK, check, rows_request, ROWS_ARM, wrong_view_response, VIEW_ARM),
    MESSAGE(REPLICA, PREPARE, prepare, prepare_request, ALL, prepare_response, DECIDE_ARM),
    MESSAGE(REPLICA, ACCEPT, accept, accept_request, ALL, accept_response, DECIDE_ARM),
    MESSAGE(KV, BATCH, batch, batch_request, ALL, batch_response, ALL),
    [CHORD_LOOKUP] = {.method = RPC_KV_LOOKUP,
                      .response = TABLE(lookup_response, lookup_response, ALL)},
};
