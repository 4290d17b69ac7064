#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Takes the rules of the ring and of the data protocol out of the core, one at a time, and sees that
the simulator notices.

    mutants.py BUILD_FOLDER [NAME...]      BUILD_FOLDER: the `sim` build, for example build/sim

Each mutant changes one place of one file in node/chord/; that file is compiled again and linked
before the core's archive. A mutant is killed when a checker fails in one of the seeds, when the
model's rules do not allow a change in one of their traces, or when a scenario fails. A
text that is not found in its file is an error: the rule has moved, and so must its mutant.

Some rules are not here because the core has a second one behind each, and nothing is seen without
the first: a request for another life is not answered (senders tell of their new life too), a joiner asks
its predecessor to be (the other rules of genesis and admission leave no case of it here), who did not
answer is asked again at once (stabilize and check_predecessor ask soon as well), and questions that were
open at the same time are one silence (which must have lasted for two and a half timeouts too).
Three rules of the data are left to the model, which kills their mutants (tests/model/views_runs.py:
COMMIT_AFTER_ACCEPT, CHANGE_IN_FLIGHT, NEXT_MAJORITY_LACKS); 60 seeds here met no such case. Nor do
they meet again what client seeds of earlier commits found: the late pull of a settling leader (seed
111 of 0b6f30e) and versions that count before what was settled (seed 8446 of 4ceb260). The model has
SETTLE_PULLS_ON and SETTLE_BY_VERSION for these; the second also has test_settled_before_newer.

