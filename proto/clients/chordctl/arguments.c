/* SPDX-License-Identifier: MIT */
/* Reads the command line against the table of commands, and prints the help from the same table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct option global_options[] = {
    {0, "node", "HOST:PORT[,...]",
     "nodes to ask, the first that answers (CHORD_NODE; else HOST and RPC_PORT+1, 127.0.0.1:4001)"},
    {'o', "output", "table|json", "for people (default) or for scripts"},
    {0, "timeout", "MS", "how long to wait, all attempts together, 1..600000 (default 10000)"},
    {0, "ring-key-file", "FILE", "the key that the ring's nodes share (RING_KEY_FILE)"},
    {'h', "help", NULL, "this text; after a command, that command's"},
    {0, "version", NULL, "the version"},
    {0, NULL, NULL, NULL},
};
enum { GLOBAL_NODE, GLOBAL_OUTPUT, GLOBAL_TIMEOUT, GLOBAL_KEY, GLOBAL_HELP, GLOBAL_VERSION };

static const char exit_codes[] =
    "Exit codes: 0 done; 1 not found, a row failed, the ring is not ideal (ring --check), a FAIL\n"
    "(doctor), or the output could not be written; 2 bad usage; 3 no node answered; 4 refused by "
    "the ring;\n"
    "5 outcome unknown: a change was sent and may or may not have been made.\n";

/* ---- help ---- */

static void options_print(const struct option *options) {
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

static const char **global_place(struct arguments *arguments, size_t index) {
    switch (index) {
    case GLOBAL_NODE:
        return &arguments->node;
    case GLOBAL_OUTPUT:
        return &arguments->output;
    case GLOBAL_TIMEOUT:
        return &arguments->timeout;
    default:
        return &arguments->ring_key_file;
    }
}

/* The place of the option in its table; -1 = not there. `name` may go on with "=value". */
static int option_find(const struct option *options, const char *argument) {
    bool is_long = argument[1] == '-';
    for (int i = 0; options != NULL && options[i].name != NULL; i++) {
        size_t length = strlen(options[i].name);
        if (is_long ? strncmp(argument + 2, options[i].name, length) == 0 &&
                          (argument[2 + length] == '\0' || argument[2 + length] == '=')
                    : options[i].letter != 0 && argument[1] == options[i].letter) {
            return i;
        }
    }
    return -1;
}

/* The option's value: in the argument itself or the next one. NULL = bad usage, said. */
static const char *option_value(const struct option *option, int argc, char **argv, int *at) {
    const char *argument = argv[*at];
    const char *inside = argument[1] == '-' ? strchr(argument, '=') : argument + 2;
    if (argument[1] == '-' && inside != NULL) {
        inside++;
    } else if (inside != NULL && *inside == '\0') {
        inside = NULL;
    }
    if (option->value == NULL) {
        if (inside != NULL) {
            ctl_error("option '%s' takes no value; write --%s", argument, option->name);
            return NULL;
        }
        return "";
    }
    if (inside == NULL && *at + 1 < argc) {
        inside = argv[++*at];
    }
    if (inside == NULL) {
        ctl_error("option '%s' needs a value: --%s %s", argument, option->name, option->value);
    }
    return inside;
}

static bool option_read(struct arguments *arguments, int argc, char **argv, int *at) {
    const struct option *own = arguments->command != NULL ? arguments->command->options : NULL;
    int index = option_find(own, argv[*at]);
    if (index >= 0) {
        arguments->values[index] = option_value(&own[index], argc, argv, at);
        return arguments->values[index] != NULL;
    }
    index = option_find(global_options, argv[*at]);
    if (index < 0) {
        ctl_error("option '%s' is not known%s; see chordctl %s%s--help", argv[*at],
                  arguments->command == NULL ? " before the command" : "",
                  arguments->command == NULL ? "" : arguments->command->name,
                  arguments->command == NULL ? "" : " ");
        return false;
    }
    const char *value = option_value(&global_options[index], argc, argv, at);
    if (index == GLOBAL_HELP) {
        arguments->help = value != NULL;
    } else if (index == GLOBAL_VERSION) {
        arguments->version = value != NULL;
    } else {
        *global_place(arguments, (size_t)index) = value;
    }
    return value != NULL;
}

static bool word_read(struct arguments *arguments, const struct command *commands,
                      const char *word) {
    if (arguments->command != NULL) {
        if (arguments->words_count == arguments->command->words_max) {
            ctl_error("'%s' is one word too many: chordctl %s %s", word, arguments->command->name,
                      arguments->command->words);
            return false;
        }
        arguments->words[arguments->words_count++] = word;
        return true;
    }
    for (; commands->name != NULL; commands++) {
        if (strcmp(commands->name, word) == 0) {
            arguments->command = commands;
            return true;
        }
    }
    ctl_error("'%s' is no command; chordctl --help lists them", word);
    return false;
}

bool arguments_read(struct arguments *arguments, const struct command *commands, int argc,
                    char **argv) {
    bool literal = false;
    memset(arguments, 0, sizeof *arguments);
    for (int at = 1; at < argc; at++) {
        if (!literal && strcmp(argv[at], "--") == 0) {
            literal = true;
        } else if (!literal && argv[at][0] == '-' && argv[at][1] != '\0') {
            if (!option_read(arguments, argc, argv, &at)) {
                return false;
            }
        } else if (!word_read(arguments, commands, argv[at])) {
            return false;
        }
    }
    const struct command *command = arguments->command;
    if (arguments->help || arguments->version) {
        return true;
    }
    if (command == NULL) {
        ctl_error("a command is missing; chordctl --help lists them");
        return false;
    }
    if (arguments->words_count < command->words_min) {
        ctl_error("a word is missing: chordctl %s %s", command->name, command->words);
        return false;
    }
    return true;
}

const char *arguments_option(const struct arguments *arguments, const char *name) {
    const struct option *options = arguments->command->options;
    for (size_t i = 0; options != NULL && options[i].name != NULL; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return arguments->values[i];
        }
    }
    return NULL;
}

bool number_read(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < low ||
        number > high) {
        return false;
    }
    *value = number;
    return true;
}

bool arguments_number(const struct arguments *arguments, const char *name, uint64_t low,
                      uint64_t high, uint64_t *value) {
    const char *text = arguments_option(arguments, name);
    if (text == NULL || number_read(text, low, high, value)) {
        return true;
    }
    ctl_error("--%s '%s' is out of range: give a whole number from %llu to %llu", name, text,
              (unsigned long long)low, (unsigned long long)high);
    return false;
}
