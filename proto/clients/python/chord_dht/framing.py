# SPDX-License-Identifier: MIT
"""SP request/reply over a byte stream: the hello of both sides, then messages of a length, an id and
a body. Bytes in, bytes out; reads no socket."""

from __future__ import annotations

import struct
from typing import Iterator, Tuple

HELLO = b"\0SP\0" + struct.pack(">HH", 0x30, 0)       # REQ
PEER_HELLO = b"\0SP\0" + struct.pack(">HH", 0x31, 0)  # REP
RECEIVE_BYTES_MAX = 2 * 1024 * 1024
_ID_BIT = 0x80000000


class FramingError(Exception):
    """The peer does not speak this protocol, or says more than it may; the connection is of no
    more use."""


def frame(number: int, body: bytes) -> bytes:
    """The message with the request's number (0 to 2^31 - 1)."""
    return struct.pack(">QI", len(body) + 4, _ID_BIT | number) + body


class Reader:
    """Takes what arrives, gives whole messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.greeted = False  # the peer's hello has come

    def feed(self, data: bytes) -> Iterator[Tuple[int, bytes]]:
        """(number, body) of each message that is whole now. FramingError: close the connection."""
        self._data += data
        if not self.greeted:
            if not PEER_HELLO.startswith(self._data[:8]):
                raise FramingError("does not speak SP request/reply")
            if len(self._data) < 8:
                return
            self.greeted = True
            del self._data[:8]
        at = 0
        while len(self._data) - at >= 8:
            (length,) = struct.unpack_from(">Q", self._data, at)
            if not 4 <= length <= RECEIVE_BYTES_MAX:
                raise FramingError(f"announced a message of {length} bytes, "
                                   f"{RECEIVE_BYTES_MAX} are allowed")
            if len(self._data) - at < 8 + length:
                break
            (number,) = struct.unpack_from(">I", self._data, at + 8)
            yield number & ~_ID_BIT, bytes(self._data[at + 12:at + 8 + length])
            at += 8 + length
        del self._data[:at]
