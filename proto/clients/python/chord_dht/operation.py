# SPDX-License-Identifier: MIT
"""One operation from its start to its result, and which operations travel together in one request.
Sends nothing."""

from __future__ import annotations

import os
from typing import Any, List, Optional

from . import messages
from .errors import sentence
from .fates import AT_ONCE, DONE, LATER
from .hints import Hints
from .recipe import Attempts
from .data import Get, Operation, Put, Result, Version, to_bytes

CALL_OPERATIONS_MAX = 128      # of one request
CALL_BYTES_MAX = 256 * 1024    # keys and values of a request with several


def version_of(result: Any) -> Optional[Version]:
    """That of an OperationResult, if it tells one."""
    if result.version.epoch == 0:
        return None
    return Version(result.version.epoch, result.version.counter)


class Pending:
    """One operation under way."""

    def __init__(self, asked: Operation) -> None:
        self.key = to_bytes(asked.key)
        self.writes = not isinstance(asked, Get)
        self.stale = isinstance(asked, Get) and asked.stale
        self.attempts = Attempts(os.urandom(16) if self.writes else b"")
        self.out_of_time = False       # it would have been tried again
        self._heard: Any = None        # the OperationResult that was the answer to the last attempt
        self._was_stale = False
        self.code, self.message, self.retry_after_ms = "UNAVAILABLE", "", 0
        self.missing: List[str] = []   # members of its range that do not answer
        self._begun = False
        self._wanted: Optional[Version] = None
        self.operation = self._packed(asked)
        self.bytes = len(self.key) + len(self.operation.value)

    def _packed(self, asked: Operation) -> Any:
        kv = messages.load().kv
        operation = kv.Operation(kind=kv.OPERATION_KIND_GET, key=self.key)
        if isinstance(asked, Get):
            return operation
        operation.kind = kv.OPERATION_KIND_DELETE
        if isinstance(asked, Put):
            operation.kind = kv.OPERATION_KIND_PUT
            operation.value = to_bytes(asked.value)
            operation.expires_at_ms = asked.expires_at_ms
        if asked.if_absent:
            operation.precondition.absent = True
        if asked.if_version is not None:
            self._wanted = Version(*asked.if_version)
            operation.precondition.version.epoch, operation.precondition.version.counter = \
                self._wanted
        return operation

    def fill(self, hints: Hints) -> Any:
        """The Operation for the next attempt."""
        attempts = self.attempts
        if self.writes:
            if not self._begun:
                heard, hint = hints.seen(self.key), hints.find(self.key)
                # A leader does not answer before its range has come to the epoch that was seen: a
                # version that nobody gave out must not count.
                wanted = self._wanted
                attempts.seen = max(heard, wanted) if wanted is not None and hint is not None and \
                    wanted.epoch <= hint.epoch else heard
            self.operation.op_id, self.operation.attempt = attempts.op_id, attempts.number
            # Set, and so present, also where nothing was heard.
            self.operation.seen.epoch, self.operation.seen.counter = attempts.seen
        self._begun = True
        return self.operation

    def refused(self, code: str, message: str, retry_after_ms: int = 0) -> None:
        """No node has answered the request: why."""
        self.code, self.message, self.retry_after_ms = code, message, retry_after_ms
        self._heard = None

    def failed(self, code: str, message: str, retry_after_ms: int) -> str:
        """A node answered so to the request as a whole. What is next, as in Attempts.take."""
        self.refused(code, message, retry_after_ms)
        return self.attempts.take(code)

    def take(self, told: Any, response: Any, retry_after_ms: int) -> str:
        """A node's OperationResult, in its BatchResponse. What is next, as in Attempts.take."""
        self.refused(messages.code_name(told.code), "", retry_after_ms)
        self._heard, self._was_stale = told, response.stale
        self.missing = list(response.missing) or self.missing
        following = self.attempts.take(self.code, version_of(told))
        if following == LATER and self.code == "RESOURCE_EXHAUSTED" and not self.writes \
                and any(other.code != told.code for other in response.results):
            return AT_ONCE  # the others' values left no room for this one's
        return following

    def end(self) -> Result:
        """What became of it."""
        code, message = self.code, self.message
        if self.out_of_time and self.missing:
            # Rather what a member said of the missing ones than that the last one asked was silent.
            code = "UNAVAILABLE"
            message = f"too few copies of the key answer; missing: {', '.join(self.missing)}"
        fate = self.attempts.fate(code)
        code = self.attempts.code(code)
        told = self._heard
        version = version_of(told) if told is not None else None
        if fate != DONE or told is None:
            return Result(code, fate, sentence(code, message), retry_after_ms=self.retry_after_ms,
                          version=version if self.code == "FAILED_PRECONDITION" else None)
        return Result(code, fate, value=told.value, version=version, existed=told.existed,
                      expires_at_ms=told.expires_at_ms, stale=self._was_stale,
                      repeated=self.attempts.maybe)


def groups(pending: List[Pending]) -> List[List[Pending]]:
    """Those that travel together, of operations for one node: all of one consistency, not too large,
    and a key that is written once only."""
    made: List[List[Pending]] = []
    sizes: List[int] = []
    keys: "List[set[bytes]]" = []
    for one in pending:
        for at in range(max(0, len(made) - 4), len(made)):
            if len(made[at]) < CALL_OPERATIONS_MAX and sizes[at] + one.bytes <= CALL_BYTES_MAX \
                    and one.key not in keys[at] and made[at][0].stale == one.stale:
                break
        else:
            at = len(made)
            made.append([])
            sizes.append(0)
            keys.append(set())
        made[at].append(one)
        sizes[at] += one.bytes
        keys[at].add(one.key)
    return made
