# SPDX-License-Identifier: MIT
"""A node that may not have what it needs says so and ends; it never hangs, and always stops when
asked to. And it listens only where that is safe."""

import resource
import signal
import subprocess

import pytest

from ports import PortBlock
from ring import RELEASE_BUILD

SIGNALLED_S = 10


def start(tmp_path, listen=None, limit=None, program="node", **environment):
    """The node's or the gateway's process, and its first line on stdout or '' when it ended."""
    ports = PortBlock()
    words = {"node": ["node/chord-node", "--listen", listen or f"127.0.0.1:{ports.rpc_port + 1}", "--create"],
             "gateway": ["gateway/chord-gateway", "--port", ports.port, "--rpc-port", ports.rpc_port,
                         "--slots", 1]}[program]
    process = subprocess.Popen(
        [RELEASE_BUILD / words[0], *map(str, words[1:]), "--data", tmp_path / program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=limit and (lambda: resource.setrlimit(*limit)))
    line = process.stdout.readline()
    ports.close()
    return process, line


@pytest.mark.parametrize("program", ["node", "gateway"])
@pytest.mark.parametrize("mib", [20, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 150, 200, 300])
def test_little_address_space(tmp_path, program, mib):
    limit = mib * 1024 * 1024
    process, line = start(tmp_path, limit=(resource.RLIMIT_AS, (limit, limit)), program=program)
    if line.startswith("listening"):
        process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=SIGNALLED_S)[1]
    if line.startswith("listening"):
        assert process.returncode == 0, errors
    else:
        assert process.returncode == 1 and "ulimit -v" in errors, (process.returncode, errors)


@pytest.mark.parametrize("program", ["node", "gateway"])
def test_few_files(tmp_path, program):
    process, _ = start(tmp_path, limit=(resource.RLIMIT_NOFILE, (20, 20)), program=program)
    errors = process.communicate(timeout=SIGNALLED_S)[1]
    assert process.returncode == 1 and "ulimit -n" in errors and "20 files" in errors


@pytest.mark.parametrize("listen, says", [
    ("0.0.0.0:17999", "other members dial this address"),
    ("192.0.2.1:17999", "RING_KEY_FILE"),
    ("ring.example:17999", "RING_KEY_FILE")])
def test_refuses_to_listen_where_others_reach_it(tmp_path, listen, says):
    process, _ = start(tmp_path, listen)
    errors = process.communicate(timeout=SIGNALLED_S)[1]
    assert process.returncode == 2 and says in errors and listen in errors
    assert not (tmp_path / "node").exists()
