/* SPDX-License-Identifier: MIT */
/* Reads the command line against the table of commands, and prints the help from the same table. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const struct flag global_options[] = {
    {0, "node", "HOST:PORT[,...]",
     "nodes to ask, the first that answers (CHORD_NODE; else HOST and RPC_PORT+1, 127.0.0.1:4001)"},
    {'o', "output", "table|json", "for people (default) or for scripts"},
    {0, "timeout", "MS", "how long to wait, all attempts together, 1..600000 (default 10000)"},
    {0, "ring-key-file", "FILE", "the key that the ring's nodes share (RING_KEY_FILE)"},
    {'h', "help", NULL, "this text; after a command, that command's"},
    {0, "version", NULL, "the version"},
    {0, NULL, NULL, NULL},
};
enum {
    LONG_OWN = 256, /* what getopt_long calls long options: above letters */
    LONG_GLOBAL = LONG_OWN + CTL_OPTIONS_MAX,
    OPTIONS_MAX = CTL_OPTIONS_MAX + GLOBALS_COUNT + 1,
};

static const char exit_codes[] =
    "Exit codes: 0 done; 1 not found, a row failed, the ring is not ideal (ring --check), a FAIL\n"
    "(doctor), or the output could not be written; 2 bad usage; 3 no node answered; 4 refused by "
    "the ring;\n"
    "5 outcome unknown: a change was sent and may or may not have been made.\n";

/* ---- help ---- */

static void options_print(const struct flag *options) {
    for (; options != NULL && options->name != NULL; options++) {
        char text[64];
        char letter[] = {'-', options->letter, ',', ' ', '\0'};
        snprintf(text, sizeof text, "%s--%s%s%s", options->letter != 0 ? letter : "", options->name,
                 options->value != NULL ? " " : "", options->value != NULL ? options->value : "");
        printf("  %-24s %s\n", text, options->help);
    }
}

static void command_help(const struct command *command) {
    printf("chordctl %s%s%s: %s\n", command->name, command->words[0] != '\0' ? " " : "",
           command->words, command->summary);
    if (command->help != NULL) {
        printf("\n%s", command->help);
    }
    if (command->options != NULL) {
        fputs("\n", stdout);
        options_print(command->options);
    }
}

void arguments_help(const struct command *commands, const struct command *command) {
    if (command != NULL) {
        command_help(command);
    } else {
        fputs("chordctl [options] COMMAND: look at a Chord ring, use it, change it\n\n", stdout);
        for (; commands->name != NULL; commands++) {
            char text[64];
            snprintf(text, sizeof text, "%s %s", commands->name, commands->words);
            printf("  %-24s %s\n", text, commands->summary);
        }
    }
    fputs("\nEverywhere:\n", stdout);
    options_print(global_options);
    printf("\nA word that begins with '-' stands after '--'. ADDRESS is HOST:PORT or an id.\n%s",
           exit_codes);
}

/* ---- reading ---- */

/* getopt's tables, its letters and its long options. */
struct getopt_tables {
    char letters[3 + 2 * OPTIONS_MAX];
    struct option options[OPTIONS_MAX];
    size_t count;
};

static void tables_add(struct getopt_tables *tables, const struct flag *flags, int first) {
    for (int i = 0; flags != NULL && flags[i].name != NULL; i++) {
        int takes = flags[i].value != NULL ? required_argument : no_argument;
        const char letter[] = {flags[i].letter, takes == required_argument ? ':' : '\0', '\0'};
        tables->options[tables->count++] = (struct option){flags[i].name, takes, NULL, first + i};
        strcat(tables->letters, letter);
    }
}

/* The place of an option that has the letter; -1 = none. */
static int letter_find(const struct flag *flags, int letter) {
    for (int i = 0; flags != NULL && flags[i].name != NULL; i++) {
        if (flags[i].letter == letter) {
            return i;
        }
    }
    return -1;
}

