/* SPDX-License-Identifier: MIT */
/* chordctl leave, join, kill: what changes the ring. */
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "output.h"
#include "ctl.h"

enum { WAIT_PERIOD_MS = 50 };

static void done_print(struct ctl *ctl, const char *address, const char *what,
                       const char *warning) {
    if (ctl->json) {
        json_print(json_pack("{s:o, s:s, s:o}", "address", json_text(address), "result", what,
                             "warning", json_text(warning)));
        return;
    }
    line_print("%s: %s", address, what);
    if (warning[0] != '\0') {
        line_print("warning: %s", warning);
    }
}

void node_await(struct ctl *ctl, const char *address, Chord__V1__NodeState state,
                uint32_t within_ms) {
    uint64_t end_ms = clock_now_ms() + within_ms;
    while (true) {
        struct rpc_reply reply;
        Chord__V1__NodeState now = call_status(ctl, address, &reply)->state;
        rpc_reply_free(&reply);
        if (now == state) {
            return;
        }
        if (clock_now_ms() >= end_ms) {
            ctl_fail(CTL_UNKNOWN, "%s is %s, not %s, after %u ms; wait longer with --timeout",
                     address, ring_state_text(now), ring_state_text(state), within_ms);
        }
        clock_pause_ms(WAIT_PERIOD_MS);
    }
}

static bool waits(struct ctl *ctl, const struct arguments *arguments, const char *address,
                  Chord__V1__NodeState state) {
    bool wanted = arguments_option(arguments, "wait") != NULL;
    if (wanted) {
        node_await(ctl, address, state, ctl->timeout_ms);
    }
    return wanted;
}

/* ---- leave ---- */

static int leave_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE];
    const struct chord_command command = {.kind = CHORD_LEAVE, .node = address};
    struct chord_told told;
    node_resolve(ctl, arguments->words[0], address);
    call_tell(ctl, &command, &told);
    bool waited = waits(ctl, arguments, address, CHORD__V1__NODE_STATE__NODE_STATE_LEFT);
    done_print(ctl, address, waited ? "left" : "leaving", told.warning);
    return CTL_OK;
}

/* ---- join ---- */

static int join_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE];
    const struct chord_command command = {.kind = CHORD_JOIN,
                                          .node = address,
                                          .seeds = arguments->words + 1,
                                          .seeds_count = arguments->words_count - 1};
    struct chord_told told;
    for (unsigned i = 1; i < arguments->words_count; i++) {
        if (!address_is_valid(arguments->words[i])) {
            ctl_fail(CTL_USAGE, "the seed '%s' is no address; give HOST:PORT", arguments->words[i]);
        }
    }
    node_resolve(ctl, arguments->words[0], address);
    call_tell(ctl, &command, &told);
    bool waited = waits(ctl, arguments, address, CHORD__V1__NODE_STATE__NODE_STATE_MEMBER);
    done_print(ctl, address, waited ? "member" : "joining", "");
    return CTL_OK;
}

/* ---- kill ---- */

static void kill_confirm(const struct arguments *arguments, const char *address,
                         const Chord__V1__StatusResponse *status, const char *id) {
    char typed[ASK_BYTES];
    const char *confirm = arguments_option(arguments, "confirm");
    if (confirm == NULL) {
        ask_check("--confirm ", id);
        ctl_note("node %s at %s ends at once and hands nothing over; the ring survives %u more "
                 "failure%s now",
                 id, address, status->survives_failures, status->survives_failures == 1 ? "" : "s");
        ask("type its id to kill it", typed);
        confirm = typed;
    }
    if (strcasecmp(confirm, id) != 0) {
        ctl_fail(CTL_REFUSED, "'%s' is not the id of %s, which is %s; nothing was killed", confirm,
                 address, id);
    }
}

static int kill_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE], id[ID_HEX_SIZE];
    const struct chord_command command = {.kind = CHORD_KILL, .node = address, .id = id};
    struct chord_told told;
    struct rpc_reply reply;
    node_resolve(ctl, arguments->words[0], address);
    const Chord__V1__StatusResponse *status = call_status(ctl, address, &reply);
    ring_id_text(id, status->self->id, status_m(status));
    kill_confirm(arguments, address, status, id);
    rpc_reply_free(&reply);
    call_tell(ctl, &command, &told);
    done_print(ctl, address, "killed", "");
    return CTL_OK;
}

static const struct flag wait_options[] = {
    {'w', "wait", NULL, "until it is done, at most --timeout"},
    {0, NULL, NULL, NULL},
};
const struct command leave_command = {
    .name = "leave",
    .words = "ADDRESS",
    .words_min = 1,
    .words_max = 1,
    .summary = "hand over, be out of the ring",
    .help = "The node's process goes on in the state 'left'; chordctl join brings it back.\n",
    .options = wait_options,
    .run = leave_run,
};
const struct command join_command = {
    .name = "join",
    .words = "ADDRESS [SEED...]",
    .words_min = 1,
    .words_max = 17,
    .summary = "bring back a node that left",
    .help = "SEED: members to join through, HOST:PORT; without one, those it knew before.\n",
    .options = wait_options,
    .run = join_run,
};

static const struct flag kill_options[] = {
    {0, "confirm", "ID", "the node's id, for scripts; else it is asked for"},
    {0, NULL, NULL, NULL},
};
const struct command kill_command = {
    .name = "kill",
    .words = "ADDRESS",
    .words_min = 1,
    .words_max = 1,
    .summary = "end a node's process at once, nothing handed over",
    .options = kill_options,
    .run = kill_run,
};
