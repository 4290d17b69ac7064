# SPDX-License-Identifier: MIT
"""The matrix: which figures there are, each with its reference."""

from dataclasses import dataclass

import csv_rows
from measure import Figure, Side, generate

KEYS = {64: 10000, 1024: 10000, 65536: 500}
MIXES = {"A": 50, "B": 95, "C": 100}  # YCSB's: percent of reads
ZIPF = 0.99
MIX_FLIGHT = 64
LOADS = (512, 256)  # connections
# Of what must be done, not measured: a machine may be so busy that a put takes seconds.
PATIENT = ("--attempt-ms", 20000, "--timeout-ms", 60000)
CLIENT, HTTP = "libchord-client", "HTTP"


@dataclass
class Plan:
    sizes: tuple = (64, 1024, 65536)
    flights: tuple = (1, 8, 64, 256)
    peer_flights: tuple = (1, 16, 64)
    mixes: tuple = ("A", "B", "C")
    mix_size: int = 1024
    rate: int = 1000  # of the open loop
    import_rows: int = 200000
    more_nodes: tuple = (5, 8)  # rings for which a few figures are taken again
    idle_seconds: float = 20
    breaks: int = 3  # how often the ring is killed or started again
    keys_max: int = 10000
    seconds: float = 1
    warm_up: float = 0.2
    repeats: int = 5


QUICK = Plan(sizes=(64,), flights=(1, 64), peer_flights=(16, 64), mixes=("A",), mix_size=64, rate=200,
             import_rows=20000, more_nodes=(), idle_seconds=3, breaks=1, keys_max=2000,
             seconds=0.3, warm_up=0.1, repeats=3)


def size_text(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


class Figures:
    def __init__(self, servers, plan, peers, say):
        self.servers, self.plan, self.peers, self.say = servers, plan, peers, say

    def all(self):
        """One after the other: keys of one size are stored before the figures of that size."""
        for size in self.plan.sizes:
            self.say(f"storing {self.keys(size)} values of {size_text(size)}")
            self.fill(size)
            yield from self.of_size(size)
            if size == self.plan.mix_size:
                yield from self.of_mixes(size)
                yield from self.of_rate(size)
            if size == self.plan.sizes[0]:
                yield self.of_overload(size)
            if size <= 1024:
                yield from self.of_peers(size)
        yield from csv_rows.figures(self.servers, self.plan.import_rows, self.say)

    def of_nodes(self, nodes):
        """A few of the same, of a ring of another size."""
        size = self.plan.sizes[0]
        self.fill(size)
        for figure in self.of_size(size):
            if figure.group == CLIENT and figure.options["in_flight"] in (1, MIX_FLIGHT):
                figure.group = f"{CLIENT}, {nodes} nodes"
                yield figure

    # What is asked

    def keys(self, size):
        return min(KEYS[size], self.plan.keys_max)

    def words(self, kind, size, flight):
        return ("--kind", kind, "--value-bytes", size, "--in-flight", flight, "--keys",
                self.keys(size), "--seconds", self.plan.seconds, "--warm-up", self.plan.warm_up)

    FILL = ("--fill", "--seconds", 0, "--warm-up", 0)

    def fill(self, size):
        """All keys, in the ring and in the peers."""
        self.client(self.words("put", size, MIX_FLIGHT), *self.FILL, *PATIENT).run_well()
        for peer in self.peers:
            peer.fill(self, size)

    # Who is asked

    def side(self, what, program, to, *words):
        return Side(what, lambda: generate(self.servers.programs / program, *to, *words))

    def client(self, words, *more):
        return self.side("libchord-client", "load", ("--members", self.servers.members), *words,
                         *more)

    def echo(self, words):
        return self.side("nng echo", "echo", ("--address", self.servers.echo), *words)

    def store(self, words):
        return self.side("nng echo that syncs", "echo", ("--address", self.servers.store), *words)

    def http(self, words):
        return self.side("gateway", "http_load", ("--address", self.servers.gateway), *words)

    def livez(self, words):
        return self.side("GET /livez", "http_load", ("--address", self.servers.gateway), *words,
                         "--kind", "get", "--get", "GET /livez", "--get-answer", "")

    # Figures

    def figure(self, group, kind, size, flight, subject, reference):
        return Figure(group, f"{kind} {size_text(size)}, {flight} in flight", subject, reference,
                      {"kind": kind, "value_bytes": size, "in_flight": flight})

    def of_size(self, size):
        for kind, more in (("get", ()), ("put", ()), ("stale get", ("--stale",))):
            for flight in self.plan.flights:
                words = self.words(kind.split()[-1], size, flight)
                yield self.figure(CLIENT, kind, size, flight, self.client(words, *more),
                                  self.store(words) if kind == "put" else self.echo(words))
        for kind in ("get", "put"):
            for flight in self.plan.flights:
                words = self.words(kind, size, flight)
                yield self.figure(HTTP, kind, size, flight, self.http(words), self.livez(words))

    def of_mixes(self, size):
        for name in self.plan.mixes:
            words = (*self.words("mix", size, MIX_FLIGHT), "--reads", MIXES[name], "--zipf", ZIPF)
            yield self.figure(f"YCSB mixes, {CLIENT}", f"YCSB {name}", size, MIX_FLIGHT,
                              self.client(words), self.store(words))

    def of_rate(self, size):
        """How long one waits who does not come because another has gone: an open loop."""
        for kind in ("get", "put"):
            words = (*self.words(kind, size, MIX_FLIGHT), "--rate", self.plan.rate)
            yield Figure(f"{CLIENT}, an open loop; the ratio is of p99",
                         f"{kind} {size_text(size)}, {self.plan.rate:,} a second",
                         self.client(words), self.store(words) if kind == "put" else
                         self.echo(words), {"kind": kind, "value_bytes": size,
                                            "rate": self.plan.rate}, by="p99_us")

    def of_overload(self, size):
        """Twice the connections that are of use, beside these."""
        twice, once = (self.http(self.words("get", size, flight)) for flight in LOADS)
        once.what = f"the gateway with {LOADS[1]}"
        return self.figure(f"{HTTP}, twice the load", "get", size, LOADS[0], twice, once)

    def of_peers(self, size):
        for peer in self.peers:
            for kind in ("get", "put"):
                for flight in self.plan.peer_flights:
                    if flight <= peer.flights_max:
                        words = self.words(kind, size, flight)
                        yield self.figure(peer.group, kind, size, flight,
                                          *peer.sides(self, words, kind, size, flight))
