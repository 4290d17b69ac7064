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

struct option {
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
    const struct option *options;
    int (*run)(struct ctl *ctl, const struct arguments *arguments);
};

struct arguments {
    const struct command *command; /* NULL: none was given */
    const char *words[CTL_WORDS_MAX];
    unsigned words_count;
    const char *values[CTL_OPTIONS_MAX]; /* of the command's options; "" for one without value */
    const char *node;
    const char *output;
    const char *timeout;
    const char *ring_key_file;
    bool help;
    bool version;
};

/* false = bad usage, said. */
bool arguments_read(struct arguments *arguments, const struct command *commands, int argc,
                    char **argv);
void arguments_help(const struct command *commands, const struct command *command);
/* The value of a command's option; NULL = not given. */
const char *arguments_option(const struct arguments *arguments, const char *name);
/* An option's whole number. false = out of range, said. *value stays when it is not given. */
bool arguments_number(const struct arguments *arguments, const char *name, uint64_t low,
                      uint64_t high, uint64_t *value);
bool number_read(const char *text, uint64_t low, uint64_t high, uint64_t *value);

extern const struct command ring_command, node_command, ping_command, info_command;
extern const struct command keys_command, logs_command;
extern const struct command get_command, put_command, del_command, lookup_command;
extern const struct command leave_command, join_command, kill_command, import_command,
    export_command, recover_command, doctor_command;
extern const struct command merge_command;

/* ---- session ---- */

/* CTL_OK or CTL_USAGE, said. */
int session_open(struct ctl *ctl, const struct arguments *arguments);
/* A client of its own into ctl->ring, of no ring yet, that asks these nodes. As session_open. */
int session_client_open(struct ctl *ctl, const char *nodes, const char *source);
void session_close(struct ctl *ctl);
uint64_t clock_now_ms(void); /* monotonic */
void pause_ms(uint64_t ms);

/* One sentence on stderr, control characters escaped. */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ctl_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- calls ---- */

/* A request that changes nothing, to one node, or to any that answers where `address` is NULL.
 * CTL_OK: *reply holds the response (free it), and `asked` (may be NULL) says who was asked. Else
 * it was said, and freed. */
int call_at(struct ctl *ctl, const char *address, enum rpc_method method,
            const ProtobufCMessage *request, struct rpc_reply *reply,
            char asked[CHORD_ADDRESS_SIZE]);
/* At words[0] when given, else any node. */
int call_word(struct ctl *ctl, const struct arguments *arguments, enum rpc_method method,
              const ProtobufCMessage *request, struct rpc_reply *reply,
              char asked[CHORD_ADDRESS_SIZE]);
/* A command to a node: CTL_OK or said. */
int call_tell(struct ctl *ctl, const struct chord_command *command, struct chord_told *told);
/* The exit code of a node's refusal, with its sentence. */
int call_refused(Chord__V1__Code code, const char *who, const char *message);
/* How a call of the client library ended that did not do what it should: said, and the exit code.
 */
int call_ended(const struct ctl *ctl, const struct chord_answer *answer);
/* A window of rows for the ring, or the end of the program; and what a flush of it comes to. */
struct chord_load *load_new(struct ctl *ctl);
int load_exit(const struct chord_load_result *result);
/* Status of one node: CTL_OK or said. */
int call_status(struct ctl *ctl, const char *address, struct rpc_reply *reply,
                const Chord__V1__StatusResponse **status);
/* The walk round the ring: CTL_OK, or said. Free with ring_walk_free. */
int walk_ring(struct ctl *ctl, struct ring_walk *walk);
/* Hears of other members, so that a long command goes on when the node it began with is lost.
 * CTL_OK, or said: nobody is there. */
int nodes_learn(struct ctl *ctl);
/* An address, or an id that is looked for in the ring: CTL_OK and the address, or said. */
int node_resolve(struct ctl *ctl, const char *word, char address[RPC_ADDRESS_BYTES_MAX + 1]);

#endif
