# SPDX-License-Identifier: MIT
"""Readers in a closed loop: each asks for the next key as soon as it has its answer."""

import random
import threading


class Readers:
    """Counts what readers saw while something happened to the ring (a context manager)."""

    def __init__(self, ring, rows, threads=2, seed=1):
        self.ring, self.rows, self.keys = ring, rows, list(rows)
        self.counts = {"right": 0, "wrong": 0, "missing": 0, "unavailable": 0}
        self.examples = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.loop, args=(seed + number,), daemon=True)
                        for number in range(threads)]

    def judge(self, key, status, value):
        if status == 200:
            return "right" if value == self.rows[key].encode() else "wrong"
        return "missing" if status == 404 else "unavailable"

    def loop(self, seed):
        order = random.Random(seed)
        while not self.ended.is_set():
            key = order.choice(self.keys)
            try:
                status, value = self.ring.get(key)
            except OSError as error:
                status, value = 0, str(error).encode()
            seen = self.judge(key, status, value)
            with self.lock:
                self.counts[seen] += 1
                if seen != "right" and len(self.examples) < 5:
                    self.examples.append((seen, key, status, value[:200]))

    def total(self):
        with self.lock:
            return sum(self.counts.values())

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
        print("readers:", self.counts, self.examples)
