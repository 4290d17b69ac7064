/* SPDX-License-Identifier: MIT */
/* chordctl leave, join, kill: what changes the ring. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "output.h"
#include "ctl.h"

enum { WAIT_PERIOD_MS = 50, ANSWER_BYTES = 128 };

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

/* With --wait: until the node is in `state` or the time is over. */
static int state_await(struct ctl *ctl, const struct arguments *arguments, const char *address,
                       Chord__V1__NodeState state) {
    uint64_t end_ms = clock_now_ms() + ctl->timeout_ms;
    while (arguments_option(arguments, "wait") != NULL) {
        const Chord__V1__StatusResponse *status;
        struct rpc_reply reply;
        int exit_code = call_status(ctl, address, &reply, &status);
        if (exit_code != CTL_OK) {
            return exit_code;
        }
        Chord__V1__NodeState now = status->state;
        rpc_reply_free(&reply);
        if (now == state) {
            break;
        }
        if (clock_now_ms() >= end_ms) {
            ctl_error("%s is %s, not %s, after %u ms; wait longer with --timeout", address,
                      ring_state_text(now), ring_state_text(state), ctl->timeout_ms);
            return CTL_UNKNOWN;
        }
        pause_ms(WAIT_PERIOD_MS);
    }
    return CTL_OK;
}

/* ---- leave ---- */

static int leave_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    const struct chord_command command = {.kind = CHORD_LEAVE, .node = address};
    struct chord_told told;
    int exit_code = node_resolve(ctl, arguments->words[0], address);
    if (exit_code == CTL_OK) {
        exit_code = call_tell(ctl, &command, &told);
    }
    if (exit_code == CTL_OK) {
        exit_code = state_await(ctl, arguments, address, CHORD__V1__NODE_STATE__NODE_STATE_LEFT);
    }
    if (exit_code == CTL_OK) {
        bool waited = arguments_option(arguments, "wait") != NULL;
        done_print(ctl, address, waited ? "left" : "leaving", told.warning);
    }
    return exit_code;
}

/* ---- join ---- */

static int join_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    const struct chord_command command = {.kind = CHORD_JOIN,
                                          .node = address,
                                          .seeds = arguments->words + 1,
                                          .seeds_count = arguments->words_count - 1};
    struct chord_told told;
    for (unsigned i = 1; i < arguments->words_count; i++) {
        if (!address_is_valid(arguments->words[i])) {
            ctl_error("the seed '%s' is no address; give HOST:PORT", arguments->words[i]);
            return CTL_USAGE;
        }
    }
    int exit_code = node_resolve(ctl, arguments->words[0], address);
    if (exit_code == CTL_OK) {
        exit_code = call_tell(ctl, &command, &told);
    }
    if (exit_code == CTL_OK) {
        exit_code = state_await(ctl, arguments, address, CHORD__V1__NODE_STATE__NODE_STATE_MEMBER);
    }
    if (exit_code == CTL_OK) {
        bool waited = arguments_option(arguments, "wait") != NULL;
        done_print(ctl, address, waited ? "member" : "joining", "");
    }
    return exit_code;
}

/* ---- kill ---- */

/* CTL_OK: the person typed the id. */
static int kill_ask(const char *address, const Chord__V1__StatusResponse *status, const char *id,
                    char typed[ANSWER_BYTES]) {
    if (!isatty(STDIN_FILENO)) {
        ctl_error("nobody can be asked here (stdin is no terminal); give --confirm %s", id);
        return CTL_USAGE;
    }
    ctl_note("node %s at %s ends at once and hands nothing over; the ring survives %u more "
             "failure%s now",
             id, address, status->survives_failures, status->survives_failures == 1 ? "" : "s");
    fprintf(stderr, "type its id to kill it: ");
    fflush(stderr);
    if (fgets(typed, ANSWER_BYTES, stdin) == NULL) {
        typed[0] = '\0';
    }
    typed[strcspn(typed, "\r\n")] = '\0';
    return CTL_OK;
}

static int kill_confirm(const struct arguments *arguments, const char *address,
                        const Chord__V1__StatusResponse *status, const char *id) {
    char typed[ANSWER_BYTES] = "";
    const char *confirm = arguments_option(arguments, "confirm");
    if (confirm == NULL) {
        int exit_code = kill_ask(address, status, id, typed);
        if (exit_code != CTL_OK) {
            return exit_code;
        }
        confirm = typed;
    }
    if (strcasecmp(confirm, id) != 0) {
        ctl_error("'%s' is not the id of %s, which is %s; nothing was killed", confirm, address,
                  id);
        return CTL_REFUSED;
    }
    return CTL_OK;
}

static int kill_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[RPC_ADDRESS_BYTES_MAX + 1], id[ID_HEX_SIZE];
    const struct chord_command command = {.kind = CHORD_KILL, .node = address, .id = id};
    const Chord__V1__StatusResponse *status;
    struct chord_told told;
    struct rpc_reply reply;
    int exit_code = node_resolve(ctl, arguments->words[0], address);
    if (exit_code == CTL_OK) {
        exit_code = call_status(ctl, address, &reply, &status);
    }
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    ring_id_text(id, status->self->id, status_m(status));
    exit_code = kill_confirm(arguments, address, status, id);
    rpc_reply_free(&reply);
    if (exit_code == CTL_OK) {
        exit_code = call_tell(ctl, &command, &told);
    }
    if (exit_code == CTL_OK) {
        done_print(ctl, address, "killed", "");
    }
    return exit_code;
}

static const struct option wait_options[] = {
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

static const struct option kill_options[] = {
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
