# SPDX-License-Identifier: MIT
"""Cuts without namespaces: a TCP proxy in front of every node (see net_shim.c).

It listens where the nodes know each other, and knows the caller by its source address. While the
direction from a to b is cut, what a sends to b is kept, and goes on when the cut is mended, as TCP
itself would have it; a connection that begins while either direction is cut is accepted, and leads
nowhere until then. Clients, whose source is another, are never cut.
"""

import asyncio
import threading
from collections import Counter

CHUNK = 65536
SHIFT = 30      # from the port that others know to the one that the node listens on
SOURCE = 100    # node i calls from 127.0.0.(100 + i)
KINDLY_S = 0.02


class Proxy:
    def __init__(self, ports, count, shim):
        """`ports`: a block of them, which is held as long as this lives."""
        self.ports, self.base_port, self.shim = ports, ports.rpc_port, shim
        self.cuts = Counter()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        for node in range(1, count + 1):
            asyncio.run_coroutine_threadsafe(self.listen(node), self.loop).result()

    def address(self, node):
        return f"127.0.0.1:{self.base_port + node}"

    def words(self, node):
        return ["env", f"LD_PRELOAD={self.shim}", f"CHORD_NET_PORT={self.base_port + node}",
                f"CHORD_NET_SHIFT={SHIFT}", f"CHORD_NET_SOURCE=127.0.0.{SOURCE + node}"]

    def cut(self, pairs):
        self.cuts.update(pairs)

    def mend(self, pairs):
        self.cuts.subtract(pairs)

    # In the loop

    async def listen(self, node):
        async def serve(reader, writer):
            await self.serve(node, reader, writer)
        await asyncio.start_server(serve, "127.0.0.1", self.base_port + node)

    async def until_mended(self, *pairs):
        while any(self.cuts[pair] > 0 for pair in pairs):
            await asyncio.sleep(KINDLY_S)

    @staticmethod
    def caller_of(writer):
        return int(writer.get_extra_info("peername")[0].split(".")[3]) - SOURCE

    async def serve(self, node, reader, writer):
        caller = self.caller_of(writer)
        there, back = (caller, node), (node, caller)
        out = None
        try:
            await self.until_mended(there, back)
            source, out = await asyncio.open_connection("127.0.0.1", self.base_port + node + SHIFT)
            await asyncio.gather(self.pump(reader, out, there), self.pump(source, writer, back))
        except OSError:
            pass
        finally:
            for side in (writer, out):
                if side is not None:
                    side.close()

    async def pump(self, reader, writer, pair):
        """Ends both directions when one has ended: nng does not half-close."""
        while data := await reader.read(CHUNK):
            await self.until_mended(pair)
            writer.write(data)
            await writer.drain()
        raise ConnectionError("closed")
