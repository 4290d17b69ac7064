# SPDX-License-Identifier: MIT
"""What a code says of a request: whether it was carried out, and whether to send it again. The table
is proto/clients/fates.csv, the same one that the C library is held to; an installed package has a
copy."""

from __future__ import annotations

import csv
import pathlib
from typing import Dict, NamedTuple

DONE, NOT_DONE, MAYBE_DONE = "done", "not done", "maybe done"
NEVER, LATER, AT_ONCE, AT_LEADER, ELSEWHERE = "never", "later", "at once", "at leader", "elsewhere"
_FOLDER = pathlib.Path(__file__).resolve().parent


class Outcome(NamedTuple):
    """Of one attempt."""
    fate: str   # DONE, NOT_DONE or MAYBE_DONE
    again: str  # NEVER, LATER, AT_ONCE, AT_LEADER or ELSEWHERE


def _read() -> Dict[str, Outcome]:
    copies = (_FOLDER / "fates.csv", _FOLDER.parents[1] / "fates.csv")
    path = next((path for path in copies if path.is_file()), copies[0])
    with path.open(encoding="ascii") as table:
        return {row["code"]: Outcome(row["fate"], row["again"]) for row in csv.DictReader(table)}


FATES = _read()


def outcome_of(code: str) -> Outcome:
    """A code that is not in the table was invented by a newer node: nothing is known."""
    return FATES.get(code, Outcome(MAYBE_DONE, NEVER))
