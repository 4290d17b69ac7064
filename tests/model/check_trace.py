#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks a ring trace of the simulator against the rules of the model (node.pml).

    check_trace.py FILE [--window-ms MS]

Each line of the trace is one change of a member's state, successor list or predecessor. A change
must be one that a step of the model makes, given what the node that was asked had at some moment
of the call, which lies at most the window before the change:

    adopt      the list is [asked] + asked's list, cut where it wraps, and at n or as far behind as
               it leads on to further hosts (node/chord/README.md); asked is the first successor, or lies before it, or the list was empty        stabilize, merge
    admit      a joiner adopts so, and asked had a predecessor before the joiner    join, member
    remove     entries go that are dead, suspected, have left or came back as a new member
                                                                          failure, left
    rectify    the predecessor was unknown, or the new one is nearer      rectify
    genesis    before the list was ever full, the authority's ordered list  genesis, create, recreate
    out        a node that leaves, or joins anew, has no neighbours       left, join

Always: lists are ordered clockwise, have no self, no duplicate and at most n entries; where the first
line tells of hosts (node i is on host i % hosts), at most 32.
Prints each line that breaks a rule; exit code 0 only if there is none.
"""

import argparse
import sys
from dataclasses import dataclass, field

NONE = "-"
LIST_MAX = 32
STATES = ("none", "joining", "member", "leaving", "left")
ADOPT_WORDS = {"stabilize", "merge", "notify"}
JOIN_WORDS = {"join", "member", "stabilize"}
# A round may end by giving up who did not answer: one step, whose last word is failure.
GENESIS_WORDS = {"genesis", "create", "recreate", "member", "stabilize", "rectify", "failure"}
# A message of a new life ends the old one in the step that also rectifies or admits.
REMOVE_WORDS = {"failure", "left", "rectify", "stabilize", "admit", "suspect", "leave"}
RECTIFY_WORDS = {"rectify", "notify"}


class BadTrace(Exception):
    pass


@dataclass
class Ring:
    """What one life of a node has."""
    state: str = "none"
    succ: tuple = ()
    pred: str = NONE


@dataclass
class Life:
    id: int
    full: bool = False  # its list had n entries once
    dead_us: int = None
    history: list = field(default_factory=list)  # (time_us, Ring)

    @property
    def now(self):
        return self.history[-1][1] if self.history else Ring()

    def during(self, from_us):
        """Every Ring that it had at some moment since from_us."""
        found = []
        for time_us, ring in reversed(self.history):
            found.append(ring)
            if time_us < from_us:
                break
        return found


class Checker:
    def __init__(self, m, n, replicas, hosts, window_us):
        self.size, self.n, self.window_us = 1 << m, n, window_us
        self.hosts, self.hosts_wanted = hosts, max(2, replicas)
        self.lives = {}
        self.newest = {}  # index -> life
        self.suspected = {}  # (node, peer) -> time_us
        self.changes = 0

    # ---- ids ----

    def distance(self, a, b):
        return (self.lives[b].id - self.lives[a].id) % self.size

    def between(self, a, x, b):
        """x strictly clockwise inside (a, b); with equal ends everything but the end."""
        to_x, to_b = self.distance(a, x), self.distance(a, b)
        return to_x != 0 and (to_b == 0 or to_x < to_b)

    def known(self, *nodes):
        for node in nodes:
            if node != NONE and node not in self.lives:
                raise BadTrace(f"{node} was never heard of")

    # ---- who may be removed ----

    def over(self, node, peer):
        """Whether `node` has a reason to take this life of `peer` for over."""
        life = self.lives[peer]
        index, number = split(peer)
        return (life.dead_us is not None or life.now.state in ("left", "leaving", "joining")
                or self.newest[index] > number or (node, peer) in self.suspected)

    def removed_only(self, node, old, new):
        gone = [peer for peer in old if peer not in new]
        kept = tuple(peer for peer in old if peer in new)
        return kept == new and all(self.over(node, peer) for peer in gone)

    # ---- the rules ----

    def adopted(self, node, asked, tail):
        """The list [asked] + tail as `node` takes it (successors.c, successors_adopt)."""
        result, last = [], node
        for peer in (asked, *tail):
            if len(result) == LIST_MAX or not self.between(last, peer, node):
                break
            result.append(peer)
            last = peer
        return tuple(result[:self.kept(result)])

    def kept(self, listed):
        """How many entries stay."""
        count, hosts = min(len(listed), self.n), set()
        for position, peer in enumerate(listed, 1):
            host = split(peer)[0] % self.hosts if self.hosts else None
            if self.hosts and len(hosts) < self.hosts_wanted and host not in hosts:
                count = max(count, position)
                hosts.add(host)
        return count

    def answered(self, asked, time_us):
        """What `asked` may have answered: its rings as a member in the window of the call."""
        if asked == NONE:
            return []
        life = self.lives[asked]
        from_us = time_us - self.window_us
        if life.dead_us is not None and life.dead_us < from_us:
            return []
        return [ring for ring in life.during(from_us) if ring.state in ("member", "leaving")]

    def check_shape(self, node, ring):
        if ring.state not in STATES:
            raise BadTrace(f"there is no state {ring.state}")
        most = LIST_MAX if self.hosts else self.n
        if len(ring.succ) > most:
            raise BadTrace(f"more than {most} successors")
        last = node
        for peer in ring.succ:
            if not self.between(last, peer, node) or peer == node:
                raise BadTrace(f"the list is not ordered clockwise at {peer}")
            last = peer
        if ring.pred == node:
            raise BadTrace("is its own predecessor")
        if ring.state in ("none", "joining", "left") and (ring.succ or ring.pred != NONE):
            raise BadTrace(f"has neighbours in state {ring.state}")

    def check_succ(self, node, word, asked, old, new, time_us):
        if new.succ == old.succ or self.removed_only(node, old.succ, new.succ):
            if new.succ != old.succ and word not in REMOVE_WORDS | ADOPT_WORDS:
                raise BadTrace(f"{word} removes no successor")
            return
        # The authority's list: nobody was asked, or the last member confirmed it.
        if word in GENESIS_WORDS and not self.lives[node].full \
                and (word != "stabilize" or asked != new.succ[0]):
            return
        if word not in ADOPT_WORDS:
            raise BadTrace(f"{word} does not change the list from {show(old.succ)}")
        answers = self.answered(asked, time_us)
        if not answers:
            raise BadTrace(f"{asked} was no member that could have been asked")
        if not any(self.adopted(node, asked, answer.succ) == new.succ for answer in answers):
            raise BadTrace(f"the list is not that of {asked}, which had "
                           + " or ".join(sorted({show(answer.succ) for answer in answers})))
        first = next((peer for peer in old.succ if not self.over(node, peer) or peer == asked), None)
        if first not in (None, asked) and not self.between(node, asked, first):
            raise BadTrace(f"{asked} is farther than the first successor {first}")

    def check_pred(self, node, word, old, new):
        if new.pred == old.pred:
            return
        if new.pred == NONE:
            if not self.over(node, old.pred):
                raise BadTrace(f"the predecessor {old.pred} was given up, but lives unsuspected")
            if word not in REMOVE_WORDS:
                raise BadTrace(f"{word} clears no predecessor")
            return
        if word in GENESIS_WORDS - RECTIFY_WORDS - {"stabilize"} and not self.lives[node].full:
            return
        if word not in RECTIFY_WORDS | {"genesis"}:
            raise BadTrace(f"{word} does not set the predecessor")
        if old.pred != NONE and not self.over(node, old.pred) \
                and not self.between(old.pred, new.pred, node):
            raise BadTrace(f"{new.pred} is not nearer than the living predecessor {old.pred}")

    def check_entry(self, node, word, asked, new, time_us):
        """A joiner becomes a member."""
        if word in ("genesis", "create", "recreate") or not new.succ:
            if new.succ and word not in ("genesis", "member"):
                raise BadTrace(f"{word} begins a ring of one, not with {show(new.succ)}")
            return
        if word not in JOIN_WORDS:
            raise BadTrace(f"{word} makes no member")
        if new.pred != NONE:
            if word == "member":
                return  # in genesis, by the authority's list
            raise BadTrace("a joiner knows no predecessor")
        fits = [answer for answer in self.answered(asked, time_us)
                if self.adopted(node, asked, answer.succ) == new.succ]
        if not fits:
            raise BadTrace(f"the joiner's list {show(new.succ)} is not that of {asked}")
        if not any(answer.pred != NONE and self.between(answer.pred, node, asked) or
                   answer.pred == NONE and not answer.succ for answer in fits):
            raise BadTrace(f"{asked} admitted a joiner that is not before it")

    def on_ring(self, time_us, node, word, asked, new, identifier):
        self.changes += 1
        index, number = split(node)
        life = self.lives.setdefault(node, Life(identifier))
        self.newest[index] = max(number, self.newest.get(index, 0))
        old = life.now
        if life.id != identifier and old.state in ("member", "leaving"):
            raise BadTrace("a member's id changes")
        life.id = identifier
        if life.dead_us is not None:
            raise BadTrace("is dead")
        self.known(asked, new.pred, *new.succ)
        try:
            self.check_shape(node, new)
            if new.state == "member" and old.state in ("none", "joining"):
                self.check_entry(node, word, asked, new, time_us)
            elif new.state in ("member", "leaving"):
                if old.state not in ("member", "leaving"):
                    raise BadTrace(f"from {old.state} to {new.state}")
                self.check_succ(node, word, asked, old, new, time_us)
                self.check_pred(node, word, old, new)
            elif new.state == "left" and word not in ("left", "leave"):
                raise BadTrace(f"{word} ends no membership")
            elif new.state == "joining" and old.state in ("member", "leaving") and word != "join":
                raise BadTrace(f"{word} does not join anew")
        finally:
            life.full = life.full or len(new.succ) >= self.n
            life.history.append((time_us, new))

    def on_dead(self, time_us, node):
        self.known(node)
        self.lives[node].dead_us = time_us

    def on_suspect(self, time_us, node, peer):
        self.known(node, peer)
        self.suspected[node, peer] = time_us


# ---- the file ----

def split(node):
    index, _, life = node.partition(".")
    return int(index), int(life)


def show(succ):
    return "[" + ",".join(succ) + "]"


def field_of(text, name):
    key, separator, value = text.partition("=")
    if key != name or not separator:
        raise ValueError(f"expected {name}=, found {text!r}")
    return value


def nodes_of(text):
    nodes = () if text in (NONE, "") else tuple(text.split(","))
    for node in nodes:
        split(node)
    return nodes


def read_head(line):
    words = line.split(" ")
    if len(words) not in (3, 5) or words[0] != "ring-trace":
        raise ValueError("the first line is not: ring-trace m=<m> n=<n> [replicas=<r> hosts=<h>]")
    names = ("m", "n", "replicas", "hosts")
    return [int(field_of(word, name)) for name, word in zip(names, [*words[1:], "replicas=0", "hosts=0"])]


def parse(line):
    """(time_us, kind, arguments)"""
    words = line.split(" ")
    kind, time_us = words[0], int(words[1])
    if kind == "ring" and len(words) == 9:
        split(words[2])
        asked = field_of(words[4], "asked")
        pred = field_of(words[8], "pred")
        nodes_of(asked)
        nodes_of(pred)
        ring = Ring(field_of(words[5], "state"), nodes_of(field_of(words[7], "succ")), pred)
        return time_us, kind, (words[2], words[3], asked, ring, int(field_of(words[6], "id"), 16))
    if kind == "dead" and len(words) == 3 or kind == "suspect" and len(words) == 4:
        return time_us, kind, tuple(words[2:])
    raise ValueError(f"no such line: {line!r}")


def check(lines, window_us):
    """The violations, as texts, and the number of changes that were checked."""
    lines = iter(lines)
    checker = Checker(*read_head(next(lines, "").rstrip("\n")), window_us)
    parsed = []
    for number, line in enumerate(lines, 2):
        try:
            parsed.append((number, line.rstrip("\n"), *parse(line.rstrip("\n"))))
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number}: {error}") from error
    # A list may name a life whose own first line is of the same moment.
    last_us, violations = 0, []
    for number, _, time_us, kind, arguments in parsed:
        if time_us < last_us:
            raise ValueError(f"line {number}: time goes backwards")
        last_us = time_us
        if kind == "ring":
            checker.lives.setdefault(arguments[0], Life(arguments[4]))
            checker.newest.setdefault(split(arguments[0])[0], 0)
    # Of one moment, deaths and suspicions come before the changes that they cause.
    parsed.sort(key=lambda item: (item[2], item[3] == "ring", item[0]))
    for number, line, time_us, kind, arguments in parsed:
        try:
            getattr(checker, f"on_{kind}")(time_us, *arguments)
        except BadTrace as error:
            violations.append(f"line {number}: {error}\n    {line}")
    return violations, checker.changes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file")
    parser.add_argument("--window-ms", type=int, default=2000,
                        help="the longest time between a node's answer and the change (2000); "
                        "more where nodes pause")
    options = parser.parse_args()
    try:
        with open(options.file, encoding="ascii") as lines:
            violations, changes = check(lines, options.window_ms * 1000)
    except (OSError, ValueError) as error:
        sys.exit(f"{options.file}: {error}")
    for violation in violations:
        print(violation)
    print(f"{'FAILED' if violations else 'ok'} {changes} changes, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
