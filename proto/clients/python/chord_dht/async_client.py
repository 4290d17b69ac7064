# SPDX-License-Identifier: MIT
"""The client for asyncio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Iterable, List, Optional, Sequence, Type, Union

from . import messages
from .core import SERVER_INFO, Core, raw_fate
from .envelopes import Envelopes
from .errors import ChordError
from .fates import DONE
from .members import Members
from .data import (KEY_BYTES_MAX, Answer, Data, Delete, Get, Hop, Lookup, Operation, Peer, Put,
                    Result, ServerInfo, Value, Version, Written, to_bytes)

TIMEOUT_S = 8.0
ATTEMPT_TIMEOUT_S = 1.0
OPERATIONS_MAX = 4096


class AsyncClient:
    """Reads and writes the keys of a Chord ring.

        async with AsyncClient("127.0.0.1:4001") as client:
            await client.put("greeting", b"hello")

    Each operation is sent again, also to other members, until its outcome is known or its time is
    over, and takes effect at most once; else a ChordError says with its `fate` what became of it.
    Any number of tasks of one event loop may use a client at the same time; their requests share one
    connection to each node. The calls of a client are concurrent: of two writes of one key that are
    under way together either may be the last. A write whose task is cancelled may still be carried
    out.
    """

    def __init__(self, members: Union[str, Iterable[str]], *, key: bytes = b"", ring_id: bytes = b"",
                 timeout: float = TIMEOUT_S, attempt_timeout: float = ATTEMPT_TIMEOUT_S,
                 operations_max: int = OPERATIONS_MAX) -> None:
        """Connects to nobody yet; the first operation does.

        members          one or more members of the ring: "host:port", a list, or a text with commas;
                         the others are found out
        key              the ring's key, 16 to 64 bytes; empty: it has none
        ring_id          16 bytes: the ring that is meant, of an earlier client's `ring_id`; empty:
                         that of the first member that answers. Other rings are refused (WRONG_RING)
        timeout          seconds for an operation that names none
        attempt_timeout  seconds until another member is asked
        operations_max   calls under way at the same time (a batch is one); one more is
                         RESOURCE_EXHAUSTED, not done

        ValueError: an argument is not what it must be.
        """
        given = members.split(",") if isinstance(members, str) else members
        self._members = [one.strip() for one in given if one.strip()]
        Members(self._members)
        for name, value in (("timeout", timeout), ("attempt_timeout", attempt_timeout),
                            ("operations_max", operations_max)):
            if not value > 0:
                raise ValueError(f"{name}={value}; it must be above 0")
        Envelopes(key, ring_id)
        self._key, self._ring_id = key, ring_id
        self._timeout, self._attempt_timeout = timeout, attempt_timeout
        self._operations_max = operations_max
        self._core: Optional[Core] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._closed = False

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what is under way, each with its fate, and all connections. A second time: nothing."""
        self._closed = True
        if self._core is not None:
            await self._core.close()

    def _started(self) -> Core:
        if self._closed:
            raise ChordError("UNAVAILABLE", "this client is closed")
        if self._core is None:
            self._core = Core(self._members, self._key, self._ring_id, self._timeout,
                              self._attempt_timeout, self._operations_max)
            self._loop = asyncio.get_running_loop()
        elif self._loop is not asyncio.get_running_loop():
            raise RuntimeError("an AsyncClient belongs to the event loop of its first operation; "
                               "make one for each loop, or use chord_dht.Client")
        return self._core

    # -- keys --

    async def get(self, key: Data, *, stale: bool = False,
                  timeout: Optional[float] = None) -> Optional[Value]:
        """What the key has, or None.

        stale    any member's value at once, even an old one (Value.stale then says so)
        timeout  seconds; None: the client's
        ChordError: nobody could tell in time, or refused.
        """
        return value_of(await self._one(Get(key, stale), timeout))

    async def put(self, key: Data, value: Data, *, if_absent: bool = False,
                  if_version: Optional[Version] = None, expires_at_ms: int = 0,
                  timeout: Optional[float] = None) -> Written:
        """Gives the key (1 to 1,024 bytes) a value (0 to 1 MiB).

        if_absent      only if the key has no value
        if_version     only if it has this version: what Value and Written tell
        expires_at_ms  unix time in milliseconds after which the key has no value; 0 = never
        timeout        seconds; None: the client's
        ChordError: FAILED_PRECONDITION, with `version`, when a condition does not hold; else see
        `fate`.
        """
        return written_of(await self._one(Put(key, value, if_absent, if_version, expires_at_ms),
                                          timeout))

    async def delete(self, key: Data, *, if_absent: bool = False,
                     if_version: Optional[Version] = None,
                     timeout: Optional[float] = None) -> Written:
        """Takes the key's value away; `existed` False: there was none. Conditions and ChordError as
        in put()."""
        return written_of(await self._one(Delete(key, if_absent, if_version), timeout))

    async def batch(self, operations: Sequence[Operation], *,
                    timeout: Optional[float] = None) -> List[Result]:
        """Carries out up to 65,536 of Get, Put and Delete; the results in the same order, each with
        a code and fate of its own. No transaction: the operations are concurrent with each other.
        They travel together where one node leads their keys, at most 128 in a request.

        ChordError: not one of them was begun."""
        return await self._started().run(operations, timeout)

    async def _one(self, operation: Operation, timeout: Optional[float]) -> Result:
        (result,) = await self._started().run((operation,), timeout)
        return result

    # -- the ring --

    async def lookup(self, key: Data, *, timeout: Optional[float] = None) -> Lookup:
        """Who owns the key, and the way over the ring to it; reads no value. ChordError."""
        name = to_bytes(key)
        if not 1 <= len(name) <= KEY_BYTES_MAX:
            raise ChordError("INVALID_ARGUMENT",
                             f"the key has {len(name)} bytes; 1 to {KEY_BYTES_MAX} are allowed")
        kv = messages.load().kv
        found = await self._started().ask(
            "chord.v1.KvService/Lookup", kv.LookupRequest(key=name).SerializeToString(),
            kv.LookupResponse, timeout, lambda _: None)
        return Lookup(found.key_id, _peer(found.owner),
                      tuple(Hop(_peer(hop.node), hop.microseconds) for hop in found.hops))

    async def server_info(self, *, timeout: Optional[float] = None) -> ServerInfo:
        """The ring's parameters, as some member tells. ChordError."""
        core = self._started()

        def of_another_ring(info: Any) -> Optional[str]:
            ring_id = info.parameters.ring_id
            return None if ring_id == core.envelopes.ring_id else f"belongs to ring {ring_id.hex()}"
        info = await core.ask(SERVER_INFO, b"", messages.load().meta.GetServerInfoResponse, timeout,
                              of_another_ring)
        return ServerInfo(info.parameters.m, info.parameters.n, info.parameters.replicas,
                          info.parameters.ring_id, info.version, info.protocol_version,
                          tuple(info.methods))

    async def call(self, method: str, payload: bytes = b"", *, member: str = "",
                   timeout: Optional[float] = None) -> Answer:
        """One attempt of any method of the contract, for what has no function here.

        method   "chord.v1.AdminService/Status"
        payload  the method's own request, packed
        member   "host:port"; empty: any
        The answer has the code that the envelope has; when there is no answer, one that says why.
        Not for writes of keys: put() and delete() see to it that they take effect once.
        """
        reply = await self._started().once(method, payload, member, timeout)
        return Answer(reply.code, raw_fate(reply), reply.payload, reply.message,
                      reply.retry_after_ms)

    @property
    def ring_id(self) -> bytes:
        """16 bytes: the ring that this client belongs to; empty while nobody has answered."""
        return self._ring_id if self._core is None else self._core.envelopes.ring_id

    @property
    def requests_sent(self) -> int:
        """By operations since the start: each attempt counts, and each answer to a CHALLENGE."""
        return 0 if self._core is None else self._core.requests_sent


def _peer(message: Any) -> Peer:
    return Peer(message.id, message.address)


def _checked(result: Result) -> Result:
    if result.fate != DONE:
        raise ChordError(result.code, result.message, result.fate, result.retry_after_ms,
                         result.version)
    return result


def value_of(result: Result) -> Optional[Value]:
    """Of a get. ChordError: it failed."""
    if _checked(result).code == "NOT_FOUND":
        return None
    return Value(result.value, result.version or Version(0, 0), result.expires_at_ms, result.stale)


def written_of(result: Result) -> Written:
    """Of a put or delete. ChordError: it failed."""
    _checked(result)
    return Written(result.existed, result.version, result.repeated)
