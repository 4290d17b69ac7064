# SPDX-License-Identifier: MIT
"""The matrix: which figures there are, each with its reference."""

from dataclasses import dataclass

from measure import Figure, Side, generate

KEYS = {64: 10000, 1024: 10000, 65536: 500}


@dataclass
class Plan:
    sizes: tuple = (64, 1024, 65536)
    flights: tuple = (1, 8, 64, 256)
    keys_max: int = 10000
    seconds: float = 1
    warm_up: float = 0.2
    repeats: int = 5


QUICK = Plan(sizes=(64,), flights=(1, 64), keys_max=2000, seconds=0.5, warm_up=0.1, repeats=3)


def size_text(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


class Figures:
    def __init__(self, servers, plan):
        self.servers, self.plan = servers, plan

    def words(self, kind, size, flight):
        return ("--kind", kind, "--value-bytes", size, "--in-flight", flight, "--keys",
                min(KEYS[size], self.plan.keys_max), "--seconds", self.plan.seconds, "--warm-up",
                self.plan.warm_up)

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

    def fill(self, size):
        words = self.words("put", size, 64)
        return generate(self.servers.programs / "load", "--members", self.servers.members, *words,
                        "--fill", "--seconds", 0, "--warm-up", 0)

    def of_size(self, size):
        """Those of one size of values; its keys must have been filled."""
        for kind, more in (("get", ()), ("put", ()), ("stale get", ("--stale",))):
            for flight in self.plan.flights:
                words = self.words(kind.split()[-1], size, flight)
                reference = self.store(words) if kind == "put" else self.echo(words)
                yield self.figure("client", kind, size, flight, self.client(words, *more),
                                  reference)
        for kind in ("get", "put"):
            for flight in self.plan.flights:
                words = self.words(kind, size, flight)
                yield self.figure("HTTP", kind, size, flight, self.http(words), self.livez(words))

    def figure(self, group, kind, size, flight, subject, reference):
        return Figure(group, f"{kind} {size_text(size)}, {flight} in flight", subject, reference,
                      {"kind": kind, "value_bytes": size, "in_flight": flight})
