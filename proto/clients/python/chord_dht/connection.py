# SPDX-License-Identifier: MIT
"""TCP connections to nodes, one each: any number of requests are under way on one, and answers come
in any order. Knows framing; knows neither envelopes nor operations."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Dict, Optional, Set, Tuple, Union, cast

from .framing import HELLO, FramingError, Reader, frame
from .members import parse_address

DIAL_S = 5.0  # until a node must have said hello


class Unsent(Exception):
    """There was no connection in time: not a byte of the request has left."""


class Unanswered(Exception):
    """It was sent, perhaps in part, and there is no answer. `late`: its time was over."""

    def __init__(self, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class _Request:
    """One that is out."""

    def __init__(self, answer: "asyncio.Future[bytes]", heard: int) -> None:
        self.answer = answer
        self.heard = heard  # how much had come when it was sent
        self.timer: Optional[asyncio.TimerHandle] = None


class Connection(asyncio.Protocol):
    """One connection. `ready`: the node has said hello; `lost`: it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str) -> None:
        self.address = address
        self.usable = True  # new requests may go over it
        self.ready: "asyncio.Future[None]" = loop.create_future()
        self.lost: "asyncio.Future[None]" = loop.create_future()
        self._loop = loop
        self._reader = Reader()
        self._heard = 0
        self._number = random.getrandbits(31)
        self._requests: Dict[int, _Request] = {}
        self._transport: Optional[asyncio.Transport] = None
        self._room: "Optional[asyncio.Future[None]]" = None  # while the socket takes no more

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.usable:
            self._transport.write(HELLO)  # asyncio switches Nagle's algorithm off
        else:  # closed while it was dialled
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard += len(data)
        try:
            for number, body in self._reader.feed(data):
                request = self._requests.pop(number, None)
                if request is not None:  # any other is the late answer to an earlier request
                    self._end(request, body)
        except FramingError as problem:
            self._fail(str(problem))
            return
        if self._reader.greeted and not self.ready.done():
            self.ready.set_result(None)
        self._close_when_done()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def connection_lost(self, problem: Optional[Exception]) -> None:
        self._fail(f"the connection ended: {problem}" if problem else "the node closed the connection")
        self.resume_writing()
        if not self.lost.done():
            self.lost.set_result(None)

    # -- requests --

    async def ask(self, body: bytes, until: float) -> bytes:
        """Sends a request and gives the body of its answer; `until` is a time of the loop."""
        while self._room is not None:  # bytes that wait in this process are not sent
            if not await ended(self._loop, self._room, until):
                raise Unsent(f"{self.address} does not take what it is sent")
        if not self.usable or self._transport is None:
            raise Unsent(f"{self.address}: the connection has ended")
        self._number = (self._number + 1) & 0x7FFFFFFF
        number = self._number
        request = _Request(self._loop.create_future(), self._heard)
        self._requests[number] = request
        request.timer = self._loop.call_at(until, self._late, number)
        self._transport.write(frame(number, body))
        try:
            return await request.answer
        finally:  # the caller may have been cancelled
            request.timer.cancel()
            if self._requests.pop(number, None) is not None:
                self._close_when_done()

    def _end(self, request: _Request, answer: Union[bytes, Unanswered]) -> None:
        if not request.answer.done():
            if isinstance(answer, bytes):
                request.answer.set_result(answer)
            else:
                request.answer.set_exception(answer)

    def _late(self, number: int) -> None:
        request = self._requests.pop(number, None)
        if request is None:
            return
        if request.heard == self._heard:
            self.usable = False  # silent all the time: the next request has a new one
        self._end(request, Unanswered(f"{self.address} did not answer in time", late=True))
        self._close_when_done()

    def _close_when_done(self) -> None:
        if not self.usable and not self._requests and self._transport is not None:
            self._transport.abort()

    def _fail(self, why: str) -> None:
        """Ends all that is out."""
        self.usable = False
        requests, self._requests = self._requests, {}
        for request in requests.values():
            self._end(request, Unanswered(f"{self.address}: {why}"))
        if not self.ready.done():
            self.ready.set_exception(Unsent(f"{self.address}: {why}"))
            self.ready.exception()  # nobody may be waiting
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """At once; what is out ends as unanswered."""
        self._fail("this client is closing")
        if self._transport is None and not self.lost.done():
            self.lost.set_result(None)


async def ended(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]",
                until: float) -> bool:
    """Whether the future is done before that time of the loop; it is not cancelled."""
    done, _ = await asyncio.wait({future}, timeout=max(0.0, until - loop.time()))
    return bool(done)


class Connections:
    """One to each node that was asked, made when it is needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False
        self._open: Dict[str, Connection] = {}
        self._dials: "Dict[str, asyncio.Task[Union[Connection, Unsent]]]" = {}
        self._all: Set[Connection] = set()  # those that were given up, too, until they are closed

    async def ask(self, address: str, body: bytes, until: float) -> bytes:
        """One request and its answer, before that time of the loop. Unsent, Unanswered."""
        connection = self._open.get(address)
        if connection is None or not connection.usable:
            connection = await self._dialled(address, until)
        return await connection.ask(body, until)

    async def _dialled(self, address: str, until: float) -> Connection:
        if self._closed:
            raise Unsent("this client is closed")
        dial = self._dials.get(address)
        if dial is None:
            dial = self._loop.create_task(self._dial(address))
            self._dials[address] = dial
        if not await ended(self._loop, dial, until):
            raise Unsent(f"no connection to {address} in time")
        result = Unsent("this client is closing") if dial.cancelled() else dial.result()
        if isinstance(result, Unsent):
            raise Unsent(str(result))  # one for each that waits
        return result

    async def _dial(self, address: str) -> Union[Connection, Unsent]:
        connection = Connection(self._loop, address)
        connection.lost.add_done_callback(lambda _: self._all.discard(connection))
        try:
            await asyncio.wait_for(self._connect(address, connection), DIAL_S)
            if not await ended(self._loop, connection.ready, self._loop.time() + DIAL_S):
                raise Unsent(f"{address} says nothing")
            connection.ready.result()
            self._open[address] = connection
            return connection
        except (OSError, ValueError, Unsent, asyncio.TimeoutError) as problem:
            connection.close()
            return Unsent(str(problem) if isinstance(problem, Unsent)
                          else f"no connection to {address}: {problem or 'no answer'}")
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._dials.pop(address, None)

    async def _connect(self, address: str, connection: Connection) -> None:
        host, port = parse_address(address)
        self._all.add(connection)
        await self._loop.create_connection(lambda: connection, host, port)

    def hang_up(self) -> None:
        """What is out on them ends as unanswered, now; what waits for one, as unsent."""
        self._closed = True
        for dial in self._dials.values():
            dial.cancel()
        for connection in list(self._all):
            connection.close()

    async def close(self) -> None:
        """All of them; returns when every socket is closed."""
        waiting: Tuple["asyncio.Future[Any]", ...] = (
            *self._dials.values(), *(connection.lost for connection in self._all))
        self.hang_up()
        if waiting:
            await asyncio.wait(waiting)
        self._open.clear()
