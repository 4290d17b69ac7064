# SPDX-License-Identifier: MIT
"""A new ring is not made in silence where another one still looks for a lost member, in a network
namespace with an address that is no loopback."""

import json
import shutil
import subprocess
import sys

import pytest
from ring import BUILD, ROOT, until

EXIT_REFUSED = 5
RING, LOST = "100.64.0.1", "100.64.0.2"  # these count as Tailscale's

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "-rn", "true"], check=False, stderr=subprocess.DEVNULL).returncode
    != 0, reason="no network namespaces here")


@pytest.fixture
def inside():
    """inside(*words): the words that run these in the test's namespace."""
    holder = subprocess.Popen(
        ["unshare", "-rn", "sh", "-c", f"ip link set lo up && ip address add {RING}/32 dev lo && "
         f"ip address add {LOST}/32 dev lo && echo up && exec sleep 300"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "up\n"
    yield lambda *words: ["nsenter", "-t", str(holder.pid), "-U", "-n", "--preserve-credentials",
                          *map(str, words)]
    holder.kill()
    holder.wait()


@pytest.fixture
def node(inside, tmp_path):
    """node(address, name, *flags): a node; its stderr is name.err."""
    started = []

    def start(address, name, *flags):
        with open(tmp_path / f"{name}.err", "w") as error:
            started.append(subprocess.Popen(
                inside(BUILD / "node" / "chord-node", "--listen", address, "--data",
                       tmp_path / name, *flags), stdout=subprocess.DEVNULL, stderr=error))
        return started[-1]
    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_a_ring_remembers_what_the_folder_forgot(inside, node, tmp_path):
    def ctl(*words):
        return subprocess.run(inside(BUILD / "node" / "chordctl", "--node", f"{RING}:4001", *words),
                              capture_output=True, text=True, timeout=60)

    def members():
        done = ctl("ring", "-o", "json")
        nodes = json.loads(done.stdout)["nodes"] if done.returncode == 0 else []
        return sorted(node["address"] for node in nodes if node["state"] == "member")

    node(f"{RING}:4001", "one", "--create", "--m", "32")
    for port, name in ((4002, "two"), (4003, "three")):
        node(f"{RING}:{port}", name, "--join", f"{RING}:4001")
    lost = node(f"{LOST}:4001", "lost", "--join", f"{RING}:4001")
    until(lambda: len(members()) == 4, 30, members)
    assert ctl("put", "key", "value").returncode == 0
    lost.kill()
    lost.wait()
    shutil.rmtree(tmp_path / "lost")

    assert node(f"{LOST}:4001", "lost", "--create").wait(15) == EXIT_REFUSED
    said = (tmp_path / "lost.err").read_text()
    assert "looks for a lost member of ring" in said and f"at this address, {LOST}:4001" in said
    assert f"--join {RING}:400" in said and str(tmp_path / "lost") in said, said
    init = subprocess.run(
        inside(sys.executable, ROOT / "init.py", "--build", BUILD, "--json", "--env-file",
               "/dev/null", "--data-dir", tmp_path / "host", "--host", LOST, "--port", 3000,
               "--rpc-port", 4000, "--nodes", 1), capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL)
    assert init.returncode != 0 and "looks for a lost member of ring" in init.stdout, init.stdout

    shutil.rmtree(tmp_path / "lost")
    node(f"{LOST}:4001", "lost", "--join", f"{RING}:4001")
    until(lambda: f"{LOST}:4001" in members() and len(members()) == 4, 30, members)
    assert ctl("get", "key").stdout.strip() == "value"
