# SPDX-License-Identifier: MIT
"""What the ring has told of its ranges: who leads them, and the newest version in them. A sorted list
of ranges that do not overlap; of two that would, that of the newer epoch stays."""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass
from typing import Any, List, Optional

from .recipe import NOTHING_SEEN
from .data import Version

HINTS_MAX = 4096


@dataclass
class Hint:
    """One range: the ids in (lo, hi], clockwise; lo == hi is the whole ring."""
    lo: int
    hi: int
    epoch: int
    address: str     # of its leader; empty: not known (any more)
    seen: Version    # no version in the range is known to be newer

    def holds(self, place: int) -> bool:
        """Whether the id lies in it."""
        if self.lo < self.hi:
            return self.lo < place <= self.hi
        return place > self.lo or place <= self.hi

    def overlaps(self, other: "Hint") -> bool:
        """Whether both hold some id."""
        return other.holds(self.hi) or self.holds(other.hi)


class Hints:
    """All that is known."""

    def __init__(self) -> None:
        self.m = 0  # identifier bits; 0 = not known yet
        self._ends: List[int] = []
        self._hints: List[Hint] = []

    def place(self, key: bytes) -> int:
        """The id of a key."""
        return int.from_bytes(hashlib.sha1(key).digest(), "big") >> (160 - self.m)

    def find(self, key: bytes) -> Optional[Hint]:
        """Of the range that the key lies in."""
        if self.m == 0 or not self._hints:
            return None
        place = self.place(key)
        hint = self._hints[bisect.bisect_left(self._ends, place) % len(self._ends)]
        return hint if hint.holds(place) else None

    def address(self, key: bytes) -> str:
        """Of the key's leader; empty: not known."""
        hint = self.find(key)
        return hint.address if hint else ""

    def seen(self, key: bytes) -> Version:
        """No version of the key is known to be newer."""
        hint = self.find(key)
        return hint.seen if hint else NOTHING_SEEN

    def hear(self, key: bytes, version: Version) -> None:
        """The key has this version."""
        hint = self.find(key)
        if hint:
            hint.seen = max(hint.seen, version)

    def learn(self, message: Any) -> str:
        """Takes an OwnerHint; its address when it says anything."""
        if not message.HasField("range") or not message.address:
            return ""
        new = Hint(int.from_bytes(message.range.lo, "big"), int.from_bytes(message.range.hi, "big"),
                   message.epoch, message.address, Version(message.epoch, message.counter))
        at = bisect.bisect_left(self._ends, new.hi)
        if at < len(self._ends) and self._ends[at] == new.hi and self._hints[at].lo == new.lo:
            if new.epoch >= self._hints[at].epoch:
                new.seen = max(new.seen, self._hints[at].seen)
                self._hints[at] = new
            return new.address
        others = [hint for hint in self._hints if hint.overlaps(new)]
        if all(hint.epoch <= new.epoch for hint in others):
            kept = [hint for hint in self._hints if hint not in others]
            if len(kept) < HINTS_MAX:
                kept.append(new)
                kept.sort(key=lambda hint: hint.hi)
            self._hints, self._ends = kept, [hint.hi for hint in kept]
        return new.address

    def forget(self, address: str) -> None:
        """It did not answer; what was seen stays true."""
        for hint in self._hints:
            if hint.address == address:
                hint.address = ""
