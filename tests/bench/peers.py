# SPDX-License-Identifier: MIT
"""Other stores on the same machine in the same minutes, of those that are installed: etcd, three
members on loopback and one alone, through its JSON gateway; redis-server, one process that syncs
every write. Nothing is ever installed."""

import csv
import http.client
import io
import shutil
import subprocess

from launcher.supervisor import Child
from measure import Failed, Side
from ring import until

# Behind the first of the ring's block of ports; etcd takes two for each member.
ETCD_PORT, REDIS_PORT, ETCD_ALONE_PORT = 27, 33, 60
ETCD_TEMPLATES = (
    "--get", "POST /v3/kv/range", "--get-body", '{"key":"@KEY64@"}',
    "--get-answer", '"value":"@VALUE64@"',
    "--put", "POST /v3/kv/put", "--put-body", '{"key":"@KEY64@","value":"@VALUE64@"}')


def start(servers, name, *words):
    """It ends with us, however we end."""
    servers.keep(Child(name, ["setpriv", "--pdeathsig", "TERM", *words],
                       servers.folder / f"{name}.log"))


class Etcd:
    package = "etcd-server"
    group = "HTTP, beside etcd (3 members, JSON)"
    flights_max = 64
    name, port, members = "etcd", ETCD_PORT, 3

    def __init__(self, servers):
        first = servers.ring.ports.port + self.port
        self.address = f"127.0.0.1:{first}"
        urls = [f"http://127.0.0.1:{first + number}" for number in range(2 * self.members)]
        clients, peers = urls[:self.members], urls[self.members:]
        cluster = ",".join(f"m{member}={peer}" for member, peer in enumerate(peers))
        for member, (client, peer) in enumerate(zip(clients, peers)):
            start(servers, f"{self.name}-{member}", "etcd", "--name", f"m{member}", "--data-dir",
                  servers.folder / f"{self.name}-{member}", "--listen-client-urls", client,
                  "--advertise-client-urls", client, "--listen-peer-urls", peer,
                  "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster)
        until(self.is_ready, 30, "etcd is ready")

    def is_ready(self):
        connection = http.client.HTTPConnection(self.address, timeout=2)
        try:
            connection.request("GET", "/health")
            return b"true" in connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()

    def side(self, figures, words):
        return figures.side(self.name, "http_load", ("--address", self.address), *words,
                            *ETCD_TEMPLATES)

    def fill(self, figures, size):
        self.side(figures, (*figures.words("put", size, self.flights_max), *figures.FILL)).run_well()

    def sides(self, figures, words, kind, size, flight):
        del kind, size, flight
        return figures.http(words), self.side(figures, words)


class EtcdAlone(Etcd):
    group = "HTTP, beside etcd (1 member: one copy, JSON)"
    name, port, members = "etcd-alone", ETCD_ALONE_PORT, 1


class Redis:
    package = "redis-server"
    group = "libchord-client, beside redis-server (one copy, each write synced)"
    flights_max = 64

    def __init__(self, servers):
        self.port = str(servers.ring.ports.port + REDIS_PORT)
        self.rates = {}
        start(servers, "redis", "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir",
              servers.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
        until(self.is_ready, 30, "redis-server is ready")

    def is_ready(self):
        done = subprocess.run(["redis-cli", "-p", self.port, "ping"], capture_output=True,
                              text=True, check=False)
        return done.stdout.strip() == "PONG"

    def run(self, figures, kind, size, flight):
        """redis-benchmark takes a number of requests: what it did in that time before."""
        name = (kind, size, flight)
        count = max(100, round(self.rates.get(name, 2000) * figures.plan.seconds))
        done = subprocess.run(
            ["redis-benchmark", "-p", self.port, "-t", {"get": "get", "put": "set"}[kind], "-d",
             str(size), "-c", str(flight), "-n", str(count), "-r", str(figures.keys(size)),
             "--csv"], capture_output=True, text=True, check=False)
        try:
            row = list(csv.DictReader(io.StringIO(done.stdout)))[-1]
            self.rates[name] = float(row["rps"])
            return {"per_second": float(row["rps"]), "errors": 0,
                    "p50_us": float(row["p50_latency_ms"]) * 1000,
                    "p99_us": float(row["p99_latency_ms"]) * 1000}
        except (IndexError, KeyError, ValueError):
            raise Failed(f"redis-benchmark: {done.stdout}{done.stderr}") from None

    def fill(self, figures, size):
        for _ in range(3):  # it draws keys by chance: most are there then
            self.run(figures, "put", size, self.flights_max)

    def sides(self, figures, words, kind, size, flight):
        return figures.client(words), Side("redis-server", lambda: self.run(figures, kind, size,
                                                                            flight))


PEERS = {"etcd": (Etcd, EtcdAlone), "redis-server": (Redis,)}


def start_installed(servers, say):
    """Those that are there; the others are named with their package."""
    started = []
    for program, kinds in PEERS.items():
        if not shutil.which(program):
            say(f"{program}: not installed, apt install {kinds[0].package}")
            continue
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        say(f"starting {done.stdout.splitlines()[0]}")
        started += [kind(servers) for kind in kinds]
    return started