_Noreturn static void option_bad(const struct arguments *arguments, const char *option, int got) {
    const struct command *command = arguments->command;
    ctl_fail(CTL_USAGE, "option '%s' %s; see chordctl %s%s--help", option,
             got == ':'        ? "needs a value"
             : optopt >= 256   ? "takes no value"
             : command == NULL ? "is not known before the command"
                               : "is not known",
             command == NULL ? "" : command->name, command == NULL ? "" : " ");
}

/* Options to the first word, or with a command among its words. */
static void options_read(struct arguments *arguments, int argc, char **argv) {
    const struct flag *own = arguments->command != NULL ? arguments->command->options : NULL;
    struct getopt_tables tables = {.count = 0};
    int got;
    strcpy(tables.letters, arguments->command == NULL ? "+:" : ":");
    tables_add(&tables, own, LONG_OWN);
    tables_add(&tables, global_options, LONG_GLOBAL);
    opterr = 0;
    optind = 0; /* from the start */
    while ((got = getopt_long(argc, argv, tables.letters, tables.options, NULL)) != -1) {
        const char *value = optarg != NULL ? optarg : "";
        int at = got < LONG_OWN ? letter_find(own, got) : got < LONG_GLOBAL ? got - LONG_OWN : -1;
        if (got == '?' || got == ':') {
            option_bad(arguments, argv[optind - 1], got);
        }
        if (at >= 0) {
            arguments->values[at] = value;
        } else {
            at = got < LONG_OWN ? letter_find(global_options, got) : got - LONG_GLOBAL;
            arguments->globals[at] = value;
        }
    }
}

static void words_read(struct arguments *arguments, int argc, char **argv) {
    const struct command *command = arguments->command;
    for (int i = optind; i < argc; i++) {
        if (arguments->words_count == command->words_max) {
            ctl_fail(CTL_USAGE, "'%s' is one word too many: chordctl %s %s", argv[i], command->name,
                     command->words);
        }
        arguments->words[arguments->words_count++] = argv[i];
    }
    if (arguments->words_count < command->words_min) {
        ctl_fail(CTL_USAGE, "a word is missing: chordctl %s %s", command->name, command->words);
    }
}

static bool is_answered(const struct arguments *arguments) {
    return arguments->globals[GLOBAL_HELP] != NULL || arguments->globals[GLOBAL_VERSION] != NULL;
}

void arguments_read(struct arguments *arguments, const struct command *commands, int argc,
                    char **argv) {
    memset(arguments, 0, sizeof *arguments);
    options_read(arguments, argc, argv);
    const char *word = argv[optind];
    if (word != NULL) {
        while (commands->name != NULL && strcmp(commands->name, word) != 0) {
            commands++;
        }
        if (commands->name == NULL) {
            ctl_fail(CTL_USAGE, "'%s' is no command; chordctl --help lists them", word);
        }
        arguments->command = commands;
        argc -= optind;
        argv += optind;
        options_read(arguments, argc, argv);
    }
    if (is_answered(arguments)) {
        return;
    }
    if (word == NULL) {
        ctl_fail(CTL_USAGE, "a command is missing; chordctl --help lists them");
    }
    words_read(arguments, argc, argv);
}

const char *arguments_option(const struct arguments *arguments, const char *name) {
    const struct flag *options = arguments->command->options;
    for (size_t i = 0; options != NULL && options[i].name != NULL; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return arguments->values[i];
        }
    }
    return NULL;
}

uint64_t arguments_number(const struct arguments *arguments, const char *name, uint64_t low,
                          uint64_t high, uint64_t otherwise) {
    const char *text = arguments_option(arguments, name);
    uint64_t value = otherwise;
    if (text != NULL && !number_read(text, low, high, &value)) {
        ctl_fail(CTL_USAGE, "--%s '%s' is out of range: give a whole number from %llu to %llu",
                 name, text, (unsigned long long)low, (unsigned long long)high);
    }
    return value;
}