What protects a newcomer's copy has two scenarios of its own (newcomer_*): a leader is lost within the
second in which its newcomer counts, while another member's disk is full. 60 seeds do not meet that.
"""

import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SIM = Path(__file__).resolve().parent
CORE = SIM.parents[1] / "node" / "chord"
CHECK_TRACE = SIM.parent / "model" / "check_trace.py"
SEEDS = 150
# Rings that have just been formed, with lists as long as they can be: quick, and hard on genesis.
GENESIS = ("--seeds", "1..400", "--n", "8", "--nodes", "9..14", "--minutes", "0.02", "--churn", "0",
           "--faults", "none")
# Clients under dense faults: for the rules of the data protocol.
CLIENTS = ("--clients", "32", "--rate", "40", "--seeds", "1..60")
TRACE_SEEDS = range(1, 9)
CPU_S = 240  # of its own time: a busy machine kills no mutant

# name: (rule, file, text, replacement)
MUTANTS = {
    "own_former_life_listed": (
        "a life of its own that is over is no successor of a node",
        "successors.c", "        if (address_same(rest->items[i].address, chord->self.address) &&",
        "        if (false && address_same(rest->items[i].address, chord->self.address) &&",
        "test_core_place"),
    "adopt_unasked": (
        "a pointer heard from a third party is adopted only after its target answered",
        "stabilize.c", "        query_start(step, QUERY_CANDIDATE, between);\n",
        "        struct chord_peer_list rest = {.count = 1};\n"
        "        rest.items[0] = successor;\n"
        "        for (uint16_t i = 0; i + 1 < response->ring.successors.count; i++) {\n"
        "            rest.items[rest.count++] = response->ring.successors.items[i];\n"
        "        }\n"
        "        successors_adopt(step, between, &rest);\n        notify_send(step);\n"),
    "forming_believed": (
        "genesis ends for all at once: a list from one still in it is not taken",
        "stabilize.c", "(response->ring.forming && !chord->serial_admission)", "false"),
    "query_survives_genesis": (
        "genesis ends for all at once: an older answer does not replace its list",
        "genesis.c", "    query_end(chord); /* its", "    /* its"),
    "notify_adopts": (
        "notify only records a candidate; rectify asks the old predecessor first",
        "stabilize.c", "    if (chord->query.kind == QUERY_NONE) {\n        rectify_start(step);\n",
        "    if (true) {\n        predecessor_set(step, sender);\n        chord->candidate = NONE;\n"),
    "dead_predecessor_kept": (
        "a predecessor that does not answer is cleared",
        "peers.c", "        predecessor_set(step, NULL);\n", "        (void)predecessor_set;\n"),
    "list_unordered": (
        "lists are ordered, have no self and no duplicates, and never wrap",
        "successors.c", "        id_in_open(last, &peer->id, &chord->self.id)) {",
        "        last != NULL) {"),
    "genesis_all_at_once": (
        "genesis: the joiner is a member before anybody else hears of it",
        "genesis.c", "    genesis->running = send_list(step, genesis->joiner);\n",
        "    for (uint16_t i = 0; i < members.count; i++) {\n"
        "        genesis->running = (genesis->answered & 1ull << i) != 0 || send_list(step, i);\n"
        "    }\n"),
    "genesis_lists_replaced": (
        "genesis: the authority's list is the newest; an older one takes no member from it",
        "stabilize.c", "        successors_unite(chord, &united);\n", "        (void)successors_unite;\n"),
    "list_of_one": (
        "a joiner takes its successor's whole list, not one entry",
        "join.c", "successors_adopt(step, &chord->join.successor, &response->join.successors);",
        "struct chord_peer_list none = {.count = 0};\n"
        "        successors_adopt(step, &chord->join.successor, &none);"),
    "list_not_read": (
        "stabilize takes the successor's list",
        "stabilize.c", "    successors_adopt(step, &successor, &response->ring.successors);\n",
        ""),
    "dead_successor_kept": (
        "a successor that does not answer leaves the list",
        "peers.c", "        if (chord->successors[i] != index) {",
        "        if (chord->successors[i] != index || i == 0) {"),
    "fingers_trusted": (
        "fingers are hints: a lookup falls back to others",
        "lookup.c", "    if (lookup->fallbacks_count > 0) {\n        struct chord_peer next",
        "    if (lookup->restarts > RESTARTS_MAX) {\n        struct chord_peer next"),
    "genesis_parallel": (
        "until N+1 members one authority admits one joiner at a time",
        "genesis.c", "    chord->serial_admission = true;\n    memcpy(chord->creator, "
        "chord->self.address",
        "    chord->serial_admission = false;\n    memcpy(chord->creator, chord->self.address"),
    "genesis_short": (
        "genesis ends at N+1 members, not before",
        "genesis.c", "    return members >= chord->parameters.n + 1;",
        "    (void)chord;\n    return members >= 2;"),
    "no_new_authority": (
        "when the creator dies before N+1 the lowest id takes over",
        "genesis.c", "    if (peer_same(authority, &chord->self)) {", "    if (false) {"),
    "all_recreate": (
        "a whole ring is made again by the lowest id only",
        "seeds.c", "    bool lowest = ", "    bool lowest = true || "),
    "same_incarnation": (
        "a returner is a new member",
        "join.c", "    chord->self.incarnation++;\n    join_begin(step, event",
        "    chord->self.incarnation += chord->self.incarnation == 0;\n    join_begin(step, event"),
    "twin_ids": (
        "an id that is taken is refused to a joiner",
        "admit.c", "    if (id_taken(chord, joiner)) {", "    if (false && id_taken(chord, joiner)) {"),
    "race_for_one_id": (
        "two joiners that race for one id: the second gets ID_IN_USE",
        "admit.c", "    admitted_add(chord, joiner);\n", "    (void)admitted_add;\n"),
    "never_full": (
        "a full ring refuses",
        "free_id.c", '        join_refuse(step, "the ring is full: every one of the 2^M ids is taken");\n',
        "        join_later(chord, JOIN_PING, JOIN_ROUND_MS);\n"),
    "no_graveyard": (
        "removed peers are asked again, and self is looked up through others: rings merge",
        "unify.c", "    ping_removed(step);\n    const struct chord_peer *peer = random_peer(chord);",
        "    (void)ping_removed;\n    (void)random_peer;\n    const struct chord_peer *peer = NULL;"),
    "no_check_predecessor": (
        "the predecessor is asked when it is quiet",
        "stabilize.c", "    if (chord->predecessor != NONE && quiet(chord, chord->predecessor)) {",
        "    if (false && quiet(chord, chord->predecessor)) {"),
    "united_lists_unasked": (
        "whom a united list of genesis holds is asked by each who holds it",
        "stabilize.c", "    check_successor(step);\n", "    (void)check_successor;\n"),
}

# The same of the data protocol.
DATA_MUTANTS = {
    "ack_before_majority": (
        "a write is acknowledged when a majority has it on disk",
        "execute.c", "bits_count(batch->acked) >= view_majority(&range->view)",
        "bits_count(batch->acked) >= 1"),
    "read_unconfirmed": (
        "a read is answered when a majority said after it began that it is still at the epoch",
        "execute.c", "batch->confirm = confirm_read(step, range_index);", "batch->confirm = 0;"),
    "keys_not_taken": (
        "one write is in flight per key, and a read waits for it",
        "execute.c", "        if (holder != NONE && holder != index) {",
        "        if (operations[i].kind == CHORD_GET && false) {"),
    "check_at_any_epoch": (
        "a member that has gone on does not confirm a read",
        "replica.c", "    } else if (range_exact(step->chord, range, request->rows.epoch) == NONE) {",
        "    } else if (false) {"),
    "unsettled": (
        "a new leader takes the newest rows of a majority before it serves",
        "leader.c", "    if (!range->settled) {\n        settle_advance(step, index);\n",
        "    range->settled = true;\n    if (!range->settled) {\n        settle_advance(step, index);\n"),
    "pieces_stay": (
        "what is left of a view that is over is remembered with its members",
        "leader.c", " || range_remember(step, view))", ")",
        "test_core_data"),
    "copies_stay": (
        "of two members with one store one stops",
        "copies.c", "        copy_refused(step, peer->address);", "        (void)step;"),
    "own_name_answers": (
        "at another name of this host nobody else is",
        "request.c", "    if (own_request(chord, request)) {",
        "    if (false && own_request(chord, request)) {"),
    "nobody_stays": (
        "where everybody leaves, one stays",
        "leave.c", "    } else if (chord->stay_ms <= chord->now_ms) {",
        "    } else if (false && chord->stay_ms <= chord->now_ms) {"),
    "renamed_leader_answers": (
        "a leader that has left its seat's address is no leader to who asks there",
        "replica.c", "    return view_self(chord, view) == view->leader && !view_leads(chord, view);",
        "    return false && view_leads(chord, view);"),
    "gone_is_ok": (
        "a node that is in no ring yet says that it did nothing",
        "request.c", "    if (kind == CHORD_BATCH || kind == CHORD_LOOKUP) {",
        "    if (kind == CHORD_LOOKUP) {"),
    "overtaken_is_executed": (
        "a write that newer ones have overtaken is executed only when all of these are known",
        "operations.c", "    return row_newer(at, write->seen) ? CANNOT_TELL : NEVER_EXECUTED;",
        "    return NEVER_EXECUTED;"),
    "own_past_overlooked": (
        "a leader looks for a write among those that it executed since",
        "operations.c", "        if (memcmp(past->op_id, write->op_id, OPERATION_OP_ID_BYTES) == 0) {",
        "        if (false) {"),
    "refused_and_done_later": (
        "a late copy of a write that was refused does not take effect",
        "operations.c", "        if (conditional && row_newer(newest, write->seen)) {",
        "        if (conditional && false) {"),
    "repeat_says_existed": (
        "a repeat is told what the first was told",
        "operations.c", "        return repeated(write, row->content, row->version, row->existed);",
        "        return repeated(write, row->content, row->version, value);"),
    "forget_with_a_copy_behind": (
        "deletions are forgotten when all members have them, not only a majority",
        "tombstones.c", "           range_all_equal(range);",
        "           bits_count(range->switched & range->synced) >= view_majority(&range->view);"),
    "no_floor": (
        "where deletions were forgotten, an absent row counts as deleted then",
        "execute.c", "    action->store.floor = range_at(step->chord, batch->range.slot)->view.floor;\n", ""),
    "equal_keeps_old_rows": (
        "a copy that is made equal loses the rows of earlier epochs that its leader has not",
        "pull.c", "*drop_epoch = transfer->equal ? transfer->epoch : 0;", "*drop_epoch = 0;"),
    "learner_not_told": (
        "each new write goes to the learner too",
        "execute.c", "    if (range->change.stage != CHANGE_NONE && range->change.has_newcomer) {\n"
        "        send_apply", "    if (false) {\n        send_apply"),
    "learner_unequal": (
        "a newcomer has everything before it is a member",
        "change.c", "    if (!ok) {\n        change_abort(step, index, \"the newcomer could not learn\");\n"
        "        return;\n    }\n", ""),
    "unseated_leads": (
        "a seat is a store at an address: a copy elsewhere does not lead",
        "seats.c", " &&\n           address_same(member->address, chord->self.address);", ";"),
    "unseated_counts": (
        "a vote from elsewhere than the seat does not count towards a majority",
        "proposer.c", "bits_count(decision->agreed & ~decision->away)", "bits_count(decision->agreed)"),
    "moved_settles_by_majority": (
        "a view with moved seats is settled from more than a majority",
        "seats.c", "    return view->moved ? view_move_quorum(view) : view_majority(view);",
        "    return view_majority(view);"),
    "better_copy_unread": (
        "a leader goes by the word of a better copy only once it has read that copy",
        "settle.c", "        best && bits_count(range->merged) >= copies",
        "        (best || !best) && bits_count(range->merged) >= copies"),
    "forgotten_not_equal": (
        "when deletions are forgotten all copies are equal: an old one does not bring them back",
        "views.c", "    return view->floor == view->epoch && seat != NONE && ",
        "    return view->epoch == 0 && seat != NONE && "),
    "seats_stay": (
        "where most members have moved their seats follow them",
        "seats.c", "    return taken < view_copies_needed(view);", "    return taken > UINT16_MAX;"),
    "copy_stays": (
        "who has the store id of a living seat, or of one that moved without it, is refused",
        "copies.c", "    struct chord_action *action =\n",
        "    if (address[0] != '\\0') {\n        return;\n    }\n    struct chord_action *action =\n"),
}


# What the simulator's plans do not hold (two rings, a disk that lied, one that is full at a chosen
# moment): the unit test that is named, on the simulator's host, notices.
UNIT_MUTANTS = {
    "rings_mixed": (
        "what is meant for another ring is refused",
        "request.c", "    if (request->has_ring_id && chord->parameters.m != 0 &&",
        "    if (false && request->has_ring_id && chord->parameters.m != 0 &&", "test_core_rings"),
    "settled_by_hearsay": (
        "a leader stays settled only by its own decision",
        "views.c", "    range->serial = serial_new(chord);",
        "    range->serial = serial_new(chord);\n    range->settled = view->settled;",
        "test_core_data"),
    "older_epoch_writes": (
        "a leader does not write for who has seen a later epoch than its own",
        "operations.c", "write->seen.epoch > next.epoch) {", "false) {", "test_core_data"),
    "one_arc_for_two": (
        "of two joiners for one arc the second waits for the first",
        "admit.c", "arc_is_given(chord, joiner) ||", "false ||", "test_core_place"),
    "arc_kept_for_one_unheard": (
        "who was let in and is not heard of keeps its arc for some round trips only",
        "admit.c", "GRANTED_MS - ARC_MS", "0", "test_core_place"),
    "no_time_to_come_back": (
        "who was asked at its address keeps its room for as long as it needs to come back",
        "admit.c", "entry->answered_ms + STAYS_MS + STAYS_ROUNDS * (entry->answered_ms - asked_ms)",
        "asked_ms + STAYS_MS", "test_core_place"),
    "same_place_again": (
        "who joins at another place has another id",
        "join.c", "        if (entrance->another_place) {", "        if (false) {", "test_core_place"),
    "genesis_asks_nobody_to_look_again": (
        "who chose its place before the last round of genesis looks again",
        "genesis.c", "    return chord->config.places_evenly && joiner->incarnation == 1 &&",
        "    return false &&", "test_core_place"),
    "others_came_first": (
        "who finds that others came first chooses again",
        "place.c", "    if (will_do(chord, smaller_part(&arc, &chord->self.id, m))) {", "    if (true) {",
        "test_core_place"),
    "hosts_do_not_count": (
        "the copies of a range are on different hosts",
        "plan.c", "        if (hosts_add(&hosts, peers[i]->host_id)) {", "        if (true) {", "test_core_hosts"),
    "lists_do_not_grow": (
        "a list grows until it reaches as many hosts as there are copies",
        "successors.c", "        if (i < chord->parameters.n || (another && list->items[i].host_id != 0)) {",
        "        if (i < chord->parameters.n || (another && false)) {", "test_core_hosts"),
    "a_join_brings_copies_together": (
        "who makes room for a new owner is one whose host has another copy",
        "plan.c", "        change->has_leaver = extra_member(chord, range, desired, count, &change->leaver);",
        "        (void)count;", "test_core_hosts"),
    "leader_of_another_part": (
        "a leader that the ring does not ask is judged by what it took to answer its members",
        "replica.c", "    return peer != NONE || range->watch_trip_ms == 0", "    return true",
        "test_core_hosts"),
    "unknown_hosts_are_one": (
        "a host that is not known counts as another one each time",
        "plan.c", "        if (hosts_add(&hosts, peers[i]->host_id)) {",
        "        if (hosts_add(&hosts, peers[i]->host_id + 1)) {", "test_core_hosts"),
    "silent_half_asked_again": (
        "where a majority does not answer in time, all are asked for a while",
        "read_check.c", "    if (chord->now_ms < range->check.wide_ms) {", "    if (false) {",
        "test_core_messages"),
    "late_answers_unlearned": (
        "the longest late answer makes timeouts longer",
        "stalls.c", "    if (ms > chord->stalls.now_ms) {", "    if (false) {", "test_core_stalls"),
    "lost_question_learned": (
        "a question that was lost is no stall",
        "peers.c", "late && entry->struck_ms != 0 ?", "entry->struck_ms != 0 ?", "test_core_ring"),
    "any_stall_is_waited_for": (
        "no stall makes timeouts longer than an outage may be noticed late",
        "stalls.c", "ms < STALL_MS_MAX ? (uint32_t)ms : STALL_MS_MAX", "(uint32_t)ms",
        "test_core_stalls"),
    "stalls_kept": (
        "stalls are forgotten",
        "stalls.c", "        stalls->now_ms = 0;\n", "", "test_core_stalls"),
    "no_longer_the_second_time": (
        "who did not answer has twice as long for the next question",
        "peers.c", " * (again ? 2 : 1)", " * 1", "test_core_stalls"),
    "patience_with_the_closed": (
        "a closed connection needs no patience",
        "peers.c", "    if (entry != NULL && !entry->disconnected) { /* a", "    if (entry != NULL) { /* a",
        "test_core_stalls"),
    "full_leader_stays": (
        "a leader whose disk refuses its switch or its promise resigns",
        "leader.c", "            range->resigned = !ok;", "            range->resigned = false;",
        "test_core_copies"),
}
ALL = {**MUTANTS, **DATA_MUTANTS, **UNIT_MUTANTS}


def core_file(file):
    """In whichever room of the core it is."""
    return next(CORE.glob(f"*/{file}"))


def compiled(build, folder, file, text, name="chord-sim"):
    """Links chord-sim, or the unit test of that name, with `text` in place of the core's `file`."""
    source, target = folder / file, folder / name
    source.write_text(text)
    tests = build / "tests"
    if name == "chord-sim":
        objects = tests / "sim" / "CMakeFiles" / "chord-sim.dir"
        libraries = [tests / "sim" / "libsim_workload.a", build / "node" / "libchord_wire.a",
                     build / "proto" / "libchord_messages.a"]
    else:
        objects = tests / "CMakeFiles" / f"{name}.dir" / "unit"
        libraries = [tests / "libdata_fixture.a", tests / "libcore_seeds.a"]
    libraries += [tests / "sim" / "libcore_host.a", build / "node" / "chord" / "libchord_core.a"]
    command = ["cc", "-std=c17", "-O2", "-g", "-D_GNU_SOURCE", f"-I{CORE}",
               f"-I{core_file(file).parent}", str(source),
               *map(str, sorted(objects.glob("*.o"))), *map(str, libraries), "-lcmocka",
               "-lprotobuf-c", "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def unit_failure(program):
    done = subprocess.run([str(program)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return next((line for line in done.stdout.splitlines() if line.startswith("ERROR: ")), None)


def failure(program, *arguments):
    """What went wrong in a run; None: nothing."""
    done = subprocess.run([str(program), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 9)))
    if done.returncode == -signal.SIGXCPU:
        return "it does not end"
    if done.returncode == 0:
        return None
    for line in done.stdout.splitlines():
        if line.startswith("not ok"):
            return line.split("scenarios/")[-1]
        if line.startswith("VIOLATION"):
            return "seed: " + line
        if line.startswith("replay:"):
            return line
    raise SystemExit(f"{program.name} died with {done.returncode}: {done.stdout}")


def trace_failure(program):
    """Whether the model's rules object to what changed in a run."""
    trace = program.parent / "ring.trace"
    for seed in TRACE_SEEDS:
        subprocess.run([str(program), "--seed", str(seed), "--no-shrink", "--ring-trace",
                        str(trace)], stdout=subprocess.DEVNULL, check=False)
        done = subprocess.run([sys.executable, str(CHECK_TRACE), str(trace)],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            return f"the model's rules: seed {seed}: {done.stdout.splitlines()[0]}"
    return None


def kill(build, name):
    _, file, text, replacement, *unit_test = ALL[name]
    original = core_file(file).read_text()
    if original.count(text) != 1:
        raise SystemExit(f"mutant {name}: its text stands {original.count(text)} times in {file}")
    with tempfile.TemporaryDirectory(prefix="chord-mutant-") as folder:
        if unit_test:
            return unit_failure(compiled(build, Path(folder), file,
                                         original.replace(text, replacement), unit_test[0]))
        program = compiled(build, Path(folder), file, original.replace(text, replacement))
        scenarios = sorted(map(str, (SIM / "scenarios").glob("*.txt")))
        if name in DATA_MUTANTS:
            return failure(program, *CLIENTS, "--stop", "--no-shrink") or \
                failure(program, *scenarios)
        return failure(program, *GENESIS, "--stop", "--no-shrink") or \
            failure(program, "--seeds", f"1..{SEEDS}", "--stop", "--no-shrink") or \
            trace_failure(program) or failure(program, *scenarios)


def main():
    if len(sys.argv) < 2 or "--help" in sys.argv:
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    build, names = Path(sys.argv[1]).absolute(), sys.argv[2:] or list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        raise SystemExit(f"no mutant {unknown[0]}; there are: {', '.join(ALL)}")
    killed = 0
    for name in names:
        how = kill(build, name)
        killed += how is not None
        rule = ALL[name][0]
        print(f"{'killed' if how else 'ALIVE '} {name}: {rule}: {how}", flush=True)
    print(f"killed {killed}/{len(names)}")
    return 0 if killed == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
