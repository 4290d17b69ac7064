# SPDX-License-Identifier: MIT
"""A join that cannot work says so within seconds, by the seed's name, in the node itself."""

import subprocess
import time

import pytest
from ports import PortBlock
from ring import BUILD, until

WITHIN_S = 10
EXIT_SETTING = 2


@pytest.fixture
def join(tmp_path):
    """join(seed, ...) starts a node without data and gives what it says."""
    ports, started = PortBlock(), []

    def start(seed, *more, folder="joiner"):
        log = open(tmp_path / f"{folder}.log", "w+", encoding="utf-8")
        process = subprocess.Popen(
            [BUILD / "node" / "chord-node", "--listen", f"127.0.0.1:{ports.rpc_port + 1}", "--data",
             tmp_path / folder, "--join", seed, *more], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log)
        started.append((process, log))
        return process, lambda: (tmp_path / f"{folder}.log").read_text()
    start.own = f"127.0.0.1:{ports.rpc_port + 1}"
    yield start
    for process, log in started:
        process.terminate()
        process.wait(30)
        log.close()
    ports.close()


def says(join, seed, words, *more):
    began = time.monotonic()
    process, said = join(seed, *more)
    until(lambda: f"JOIN={seed}" in said() and words in said(), WITHIN_S, said)
    assert time.monotonic() - began < WITHIN_S
    assert process.poll() is None  # and goes on trying


def test_itself(join):
    process, said = join(join.own)
    assert process.wait(WITHIN_S) == EXIT_SETTING
    assert f"JOIN={join.own}" in said() and "the node's own" in said()


def test_an_unknown_name(join):
    says(join, "nobody.invalid:4001", "the name nobody.invalid is unknown")


def test_nobody(join):
    says(join, "127.0.0.1:1", "Connection refused")


def test_a_gateways_port(join, own):
    gateway = own()
    says(join, f"127.0.0.1:{gateway.port}", "no node")


@pytest.mark.parametrize("ours", ["missing", "another"])
def test_a_ring_key(join, new_ring, tmp_path, ours):
    for name in ("key", "another"):
        (tmp_path / name).write_text(f"the {name} of a whole ring\n")
    ring = new_ring(RING_KEY_FILE=tmp_path / "key").start(1)
    says(join, ring.address(1), "ring key",
         *([] if ours == "missing" else ["--ring-key-file", tmp_path / ours]))


def test_a_key_where_the_ring_has_none(join, new_ring, tmp_path):
    (tmp_path / "key").write_text("the key of a whole ring\n")
    ring = new_ring().start(1)
    says(join, ring.address(1), "ring key", "--ring-key-file", tmp_path / "key")
