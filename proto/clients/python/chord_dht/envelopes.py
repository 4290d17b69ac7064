# SPDX-License-Identifier: MIT
"""The envelope around each request and answer: which ring is meant, the MAC where the ring has a key.
Sends nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import time
from typing import Any, Callable, Dict, Tuple, Union

from . import messages

PROTOCOL_VERSION = 1
RING_ID_BYTES = 16
RING_KEY_BYTES = (16, 64)
# They ask a node who it is, so they are meant for any ring.
ANYONES_METHODS = ("chord.v1.AdminService/Status", "chord.v1.AdminService/Logs",
                   "chord.v1.MetaService/GetServerInfo", "chord.v1.MetaService/GetFileDescriptorSet",
                   "chord.v1.MetaService/Describe")
_RECEIVERS_MAX = 4096


class Rejected(Exception):
    """An answer that cannot be believed. `code` says why: UNAUTHENTICATED, WRONG_RING, INTERNAL."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Long(int):
    """A number of 8 bytes in a MAC."""


def mac(key: bytes, *fields: Union[int, str, bytes]) -> bytes:
    """HMAC-SHA-256 over fields: numbers as 4 bytes, a Long as 8, texts and bytes with their length
    before."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for field in fields:
        if isinstance(field, Long):
            digest.update(struct.pack(">Q", field))
        elif isinstance(field, int):
            digest.update(struct.pack(">I", field & 0xFFFFFFFF))  # an enum may be negative
        else:
            data = field.encode() if isinstance(field, str) else field
            digest.update(struct.pack(">I", len(data)))
            digest.update(data)
    return digest.digest()


def request_mac(key: bytes, request: Any) -> bytes:
    """Of a RpcRequest."""
    return mac(key, "chord.v1.RpcRequest", request.protocol_version, request.method,
               request.request_id, request.timeout_ms, request.payload, request.ring_id,
               request.receiver, Long(request.sent_ms))


def response_mac(key: bytes, response: Any) -> bytes:
    """Of a RpcResponse."""
    return mac(key, "chord.v1.RpcResponse", response.protocol_version, response.request_id,
               response.code, response.message, response.retry_after_ms, response.payload,
               response.ring_id, response.start, Long(response.clock_ms))


class Envelopes:
    """Signs requests and opens answers, for one ring.

    The ring is the one that is given (ring_id, 16 bytes), or else that of the first answer: what a
    node of another ring says is refused from then on, and it refuses what it is sent. Where the
    ring has a key, a request is signed for one start of one node and its clock; both are in each
    answer, a CHALLENGE among them.
    """

    def __init__(self, key: bytes = b"", ring_id: bytes = b"",
                 now_s: Callable[[], float] = time.monotonic) -> None:
        """ValueError: a key or an id of a length that no ring has."""
        if key and not RING_KEY_BYTES[0] <= len(key) <= RING_KEY_BYTES[1]:
            raise ValueError(f"the ring key has {len(key)} bytes; 16 to 64 are allowed")
        if ring_id and len(ring_id) != RING_ID_BYTES:
            raise ValueError(f"ring_id has {len(ring_id)} bytes; it must have {RING_ID_BYTES}")
        self._messages = messages.load().envelope
        self._key = key
        self.ring_id = ring_id
        self._now_s = now_s
        # address: (start, when its clock was at 0 by ours, in seconds)
        self._receivers: Dict[str, Tuple[bytes, float]] = {}

    def seal(self, address: str, method: str, payload: bytes, timeout_ms: int) -> Any:
        """A RpcRequest for the node at the address. `method`: "chord.v1.KvService/Get"."""
        request = self._messages.RpcRequest(
            protocol_version=PROTOCOL_VERSION, method=method, request_id=os.urandom(16),
            timeout_ms=timeout_ms, payload=payload,
            ring_id=b"" if method in ANYONES_METHODS else self.ring_id)
        if self._key:
            now_s = self._now_s()
            request.receiver, zero = self._receivers.get(address, (bytes(16), now_s))
            request.sent_ms = max(0, int((now_s - zero) * 1000))
            request.mac = request_mac(self._key, request)
        return request

    def open(self, address: str, request: Any, data: bytes) -> Any:
        """The RpcResponse in the bytes of an answer to the request, checked; its code may be any.
        Rejected: it is not to be believed."""
        try:
            response = self._messages.RpcResponse.FromString(data)
        except Exception as problem:  # protobuf's backends have different exceptions
            raise Rejected("INTERNAL", f"the answer of {address} cannot be read") from problem
        if self._key and not hmac.compare_digest(response_mac(self._key, response), response.mac):
            raise Rejected("UNAUTHENTICATED",
                           f"the MAC of {address} is wrong: it has another ring key, or none")
        ok = response.code == self._messages.CODE_OK
        if response.request_id != request.request_id and (ok or response.request_id):
            raise Rejected("INTERNAL", f"{address} answered another request")
        self._heard(address, response)
        if ok and response.ring_id and not self.ring_id and request.method not in ANYONES_METHODS:
            self.ring_id = response.ring_id
        if ok and request.ring_id and response.ring_id not in (b"", request.ring_id):
            raise Rejected("WRONG_RING", f"{address} belongs to ring {response.ring_id.hex()}, this "
                                         f"client to ring {request.ring_id.hex()}")
        return response

    def _heard(self, address: str, response: Any) -> None:
        if self._key:
            self._receivers[address] = (response.start, self._now_s() - response.clock_ms / 1000)
            while len(self._receivers) > _RECEIVERS_MAX:
                del self._receivers[next(iter(self._receivers))]
