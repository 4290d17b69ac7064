# SPDX-License-Identifier: MIT
"""A client of a Chord ring: `Client` for threads, `AsyncClient` for asyncio.

    from chord_dht import Client
    with Client("127.0.0.1:4001") as client:
        client.put("greeting", b"hello")

proto/README.md describes what travels. For people at a terminal: python3 -m chord_dht --help.
"""

from .async_client import AsyncClient
from .client import Client
from .errors import ChordError
from .data import (Answer, Delete, Get, Hop, Lookup, Operation, Peer, Put, Result, ServerInfo,
                    Value, Version, Written)

__all__ = ["Answer", "AsyncClient", "ChordError", "Client", "Delete", "Get", "Hop", "Lookup",
           "Operation", "Peer", "Put", "Result", "ServerInfo", "Value", "Version", "Written"]
