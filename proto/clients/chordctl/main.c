/* SPDX-License-Identifier: MIT */
/*
 * chordctl: the command line of a Chord ring, for people and scripts. This file: the table of
 * commands, and what happens around each.
 */

#include "ctl.h"
#include "output.h"

int main(int argc, char **argv) {
    const struct command commands[] = {
        ring_command,    node_command,   keys_command,      logs_command,   get_command,
        put_command,     del_command,    lookup_command,    import_command, export_command,
        leave_command,   join_command,   rebalance_command, merge_command,  kill_command,
        recover_command, doctor_command, backup_command,    ping_command,   info_command,
        {.name = NULL},
    };
    struct arguments arguments;
    struct ctl ctl = {0};
    arguments_read(&arguments, commands, argc, argv);
    if (arguments.globals[GLOBAL_VERSION] != NULL) {
        line_print("chordctl %s", CHORD_VERSION);
        ctl_exit(CTL_OK);
    }
    if (arguments.globals[GLOBAL_HELP] != NULL) {
        arguments_help(commands, arguments.command);
        ctl_exit(CTL_OK);
    }
    session_open(&ctl, &arguments);
    ctl_exit(arguments.command->run(&ctl, &arguments));
}
