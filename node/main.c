/* SPDX-License-Identifier: MIT */
/*
 * chord-node: settings from flags and environment, then the loop. Precedence: default, environment,
 * flag. A value out of range stops the start with one sentence.
 */
#include "hash.h"
#include "host_id.h"
#include "node.h"
#include "resources.h"
#include "private.h"
#include "store_restore.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char usage[] =
    "chord-node --listen HOST:PORT --data DIR [options]: one member of a Chord ring\n"
    "\n"
    "  --listen HOST:PORT       where to listen, and the address that other members dial\n"
    "  --data DIR               folder of the database and the log; made when missing\n"
    "  --create                 without old data and without --join: make a new ring, unless\n"
    "                           another one looks for a lost member at this address (7 s)\n"
    "  --join HOST:PORT[,...]   members of the ring to join                      (JOIN)\n"
    "  --m BITS                 identifier bits, 3..160                          (M)\n"
    "  --n COUNT                successors kept, 1..32                           (N)\n"
    "  --replicas COUNT         copies of each key, 1..N+1                       (REPLICAS)\n"
    "  --channel-size COUNT     open data requests, 1..60000          (DEFAULT_CHANNEL_SIZE)\n"
    "  --host-id NAME           what fails as a whole: the machine (by itself), or a room or "
    "zone;\n"
    "                           the copies of a key are put on different ones      (HOST_ID)\n"
    "  --ring-key-file FILE     key shared by the ring's nodes              (RING_KEY_FILE)\n"
    "  --ring-key-also-file FILE  another one that they take, while it is changed\n"
    "                                                                  (RING_KEY_ALSO_FILE)\n"
    "  --client-key-file FILE   key of programs that read and write        (CLIENT_KEY_FILE)\n"
    "  --reader-key-file FILE   key of programs that only read             (READER_KEY_FILE)\n"
    "  --page URL               where people see this node: told to those who ask for its status\n"
    "  --moved                  the data was copied here and the original is gone for good\n"
    "  --restore BACKUP         make a copy of a node's chord.db the data of a new replica; end\n"
    "  --downgrade-schema 6|7   make the data of a stopped node an earlier version's; end\n"
    "  --exit-with-parent       stop when the process that started it ends\n"
    "  --version, --help\n"
    "\n"
    "Exit codes: 0 stopped, 2 bad setting, 3 cannot listen, 4 data folder unusable or in use,\n"
    "5 refused by the ring, 6 disk failure, 7 a copy of another node's data, 8 data of another\n"
    "version, 1 other.\n";

static void bad(const char *name, const char *value, const char *source, const char *range) {
    fprintf(stderr, "chord-node: %s=%s (from the %s) is out of range: %s\n", name, value, source,
            range);
    exit(NODE_EXIT_SETTING);
}

/* A number from a flag or else the environment; 0 = given by neither. */
static unsigned number(const char *name, const char *flag, unsigned low, unsigned high) {
    const char *source = flag != NULL ? "flag" : "environment";
    const char *text = flag != NULL ? flag : getenv(name);
    if (text == NULL || text[0] == '\0') {
        return 0;
    }
    char range[64];
    errno = 0;
    unsigned long value = strtoul(text, NULL, 10);
    snprintf(range, sizeof range, "a whole number from %u to %u", low, high);
    if (errno != 0 || strspn(text, "0123456789") != strlen(text) || value < low || value > high) {
        bad(name, text, source, range);
    }
    return (unsigned)value;
}

static void address(const char *name, const char *text, size_t length,
                    char out[CHORD_ADDRESS_BYTES]) {
    const char *colon = memchr(text, ':', length);
    char copy[256];
    snprintf(copy, sizeof copy, "%.*s", (int)(length > 255 ? 255 : length), text);
    char *end = NULL;
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    if (colon == NULL || colon == text || length >= CHORD_ADDRESS_BYTES || port < 1 ||
        port > 65535 || end != text + length) {
        bad(name, copy, "settings", "host:port, at most 63 bytes, port 1..65535");
    }
    memset(out, 0, CHORD_ADDRESS_BYTES);
    memcpy(out, text, length);
}

/* Commas, blanks or both between them. */
static void seeds(struct settings *settings, const char *text) {
    text = text != NULL ? text : "";
    for (text += strspn(text, ", \t"); *text != '\0'; text += strspn(text, ", \t")) {
        size_t length = strcspn(text, ", \t");
        if (settings->seeds_count == CHORD_SEEDS_MAX) {
            bad("JOIN", text, "settings", "at most 16 addresses");
        }
        address("JOIN", text, length, settings->seeds[settings->seeds_count++].text);
        text += length;
    }
}

/* With data it needs nobody: the members that it knows are on its disk. */
static bool only_itself(const struct settings *settings) {
    char path[4200];
    snprintf(path, sizeof path, "%s/chord.db", settings->data);
    if (access(path, F_OK) == 0) {
        return false;
    }
    for (unsigned i = 0; i < settings->seeds_count; i++) {
        if (strcmp(settings->seeds[i].text, settings->listen) != 0) {
            return false;
        }
    }
    return settings->seeds_count > 0;
}

