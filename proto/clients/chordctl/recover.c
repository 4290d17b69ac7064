/* SPDX-License-Identifier: MIT */
/* chordctl recover: a range goes on with the copies that are left. */
#include <string.h>
#include <strings.h>

#include "ctl.h"
#include "output.h"

/* The range of the node whose last id is `hi`; NULL: none. */
static const Chord__V1__View *range_named(const Chord__V1__StatusResponse *status, const char *hi) {
    for (size_t i = 0; i < status->n_ranges; i++) {
        const Chord__V1__View *view = status->ranges[i]->view;
        char text[ID_HEX_SIZE];
        if (view != NULL && view->range != NULL) {
            ring_id_text(text, view->range->hi, status_m(status));
            if (strcasecmp(text, hi) == 0) {
                return view;
            }
        }
    }
    return NULL;
}

static void recover_confirm(const struct arguments *arguments, const Chord__V1__View *view,
                            const char *hi) {
    char typed[ASK_BYTES];
    const char *confirm = arguments_option(arguments, "confirm");
    if (confirm == NULL) {
        ask_check("--confirm ", hi);
        ctl_note("the range that ends at %s has these members:", hi);
        for (size_t i = 0; i < view->n_members; i++) {
            ctl_note("  %s", view->members[i]->address);
        }
        ctl_note("it goes on with the copies that are left; writes that only the lost ones had are "
                 "missing then,\nalso acknowledged ones, and the range stays marked for ever. If a "
                 "lost disk may come back,\nbring it back instead.");
        ask("type the range's last id to do it", typed);
        confirm = typed;
    }
    if (strcasecmp(confirm, hi) != 0) {
        ctl_fail(CTL_REFUSED, "'%s' is not %s; nothing was done", confirm, hi);
    }
}

static void recovered_print(struct ctl *ctl, const struct chord_told *told, const char *hi) {
    if (ctl->json) {
        json_print(json_pack("{s:o, s:o, s:o}", "hi", json_text(hi), "epoch", json_u64(told->epoch),
                             "copies", json_u64(told->copies)));
    } else {
        line_print("recovered: the range that ends at %s goes on with %zu cop%s", hi, told->copies,
                   told->copies == 1 ? "y" : "ies");
    }
}

static int recover_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE], lo[ID_HEX_SIZE];
    struct chord_told told;
    struct rpc_reply reply;
    const char *hi = arguments_option(arguments, "range");
    if (hi == NULL) {
        ctl_fail(CTL_USAGE,
                 "which range? give --range with its last id (chordctl node ADDRESS shows it)");
    }
    node_resolve(ctl, arguments->words[0], address);
    const Chord__V1__StatusResponse *status = call_status(ctl, address, &reply);
    const Chord__V1__View *view = range_named(status, hi);
    if (view == NULL) {
        ctl_fail(CTL_NOT_FOUND, "%s knows no range that ends at %s", address, hi);
    }
    ring_id_text(lo, view->range->lo, status_m(status));
    recover_confirm(arguments, view, hi);
    const struct chord_command command = {
        .kind = CHORD_RECOVER, .node = address, .id = hi, .lo = lo, .epoch = view->epoch};
    rpc_reply_free(&reply);
    call_tell(ctl, &command, &told);
    recovered_print(ctl, &told, hi);
    return CTL_OK;
}

static const struct flag recover_options[] = {
    {0, "range", "ID", "the range, by its last id"},
    {0, "confirm", "ID", "the same again, for scripts; else it is asked for"},
    {0, NULL, NULL, NULL},
};
const struct command recover_command = {
    .name = "recover",
    .words = "ADDRESS",
    .words_min = 1,
    .words_max = 1,
    .summary = "go on with the copies that are left of a range",
    .help = "For a range that has lost a majority of its copies for good. ADDRESS: a node that has "
            "one.\n",
    .options = recover_options,
    .run = recover_run,
};
