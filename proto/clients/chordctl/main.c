/* SPDX-License-Identifier: MIT */
/*
 * chordctl: the command line of a Chord ring, for people and scripts. This file: the table of
 * commands, and what happens around each.
 */
#include <signal.h>
#include <stdio.h>

#include "ctl.h"
#include "output.h"

int main(int argc, char **argv) {
    const struct command commands[] = {
        ring_command,   node_command, keys_command,   logs_command,   get_command,
        put_command,    del_command,  lookup_command, import_command, export_command,
        leave_command,  join_command, merge_command,  kill_command,   recover_command,
        doctor_command, ping_command, info_command,   {.name = NULL},
    };
    struct arguments arguments;
    struct ctl ctl = {0};
    if (!arguments_read(&arguments, commands, argc, argv)) {
        return CTL_USAGE;
    }
    int exit_code = CTL_OK;
    if (arguments.version) {
        line_print("chordctl %s", CHORD_VERSION);
    } else if (arguments.help) {
        arguments_help(commands, arguments.command);
    } else {
        exit_code = session_open(&ctl, &arguments);
        if (exit_code == CTL_OK) {
            exit_code = arguments.command->run(&ctl, &arguments);
        }
        session_close(&ctl);
    }
    if (!output_close() && exit_code == CTL_OK) {
        ctl_error("the output could not be written; look at where stdout goes");
        exit_code = CTL_NOT_FOUND;
    }
    return exit_code;
}
