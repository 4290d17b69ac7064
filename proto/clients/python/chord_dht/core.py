# SPDX-License-Identifier: MIT
"""What both clients stand on: sends operations, again and to other members, until their outcome is
known or their time is over. Belongs to one event loop; not thread safe."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any, Callable, List, Optional, Sequence, Set, Tuple

from . import messages
from .connection import Connections, Unanswered, Unsent, ended
from .envelopes import RING_ID_BYTES, Envelopes, Rejected
from .errors import ChordError, sentence
from .fates import AT_ONCE, LATER, MAYBE_DONE, NEVER, NOT_DONE, outcome_of
from .hints import Hints
from .members import Members
from .operation import Pending, groups
from .recipe import Pauses
from .data import BATCH_MAX, Operation, Result, Version, refusal

REQUEST_BYTES_MAX = 1024 * 1024 + 64 * 1024
ATTEMPT_S_MIN = 0.05  # with less, "not done" would only become "maybe done"
BATCH_CALLS_MAX = 8   # requests of one batch that are out at the same time
BATCH = "chord.v1.KvService/Batch"
SERVER_INFO = "chord.v1.MetaService/GetServerInfo"


@dataclass
class Reply:
    """What came of one attempt. `local`: the code was made here, no node said it."""
    code: str
    payload: bytes = b""
    message: str = ""
    retry_after_ms: int = 0
    local: bool = False
    sent: bool = True

    @property
    def silent(self) -> bool:
        """The node is not there, or is not of this ring."""
        return self.local or self.code == "WRONG_RING"

    @property
    def again(self) -> str:
        """Whether another attempt may do better."""
        if self.local:
            return NEVER if self.code in ("INVALID_ARGUMENT", "UNAUTHENTICATED") else LATER
        return outcome_of(self.code).again


@dataclass
class Run:
    """What the operations of one call share. `until`: a time of the loop."""
    until: float
    slots: asyncio.Semaphore
    foreign: Set[str] = field(default_factory=set)  # members of another ring


class Core:
    """See the module. `timeout`, `attempt_timeout`: seconds."""

    def __init__(self, members: Sequence[str], key: bytes, ring_id: bytes, timeout: float,
                 attempt_timeout: float, operations_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout, self._attempt_timeout = timeout, attempt_timeout
        self._operations_max = operations_max
        self.members = Members(members)
        self.hints = Hints()
        self.envelopes = Envelopes(key, ring_id)
        self.requests_sent = 0  # by operations
        self._connections = Connections(self._loop)
        self._learning: "Optional[asyncio.Task[Reply]]" = None
        self._open = 0
        self._closing: "asyncio.Future[None]" = self._loop.create_future()
        self._idle: "Optional[asyncio.Future[None]]" = None

    # -- operations on keys --

    async def run(self, asked: Sequence[Operation], timeout: Optional[float]) -> List[Result]:
        """The results, in the same order. ChordError: none of them was begun."""
        if len(asked) > BATCH_MAX:
            raise ChordError("INVALID_ARGUMENT", f"the batch has {len(asked)} operations, "
                                                 f"{BATCH_MAX} are allowed")
        refusals = [refusal(one) for one in asked]
        pending = [Pending(one) for one, why in zip(asked, refusals) if not why]
        if pending:
            with self._entered():
                run = self._run(timeout)
                failure = await self._learned(run.until)
                if failure is None:
                    await self._drive(run, pending, Pauses())
                else:
                    for one in pending:
                        one.refused(failure.code, failure.message, failure.retry_after_ms)
        carried_out = iter(pending)
        return [Result("INVALID_ARGUMENT", NOT_DONE, why) if why else next(carried_out).end()
                for why in refusals]

    def _run(self, timeout: Optional[float]) -> Run:
        return Run(self._loop.time() + (self._timeout if timeout is None else timeout),
                   asyncio.Semaphore(BATCH_CALLS_MAX))

    async def _drive(self, run: Run, pending: List[Pending], pauses: Pauses,
                     avoided: str = "") -> None:
        """Until each is over. `avoided`: who was asked last and did not carry them out."""
        while pending:
            calls = self._calls(run, pending, avoided)
            if len(calls) > 1:
                await asyncio.gather(*(self._drive(run, some, copy.copy(pauses), avoided)
                                       for _, some in calls))
                return
            ((address, pending),) = calls
            at_once, later = await self._call(run, address, pending)
            if at_once and later:
                await asyncio.gather(self._again(run, at_once, copy.copy(pauses), ""),
                                     self._again(run, later, copy.copy(pauses), address))
                return
            pending, avoided = at_once or later, "" if at_once else address
            pending = await self._rested(run, pending, pauses, avoided)

    async def _again(self, run: Run, pending: List[Pending], pauses: Pauses, avoided: str) -> None:
        await self._drive(run, await self._rested(run, pending, pauses, avoided), pauses, avoided)

    async def _rested(self, run: Run, pending: List[Pending], pauses: Pauses,
                      avoided: str) -> List[Pending]:
        """Those that are tried again, after a pause where somebody is avoided: all, or none."""
        wait = 0.0
        if avoided and pending:
            wait = pauses.next_s(max(one.retry_after_ms for one in pending))
        if not (run.foreign and self.members.all_in(run.foreign)) and \
                await self._paused(wait, run.until):
            return pending
        for one in pending:
            one.out_of_time = True
        return []

    def _calls(self, run: Run, pending: List[Pending],
               avoided: str) -> List[Tuple[str, List[Pending]]]:
        """Who is asked for which: those who lead the keys; where somebody is avoided, another."""
        targets: "dict[str, List[Pending]]" = {}
        other = self.members.choose({*run.foreign, avoided})
        for one in pending:
            address = "" if avoided else self.hints.address(one.key)
            target = other if not address or address in run.foreign else address
            targets.setdefault(target, []).append(one)
        return [(address, some) for address, ones in targets.items() for some in groups(ones)]

    async def _call(self, run: Run, address: str,
                    pending: List[Pending]) -> Tuple[List[Pending], List[Pending]]:
        """One attempt. Gives those to be asked for again at once, and those later."""
        kv = messages.load().kv
        async with run.slots:
            request = kv.BatchRequest(operations=[one.fill(self.hints) for one in pending])
            if pending[0].stale:
                request.consistency = kv.CONSISTENCY_STALE
            reply = await self._attempt(address, BATCH, request.SerializeToString(), run.until)
        following = self._heard(run, address, pending, reply)
        return ([one for one, what in zip(pending, following) if what == AT_ONCE],
                [one for one, what in zip(pending, following) if what == LATER])

    def _heard(self, run: Run, address: str, pending: List[Pending], reply: Reply) -> List[str]:
        """What is next for each: NEVER, LATER, AT_ONCE."""
        self._judge(run.foreign, address, reply)
        if reply.code == "OK" and not reply.local:
            response = _unpacked(messages.load().kv.BatchResponse, reply.payload)
            if response is not None and len(response.results) == len(pending):
                return self._told(address, pending, response, reply.retry_after_ms)
            reply = Reply("UNKNOWN", message=f"the answer of {address} has not one result for each "
                                             "operation", local=True)
        if not reply.local:
            return [one.failed(reply.code, reply.message, reply.retry_after_ms) for one in pending]
        for one in pending:
            one.refused(reply.code, reply.message)
        if not reply.sent or reply.code == "WRONG_RING":
            return [reply.again] * len(pending)
        return [one.attempts.unanswered(reply.again) for one in pending]

    def _told(self, address: str, pending: List[Pending], response: Any,
              retry_after_ms: int) -> List[str]:
        for hint in (response.hint, *response.hints):
            self.members.learn(self.hints.learn(hint))
        following = []
        for one, result in zip(pending, response.results):
            following.append(one.take(result, response, retry_after_ms))
            # Nothing of what was read counts as seen: a writer that has seen nothing may overwrite
            # a damaged row.
            if one.writes and result.version.epoch > 0:
                self.hints.hear(one.key, Version(result.version.epoch, result.version.counter))
        if LATER in following:
            self.members.avoid(address)
        return following

    # -- other requests that only read --

    async def ask(self, method: str, payload: bytes, response_type: Any,
                  timeout: Optional[float], check: Callable[[Any], Optional[str]]) -> Any:
        """The response of whoever answers. `check`: why a response is of another ring, or None."""
        with self._entered():
            run, pauses = self._run(timeout), Pauses()
            failure = await self._learned(run.until)
            if failure is not None:
                raise _error(failure)
            avoided = ""
            while True:
                address = self.members.choose({*run.foreign, avoided})
                reply = await self._attempt(address, method, payload, run.until)
                if reply.code == "OK" and not reply.local:
                    response = _unpacked(response_type, reply.payload)
                    why = "cannot be read" if response is None else check(response)
                    if why is None:
                        return response
                    reply = Reply("WRONG_RING" if response is not None else "INTERNAL",
                                  message=f"{address}: {why}", local=True)
                self._judge(run.foreign, address, reply)
                if reply.again == NEVER or \
                        run.foreign and self.members.all_in(run.foreign) or \
                        not await self._paused(pauses.next_s(reply.retry_after_ms), run.until):
                    raise _error(reply)
                avoided = address

    async def once(self, method: str, payload: bytes, member: str,
                   timeout: Optional[float]) -> Reply:
        """One attempt of any method at one member (empty: any)."""
        with self._entered():
            run = self._run(timeout)
            return await self._send(member or self.members.choose(), method, payload, run.until)

    # -- the ring's parameters --

    async def _learned(self, until: float) -> Optional[Reply]:
        """M and the ring's id must be known before keys are asked for. Else why they are not."""
        pauses = Pauses()
        why = "no member told of its ring in time"
        while self.hints.m == 0:
            if self._closing.done():
                return Reply("UNAVAILABLE", message="this client is closing", local=True)
            if self._learning is None:
                self._learning = self._loop.create_task(self._learn())
            learning = self._learning
            if not await ended(self._loop, learning, until):
                return Reply("UNAVAILABLE", message=why, local=True)
            if self._learning is learning:
                self._learning = None
            failure = learning.result()
            if failure.code == "OK":
                continue
            why = failure.message
            if failure.again == NEVER or failure.code == "WRONG_RING" or \
                    not await self._paused(pauses.next_s(), until):
                # Whatever became of that question: the operation itself was never sent.
                known = outcome_of(failure.code).fate == NOT_DONE
                return failure if known else Reply("UNAVAILABLE", message=failure.message)
        return None

    async def _learn(self) -> Reply:
        """Asks each member once, until one tells."""
        reply = Reply("UNAVAILABLE")
        final: Optional[Reply] = None
        for _ in range(len(self.members)):
            address = self.members.choose()
            # Not by an operation: several may wait for it.
            reply = await self._attempt(address, SERVER_INFO, b"", self._loop.time() + self._timeout,
                                        counted=False)
            if reply.code == "OK" and not reply.local:
                why = self._take_parameters(reply.payload)
                if not why:
                    return reply
                reply = Reply("WRONG_RING" if "belongs" in why else "UNAVAILABLE",
                              message=f"{address} {why}", local=True)
            if reply.again == NEVER or reply.code == "WRONG_RING":
                final = reply
            self.members.avoid(address)
        return reply if final is None else final

    def _take_parameters(self, payload: bytes) -> str:
        """Why not; empty: taken."""
        info = _unpacked(messages.load().meta.GetServerInfoResponse, payload)
        if info is None or not 3 <= info.parameters.m <= 160 or \
                len(info.parameters.ring_id) != RING_ID_BYTES:
            return "is in no ring"
        if self.envelopes.ring_id not in (b"", info.parameters.ring_id):
            return (f"belongs to ring {info.parameters.ring_id.hex()}, this client to ring "
                    f"{self.envelopes.ring_id.hex()}")
        self.envelopes.ring_id = info.parameters.ring_id
        self.hints.m = info.parameters.m
        return ""

    # -- one attempt --

    async def _attempt(self, address: str, method: str, payload: bytes, until: float,
                       counted: bool = True) -> Reply:
        """One attempt of an operation that has until then."""
        return await self._send(address, method, payload,
                                min(until, self._loop.time() + self._attempt_timeout), counted)

    async def _send(self, address: str, method: str, payload: bytes, until: float,
                    counted: bool = True) -> Reply:
        """Sends a request to one node; never raises but for cancellation. A CHALLENGE is answered
        once, within the same time."""
        if len(payload) > REQUEST_BYTES_MAX:
            return Reply("INVALID_ARGUMENT", local=True, sent=False,
                         message=f"the request has {len(payload)} bytes, {REQUEST_BYTES_MAX} are "
                                 "allowed")
        for turn in range(2):
            left_ms = max(1, int((until - self._loop.time()) * 1000))
            request = self.envelopes.seal(address, method, payload, min(left_ms, 600_000))
            try:
                data = await self._connections.ask(address, request.SerializeToString(), until)
            except Unsent as problem:
                return Reply("UNAVAILABLE", message=str(problem), local=True, sent=False)
            except Unanswered as problem:
                self.requests_sent += counted
                return Reply("DEADLINE_EXCEEDED" if problem.late else "UNAVAILABLE",
                             message=str(problem), local=True)
            self.requests_sent += counted
            try:
                response = self.envelopes.open(address, request, data)
            except Rejected as problem:
                return Reply(problem.code, message=str(problem), local=True)
            code = messages.code_name(response.code)
            if code != "CHALLENGE" or turn == 1:
                break
        return Reply(code, response.payload, response.message, response.retry_after_ms)

    def _judge(self, foreign: Set[str], address: str, reply: Reply) -> None:
        """What an attempt says of who was asked."""
        if reply.code == "WRONG_RING":
            foreign.add(address)
        if reply.silent:
            self.hints.forget(address)
            self.members.avoid(address)

    # -- time, and the end --

    async def _paused(self, seconds: float, until: float) -> bool:
        """Whether there is time for another attempt after the pause."""
        if self._closing.done() or self._loop.time() + seconds + ATTEMPT_S_MIN >= until:
            return False
        if seconds > 0:
            return not await ended(self._loop, self._closing, self._loop.time() + seconds)
        return True

    def _entered(self) -> "_Entered":
        if self._closing.done():
            raise ChordError("UNAVAILABLE", "this client is closed")
        if self._open >= self._operations_max:
            raise ChordError("RESOURCE_EXHAUSTED", f"{self._open} operations are under way in this "
                             "client, as many as operations_max allows")
        return _Entered(self)

    def enter(self) -> None:
        """One more operation is under way."""
        self._open += 1

    def leave(self) -> None:
        """One less."""
        self._open -= 1
        if self._open == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def close(self) -> None:
        """What is under way ends with its fate; returns when all sockets are closed."""
        if not self._closing.done():
            self._closing.set_result(None)
        self._connections.hang_up()
        if self._open > 0:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.wait({self._idle})
        if self._learning is not None:
            await asyncio.wait({self._learning})
        await self._connections.close()


class _Entered:
    """While an operation is under way."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __enter__(self) -> None:
        self._core.enter()

    def __exit__(self, *_: object) -> None:
        self._core.leave()


def _unpacked(message_type: Any, payload: bytes) -> Any:
    """None: it cannot be read."""
    try:
        return message_type.FromString(payload)
    except Exception:  # protobuf's backends have different exceptions
        return None


def _error(reply: Reply) -> ChordError:
    """Of a request that only reads, or was never sent."""
    return ChordError(reply.code, sentence(reply.code, reply.message), NOT_DONE,
                      reply.retry_after_ms)


def raw_fate(reply: Reply) -> str:
    """Of a single attempt, of which nothing is known but its reply."""
    if reply.local:
        return MAYBE_DONE if reply.sent else NOT_DONE
    return outcome_of(reply.code).fate
