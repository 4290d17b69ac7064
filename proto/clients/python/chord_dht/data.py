# SPDX-License-Identifier: MIT
"""What goes into a client and comes out of it. Keys and values are bytes; a str stands for its UTF-8
bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple, Union

Data = Union[str, bytes, bytearray, memoryview]

KEY_BYTES_MAX = 1024
VALUE_BYTES_MAX = 1024 * 1024
BATCH_MAX = 65536


def to_bytes(data: Data) -> bytes:
    """TypeError for anything but texts and bytes (an int would become zeros)."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a key or value is bytes or str, not {type(data).__name__}")


class Version(NamedTuple):
    """Orders all writes of one key. As text: "3.17"."""
    epoch: int
    counter: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.counter}"

    @classmethod
    def parse(cls, text: str) -> "Version":
        """From its text. ValueError: it is none."""
        epoch, _, counter = text.partition(".")
        if not (epoch.isdecimal() and counter.isdecimal()):
            raise ValueError(f"{text!r} is no version: EPOCH.COUNTER, as 3.17")
        return cls(int(epoch), int(counter))


# ---- operations, for batch() ----


@dataclass(frozen=True)
class Get:
    """`stale`: any member's value at once, even an old one."""
    key: Data
    stale: bool = False


@dataclass(frozen=True)
class Put:
    """`if_absent`: only if the key has no value; `if_version`: only if it has this version.
    `expires_at_ms`: unix time in milliseconds; 0 = never."""
    key: Data
    value: Data
    if_absent: bool = False
    if_version: Optional[Version] = None
    expires_at_ms: int = 0


@dataclass(frozen=True)
class Delete:
    """Conditions as in Put."""
    key: Data
    if_absent: bool = False
    if_version: Optional[Version] = None


Operation = Union[Get, Put, Delete]


def refusal(operation: Operation) -> str:
    """Why it would be INVALID_ARGUMENT, found out here; empty: it may be sent. TypeError as in
    to_bytes."""
    key = to_bytes(operation.key)
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        return f"the key has {len(key)} bytes; 1 to {KEY_BYTES_MAX} are allowed"
    if isinstance(operation, Get):
        return ""
    if operation.if_absent and operation.if_version is not None:
        return "if_absent and if_version cannot both hold: give one of them"
    if operation.if_version is not None and not all(
            0 <= part < 1 << 64 for part in operation.if_version):
        return f"if_version={operation.if_version} is no version that the ring gives"
    if isinstance(operation, Put):
        size = len(to_bytes(operation.value))
        if size > VALUE_BYTES_MAX:
            return f"the value has {size} bytes; at most {VALUE_BYTES_MAX} are allowed"
        if not 0 <= operation.expires_at_ms < 1 << 63:
            return f"expires_at_ms={operation.expires_at_ms} is no unix time in milliseconds"
    return ""


# ---- results ----


@dataclass(frozen=True)
class Value:
    """What get() read. `expires_at_ms`: unix time in milliseconds, 0 = never; `stale`: it may be
    old."""
    value: bytes
    version: Version
    expires_at_ms: int = 0
    stale: bool = False


@dataclass(frozen=True)
class Written:
    """What put() and delete() did. `existed`: the key had a value before; `version`: of the new value
    (of a deletion: None where there was nothing to delete); `repeated`: done, perhaps by an attempt
    before the last one."""
    existed: bool
    version: Optional[Version]
    repeated: bool = False


@dataclass(frozen=True)
class Result:
    """Of one operation of a batch.

    code     "OK", "NOT_FOUND" (get, delete), or why it failed (ChordError)
    fate     "done", "not done" or "maybe done" (ChordError)
    message  a sentence for people when it failed
    The other fields are those of Value and Written.
    """
    code: str
    fate: str
    message: str = ""
    value: bytes = b""
    version: Optional[Version] = None
    existed: bool = False
    expires_at_ms: int = 0
    stale: bool = False
    repeated: bool = False
    retry_after_ms: int = 0


@dataclass(frozen=True)
class Peer:
    """A member. `id`: its place on the ring, big-endian bytes; `address`: "host:port"."""
    id: bytes
    address: str


@dataclass(frozen=True)
class Hop:
    """Who was asked on the way of a lookup, and how long the answer took, in microseconds."""
    node: Peer
    microseconds: int


@dataclass(frozen=True)
class Lookup:
    """Who owns a key, and the way to it; the first hop is the member that was called."""
    key_id: bytes
    owner: Peer
    hops: Tuple[Hop, ...]


@dataclass(frozen=True)
class ServerInfo:
    """The ring, as one member tells: `m` identifier bits, `n` successors kept, `replicas` copies of
    each key, `ring_id` 16 bytes; `version` of its program."""
    m: int
    n: int
    replicas: int
    ring_id: bytes
    version: str
    protocol_version: int
    methods: Tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Of a raw call: the envelope's code and its payload, packed."""
    code: str
    fate: str
    payload: bytes
    message: str = ""
    retry_after_ms: int = 0
