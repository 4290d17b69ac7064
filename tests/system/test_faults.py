"""Rings of real processes that are broken under clients: see tests/faults/README.md. What clients were
told must be linearizable, and nothing acknowledged may be gone."""

import json
import random
import signal
import subprocess
import sys

import pytest
from clients import Clients
from cluster import Cluster
from network import Loopback, why_not_private
from ports import PortBlock
from ring import BUILD, RELEASE_BUILD, ROOT
from verdict import check

CHECK_HISTORY = BUILD / "tests" / "sim" / "check-history"
MAIN = ROOT / "tests" / "faults" / "main.py"
KILLS, PAUSES, PARTITIONS = 16, 7, 7


def test_kills_pauses_and_partitions_lose_nothing(tmp_path):
    reason = why_not_private()
    if reason:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, MAIN, "--node", RELEASE_BUILD / "node" / "chord-node", "--check-history",
         CHECK_HISTORY, "--ledger", tmp_path / "faults.jsonl", "--name", "test", "--folder",
         tmp_path, "--kills", str(KILLS), "--pauses", str(PAUSES), "--partitions",
         str(PARTITIONS), "--block", "10"], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0
    sums = json.loads(done.stdout.splitlines()[-1])
    assert (sums["kill"], sums["pause"], sums["partition"]) == (KILLS, PAUSES, PARTITIONS)
    assert (sums["lost"], sums["not_linearizable"], sums["failed"]) == (0, 0, 0)
    assert sums["acknowledged"] > 100 and sums["reads"] > 100


@pytest.fixture
def cluster(tmp_path):
    ports = PortBlock()
    made = Cluster(BUILD / "node" / "chord-node", Loopback(ports.rpc_port), tmp_path)
    made.start_all()
    made.wait_healthy()
    yield made
    made.close()
    ports.close()


def test_a_rolling_restart_under_load_fails_nothing(cluster, tmp_path):
    """Each node is stopped and started with its disk, one after the other."""
    seed = random.randrange(10 ** 9)
    print(f"seed {seed}")
    with Clients(8, cluster.addresses(), [f"key-{key}" for key in range(24)],
                 seed) as clients:
        for node in cluster.nodes():
            cluster.kill(node, signal.SIGTERM)
            assert cluster.children[node].process.returncode == 0
            cluster.start(node)
            cluster.wait_healthy()
    assert clients.read_last() == []
    verdict = check(CHECK_HISTORY, clients.history, tmp_path / "history.txt")
    print(f"{clients.history.retried} retries, {verdict}")
    assert clients.history.failed == 0 and clients.history.strange == []
    assert verdict["acknowledged"] > 50
