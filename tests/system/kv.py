# SPDX-License-Identifier: MIT
"""The project's own Python client, and what only tests ask of it: any method of any node, messages
instead of bytes; reading many keys through one node."""

import socket
import time

import chord_dht
from chord_dht import ChordError, Get, fates, framing, messages

BATCH_KEYS = 500
DEADLINE_S = 60
POLL_S = 0.05
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED")


class RingClient(chord_dht.Client):
    """RingClient(address, address, ...): through any of them, and the leaders that they name."""

    def __init__(self, *addresses, timeout=5.0, **options):
        super().__init__(addresses, timeout=timeout, **options)
        self.timeout = timeout
        self.messages = messages.load()

    def value(self, key, **options):
        """As bytes, or None."""
        found = self.get(key, **options)
        return None if found is None else found.value

    def once(self, method, request, response_type, address="", timeout=None):
        """One attempt of "KvService/Get" or any other method, without the writer's recipe."""
        answer = self.call(f"chord.v1.{method}", request.SerializeToString(), member=address,
                           timeout=timeout)
        if answer.code != "OK":
            raise ChordError(answer.code, answer.message, answer.fate, answer.retry_after_ms)
        return response_type.FromString(answer.payload)

    def ask(self, method, request, response_type, address=""):
        """The same, until an answer that is more than `not now`, or the timeout."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.once(method, request, response_type, address,
                                 max(0.1, deadline - time.monotonic()))
            except ChordError as error:
                if fates.outcome_of(error.code).again != fates.LATER or \
                        time.monotonic() + POLL_S >= deadline:
                    raise
                time.sleep(POLL_S)

    def status(self, address=""):
        """The StatusResponse of one node."""
        admin = self.messages.admin
        return self.ask("AdminService/Status", admin.StatusRequest(), admin.StatusResponse, address)


class SpConnection:
    """One blocking connection, for bytes that no client would send."""

    def __init__(self, address, timeout):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout)
        self._number, self._reader = 0, framing.Reader()
        self._socket.sendall(framing.HELLO)

    def close(self):
        self._socket.close()

    def call(self, body, deadline):
        """Sends one request and returns the body of its answer."""
        self._number += 1
        self._socket.sendall(framing.frame(self._number, body))
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the node closed the connection")
            for number, answer in self._reader.feed(data):
                if number == self._number:
                    return answer


def code_of(result):
    """The name of the code of a message's OperationResult."""
    return messages.code_name(result.code)


def read_batch(client, keys, deadline):
    """[(code, value)] for the keys; whoever says `not now` is asked again until the deadline."""
    answers = {}
    waiting = list(keys)
    while waiting:
        results = client.batch([Get(key) for key in waiting])
        assert len(results) == len(waiting)
        for key, result in zip(waiting, results):
            answers[key] = (result.code, result.value)
        waiting = [key for key in waiting if answers[key][0] in RETRIED]
        if waiting:
            assert time.monotonic() < deadline, \
                f"{len(waiting)} keys still {answers[waiting[0]][0]}, for example {waiting[0]!r}"
            time.sleep(POLL_S)
    return answers


def read_all(ring, slot, keys):
    """{key: bytes} of the keys that node `slot` finds."""
    found, keys = {}, list(keys)
    deadline = time.monotonic() + DEADLINE_S
    with RingClient(ring.address(slot), timeout=30) as client:
        for start in range(0, len(keys), BATCH_KEYS):
            answers = read_batch(client, keys[start:start + BATCH_KEYS], deadline)
            for key, (code, value) in answers.items():
                assert code in ("OK", "NOT_FOUND"), f"{key!r} through node {slot}: {code}"
                if code == "OK":
                    found[key] = value
    return found
