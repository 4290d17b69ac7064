# SPDX-License-Identifier: MIT
"""The one exception of the package."""

from __future__ import annotations

from typing import Optional

from .data import Version

_SENTENCES = {
    "ABORTED": "others kept writing the key",
    "DATA_LOSS": "a disk has changed the row, and it is not repaired yet",
    "DEADLINE_EXCEEDED": "nobody answered in time",
    "FAILED_PRECONDITION": "the condition does not hold",
    "RESOURCE_EXHAUSTED": "the ring has too much to do",
    "UNAVAILABLE": "the key has no leader at the moment",
    "UNKNOWN": "the write may have been carried out, or still may be",
}


def sentence(code: str, message: str) -> str:
    """`message`, or else a sentence for people that fits the code."""
    return message or _SENTENCES.get(code, f"the ring answered {code}")


class ChordError(Exception):
    """Why an operation did not succeed.

    code            name of the code: "UNAVAILABLE", "FAILED_PRECONDITION", ... (proto/README.md)
    fate            "not done": certainly not carried out, and never will be.
                    "maybe done": a write may have been carried out, or still may be, seconds later.
    message         one sentence for people
    retry_after_ms  above 0: milliseconds after which the same may succeed
    version         FAILED_PRECONDITION: of the value that stood in the way, if there is one
    """

    def __init__(self, code: str, message: str = "", fate: str = "not done",
                 retry_after_ms: int = 0, version: Optional[Version] = None) -> None:
        self.code = code
        self.fate = fate
        self.message = sentence(code, message)
        self.retry_after_ms = retry_after_ms
        self.version = version
        super().__init__(code, self.message, fate)

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.fate})"
