/* SPDX-License-Identifier: MIT */
/*
 * Histories as a text: what clients of real processes wrote down, one operation a line. The words
 * of a line, separated by single spaces:
 *
 *   op|last KEY get|put|delete always|absent|match OUTCOME unsaid|existed|not VALUE MATCH
 *           CALLED RETURNED EPOCH COUNTER CLIENT NODE ATTEMPTS
 *
 * OUTCOME is done, refused or unknown; from VALUE on all are whole numbers, times in microseconds.
 * `last` is a read at the end, after all faults: what it found must not be older than what was
 * acknowledged. Lines are read strictly: a history that cannot be read proves nothing.
 */
#ifndef SIM_HISTORY_FILE_H
#define SIM_HISTORY_FILE_H

#include "history.h"

enum { HISTORY_KEY_BYTES = 64, HISTORY_LINE_BYTES = 512 };

struct history_key {
    char name[HISTORY_KEY_BYTES];
    struct history history;
    struct history_entry last; /* the newest of the last reads */
    bool read_last;
};

struct history_file {
    size_t count, room;
    struct history_key *keys;
};

/* 0, or the number of the line that cannot be read; `wrong` says why. */
size_t history_file_read(struct history_file *file, FILE *in, const char **wrong);
void history_file_free(struct history_file *file);

#endif
