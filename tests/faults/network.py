# SPDX-License-Identifier: MIT
"""A network of its own for the nodes, in which any of them can be cut off from any other.

The program runs itself again in new namespaces (network, mounts; without root also users), so
nothing of it is seen by the rest of the machine and nothing is left when it ends, however it ends.
Each node has a network namespace; this process is the router between them and the clients' place.
A cut is a routing rule `from A to B blackhole`: the packets of one direction vanish without an
error, also those of open connections. Needs `ip` (iproute2) and `unshare` (util-linux) only.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

PRIVATE = "CHORD_FAULTS_PRIVATE"  # set in the process that has the namespaces
PORT = 4000


def unshare_words():
    words = ["unshare", "--net", "--mount"]
    return words if os.geteuid() == 0 else [*words, "--user", "--map-root-user"]


def why_not_private():
    """None when namespaces can be made here, or have been, else the reason."""
    if os.environ.get(PRIVATE) == "1":
        return None
    for tool in ("unshare", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is missing (sh deploy/install-deps.sh test)"
    trial = "ip link set lo up && ip link add type veth && mount -t tmpfs none /run"
    done = subprocess.run([*unshare_words(), "sh", "-c", trial], capture_output=True, text=True,
                          check=False)
    return None if done.returncode == 0 else f"no namespaces: {done.stderr.strip()}"


def enter_private():
    """Becomes the same program in namespaces of its own. Returns when it is there."""
    if os.environ.get(PRIVATE) != "1":
        os.environ[PRIVATE] = "1"
        sys.stdout.flush()
        words = [*unshare_words(), sys.executable, *sys.argv]
        os.execvp(words[0], words)
    # `ip netns` keeps its names here: of this run only.
    run("mount", "-t", "tmpfs", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def run(*words, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


class Network:
    def __init__(self, count):
        self.cuts = Counter()  # (from, to) -> how many faults want it
        for node in range(1, count + 1):
            name, hub = f"node{node}", f"100.77.{node}.254"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"v{node}", "type", "veth", "peer", "name", "eth0",
                "netns", name)
            run("ip", "-batch", "-", text=f"addr add {hub}/24 dev v{node}\nlink set v{node} up\n")
            run("ip", "-n", name, "-batch", "-",
                text=f"link set lo up\naddr add {self.host(node)}/24 dev eth0\n"
                     f"link set eth0 up\nroute add default via {hub}\n")

    @staticmethod
    def host(node):
        return f"100.77.{node}.1"  # of Tailscale's network: a node listens there without a key

    def address(self, node):
        return f"{self.host(node)}:{PORT}"

    @staticmethod
    def words(node):
        """What a program is started with to be on that node's network."""
        return ["ip", "netns", "exec", f"node{node}"]

    def _rules(self, verb, pairs):
        if pairs:
            run("ip", "-batch", "-", text="".join(
                f"rule {verb} from {self.host(a)} to {self.host(b)} blackhole\n"
                for a, b in pairs))

    def cut(self, pairs):
        """Packets from a to b are lost, for each (a, b), until `mend` was called as often."""
        self._rules("add", [pair for pair in pairs if self.cuts[pair] == 0])
        self.cuts.update(pairs)

    def mend(self, pairs):
        self.cuts.subtract(pairs)
        self._rules("del", [pair for pair in pairs if self.cuts[pair] == 0])


class Loopback:
    """No network of its own: ports of this machine, and no cuts."""

    def __init__(self, base_port):
        self.base_port = base_port

    def address(self, node):
        return f"127.0.0.1:{self.base_port + node}"

    @staticmethod
    def words(node):
        del node
        return []
