# SPDX-License-Identifier: MIT
"""Rings of real processes that are broken under clients (tests/faults/README.md). What clients were
told must be linearizable, and nothing acknowledged may be gone."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from clients import Clients
from cluster import Cluster
from kv import RingClient, code_of
from network import Loopback
from ports import PortBlock
from ring import BUILD, RELEASE_BUILD, ROOT
from verdict import check

CHECK_HISTORY = BUILD / "tests" / "sim" / "check-history"
FAULTS = ROOT / "tests" / "faults"


def run(program, folder, *options):
    """The totals of a run of tests/faults, which found nothing, and its output."""
    done = subprocess.run(
        [sys.executable, FAULTS / program, "--node", RELEASE_BUILD / "node" / "chord-node",
         "--check-history", CHECK_HISTORY, "--shim", BUILD / "tests" / "faults" / "libnet_shim.so",
         "--ledger", folder / "ledger.jsonl", "--name", "test", "--folder", folder, *options],
        stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def live_through(folder, kills, pauses, partitions, *options):
    """What a run of faults printed; everything that must be so is checked."""
    sums, output = run("main.py", folder, "--kills", str(kills), "--pauses", str(pauses),
                       "--partitions", str(partitions), "--block", "10", *options)
    assert (sums["kill"], sums["pause"], sums["partition"]) == (kills, pauses, partitions)
    assert (sums["lost"], sums["not_linearizable"], sums["failed"]) == (0, 0, 0)
    assert sums["acknowledged"] > 5 * (kills + pauses + partitions)
    assert sums["reads"] > 5 * (kills + pauses + partitions)
    return output


def test_kills_pauses_and_partitions_lose_nothing(tmp_path):
    live_through(tmp_path, 16, 7, 7)


def test_the_same_without_namespaces(tmp_path):
    assert "partitions by a proxy" in live_through(tmp_path, 1, 1, 3, "--proxy")


@pytest.mark.slow
@pytest.mark.time_limit(400)  # two minutes of stalls, and ends of patience
def test_a_network_with_stalls_loses_no_member(tmp_path):
    """150 ms of round trip, and lines that stand still for up to a second. The first minute is not
    judged: the nodes learn in it."""
    sums, _ = run("stalls.py", tmp_path, "--minutes", "1")
    assert (sums["removals"], sums["lost"], sums["not_linearizable"], sums["failed"]) == (0, 0, 0, 0)
    assert sums["stalls"] > 10 and sums["acknowledged"] > 20 and sums["reads"] > 20


@pytest.fixture
def cluster(tmp_path):
    ports = PortBlock()
    made = Cluster(BUILD / "node" / "chord-node", Loopback(ports.rpc_port), tmp_path)
    made.start_all()
    made.wait_healthy()
    yield made
    made.close()
    ports.close()


def test_an_outcome_that_nobody_can_tell_any_more_has_a_version(cluster):
    """A later attempt at a write, after another has taken its place: its leader remembers, and when
    that is gone no attempt will find out."""
    with RingClient(*cluster.addresses()) as client:
        kv = client.messages.kv

        def put(op_id, attempt):
            operation = kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"key", value=b"value",
                                     op_id=op_id, attempt=attempt)
            return client.once("KvService/Put", kv.PutRequest(operation=operation), kv.PutResponse,
                               cluster.address(1), timeout=10).result
        def written(number):
            one, other = (b"one %d" % number).ljust(16), (b"other %d" % number).ljust(16)
            first, second = put(one, 1), put(other, 1)
            assert put(other, 2).version == second.version  # done already
            return one, first, second, put(one, 2)
        # A leader remembers in one epoch, and a ring that is whole may still unite two of its ranges.
        tries = (written(number) for number in range(10))
        one, first, second, again = next(found for found in tries
                                         if found[1].version.epoch == found[3].version.epoch)
        assert code_of(again) == "OK" and again.version == first.version
        for node in cluster.nodes():
            cluster.kill(node)
            cluster.start(node)
            cluster.wait_healthy()
        late = put(one, 2)
        assert code_of(late) == "UNKNOWN"
        assert late.version == second.version != first.version


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
