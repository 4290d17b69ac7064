# SPDX-License-Identifier: MIT
"""Joins that cannot work, between real nodes on addresses of their own: the joiner is refused within
seconds, with its address and the fix, and the ring stays as it was."""

import os
import shutil
import subprocess
import time

import pytest
from ring import BUILD, until

REFUSED_S = 10
MEMBER_S = 20
EXIT_REFUSED = 5
HERE, THERE = "100.77.1.1:4000", "100.77.2.1:4000"  # Tailscale's range: no ring key is needed
LOOPBACK = "127.0.0.1:4001"

# Addresses of this network only, and a port that nobody can dial though its packets come back. The
# rules for local addresses come after ours.
NETWORK = """set -e
ip link set lo up
ip addr add 100.77.1.1/32 dev lo
ip addr add 100.77.2.1/32 dev lo
ip rule add pref 100 lookup local
ip rule del pref 0
echo ready
exec sleep 3600"""


class Hosts:
    """Namespaces that end with the test."""

    def __init__(self, folder):
        self.folder, self.nodes = folder, []
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self.holder = subprocess.Popen(["unshare", "--net", *user, "sh", "-c", NETWORK],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.words = ["nsenter", "--target", str(self.holder.pid), "--net",
                      *([] if not user else ["--user", "--preserve-credentials"])]
        self.problem = "" if self.holder.stdout.readline() == "ready\n" else \
            self.holder.stderr.read().strip() or "no namespace"

    def wall(self, verb):
        """add: THERE cannot be dialled."""
        subprocess.run([*self.words, "ip", "rule", verb, "pref", "50", "to", THERE.split(":")[0],
                        "ipproto", "tcp", "dport", THERE.split(":")[1], "prohibit"], check=True)

    def start(self, address, *how):
        folder = self.folder / f"node-{len(self.nodes)}"
        node = subprocess.Popen(
            [*self.words, BUILD / "node" / "chord-node", "--listen", address, "--data", folder,
             *how], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.nodes.append(node)
        assert node.stdout.readline() == f"listening {address}\n"
        return node

    def create(self, address):
        self.start(address, "--create")
        until(lambda: self.members(address) == [address], MEMBER_S, "the first member")

    def refused(self, address, seed):
        began = time.monotonic()
        joiner = self.start(address, "--join", seed)
        _, said = joiner.communicate(timeout=REFUSED_S)
        print(f"refused after {time.monotonic() - began:.1f} s: {said}")
        assert joiner.returncode == EXIT_REFUSED, said
        last = said.splitlines()[-1]
        assert last.startswith(f"chord-node: {address} is refused by the ring: ")
        assert "--listen must be an address that every member can dial" in last
        return last

    def members(self, address):
        done = subprocess.run([*self.words, BUILD / "node" / "chordctl", "ring", "--node", address],
                              capture_output=True, text=True, check=False)
        return [other for other in (HERE, THERE, LOOPBACK) if other in done.stdout]

    def close(self):
        for node in self.nodes:
            if node.poll() is None:
                node.terminate()
                node.communicate(timeout=30)
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture
def hosts(tmp_path):
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{missing[0]} is missing (sh deploy/install-deps.sh test)")
    made = Hosts(tmp_path)
    if made.problem:
        made.close()
        pytest.skip(f"no namespaces: {made.problem}")
    yield made
    made.close()


def test_a_joiner_that_members_cannot_dial(hosts):
    hosts.create(HERE)
    hosts.wall("add")
    assert "members cannot reach this node" in hosts.refused(THERE, HERE)
    assert hosts.members(HERE) == [HERE]
    hosts.wall("del")
    hosts.start(THERE, "--join", HERE)
    until(lambda: hosts.members(HERE) == [HERE, THERE], MEMBER_S, lambda: hosts.members(HERE))


@pytest.mark.parametrize("member, joiner", [(HERE, LOOPBACK), (LOOPBACK, HERE)])
def test_loopback_and_other_addresses_do_not_mix(hosts, member, joiner):
    hosts.create(member)
    assert "just one is a loopback address" in hosts.refused(joiner, member)
    assert hosts.members(member) == [member]
