#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client of a Chord ring: python3-protobuf and the standard library, nothing else.

It shows all that a client in another language has to do: SP framing over a TCP socket (class
SpConnection), one envelope (class Envelopes), the retries that are safe (chord_operations.py, which
goes with it). proto/README.md describes the same in words.

    python3 chord_client.py 127.0.0.1:4001 put KEY VALUE
    python3 chord_client.py 127.0.0.1:4001 get KEY
    python3 chord_client.py 127.0.0.1:4001 lookup KEY

Exit codes: 0 done, 1 no such key, 2 bad arguments, 3 the ring did not answer or refused.
"""

import argparse
import hashlib
import hmac
import importlib
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import chord_operations

PROTOCOL_VERSION = 1
MESSAGE_BYTES_MAX = 1024 * 1024 + 64 * 1024
RECEIVE_BYTES_MAX = 2 * 1024 * 1024
# What another attempt, perhaps at another node, may mend.
RETRIED_CODES = (*chord_operations.NOT_DONE, *chord_operations.MAYBE_DONE)
# They ask who one is, so they are meant for any ring.
ANYONES_METHODS = ("AdminService/Status", "AdminService/Logs", "MetaService/GetServerInfo",
                   "MetaService/GetFileDescriptorSet")
PROTO_ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO_NAMES = ("common", "envelope", "ring", "replica", "kv", "admin", "meta")


# ---- the generated messages ----


def _generate(target):
    protoc = shutil.which("protoc")
    if protoc is None:
        raise RuntimeError("protoc is missing: apt-get install protobuf-compiler")
    names = [f"chord/v1/{name}.proto" for name in PROTO_NAMES]
    subprocess.run([protoc, "-I", str(PROTO_ROOT), f"--python_out={target}", *names], check=True)


def _cached_messages():
    """A folder with the generated modules of exactly these .proto files; made when missing."""
    contract = hashlib.sha256()
    for name in PROTO_NAMES:
        contract.update((PROTO_ROOT / "chord" / "v1" / f"{name}.proto").read_bytes())
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    try:
        base = base / "chord-dht"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        base = pathlib.Path(tempfile.mkdtemp(prefix="chord-dht-"))
    folder = base / f"pb2-{contract.hexdigest()[:16]}"
    if not folder.is_dir():
        # Into a folder of its own first: another process may do the same at the same time.
        fresh = pathlib.Path(tempfile.mkdtemp(dir=base))
        _generate(fresh)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder


def load_messages(build_dir=None):
    """The generated modules as a namespace: .envelope, .kv, .ring, .admin, .meta, ...

    build_dir (or the environment's CHORD_PB2) holds chord/v1/*_pb2.py, made by
    `protoc --python_out`. Without it they are generated into the user's cache folder.
    """
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        raise RuntimeError(f"{sys.executable} has no protobuf: apt-get install python3-protobuf and "
                           "use /usr/bin/python3, or pip install protobuf") from None
    folder = build_dir or os.environ.get("CHORD_PB2") or _cached_messages()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    modules = {n: importlib.import_module(f"chord.v1.{n}_pb2") for n in PROTO_NAMES}
    return SimpleNamespace(**modules)


# ---- errors ----


class ChordError(Exception):
    """The ring's own answer, or the reason why there is none."""

    def __init__(self, code, message, retry_after_ms=0, outcome_unknown=False, final=False):
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.outcome_unknown = outcome_unknown  # a write may have taken effect, or still may
        self.final = final  # UNKNOWN, and no further attempt can find out


# ---- SP request/reply over TCP ----


class SpConnection:
    """One connection to a REP socket. Not for several threads at once."""

    def __init__(self, address, timeout):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_id = random.getrandbits(31)
        self._socket.sendall(b"\0SP\0" + struct.pack(">HH", 0x30, 0))
        if self._receive(8) != b"\0SP\0" + struct.pack(">HH", 0x31, 0):
            raise ConnectionError(f"{address} does not speak SP request/reply")

    def close(self):
        self._socket.close()

    def _receive(self, count):
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._socket.recv_into(view)
            if got == 0:
                raise ConnectionError("the node closed the connection")
            view = view[got:]
        return bytes(data)

    def call(self, body, deadline):
        """Sends one request and returns the body of its answer."""
        self._next_id = (self._next_id + 1) & 0x7FFFFFFF
        sp_id = 0x80000000 | self._next_id
        self._until(deadline)
        self._socket.sendall(struct.pack(">QI", len(body) + 4, sp_id) + body)
        while True:
            self._until(deadline)
            (length,) = struct.unpack(">Q", self._receive(8))
            if not 4 <= length <= RECEIVE_BYTES_MAX:
                raise ConnectionError(f"the node announced a message of {length} bytes")
            message = self._receive(length)
            if struct.unpack(">I", message[:4])[0] == sp_id:
                return message[4:]  # any other is the late answer to an earlier request

    def _until(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("no answer in time")
        self._socket.settimeout(left)


# ---- the client ----


class _Long(int):
    """A number of 8 bytes in a MAC."""


def _mac(key, *fields):
    """HMAC-SHA-256 over fields: numbers as 4 bytes, a _Long as 8, texts and bytes with their length
    before."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for field in fields:
        if isinstance(field, _Long):
            digest.update(struct.pack(">Q", field))
        elif isinstance(field, int):
            digest.update(struct.pack(">I", field))
        else:
            data = field.encode() if isinstance(field, str) else field
            digest.update(struct.pack(">I", len(data)))
            digest.update(data)
    return digest.digest()


class Envelopes:
    """Signs requests and opens answers, for one ring.

    The ring is the one that is given (ring_id, 16 bytes), or else that of the first answer: what a
    node of another ring says is refused from then on, and it refuses what it is sent. Where the
    ring has a key, a request is signed for one start of one node and its clock; both are in each
    answer, a CHALLENGE among them.
    """

    def __init__(self, messages, key=b"", ring_id=b""):
        self._messages = messages
        self._key = key
        self.ring_id = ring_id
        self._receivers = {}  # address: (start, when its clock was at 0 by ours, in seconds)

    def seal(self, address, method, payload, timeout_ms):
        """A RpcRequest."""
        request = self._messages.RpcRequest(
            protocol_version=PROTOCOL_VERSION,
            method=f"chord.v1.{method}",
            request_id=os.urandom(16),
            timeout_ms=timeout_ms,
            payload=payload,
            ring_id=b"" if method in ANYONES_METHODS else self.ring_id,
        )
        if self._key:
            request.receiver, zero = self._receivers.get(address, (bytes(16), time.monotonic()))
            request.sent_ms = max(0, int((time.monotonic() - zero) * 1000))
            request.mac = _mac(self._key, "chord.v1.RpcRequest", request.protocol_version,
                               request.method, request.request_id, request.timeout_ms,
                               request.payload, request.ring_id, request.receiver,
                               _Long(request.sent_ms))
        return request

    def open(self, address, request, answer):
        """The RpcResponse in the bytes of an answer, checked. Its code may be any."""
        response = self._messages.RpcResponse.FromString(answer)
        if self._key:
            expected = _mac(self._key, "chord.v1.RpcResponse", response.protocol_version,
                            response.request_id, response.code, response.message,
                            response.retry_after_ms, response.payload, response.ring_id,
                            response.start, _Long(response.clock_ms))
            if not hmac.compare_digest(expected, response.mac):
                raise ChordError("UNAUTHENTICATED", "the answer's mac is wrong: another ring key?")
        ok = response.code == self._messages.CODE_OK
        if response.request_id != request.request_id and (ok or response.request_id):
            raise ChordError("INTERNAL", "the answer belongs to another request")
        self._receivers[address] = (response.start, time.monotonic() - response.clock_ms / 1000)
        anyones = request.method.removeprefix("chord.v1.") in ANYONES_METHODS
        if ok and response.ring_id and not self.ring_id and not anyones:
            self.ring_id = response.ring_id
        if ok and request.ring_id and response.ring_id not in (b"", self.ring_id):
            raise ChordError("WRONG_RING", f"{address} belongs to ring {response.ring_id.hex()}, "
                                           f"this client to ring {self.ring_id.hex()}")
        return response


class ChordClient:
    """Talks to any of the addresses, and to the leaders that answers name; goes on to the next when
    one does not answer within a second.

    Operations are tried again until the timeout, and take effect at most once. A ChordError with
    outcome_unknown: a write may have taken effect, or still may. It belongs to one ring (class
    Envelopes). Not for several threads at once: give each its own.
    """

    Error = ChordError

    def __init__(self, *addresses, timeout=5.0, key=b"", ring_id=b"", build_dir=None):
        if not addresses:
            raise ValueError("give at least one address, host:port")
        self._addresses = list(addresses)
        self._timeout = timeout
        self._connections = {}
        self.hints = chord_operations.Hints()
        self.messages = load_messages(build_dir)
        self._envelopes = Envelopes(self.messages.envelope, key, ring_id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    # -- what people want --

    def get(self, key, stale=False):
        """The value as bytes, or None."""
        result = self._single("get", key, stale=stale)
        return None if result is None else result.value

    def put(self, key, value, expires_at_ms=0):
        """True when the key had a value before."""
        return self._single("put", key, value, expires_at_ms).existed

    def delete(self, key):
        """True when the key had a value before."""
        return self._single("delete", key) is not None

    def batch(self, operations):
        """operations: ("get", key), ("put", key, value), ("delete", key), each key once. Returns
        the OperationResult messages in the same order; look at each one's code: OK, NOT_FOUND,
        UNKNOWN (a write that may have taken effect), UNAVAILABLE and others (nothing was done)."""
        return [self._result(one) for one in self._run([self._operation(*one) for one in operations])]

    def _single(self, kind, key, value=b"", expires_at_ms=0, stale=False):
        """None when the key has no value."""
        operation = self._operation(kind, key, value, expires_at_ms)
        (pending,) = self._run([operation], stale)
        code = self.code_name(self._result(pending).code)
        if code not in ("OK", "NOT_FOUND"):
            final = pending.result is not None
            raise ChordError(code, "", outcome_unknown=pending.maybe or code == "UNKNOWN", final=final)
        return None if code == "NOT_FOUND" else pending.result

    def _run(self, operations, stale=False):
        self._learn_m()
        get = self.messages.kv.OPERATION_KIND_GET
        pending, failure = chord_operations.run(
            self, operations, [one.kind != get for one in operations], stale, self._timeout)
        if failure is not None and not any(one.result is not None for one in pending):
            failure.outcome_unknown = any(one.maybe for one in pending)
            raise failure
        return pending

    def _result(self, pending):
        """What is known of it, as an OperationResult."""
        codes = self.messages.envelope.Code
        if pending.result is not None:
            return pending.result
        code = "UNKNOWN" if pending.maybe else pending.code
        # Nothing was done, since others wrote the key all the time.
        code = "UNAVAILABLE" if code in ("ABORTED", "") else code
        return self.messages.kv.OperationResult(code=codes.Value(f"CODE_{code}"))

    def lookup(self, key):
        """A LookupResponse: key_id, owner, hops."""
        kv = self.messages.kv
        return self.call("KvService/Lookup", kv.LookupRequest(key=_bytes(key)), kv.LookupResponse)

    def status(self, address=None):
        """The StatusResponse of one node (the first that answers, when none is named)."""
        admin = self.messages.admin
        request = admin.StatusRequest()
        return self.call("AdminService/Status", request, admin.StatusResponse, address)

    # -- for chord_operations --

    def target(self, key):
        """Who is asked next: the leader of the key, as far as it is known."""
        return self.hints.address(key) or self._addresses[0]

    def avoid(self, address):
        """Others first, from now on."""
        self.hints.forget(address)
        if address == self._addresses[0]:
            self._addresses.append(self._addresses.pop(0))

    def ask_batch(self, address, operations, stale, deadline):
        """One attempt."""
        kv = self.messages.kv
        request = kv.BatchRequest(operations=operations)
        if stale:
            request.consistency = kv.CONSISTENCY_STALE
        response = self._attempt(address, "KvService/Batch", request, kv.BatchResponse, deadline)
        if len(response.results) != len(operations):
            raise ChordError("INTERNAL", f"{len(response.results)} results of {len(operations)}",
                             outcome_unknown=True)
        return response

    def code_name(self, number):
        return self._code(number)

    def _learn_m(self):
        """Where keys lie; without it the first write of each key may take a second call."""
        meta = self.messages.meta
        if self.hints.m == 0:
            try:
                info = self._attempt(self._addresses[0], "MetaService/GetServerInfo",
                                     meta.GetServerInfoRequest(), meta.GetServerInfoResponse,
                                     time.monotonic() + min(self._timeout / 4, chord_operations.TRY_S))
                self.hints.m = info.parameters.m
            except ChordError:
                self.avoid(self._addresses[0])

    # -- one call --

    def call(self, method, request, response_type, address=None):
        """Any method of the contract but those that write keys: call("RingService/Ping",
        ring.PingRequest(), ...). Without an address: of whoever answers."""
        deadline = time.monotonic() + self._timeout
        pause, patience = 0.02, chord_operations.TRY_S
        while True:
            target = address or self._addresses[0]
            until = deadline if address else min(deadline, time.monotonic() + patience)
            try:
                return self._attempt(target, method, request, response_type, until)
            except ChordError as error:
                wait = max(error.retry_after_ms / 1000, random.uniform(pause / 2, pause))
                if error.code not in RETRIED_CODES or time.monotonic() + wait >= deadline:
                    raise
            if address is None:
                self.avoid(target)
            time.sleep(wait)
            pause, patience = min(pause * 2, 0.5), patience * 2

    def _attempt(self, address, method, request, response_type, deadline, challenged=False):
        timeout_ms = max(1, int((deadline - time.monotonic()) * 1000))
        envelope = self._envelopes.seal(address, method, request.SerializeToString(), timeout_ms)
        body = envelope.SerializeToString()
        if len(body) > MESSAGE_BYTES_MAX:
            raise ChordError(
                "INVALID_ARGUMENT", f"the request has {len(body)} bytes of {MESSAGE_BYTES_MAX}"
            )
        connection = self._connections.get(address)
        try:
            if connection is None:
                left = max(0.001, deadline - time.monotonic())
                connection = SpConnection(address, left)
                self._connections[address] = connection
        except OSError as error:
            raise ChordError("UNAVAILABLE", f"no connection to {address}: {error}") from error
        try:
            response = self._envelopes.open(address, envelope, connection.call(body, deadline))
        except OSError as error:
            # What was half read cannot be read on.
            self._connections.pop(address).close()
            late = isinstance(error, socket.timeout)
            raise ChordError(
                "DEADLINE_EXCEEDED" if late else "UNAVAILABLE",
                f"{address}: {error}",
                outcome_unknown=True,
            ) from error
        code = self._code(response.code)
        if code == "CHALLENGE" and not challenged:
            return self._attempt(address, method, request, response_type, deadline, True)
        if code != "OK":
            raise ChordError(
                code, response.message, response.retry_after_ms,
                outcome_unknown=chord_operations.FATES[code]["fate"] == "maybe done",
            )
        return response_type.FromString(response.payload)

    def _code(self, number):
        try:
            return self.messages.envelope.Code.Name(number).removeprefix("CODE_")
        except ValueError:
            return "UNKNOWN"

    def _operation(self, kind, key, value=b"", expires_at_ms=0):
        kv = self.messages.kv
        kinds = {"get": kv.OPERATION_KIND_GET, "put": kv.OPERATION_KIND_PUT,
                 "delete": kv.OPERATION_KIND_DELETE}
        return kv.Operation(kind=kinds[kind], key=_bytes(key), value=_bytes(value),
                            expires_at_ms=expires_at_ms)


def _bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)


# ---- the command line ----


def _arguments(arguments):
    parser = argparse.ArgumentParser(
        description="Talks to a Chord ring.",
        epilog="Exit codes: 0 done, 1 no such key, 2 bad arguments, 3 the ring did not answer.",
    )
    parser.add_argument("addresses", metavar="HOST:PORT[,HOST:PORT...]")
    parser.add_argument("command", choices=("get", "put", "delete", "lookup", "status"))
    parser.add_argument("key", nargs="?")
    parser.add_argument("value", nargs="?", help="- reads it from the standard input")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds (5)")
    parser.add_argument("--key-file", help="the ring key (its first line)")
    parsed = parser.parse_args(arguments)
    if parsed.command != "status" and parsed.key is None:
        parser.error(f"{parsed.command} needs a KEY")
    if parsed.command == "put" and parsed.value is None:
        parser.error("put needs a VALUE")
    return parsed


def _run(client, parsed):
    if parsed.command == "get":
        value = client.get(parsed.key)
        if value is None:
            print(f"no key {parsed.key!r}", file=sys.stderr)
            return 1
        sys.stdout.buffer.write(value)
        if sys.stdout.isatty():
            print()
    elif parsed.command == "put":
        value = sys.stdin.buffer.read() if parsed.value == "-" else parsed.value
        print("replaced" if client.put(parsed.key, value) else "new")
    elif parsed.command == "delete":
        if not client.delete(parsed.key):
            print(f"no key {parsed.key!r}", file=sys.stderr)
            return 1
        print("deleted")
    elif parsed.command == "lookup":
        found = client.lookup(parsed.key)
        print(f"key id {found.key_id.hex()}")
        for hop in found.hops:
            print(f"asked  {hop.node.id.hex()} {hop.node.address} {hop.microseconds} us")
        print(f"owner  {found.owner.id.hex()} {found.owner.address}")
    else:
        print(client.status(), end="")
    return 0


def main(arguments=None):
    parsed = _arguments(arguments)
    key = b""
    try:
        if parsed.key_file:
            with open(parsed.key_file, "rb") as file:
                key = file.readline().rstrip(b"\r\n")
        addresses = parsed.addresses.split(",")
        with ChordClient(*addresses, timeout=parsed.timeout, key=key) as client:
            return _run(client, parsed)
    except ChordError as error:
        print(f"chord_client: {error}", file=sys.stderr)
        return 3
    except (OSError, RuntimeError, ValueError) as error:
        print(f"chord_client: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
