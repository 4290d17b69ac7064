# SPDX-License-Identifier: MIT
"""Clients in a closed loop over few keys, and what each of them asked and was told.

They keep the rules of kv.proto, as the clients of the simulator do (tests/sim/workload.c): what was
certainly not executed is sent again as it was; a write whose outcome is unknown is sent again under
its op_id as the next attempt; a write without an op_id stays unknown. Each put writes a number of
its own, so that a value names its write. Times are those of this process's monotonic clock. Knows
addresses; knows nothing of faults.
"""

import itertools
import os
import random
import threading
import time
from dataclasses import dataclass

from chord_dht import ChordError
from kv import RingClient, code_of

PATIENCE_S = 20.0       # an operation is sent again for so long
ATTEMPT_S = (0.2, 1.0)  # how long one attempt waits for its answer
PAUSE_S = 0.02          # at most, between two operations of a client
RETRY_S = (0.02, 0.16)  # doubled from the first to the second
# Codes that say: nothing was done. All others but the final ones leave it open.
NOT_EXECUTED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE")
NEVER = ("DATA_LOSS", "INTERNAL", "INVALID_ARGUMENT", "UNIMPLEMENTED", "UNAUTHENTICATED",
         "ALREADY_EXISTS", "PERMISSION_DENIED", "CANCELLED")
NO_VERSION = (0, 0)


def now_us():
    return time.monotonic_ns() // 1000


@dataclass
class Entry:
    """One operation, as tests/sim/history_file.h writes it; `sent`: its last attempt."""
    key: str
    kind: str = "get"
    condition: str = "always"
    outcome: str = "unknown"
    existed: str = "unsaid"
    value: int = 0
    match: int = 0
    called: int = 0
    sent: int = 0
    returned: int = 0
    version: tuple = NO_VERSION
    client: int = 0
    node: int = 0
    attempts: int = 0
    last: bool = False

    def line(self):
        return (f"{'last' if self.last else 'op'} {self.key} {self.kind} {self.condition} "
                f"{self.outcome} {self.existed} {self.value} {self.match} {self.called} "
                f"{self.returned} {self.version[0]} {self.version[1]} {self.client} {self.node} "
                f"{self.attempts}\n")


class History:
    """What all clients did, and who was last said to lead each key."""

    def __init__(self):
        self.entries, self.lock = [], threading.Lock()
        self.attempts = []  # (key, sent, returned, node, code), also of those that failed
        self.leaders = {}   # key -> address
        self.strange = []   # codes that a ring must never answer with
        self.failed = 0     # operations that were certainly not executed in all that time
        self.retried = 0

    def add(self, entry):
        with self.lock:
            self.entries.append(entry)

    def write(self, path):
        with open(path, "w", encoding="ascii") as file:
            file.writelines(entry.line() for entry in self.entries)


class Known:
    """What a client knows of a key."""

    def __init__(self):
        self.seen = NO_VERSION
        self.value, self.version = 0, NO_VERSION


class Answer:
    """The result of one attempt, whatever way it came."""

    def __init__(self, code, result=None, maybe=False):
        self.code, self.maybe = code, maybe
        self.version = (result.version.epoch, result.version.counter) if result else NO_VERSION
        self.value = int(result.value or b"0") if result and code == "OK" else 0


