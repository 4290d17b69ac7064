# SPDX-License-Identifier: MIT
"""A network between hosts that are far apart: every message is on its way for a while, and a node's
line stands still now and then. Nothing is lost and no connection ends, as TCP has it."""

import asyncio
import time

from proxy import CHUNK, Proxy

WAITING_MAX = 1024  # pieces on their way in one direction of one connection


class SlowProxy(Proxy):
    def __init__(self, ports, count, shim, one_way_s):
        self.one_way_s, self.still_until = one_way_s, dict.fromkeys(range(1, count + 1), 0.0)
        super().__init__(ports, count, shim)

    def stall(self, node, seconds):
        """What goes to or from that node arrives when it is over."""
        self.still_until[node] = time.monotonic() + seconds

    # In the loop

    async def until_moving(self, pair):
        while (left := max(self.still_until.get(node, 0.0) for node in pair) - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def serve(self, node, reader, writer):
        caller = self.caller_of(writer)
        if self.between_nodes((caller, node)):
            await asyncio.sleep(2 * self.one_way_s)  # TCP's handshake
            await self.until_moving((caller, node))
        await super().serve(node, reader, writer)

    def between_nodes(self, pair):
        return all(node in self.still_until for node in pair)

    async def pump(self, reader, writer, pair):
        if not self.between_nodes(pair):
            await super().pump(reader, writer, pair)
        under_way = asyncio.Queue(WAITING_MAX)
        await asyncio.gather(self.take(reader, under_way), self.give(under_way, writer, pair))

    async def take(self, reader, under_way):
        while data := await reader.read(CHUNK):
            await under_way.put((time.monotonic() + self.one_way_s, data))
        await under_way.put((time.monotonic() + self.one_way_s, b""))

    async def give(self, under_way, writer, pair):
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.until_moving(pair)
            if not data:
                raise ConnectionError("closed")
            writer.write(data)
            await writer.drain()
