# SPDX-License-Identifier: MIT
"""Reads and writes of keys that are asked again until their outcome is known: the writer's recipe of
proto/README.md, once, for single operations and for batches. chord_client.py carries the messages.
"""

import csv
import hashlib
import os
import pathlib
import random
import time

# What a code says of an operation: the table that the C client keeps too (proto/README.md, "Codes").
with (pathlib.Path(__file__).resolve().parents[1] / "fates.csv").open(encoding="ascii") as _table:
    FATES = {row["code"]: row for row in csv.DictReader(_table)}
# Nothing was done; another node, or a little later, may do it.
NOT_DONE = tuple(code for code, row in FATES.items()
                 if row["fate"] == "not done" and row["again"] in ("later", "at leader"))
# The attempt may have been carried out, or still be.
MAYBE_DONE = tuple(code for code, row in FATES.items()
                   if row["fate"] == "maybe done" and row["again"] == "later")
HINTS_MAX = 1024
PAUSE_S = (0.02, 0.5)
TRY_S = 1.0  # how long one attempt waits for its answer; doubled at each


class Hints:
    """What the ring has told of its ranges: who leads them, and the newest version in them."""

    def __init__(self):
        self.m = 0         # identifier bits; 0 = not known yet
        self._ranges = {}  # (lo, hi): (epoch, counter, address), the oldest first

    def _id(self, key):
        return int.from_bytes(hashlib.sha1(key).digest(), "big") >> (160 - self.m)

    def _find(self, key):
        place, found = self._id(key) if self.m else None, (0, 0, "")
        for (lo, hi), hint in self._ranges.items() if self.m else ():
            inside = lo < place <= hi if lo < hi else place > lo or place <= hi
            if inside and hint[0] > found[0]:
                found = hint
        return found

    def seen(self, key):
        """No version of the key is known to be newer."""
        return self._find(key)[:2]

    def address(self, key):
        """Of its leader; empty: not known."""
        return self._find(key)[2]

    def learn(self, hint):
        """An OwnerHint."""
        if not hint.HasField("range"):
            return
        name = (int.from_bytes(hint.range.lo, "big"), int.from_bytes(hint.range.hi, "big"))
        known = self._ranges.pop(name, (0, 0, ""))
        if hint.epoch >= known[0]:
            counter = max(hint.counter, known[1] if hint.epoch == known[0] else 0)
            known = (hint.epoch, counter, hint.address)
        self._ranges[name] = known
        if len(self._ranges) > HINTS_MAX:
            del self._ranges[next(iter(self._ranges))]

    def forget(self, address):
        """It did not answer, or is no leader; what was seen stays true."""
        self._ranges = {name: (epoch, counter, "" if who == address else who)
                        for name, (epoch, counter, who) in self._ranges.items()}


class Pending:
    """One operation on its way to an answer."""

    def __init__(self, operation, writes, hints):
        self.operation = operation
        self.writes = writes
        self.maybe = False   # an attempt may have been carried out
        self.result = None   # an OperationResult, once it is final
        self.code = ""       # of the last attempt
        if writes:
            # Before the first attempt, and then never again once a second one was sent.
            operation.op_id = os.urandom(16)
            operation.attempt = 1
            operation.seen.epoch, operation.seen.counter = hints.seen(operation.key)

    def unanswered(self):
        """The last attempt may have been carried out."""
        if self.writes:
            self.maybe = True
            self.operation.attempt += 1

    def take(self, code, result):
        """What a node said. True: try again at once."""
        self.code = code
        told = result.version.epoch > 0
        if code == "ABORTED" and told and self.operation.attempt == 1:
            # Nothing was done: the key is newer than was known here.
            self.operation.seen.CopyFrom(result.version)
            return True
        if code in MAYBE_DONE and not (self.writes and told):
            self.unanswered()  # to be asked again; with a version nobody can find out any more
        elif code not in NOT_DONE:
            self.result = result
        return False


def run(client, operations, writes, stale, timeout):
    """The operations' Pending objects, at the latest after the timeout, and the last ChordError of an
    attempt as a whole (None: the last one was answered). `writes`: one bool per operation."""
    deadline = time.monotonic() + timeout
    pending = [Pending(one, write, client.hints) for one, write in zip(operations, writes)]
    failure, pause, patience = None, PAUSE_S[0], TRY_S
    while True:
        left = [one for one in pending if one.result is None]
        now = time.monotonic()
        if not left or now >= deadline:
            return pending, failure
        at_once, wait = False, 0.0
        address = client.target(left[0].operation.key)
        try:
            response = client.ask_batch(address, [one.operation for one in left], stale,
                                        min(deadline, now + patience))
            failure = None
        except client.Error as error:
            failure, wait = error, error.retry_after_ms / 1000
            for one in left:
                one.code = error.code
                if error.outcome_unknown:
                    one.unanswered()
            if error.code not in (*NOT_DONE, *MAYBE_DONE):
                return pending, failure
            client.avoid(address)
            patience *= 2
        else:
            for hint in (response.hint, *response.hints):
                client.hints.learn(hint)
            for one, result in zip(left, response.results):
                at_once |= one.take(client.code_name(result.code), result)
            if any(one.code in (*NOT_DONE, *MAYBE_DONE) for one in left):
                client.avoid(address)
        if any(one.result is None for one in left) and not at_once:
            wait = max(wait, random.uniform(pause / 2, pause))
            time.sleep(max(0.0, min(wait, deadline - time.monotonic())))
            pause = min(pause * 2, PAUSE_S[1])
