# SPDX-License-Identifier: MIT
"""The client for threads: an AsyncClient on an event loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Coroutine, Iterable, List, Optional, Sequence, Type, TypeVar, Union

from .async_client import ATTEMPT_TIMEOUT_S, OPERATIONS_MAX, TIMEOUT_S, AsyncClient
from .errors import ChordError
from .data import (Answer, Data, Lookup, Operation, Result, ServerInfo, Value, Version, Written)

_T = TypeVar("_T")


class Client:
    """Reads and writes the keys of a Chord ring.

        with Client("127.0.0.1:4001") as client:
            client.put("greeting", b"hello")

    Any number of threads may use a client at the same time. Arguments, results and errors are those
    of AsyncClient. Not across a fork: make one in each process.
    """

    def __init__(self, members: Union[str, Iterable[str]], *, key: bytes = b"", ring_id: bytes = b"",
                 timeout: float = TIMEOUT_S, attempt_timeout: float = ATTEMPT_TIMEOUT_S,
                 operations_max: int = OPERATIONS_MAX) -> None:
        """As AsyncClient; starts the thread. ValueError."""
        self._client = AsyncClient(members, key=key, ring_id=ring_id, timeout=timeout,
                                   attempt_timeout=attempt_timeout, operations_max=operations_max)
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chord-dht", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way, each with its fate, then connections and thread. A second time:
        nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._client.close()
        await self._loop.shutdown_default_executor()  # which looks up names of hosts
        # Callers whose operation has just ended are told before the loop stops.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest)

    def _run(self, operation: "Coroutine[Any, Any, _T]") -> _T:
        with self._lock:
            if self._closed:
                operation.close()
                raise ChordError("UNAVAILABLE", "this client is closed")
            running = asyncio.run_coroutine_threadsafe(operation, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()  # an interrupt: nobody waits for it any more
            raise

    def get(self, key: Data, *, stale: bool = False,
            timeout: Optional[float] = None) -> Optional[Value]:
        """As AsyncClient.get."""
        return self._run(self._client.get(key, stale=stale, timeout=timeout))

    def put(self, key: Data, value: Data, *, if_absent: bool = False,
            if_version: Optional[Version] = None, expires_at_ms: int = 0,
            timeout: Optional[float] = None) -> Written:
        """As AsyncClient.put."""
        return self._run(self._client.put(key, value, if_absent=if_absent, if_version=if_version,
                                          expires_at_ms=expires_at_ms, timeout=timeout))

    def delete(self, key: Data, *, if_absent: bool = False, if_version: Optional[Version] = None,
               timeout: Optional[float] = None) -> Written:
        """As AsyncClient.delete."""
        return self._run(self._client.delete(key, if_absent=if_absent, if_version=if_version,
                                             timeout=timeout))

    def batch(self, operations: Sequence[Operation], *,
              timeout: Optional[float] = None) -> List[Result]:
        """As AsyncClient.batch."""
        return self._run(self._client.batch(operations, timeout=timeout))

    def lookup(self, key: Data, *, timeout: Optional[float] = None) -> Lookup:
        """As AsyncClient.lookup."""
        return self._run(self._client.lookup(key, timeout=timeout))

    def server_info(self, *, timeout: Optional[float] = None) -> ServerInfo:
        """As AsyncClient.server_info."""
        return self._run(self._client.server_info(timeout=timeout))

    def call(self, method: str, payload: bytes = b"", *, member: str = "",
             timeout: Optional[float] = None) -> Answer:
        """As AsyncClient.call."""
        return self._run(self._client.call(method, payload, member=member, timeout=timeout))

    @property
    def ring_id(self) -> bytes:
        """As AsyncClient.ring_id."""
        return self._client.ring_id

    @property
    def requests_sent(self) -> int:
        """As AsyncClient.requests_sent."""
        return self._client.requests_sent
