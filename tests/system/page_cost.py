# SPDX-License-Identifier: MIT
"""What a page's queries cost other clients: latencies of gets and puts while one query after the
other is asked, against a quiet stretch just before it in the same run.

    CHORD_BUILD=build/release /usr/bin/python3 -m pytest -s tests/system/test_page_cost.py --rows 1000000
"""

import http.client
import multiprocessing
import threading
import time
from urllib.parse import quote

from chord_dht import ChordError
from kv import RingClient

PROCESSES = 2
SPACE_S = 0.002  # between two operations of one client: a machine at its limit measures itself
ASK_S = 0.05  # between two questions, as of 40 open pages; what takes longer is asked at once again


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def client(addresses, rows, number, results, stop):
    """Gets and puts in turn, each with the moment at which it began."""
    taken, turn = [], number
    with RingClient(*addresses[number % len(addresses):], *addresses, timeout=20) as ring:
        while not stop.is_set():
            turn = (turn * 7919 + 104729) % rows
            key, began = f"user {turn:07d}", time.monotonic()
            try:
                if len(taken) % 2:
                    ring.put(key, b"w" * 40)
                else:
                    ring.get(key)
            except ChordError as error:
                print("client:", error)
            taken.append((began, (time.monotonic() - began) * 1000))
            time.sleep(SPACE_S)
    results.put(taken)


class Clients:
    def __init__(self, ring, rows, slots):
        self.results, self.stop = multiprocessing.Queue(), multiprocessing.Event()
        addresses = [ring.address(slot) for slot in slots]
        self.processes = [multiprocessing.Process(
            target=client, args=(addresses, rows, number, self.results, self.stop))
            for number in range(PROCESSES)]
        for process in self.processes:
            process.start()

    def end(self):
        self.stop.set()
        taken = [entry for _ in self.processes for entry in self.results.get(timeout=60)]
        for process in self.processes:
            process.join()
        return taken


def ask(port, path, until):
    """Asks the same thing again and again; how often, and the slowest answer in ms."""
    count, slowest = 0, 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < until:
        began = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        while answer.read(1 << 20):
            if time.monotonic() > until + 1:
                connection.close()
                return count + 1, (time.monotonic() - began) * 1000
        slowest, count = max(slowest, (time.monotonic() - began) * 1000), count + 1
        time.sleep(max(0, began + ASK_S - time.monotonic()))
    connection.close()
    return count, slowest


def queries(ring):
    """What the pages ask, and a script that walks: name -> path."""
    node = "/api/v1/nodes/" + quote(ring.address(1), safe="")
    return {
        "prefix that nothing has": f"{node}/keys?prefix=nobody&limit=25&values=1",
        "prefix, only led": f"{node}/keys?prefix=user+0000&limit=25&values=1&led=1",
        "a page of 25": f"{node}/keys?limit=25&values=1",
        "a page of 1000": f"{node}/keys?limit=1000&values=1",
        "one node": node,
        "the ring": "/api/v1/ring",
        "/data of the ring": "/data?limit=1000",
        "/data by prefix": "/data?limit=100&prefix=user+99",
        "export": "/api/v1/exports",
    }


def measure(ring, rows, slots, rounds=4, stretch_s=1.0):
    """[(name, quiet p50, p99, asked p50, p99, how often, slowest)]. Quiet and asked stretches take
    turns, so that what else the machine does is in both."""
    clients, asked_at = Clients(ring, rows, slots), {}
    time.sleep(1)
    for name, path in queries(ring).items():
        for _ in range(rounds):
            start = time.monotonic()
            time.sleep(stretch_s)
            middle = time.monotonic()
            count, slowest = ask(ring.ports.port, path, middle + stretch_s)
            asked_at.setdefault(name, []).append((start, middle, time.monotonic(), count, slowest))
            time.sleep(0.2)
    taken, table = clients.end(), []
    for name, stretches in asked_at.items():
        quiet = [ms for start, middle, *_ in stretches for began, ms in taken
                 if start <= began < middle]
        asked = [ms for _, middle, end, *_ in stretches for began, ms in taken
                 if middle <= began < end]
        table.append((name, percentile(quiet, 0.5), percentile(quiet, 0.99),
                      percentile(asked, 0.5), percentile(asked, 0.99),
                      sum(stretch[3] for stretch in stretches),
                      max(stretch[4] for stretch in stretches)))
    return table


def show(table):
    print(f"\n{'query':26} {'quiet p50':>10} {'p99':>7} {'asked p50':>10} {'p99':>7} "
          f"{'times':>6} {'slowest':>8}  (ms)")
    for name, *numbers in table:
        print(f"{name:26} {numbers[0]:10.1f} {numbers[1]:7.1f} {numbers[2]:10.1f} "
              f"{numbers[3]:7.1f} {numbers[4]:6} {numbers[5]:8.0f}")
