# SPDX-License-Identifier: MIT
"""Between clients and nodes: loses requests, loses answers, sends late copies of requests, and
stands still for a while, like a node that is paused.

Node 127.0.0.1:P is reached as 127.0.0.2:P. In answers the one address is written as the other, which
has as many bytes, so that a client that follows hints stays here. For rings without a key.
"""

import heapq
import random
import socket
import struct
import threading
import time

INNER, OUTER = b"127.0.0.1:", b"127.0.0.2:"
KV = b"chord.v1.KvService/"
LOST, UNANSWERED, COPIED = 0.05, 0.05, 0.12  # of the requests about keys
COPY_S = 1.5                                 # at most, until a copy is sent
STILL_S = (0.3, 1.5)                         # a pause, and ...
STILL_EVERY_S = 6.0                          # ... about how often


def read_exactly(link, count):
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def read_message(link):
    (length,) = struct.unpack(">Q", read_exactly(link, 8))
    return read_exactly(link, length)


class Link:
    """One client's connection and its own to the node."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.node = socket.create_connection(("127.0.0.1", proxy.node_port), 10)
        self.node.settimeout(None)
        self.lock = threading.Lock()  # of writes to the node, ...
        self.answer_lock = threading.Lock()  # ... and to the client
        self.unanswered = set()       # ids whose answers are lost
        self.copies = 0xf0000000      # hardly ever ids of the client
        time.sleep(proxy.hello_s)
        client.sendall(read_exactly(self.node, 8))
        self.node.sendall(read_exactly(client, 8))
        for side in (self.requests, self.answers):
            threading.Thread(target=self.guard, args=(side,), daemon=True).start()

    def guard(self, side):
        try:
            while True:
                side()
        except OSError:
            self.close()

    def close(self):
        for end in (self.client, self.node):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def send(self, message):
        with self.lock:
            self.node.sendall(struct.pack(">Q", len(message)) + message)

    def requests(self):
        message = read_message(self.client)
        self.proxy.wait()
        self.hand_on(message)

    def hand_on(self, message):
        dice = self.proxy.draw() if KV in message else (1, 1, 1, 0)
        if dice[2] < COPIED:
            self.copies += 1
            copy = struct.pack(">I", self.copies) + message[4:]
            self.unanswered.add(copy[:4])
            self.proxy.later(dice[3] * COPY_S, lambda: self.send(copy))
        if dice[1] < UNANSWERED:
            self.unanswered.add(message[:4])
        if dice[0] >= LOST:
            self.send(message)

    def answers(self):
        message = read_message(self.node)
        self.proxy.wait()
        if message[:4] not in self.unanswered:
            self.answer(message.replace(INNER, OUTER))

    def answer(self, message):
        with self.answer_lock:
            self.client.sendall(struct.pack(">Q", len(message)) + message)


class HostileProxy:
    """In front of the node at a port; ended with close(). `hostile` False: it only counts."""

    link = Link

    def __init__(self, port, seed, hostile=True, hello_s=0.0):
        self.port = self.node_port = port
        self.random = random.Random(f"{seed} {port}")
        self.hostile, self.requests = hostile, 0  # about keys
        self.hello_s = hello_s  # until a connection speaks
        self.lock, self.links, self.due = threading.Condition(), [], []
        self.ended, self.still_until, self.counts = False, 0.0, [0, 0, 0]
        self.listener = socket.create_server(("127.0.0.2", port))
        for loop in (self.accept, self.time):
            threading.Thread(target=loop, daemon=True).start()

    def draw(self):
        with self.lock:
            self.requests += 1
            dice = [self.random.random() for _ in range(4)] if self.hostile else [1, 1, 1, 0]
            for which, most in enumerate((LOST, UNANSWERED, COPIED)):
                self.counts[which] += dice[which] < most
            return dice

    def wait(self):
        while (left := self.still_until - time.monotonic()) > 0:
            time.sleep(left)

    def later(self, seconds, action):
        with self.lock:
            heapq.heappush(self.due, (time.monotonic() + seconds, len(self.due), id(action), action))
            self.lock.notify()

    def time(self):
        next_still = time.monotonic() + self.random.uniform(0, STILL_EVERY_S)
        while not self.ended:
            with self.lock:
                now = time.monotonic()
                ready = []
                while self.due and self.due[0][0] <= now:
                    ready.append(heapq.heappop(self.due)[3])
                if not ready:
                    times = [self.due[0][0]] if self.due else []
                    times += [next_still] if self.hostile else []
                    self.lock.wait(max(0.001, min(times) - now) if times else None)
            if now >= next_still and self.hostile:
                self.still_until = now + self.random.uniform(*STILL_S)
                next_still = now + self.random.uniform(STILL_EVERY_S / 2, STILL_EVERY_S * 1.5)
            for action in ready:
                try:
                    action()
                except OSError:
                    pass  # its connection has ended

    def accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
            except OSError:
                continue
            # A node that stands still lets nobody else wait.
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            self.links.append(self.link(self, client))
        except OSError:
            client.close()  # nobody is behind this proxy

    def close(self):
        self.ended = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for link in self.links:
            link.close()
        with self.lock:
            self.lock.notify()
