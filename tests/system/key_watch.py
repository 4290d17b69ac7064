# SPDX-License-Identifier: MIT
"""python3 key_watch.py KEYS ADDRESS...: writes and reads each key again and again, each in a thread of
its own, until a line comes on stdin; then says as JSON how long each key was missed at most and what
was wrong. Prints "watching" once every key was written. A program of its own, since it runs in the
network namespace of a host."""

import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto" / "clients" / "python"))

import chord_dht  # noqa: E402

DEADLINE_S = 30
PAUSE_S = 0.02


class Watch:
    def __init__(self, client, key):
        self.client, self.key = client, key
        self.longest_s, self.rounds, self.wrong = 0.0, 0, []
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def timed(self, operation, *arguments):
        began = time.monotonic()
        result = operation(self.key, *arguments)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        return result

    def loop(self):
        while not ended.is_set():
            value = f"{self.key} {self.rounds}".encode()
            try:
                self.timed(self.client.put, value)
                found = self.timed(self.client.get)
            except chord_dht.ChordError as error:
                self.wrong.append(f"{self.key}: {error}")
                return
            if found is None or found.value != value:  # nobody else writes it
                self.wrong.append(f"{self.key} is {found} and not {value!r}")
                return
            self.rounds += 1
            ended.wait(PAUSE_S)


ended = threading.Event()
with chord_dht.Client(sys.argv[2:], timeout=DEADLINE_S) as shared:
    watches = [Watch(shared, f"watched-{number}") for number in range(int(sys.argv[1]))]
    for watch in watches:
        watch.thread.start()
    while any(not watch.rounds and not watch.wrong for watch in watches):
        time.sleep(PAUSE_S)
    for watch in watches:
        watch.longest_s = 0.0  # the first round made the connections
    print("watching", flush=True)
    sys.stdin.readline()
    ended.set()
    for watch in watches:
        watch.thread.join()
    print(json.dumps({"longest_s": sorted(watch.longest_s for watch in watches),
                      "rounds": sum(watch.rounds for watch in watches),
                      "wrong": [text for watch in watches for text in watch.wrong]}))