enum { KEYS = 4 };

struct flags {
    const char *listen, *join, *m, *n, *replicas, *channel_size, *host_id, *downgrade, *restore;
    const char *keys[KEYS]; /* the ring's, the one that is taken too, clients', readers' */
};

static void read_flags(int argc, char **argv, struct settings *settings, struct flags *flags) {
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"create", no_argument, NULL, 'c'},
                                            {"join", required_argument, NULL, 'j'},
                                            {"m", required_argument, NULL, 'm'},
                                            {"n", required_argument, NULL, 'n'},
                                            {"replicas", required_argument, NULL, 'r'},
                                            {"channel-size", required_argument, NULL, 's'},
                                            {"host-id", required_argument, NULL, 'H'},
                                            {"ring-key-file", required_argument, NULL, '0'},
                                            {"ring-key-also-file", required_argument, NULL, '1'},
                                            {"client-key-file", required_argument, NULL, '2'},
                                            {"reader-key-file", required_argument, NULL, '3'},
                                            {"page", required_argument, NULL, 'P'},
                                            {"moved", no_argument, NULL, 'o'},
                                            {"restore", required_argument, NULL, 'R'},
                                            {"downgrade-schema", required_argument, NULL, 'D'},
                                            {"exit-with-parent", no_argument, NULL, 'p'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'l':
            flags->listen = optarg;
            break;
        case 'd':
            settings->data = optarg;
            break;
        case 'c':
            settings->create = true;
            break;
        case 'j':
            flags->join = optarg;
            break;
        case 'm':
            flags->m = optarg;
            break;
        case 'n':
            flags->n = optarg;
            break;
        case 'r':
            flags->replicas = optarg;
            break;
        case 's':
            flags->channel_size = optarg;
            break;
        case 'H':
            flags->host_id = optarg;
            break;
        case '0':
        case '1':
        case '2':
        case '3':
            flags->keys[option - '0'] = optarg;
            break;
        case 'P':
            settings->page = optarg;
            break;
        case 'o':
            settings->moved = true;
            break;
        case 'R':
            flags->restore = optarg;
            break;
        case 'D':
            flags->downgrade = optarg;
            break;
        case 'p':
            settings->exit_with_parent = true;
            break;
        case 'v':
            puts("chord-node " CHORD_VERSION);
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(NODE_EXIT_SETTING);
        }
    }
}

/* One step back; ends the process. */
static void downgrade(const struct settings *settings, const char *text) {
    char reason[4096 + 300];
    int schema =
        (int)number("--downgrade-schema", text, STORE_SCHEMA_PREVIOUS, STORE_SCHEMA_VERSION - 1);
    enum store_error error = store_downgrade(settings->data, schema, reason, sizeof reason);
    fprintf(error == STORE_OK ? stdout : stderr, "chord-node: %s\n", reason);
    exit(error == STORE_OK ? (int)NODE_EXIT_OK : (int)node_exit_of_store(error));
}

/* An older copy may not vote any more, so it comes back as a new replica, which the others
 * complete. Ends the process. */
static void restore(const struct settings *settings, const char *backup) {
    char reason[2 * 4096 + 400];
    uint64_t rows = 0;
    enum restore_error error = store_restore(backup, settings->data, &rows, reason, sizeof reason);
    if (error != RESTORE_OK) {
        fprintf(stderr, "chord-node: nothing was restored: %s\n", reason);
        exit(error == RESTORE_NO_BACKUP ? (int)NODE_EXIT_SETTING : (int)NODE_EXIT_DATA);
    }
    printf("chord-node: restored: %s has %llu rows of the backup, under a new store id; start its "
           "node, with JOIN naming a member of its ring\n",
           settings->data, (unsigned long long)rows);
    exit(NODE_EXIT_OK);
}

static void read_keys(struct settings *settings, const struct flags *flags) {
    static const char *const names[KEYS] = {"RING_KEY_FILE", "RING_KEY_ALSO_FILE",
                                            "CLIENT_KEY_FILE", "READER_KEY_FILE"};
    struct rpc_key *const keys[KEYS] = {&settings->key, &settings->also_key, &settings->client_key,
                                        &settings->reader_key};
    for (size_t i = 0; i < KEYS; i++) {
        const char *path = flags->keys[i] != NULL ? flags->keys[i] : getenv(names[i]);
        int rc = path == NULL || path[0] == '\0' ? 0 : rpc_key_read(keys[i], path);
        if (rc != 0) {
            fprintf(stderr, "chord-node: %s=%s cannot be used: %s\n", names[i], path,
                    private_secret_error(rc));
            exit(NODE_EXIT_SETTING);
        }
        if (keys[i]->bytes_count > 0 && keys[0]->bytes_count == 0) {
            fprintf(stderr,
                    "chord-node: %s=%s is set without RING_KEY_FILE: members need a key of their "
                    "own\n",
                    names[i], path);
            exit(NODE_EXIT_SETTING);
        }
        for (size_t other = 0; other < i; other++) {
            if (keys[i]->bytes_count > 0 && keys[i]->bytes_count == keys[other]->bytes_count &&
                memcmp(keys[i]->bytes, keys[other]->bytes, keys[i]->bytes_count) == 0) {
                fprintf(stderr,
                        "chord-node: %s=%s holds the same key as %s, which allows something else: "
                        "make one for it\n",
                        names[i], path, names[other]);
                exit(NODE_EXIT_SETTING);
            }
        }
    }
}