class Client:
    """One of them; not for several threads at once."""

    values = itertools.count(1)

    def __init__(self, number, addresses, history, seed):
        self.number, self.addresses, self.history = number, addresses, history
        self.random = random.Random(f"{seed} {number}")
        self.wire = RingClient(*addresses)
        self.kv = self.wire.messages.kv
        self.known = {}

    def close(self):
        self.wire.close()

    # What to ask

    def choose(self, key):
        entry = Entry(key, client=self.number)
        known = self.known.setdefault(key, Known())
        if self.random.random() < 0.4 or known.seen == NO_VERSION:
            return entry, self.kv.GetRequest(key=key.encode())
        return entry, self.write(entry, known, self.random.random() < 0.83)

    def write(self, entry, known, put):
        kind = self.kv.OPERATION_KIND_PUT if put else self.kv.OPERATION_KIND_DELETE
        operation = self.kv.Operation(kind=kind, key=entry.key.encode(), attempt=1)
        entry.kind = "put" if put else "delete"
        if put:
            entry.value = next(Client.values)
            operation.value = b"%d" % entry.value
        condition = self.random.random()
        if condition < 0.4 and known.value:
            entry.condition, entry.match = "match", known.value
            operation.precondition.version.epoch, operation.precondition.version.counter = \
                known.version
        elif condition < 0.6 and put:
            entry.condition = "absent"
            operation.precondition.absent = True
        if self.random.random() < 0.75:
            operation.op_id = self.random.randbytes(16)
            operation.seen.epoch, operation.seen.counter = known.seen
        request = self.kv.PutRequest if put else self.kv.DeleteRequest
        return request(operation=operation)

    # One operation

    def run(self, entry, request, patience_s=PATIENCE_S):
        """Until its outcome is known, or cannot be known, or time is up. True: it is in the
        history."""
        began, pause, maybe = time.monotonic(), RETRY_S[0], False
        while True:
            entry.sent = now_us()
            if not maybe:  # what was certainly not executed was not begun
                entry.called = entry.sent
            answer = self.attempt(entry, request)
            entry.returned = now_us()
            self.history.attempts.append(
                (entry.key, entry.sent, entry.returned, entry.node, answer.code))
            maybe = maybe or answer.maybe
            if self.is_final(entry, request, answer):
                return self.end(entry, answer)
            resend = not maybe or entry.kind == "get" or request.operation.op_id
            if not resend or time.monotonic() - began > patience_s:
                break
            self.history.retried += 1
            time.sleep(self.random.uniform(pause / 2, pause))
            pause = min(2 * pause, RETRY_S[1])
        if entry.kind == "get" or not maybe:
            self.history.failed += 1
            return False
        return self.end(entry, Answer("UNKNOWN"))

    def attempt(self, entry, request):
        name = {"get": "Get", "put": "Put", "delete": "Delete"}[entry.kind]
        address = self.random.choice(self.addresses)
        entry.node = self.addresses.index(address) + 1
        entry.attempts += 1
        try:
            response = self.wire.once(f"KvService/{name}", request,
                                      getattr(self.kv, f"{name}Response"), address,
                                      timeout=self.random.uniform(*ATTEMPT_S))
        except ChordError as error:
            self.look_strange(entry, address, error.code)
            maybe = error.fate == "maybe done" or error.code not in NOT_EXECUTED
            return Answer(error.code, maybe=maybe)
        code = code_of(response.result)
        self.look_strange(entry, address, code)
        if response.hint.address and code in ("OK", "NOT_FOUND"):
            self.history.leaders[entry.key] = response.hint.address
        answer = Answer(code, response.result, maybe=code == "UNKNOWN")
        known = self.known.setdefault(entry.key, Known())
        known.seen = max(known.seen, answer.version, (response.hint.epoch, response.hint.counter))
        return answer

    def look_strange(self, entry, address, code):
        if code in NEVER:
            self.history.strange.append(f"{address} {code} to {entry.line().strip()}")

    def is_final(self, entry, request, answer):
        if answer.code in ("OK", "NOT_FOUND", "FAILED_PRECONDITION"):
            return True
        if entry.kind == "get":
            return False
        if answer.code == "ABORTED" and request.operation.attempt == 1:
            request.operation.seen.epoch, request.operation.seen.counter = answer.version
        elif answer.maybe and answer.version != NO_VERSION:
            return True  # overwritten since: nobody can tell any more
        elif answer.maybe and request.operation.op_id:
            request.operation.attempt += 1
        return False

    def end(self, entry, answer):
        known = self.known.setdefault(entry.key, Known())
        if answer.code == "FAILED_PRECONDITION":
            entry.outcome = "refused"
        elif answer.code in ("OK", "NOT_FOUND"):
            entry.outcome = "done"
        if entry.outcome != "unknown":
            entry.version = known.version = answer.version
            if entry.kind == "get":
                entry.value = answer.value
            elif entry.kind == "delete" and entry.attempts == 1:
                entry.existed = "existed" if answer.code == "OK" else "not"
            gone = entry.outcome == "refused" or entry.kind == "delete"
            known.value = 0 if gone else entry.value
        self.history.add(entry)
        return True


class Clients:
    """Threads that ask one thing after the other until they are ended."""

    def __init__(self, count, addresses, keys, seed):
        self.history, self.keys = History(), keys
        self.clients = [Client(number, addresses, self.history, seed)
                        for number in range(1, count + 1)]
        self.ended = threading.Event()
        self.problem = None
        self.threads = [threading.Thread(target=self.loop, args=(client,), daemon=True)
                        for client in self.clients]

    def loop(self, client):
        try:
            while not self.ended.is_set():
                client.run(*client.choose(client.random.choice(self.keys)))
                time.sleep(client.random.uniform(0, PAUSE_S))
        except Exception as problem:  # a thread's end must not pass unseen
            self.problem = problem
            raise
        finally:
            client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(PATIENCE_S + 10)
        if self.problem:
            raise self.problem

    def read_last(self, reads=2):
        """After the loop and all faults: every key, through random nodes. The keys that could not
        be read."""
        reader = Client(0, self.clients[0].addresses, self.history, os.urandom(8))
        unread = [key for key in self.keys for _ in range(reads)
                  if not reader.run(Entry(key, last=True),
                                    reader.kv.GetRequest(key=key.encode()))]
        reader.close()
        return unread
