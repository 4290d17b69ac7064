/* SPDX-License-Identifier: MIT */
/* chordctl doctor: asks every member and says PASS, WARN or FAIL for each thing that can be wrong.
 */
#include <stdlib.h>

#include "checkup.h"
#include "output.h"
#include "ctl.h"

static void doctor_table(const struct checkup *checkup) {
    for (size_t i = 0; i < checkup->count; i++) {
        const struct check *check = &checkup->checks[i];
        char more[40] = "";
        if (check->more > 0) {
            snprintf(more, sizeof more, " (and %u more)", check->more);
        }
        line_print("%s  %-10s  %s%s%s%s", checkup_level_text(check->level), check->name,
                   check->reason, more, check->advice[0] != '\0' ? "; " : "", check->advice);
    }
}

static void doctor_json(const struct checkup *checkup) {
    json_t *checks = json_array();
    for (size_t i = 0; i < checkup->count; i++) {
        const struct check *check = &checkup->checks[i];
        (void)json_array_append_new(
            checks, json_pack("{s:s, s:s, s:o, s:o, s:s}", "check", check->name, "verdict",
                              checkup_level_text(check->level), "reason", json_text(check->reason),
                              "more", json_u64(check->more), "advice", check->advice));
    }
    json_print(json_pack("{s:s, s:o, s:o}", "verdict", checkup_level_text(checkup->worst),
                         "members", json_u64(checkup->members_count), "checks", checks));
}

static int doctor_run(struct ctl *ctl, const struct arguments *arguments) {
    struct ring_walk walk;
    if (arguments->words_count > 0) {
        session_client_open(ctl, arguments->words[0], "the command line");
    }
    walk_ring(ctl, &walk);
    ring_walk_clocks(ctl->ring, &walk);
    struct checkup *checkup = memory_new(1, sizeof *checkup);
    checkup_make(&walk, checkup);
    if (ctl->json) {
        doctor_json(checkup);
    } else {
        doctor_table(checkup);
    }
    int exit_code = checkup->worst == CHECKUP_FAIL ? CTL_NOT_FOUND : CTL_OK;
    survival_free(&checkup->verdict.survival);
    free(checkup);
    ring_walk_free(&walk);
    return exit_code;
}

const struct command doctor_command = {
    .name = "doctor",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "what is wrong with the ring, and what to do",
    .help =
        "ADDRESS: any node of the ring. PASS: as it should be; WARN: it works, or mends itself\n"
        "soon; FAIL: somebody must do something. Exits with 1 on a FAIL.\n",
    .run = doctor_run,
};