static void check_page(const char *page) {
    enum { PAGE_BYTES_MAX = 255 };
    bool web = strncmp(page, "http://", 7) == 0 || strncmp(page, "https://", 8) == 0;
    bool plain = strlen(page) <= PAGE_BYTES_MAX;
    for (const char *at = page; *at != '\0'; at++) {
        plain = plain && *at > ' ' && *at < 127;
    }
    if (page[0] != '\0' && !(web && plain)) {
        bad("--page", page, "flag", "http://HOST:PORT or https://..., at most 255 bytes");
    }
}

static void read_settings(int argc, char **argv, struct settings *settings) {
    struct flags flags = {0};
    memset(settings, 0, sizeof *settings);
    settings->page = "";
    read_flags(argc, argv, settings, &flags);
    if (optind == argc && flags.downgrade != NULL && settings->data != NULL) {
        downgrade(settings, flags.downgrade);
    }
    if (optind == argc && flags.restore != NULL && settings->data != NULL) {
        restore(settings, flags.restore);
    }
    if (optind != argc || flags.listen == NULL || settings->data == NULL) {
        fputs("chord-node: --listen HOST:PORT and --data DIR are needed; --help explains\n",
              stderr);
        exit(NODE_EXIT_SETTING);
    }
    address("--listen", flags.listen, strlen(flags.listen), settings->listen);
    seeds(settings, flags.join != NULL ? flags.join : getenv("JOIN"));
    if (only_itself(settings)) {
        bad("JOIN", settings->listen, "settings",
            "the address of another member; this is the node's own, --listen");
    }
    settings->wanted.m = number("M", flags.m, CHORD_M_MIN, CHORD_M_MAX);
    settings->wanted.n = number("N", flags.n, 1, CHORD_SUCCESSORS_MAX);
    settings->wanted.replicas = number("REPLICAS", flags.replicas, 1, CHORD_REPLICAS_MAX);
    if (settings->wanted.n != 0 && settings->wanted.replicas > settings->wanted.n + 1) {
        fprintf(stderr, "chord-node: REPLICAS=%u is out of range: 1 to N+1, and N is %u\n",
                settings->wanted.replicas, settings->wanted.n);
        exit(NODE_EXIT_SETTING);
    }
    settings->channel_size = number("DEFAULT_CHANNEL_SIZE", flags.channel_size, 1, 60000);
    if (settings->channel_size == 0) {
        settings->channel_size = 1000;
    }
    const char *host_id = flags.host_id != NULL ? flags.host_id : getenv("HOST_ID");
    if (!host_id_read(host_id, &settings->host)) {
        bad("HOST_ID", host_id, flags.host_id != NULL ? "flag" : "environment",
            "1 to 63 bytes of text without control characters");
    }
    check_page(settings->page);
    read_keys(settings, &flags);
}

/* What others can reach goes by a key only, and what nobody can dial is no address: the rule of the
 * gateway and of init.py, for whoever starts nodes by hand. */
static void check_exposure(const struct settings *settings) {
    char host[CHORD_ADDRESS_BYTES];
    struct in_addr number;
    snprintf(host, sizeof host, "%.*s", (int)strcspn(settings->listen, ":"), settings->listen);
    if (inet_pton(AF_INET, host, &number) == 1 && number.s_addr == htonl(INADDR_ANY)) {
        fprintf(stderr,
                "chord-node: --listen %s cannot be used: other members dial this address; give one "
                "that they can reach, for example 127.0.0.1\n",
                settings->listen);
        exit(NODE_EXIT_SETTING);
    }
    if (!rpc_host_is_private(host) && settings->key.bytes_count == 0) {
        fprintf(
            stderr,
            "chord-node: --listen %s is neither loopback nor a Tailscale address, so others can "
            "reach it: set RING_KEY_FILE, or listen on 127.0.0.1\n",
            settings->listen);
        exit(NODE_EXIT_SETTING);
    }
}

int main(int argc, char **argv) {
    static struct settings settings;
    pid_t parent = getppid();
    sigset_t set;
    private_umask();
    if (!hash_open()) {
        fputs("chord-node: OpenSSL has no SHA-1\n", stderr);
        return NODE_EXIT_OTHER;
    }
    read_settings(argc, argv, &settings);
    check_exposure(&settings);
    if (settings.exit_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            return NODE_EXIT_OK;
        }
    }
    /* Every thread inherits this: one thread waits for the signals. */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* Few arenas, early return: a burst of large messages must not stay in memory. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    char reason[300];
    if (!resources_suffice(reason, sizeof reason)) {
        fprintf(stderr, "chord-node: %s\n", reason);
        return NODE_EXIT_OTHER;
    }
    return (int)node_run(&settings);
}
