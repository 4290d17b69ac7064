# SPDX-License-Identifier: MIT
"""A node that answers as its test says, for clients that speak to it over a real socket: any code,
nothing at all, bytes that are no answer. Leads the whole ring."""

import socket
import struct
import threading

from chord_dht import messages
from chord_dht.envelopes import request_mac, response_mac
from chord_dht.framing import PEER_HELLO
from hostile_proxy import read_exactly, read_message

RING = bytes(range(16))
START = bytes(range(100, 116))
SILENCE, HANG_UP = "silence", "hang up"
META = "chord.v1.MetaService/GetServerInfo"


class FakeNode:
    """`say`: a function of a RpcRequest; gives SILENCE, HANG_UP, bytes to be sent as they are, a
    RpcResponse (its id and MAC are filled in), or a list of (code, fields) for a batch. `say_info`
    the same for GetServerInfo; without it, a ring of M=6."""

    def __init__(self, say, key=b"", ring_id=RING, say_info=None, hello=PEER_HELLO):
        self.say, self.say_info, self.key, self.ring_id = say, say_info, key, ring_id
        self.hello, self.start = hello, START
        self.protos = messages.load()
        self.requests, self.links = [], []  # RpcRequests but GetServerInfo; sockets
        self.lock = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            self.hang_up(link)

    def hang_up(self, link):
        try:
            link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def accept(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.links.append(link)
                self.lock.notify_all()
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        try:
            link.sendall(self.hello)
            read_exactly(link, 8)
            while True:
                message = read_message(link)
                request = self.protos.envelope.RpcRequest.FromString(message[4:])
                self.answer(link, message[:4], request)
        except (OSError, ValueError):
            pass
        link.close()

    def answer(self, link, number, request):
        if request.method == META:
            said = self.say_info(request) if self.say_info else self.info()
        else:
            with self.lock:
                self.requests.append(request)
                self.lock.notify_all()
            said = self.say(request)
        if said == HANG_UP:
            self.hang_up(link)
        elif isinstance(said, bytes):
            link.sendall(said)
        elif said != SILENCE:
            body = self.sealed(request, said)
            link.sendall(struct.pack(">Q", len(body) + 4) + number + body)

    def sealed(self, request, said):
        if isinstance(said, list):
            said = self.batch(said)
        said.protocol_version = 1
        said.request_id = request.request_id
        said.ring_id, said.start, said.clock_ms = said.ring_id or self.ring_id, self.start, 5000
        if self.key and not said.mac:
            said.mac = response_mac(self.key, said)
        return said.SerializeToString()

    def wait_for(self, count, timeout_s=20):
        """Until so many requests have come."""
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.requests) >= count, timeout_s), self.requests

    def wait_for_links(self, count, timeout_s=20):
        """Until so many connections were made."""
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.links) >= count, timeout_s)

    # What it may say

    def code(self, name, payload=b"", **fields):
        envelope = self.protos.envelope
        return envelope.RpcResponse(code=envelope.Code.Value(f"CODE_{name}"), payload=payload, **fields)

    def info(self, m=6):
        meta = self.protos.meta
        parameters = self.protos.common.RingParameters(ring_id=self.ring_id, m=m, n=3, replicas=3)
        return self.code("OK", meta.GetServerInfoResponse(parameters=parameters).SerializeToString())

    def batch(self, results, epoch=3, counter=7):
        kv, common = self.protos.kv, self.protos.common
        number = self.protos.envelope.Code.Value
        hint = kv.OwnerHint(range=common.Range(lo=b"\x05", hi=b"\x05"), address=self.address,
                            epoch=epoch, counter=counter)
        return self.code("OK", kv.BatchResponse(hint=hint, results=[
            kv.OperationResult(code=number(f"CODE_{code}"), **fields) for code, fields in results
        ]).SerializeToString())

    def operations(self):
        """Of all requests so far."""
        parse = self.protos.kv.BatchRequest.FromString
        return [one for request in self.requests for one in parse(request.payload).operations]

    def challenge_first(self, request):
        """Whether it is not signed for this start, as at the first request; its MAC must be right."""
        assert request.mac == request_mac(self.key, request)
        return request.receiver != self.start
