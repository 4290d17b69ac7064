/* SPDX-License-Identifier: MIT */
/*
 * What every command of chordctl shares: exit codes, the table of commands, the session with its
 * nodes, calls. chordctl is a client: it knows the contract (proto/) and nothing of a node's
 * inside.
 */
#ifndef CHORDCTL_CTL_H
#define CHORDCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "chord/v1/meta.pb-c.h"
#include "chord/v1/ring.pb-c.h"
#include "clock.h"
#include "ring_walk.h"
#include "rpc.h"
#include "text.h"

/* Fixed: scripts rely on them. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_NOT_FOUND = 1, /* no such key; a row failed; the ring is not ideal; output not written */
    CTL_USAGE = 2,
    CTL_NO_NODE = 3,
    CTL_REFUSED = 4, /* the ring, or a person at the question, said no */
    CTL_UNKNOWN = 5, /* a change was sent, and whether it was made is not known */
};

enum {
    CTL_WORDS_MAX = 20,
    CTL_OPTIONS_MAX = 8, /* of one command */
    ASK_BYTES = 128,
    CTL_TIMEOUT_MS_DEFAULT = 10000,
};

struct ctl {
    struct chord_client *ring;
    struct rpc_key key;
    const char *nodes_source; /* where the addresses came from, for messages */
    bool json;
    bool timeout_given;
    uint32_t timeout_ms;
};

/* ---- commands ---- */

struct flag {
    char letter;       /* 0 = none */
    const char *name;  /* NULL ends a table */
    const char *value; /* what it takes, for the help; NULL = nothing */
    const char *help;
};

struct arguments;

struct command {
    const char *name;
    const char *words; /* "KEY [VALUE|-]", for the help */
    unsigned words_min;
    unsigned words_max;
    const char *summary;
    const char *help; /* more, or NULL */
    const struct flag *options;
    int (*run)(struct ctl *ctl, const struct arguments *arguments);
};

/* Options of every command. */
enum global {
    GLOBAL_NODE,
    GLOBAL_OUTPUT,
    GLOBAL_TIMEOUT,
    GLOBAL_KEY,
    GLOBAL_HELP,
    GLOBAL_VERSION,
    GLOBALS_COUNT
};

struct arguments {
    const struct command *command; /* NULL: none was given */
    const char *words[CTL_WORDS_MAX];
    unsigned words_count;
    const char *values[CTL_OPTIONS_MAX]; /* of the command's options; "" for one without value */
    const char *globals[GLOBALS_COUNT];  /* the same */
};

void arguments_read(struct arguments *arguments, const struct command *commands, int argc,
                    char **argv);
void arguments_help(const struct command *commands, const struct command *command);
/* The value of a command's option; NULL = not given. */
const char *arguments_option(const struct arguments *arguments, const char *name);
/* An option's whole number; `otherwise` when it is not given. */
uint64_t arguments_number(const struct arguments *arguments, const char *name, uint64_t low,
                          uint64_t high, uint64_t otherwise);

extern const struct command ring_command, node_command, ping_command, info_command;
extern const struct command keys_command, logs_command;
extern const struct command get_command, put_command, del_command, lookup_command;
extern const struct command leave_command, join_command, kill_command, import_command,
    export_command, recover_command, doctor_command;
extern const struct command merge_command, rebalance_command, backup_command;

/* ---- session ---- */

void session_open(struct ctl *ctl, const struct arguments *arguments);
/* A client of its own into ctl->ring, of no ring yet, that asks these nodes. */
void session_client_open(struct ctl *ctl, const char *nodes, const char *source);

/* Closes every session and ends the program. A function that cannot do its work says so and ends
 * the program: those below return only on success. */
_Noreturn void ctl_exit(int exit_code);
/* The same after one sentence. */
_Noreturn void ctl_fail(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One sentence on stderr, control characters escaped. */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ctl_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- calls ---- */

/* A request that changes nothing, to one node, or to any that answers where `address` is NULL. Free
 * the reply; `asked` (may be NULL) says who was asked. */
void call_at(struct ctl *ctl, const char *address, enum rpc_method method,
             const ProtobufCMessage *request, struct rpc_reply *reply,
             char asked[CHORD_ADDRESS_SIZE]);
/* At words[0] when given, else any node. */
void call_word(struct ctl *ctl, const struct arguments *arguments, enum rpc_method method,
               const ProtobufCMessage *request, struct rpc_reply *reply,
               char asked[CHORD_ADDRESS_SIZE]);
void call_tell(struct ctl *ctl, const struct chord_command *command, struct chord_told *told);
/* Ends with a node's refusal, with its sentence and exit code. */
_Noreturn void call_refused(Chord__V1__Code code, const char *who, const char *message);
/* Ends with how a call of the client library ended that did not do what it should. */
_Noreturn void call_ended(const struct ctl *ctl, const struct chord_answer *answer);
/* Status of one node, which names itself; free the reply. */
const Chord__V1__StatusResponse *call_status(struct ctl *ctl, const char *address,
                                             struct rpc_reply *reply);
/* The walk round the ring; free it with ring_walk_free. */
void walk_ring(struct ctl *ctl, struct ring_walk *walk);
/* Hears of other members, so that a long command goes on when the node it began with is lost. */
void nodes_learn(struct ctl *ctl);
/* The address that a word names: an address, or an id that is looked for in the ring. */
void node_resolve(struct ctl *ctl, const char *word, char address[CHORD_ADDRESS_SIZE]);
/* Until the node is in `state`; ends with CTL_UNKNOWN when that takes longer (member.c). */
void node_await(struct ctl *ctl, const char *address, Chord__V1__NodeState state,
                uint32_t within_ms);
/* Ends where there is no terminal to ask at: the option should have been given. */
void ask_check(const char *option, const char *value);
/* What a person types after `prompt`. */
void ask(const char *prompt, char typed[ASK_BYTES]);

#endif
