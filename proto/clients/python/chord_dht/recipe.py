# SPDX-License-Identifier: MIT
"""The writer's recipe of proto/README.md for one operation: what each attempt carries, what an answer
to it means, and what is said in the end. Sends nothing, knows no time, needs no protobuf."""

from __future__ import annotations

import random
from typing import Optional

from .fates import (AT_ONCE, DONE, LATER, MAYBE_DONE, NEVER, NOT_DONE, Outcome, outcome_of)
from .data import Version

NOTHING_SEEN = Version(0, 0)
PAUSE_S = (0.02, 0.5)  # between two attempts: the first, and the longest


class Attempts:
    """One operation's. A read is asked again freely; a write only so that it takes effect once."""

    def __init__(self, op_id: bytes = b"", seen: Version = NOTHING_SEEN) -> None:
        """`op_id`: 16 random bytes of a write, empty for a read. `seen`: the newest version heard of
        the key, before the first attempt."""
        self.op_id = op_id
        self.seen = seen
        self.number = 1     # of the attempt that is sent next, or is out
        self.maybe = False  # one may have been carried out, or still may be

    def take(self, code: str, version: Optional[Version] = None) -> str:
        """What a node said of the operation, and the version that it told with it. What is next:
        NEVER (it is over), LATER or AT_ONCE."""
        outcome = outcome_of(code)
        if outcome.again == AT_ONCE and self.op_id and self.number == 1 and version is not None:
            # The key is newer than was known here. Once a second attempt was sent, `seen` stays.
            self.seen = version
            return AT_ONCE
        if code == "DATA_LOSS" and self.op_id and self.number == 1 and self.seen != NOTHING_SEEN:
            # A disk has changed the row. Only a write that asks for nothing of what was there takes
            # its place; where the row is good by then, it is ABORTED.
            self.seen = NOTHING_SEEN
            return AT_ONCE
        return self._go_on(outcome, overwritten=version is not None)

    def unanswered(self, again: str = LATER) -> str:
        """It was sent, and there is no answer that could be believed."""
        return self._go_on(Outcome(MAYBE_DONE, again), overwritten=False)

    def _go_on(self, outcome: Outcome, overwritten: bool) -> str:
        if outcome.fate == MAYBE_DONE and self.op_id:
            self.maybe = True
            self.number += 1
            if overwritten:
                return NEVER  # nobody can find out any more
        return NEVER if outcome.again == NEVER else LATER

    def fate(self, code: str) -> str:
        """Of the operation, when `code` was the last that was heard."""
        fate = outcome_of(code).fate
        if fate == DONE or not self.op_id:
            return fate if fate == DONE else NOT_DONE
        # Whatever refused the last attempt, an earlier one may have been carried out; a condition
        # may have failed by it.
        return MAYBE_DONE if self.maybe else fate

    def code(self, code: str) -> str:
        """What is reported then."""
        if self.fate(code) == DONE:
            return code
        if self.maybe:
            return "UNKNOWN"
        # ABORTED to the end: others kept writing the key. Nothing was done.
        return "UNAVAILABLE" if code == "ABORTED" else code


class Pauses:
    """How long to wait before the next attempt: doubled each time, with some randomness, so that
    operations that were refused together do not come back together."""

    def __init__(self) -> None:
        self._pause_s = PAUSE_S[0]

    def next_s(self, retry_after_ms: int = 0) -> float:
        """Seconds; as long as the node asked for, within reason."""
        wait = random.uniform(self._pause_s / 2, self._pause_s)
        self._pause_s = min(2 * self._pause_s, PAUSE_S[1])
        return max(wait, min(retry_after_ms / 1000, PAUSE_S[1]))
