# SPDX-License-Identifier: MIT
"""init.py with real processes: a start, its refusals, orders, every way to end it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from init_process import LINE_TIMEOUT_S, Init
from ports import PortBlock
from ring import BUILD, ROOT, until


def no_process_left(data_dir):
    """No process names this data folder on its command line."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(data_dir) in word for word in process.info["cmdline"] or []):
            return False
    return True


def test_ctrl_c_and_start_again_bring_the_ring_back(start_init, tmp_path):
    init = start_init()
    ready = init.wait_event("ready")
    assert ready["ring_dashboard"] == f"http://127.0.0.1:{init.ports.port}"
    assert init.put("kept", b"through a stop") == 201
    ring_id = init.api.ring()["ring_id"]
    assert init.end(signal.SIGINT) == 0
    assert init.events()[-1]["event"] == "stopped"
    assert no_process_left(tmp_path / "data")

    again = start_init()
    again.wait_event("ready")
    assert again.api.ring()["ring_id"] == ring_id
    assert again.get("kept") == (200, b"through a stop")
    assert again.end(signal.SIGTERM) == 0


def test_status_lines_say_what_people_want_to_know(start_init):
    init = start_init()
    init.wait_event("ready")
    status = init.wait_event("status")
    assert status["ring_state"] in ("healthy", "healing", "forming", "degraded")
    assert status["active"] == 3 and status["memory_total_bytes"] > 0
    for node in status["nodes"]:
        assert node["state"] == "member" and node["pid"] > 0
        assert node["cpu_percent"] >= 0 and node["address"].startswith("127.0.0.1:")


def test_no_orphan_after_sigkill_of_init(start_init, tmp_path):
    init = start_init()
    init.wait_event("ready")
    children = init.children()
    assert len(children) == 4
    assert init.put("kept", b"v") == 201
    init.process.kill()
    init.process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    again = start_init()
    again.wait_event("ready")
    assert again.get("kept") == (200, b"v")


def test_ctrl_c_twice_ends_at_once(start_init, tmp_path):
    init = start_init()
    init.wait_event("ready")
    for child in init.children():
        child.suspend()  # so that nothing would stop by itself
    init.process.send_signal(signal.SIGINT)
    init.wait_event("stopping")
    init.process.send_signal(signal.SIGINT)
    assert init.process.wait(15) == 0
    assert no_process_left(tmp_path / "data")


def test_second_init_says_who_runs(start_init):
    init = start_init()
    init.wait_event("ready")
    second = init.order("--nodes", "3")
    assert second.returncode != 0
    text = json.loads(second.stdout.splitlines()[-1])["text"]
    assert str(init.process.pid) in text and str(init.ports.port) in text


def test_a_dead_node_is_shown_not_restarted_and_starts_by_order(start_init):
    init = start_init(nodes=5)
    init.wait_event("ready")
    pid = next(node["pid"] for node in init.wait_event("status")["nodes"] if node["slot"] == 4)
    os.kill(pid, signal.SIGKILL)
    assert init.wait_event("node_down")["slot"] == 4
    until(lambda: next(node for node in init.events()[::-1]
                       if node["event"] == "status")["nodes"][3]["state"] == "down", 30, "down")
    refused = init.order("--start", "3")
    assert refused.returncode != 0 and "already running" in refused.stdout
    started = init.order("--start", "4")
    assert started.returncode == 0, started.stdout
    assert init.wait_event("node_started")["slot"] == 4


def test_add_and_come_back_with_all(start_init):
    init = start_init()
    init.wait_event("ready")
    added = init.order("--add", "2")
    assert added.returncode == 0, added.stdout
    assert len([node for node in init.api.ring()["nodes"] if node["state"] == "member"]) == 5
    assert init.end() == 0
    again = start_init()
    assert again.wait_event("ready")["nodes"] == 5


def test_leave_hands_over_and_the_next_start_has_the_data(start_init):
    init = start_init()
    init.wait_event("ready")
    assert init.put("kept", b"by the last member") == 201
    answer = init.order("--leave")
    assert answer.returncode == 0, answer.stdout
    assert init.process.wait(30) == 0
    assert len([event for event in init.events() if event["event"] == "left"]) == 2
    again = start_init()
    again.wait_event("ready")
    assert again.get("kept") == (200, b"by the last member")


def test_join_an_existing_ring(start_init, tmp_path):
    first = start_init()
    first.wait_event("ready")
    other_folder, other_ports = tmp_path / "other-host", PortBlock()
    other_folder.mkdir()
    second = Init(other_folder, other_ports, "--join", f"127.0.0.1:{first.ports.rpc_port + 1}",
                  nodes=2)
    try:
        second.wait_event("ready")
        until(lambda: len([node for node in first.api.ring()["nodes"]
                           if node["state"] == "member"]) == 5, 30, "five members")
    finally:
        second.end()
        other_ports.close()


@pytest.mark.parametrize("arguments, words", [
    (["--m", "2"], ["M=2", "3..160", "flag --m"]),
    (["--m", "3", "--nodes", "9"], ["NUM_OF_NODES=9", "8 ids"]),
    (["--host", "192.0.2.1"], ["RING_KEY_FILE", "API_TOKEN_FILE"]),
    (["--data-dir", "/proc/nowhere"], ["DATA_DIR=/proc/nowhere", "cannot be written"]),
    (["--join", "127.0.0.1:1"], ["127.0.0.1:1", "nobody to join"]),
    (["--join", "nobody.invalid:4001"], ["nobody.invalid", "unknown"]),
    (["--join", "192.0.2.7:4001"], ["192.0.2.7:4001", "could not reach", "HOST"]),
    (["--channel-size", "60001"], ["DEFAULT_CHANNEL_SIZE=60001", "1..60000"]),
    (["--env-file", "/nowhere/.env"], ["/nowhere/.env", "No such file"]),
])
def test_refusals_are_one_sentence_and_start_nothing(start_init, tmp_path, arguments, words):
    init = start_init(*arguments)
    assert init.process.wait(30) != 0
    events = init.events()
    assert [event["event"] for event in events] == ["error"], events
    for word in words:
        assert word in events[0]["text"]
    assert "\n" not in events[0]["text"]
    assert no_process_left(tmp_path / "data")


def test_a_broken_env_file_stops_before_anything(start_init, tmp_path):
    (tmp_path / ".env").write_text('M="32\n')
    init = start_init()
    assert init.process.wait(30) == 2
    events = init.events()
    assert [event["event"] for event in events] == ["error"] and "no end" in events[0]["text"]
    assert not (tmp_path / "data").exists()


def test_nobody_else_can_read_what_a_ring_writes(start_init, tmp_path):
    old = os.umask(0o022)
    try:
        init = start_init()
        init.wait_event("ready")
        assert init.put("kept", b"private") == 201
        paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
        assert len(paths) > 12
        wide = {str(path): oct(path.stat().st_mode) for path in paths if path.stat().st_mode & 0o077}
        assert not wide
        assert init.end() == 0
        (tmp_path / "data").chmod(0o755)
        again = start_init()
        assert again.process.wait(30) == 2
        assert "chmod -R go=" in again.events()[-1]["text"]
    finally:
        os.umask(old)


def test_a_reader_that_goes_away_does_not_end_the_ring(start_init, tmp_path):
    for how in ("closed pipe", "full disk", "closed"):
        reading, writing = os.pipe()
        os.close(reading)
        output = {"closed pipe": writing, "full disk": os.open("/dev/full", os.O_WRONLY),
                  "closed": None}[how]
        init = start_init("--data-dir", str(tmp_path / how.replace(" ", "-")), nodes=1,
                          stdout=output)
        until(lambda: init.api.ready(), LINE_TIMEOUT_S, how)
        assert init.end(signal.SIGINT) == 0, how
        os.close(writing)
        if how == "full disk":
            os.close(output)


@pytest.mark.skipif(subprocess.run(["unshare", "-rn", "true"], check=False,
                                   stderr=subprocess.DEVNULL).returncode != 0,
                    reason="no network namespaces here")
def test_a_ring_starts_without_a_network(tmp_path):
    """Only the loopback interface is up, as on a train."""
    (tmp_path / ".env").touch()
    script = ("ip link set lo up && exec " + " ".join(
        [sys.executable, str(ROOT / "init.py"), "--build", str(BUILD), "--json", "--nodes", "2",
         "--env-file", str(tmp_path / ".env"), "--data-dir", str(tmp_path / "data")]))
    init = subprocess.Popen(["unshare", "-rn", "sh", "-c", script], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in init.stdout:
        said.append(line)
        if '"ready"' in line:
            init.send_signal(signal.SIGINT)
    assert init.wait(LINE_TIMEOUT_S) == 0 and any('"ready"' in line for line in said), said


@pytest.mark.slow  # the pauses between seven deaths; tests/init/test_run.py has their rule
def test_the_gateway_dies_again_and_again_and_the_nodes_go_on(start_init):
    init = start_init()
    init.wait_event("ready")
    nodes = {child.pid for child in init.children() if "chord-node" in child.name()}
    for count in range(1, 8):
        gateway = until(lambda: next((child for child in init.children()
                                      if "chord-gateway" in child.name()), None), 20, "a gateway")
        gateway.kill()
        init.wait_event("gateway_restarted", count)
    until(lambda: init.api.ready(), 30, "the gateway after seven deaths")
    assert {child.pid for child in init.children() if "chord-node" in child.name()} == nodes


def test_a_ring_that_was_forgotten_is_not_made_anew(start_init, tmp_path):
    init = start_init()
    init.wait_event("ready")
    assert init.end() == 0
    for folder in (tmp_path / "data").glob("node-*"):
        shutil.rmtree(folder)
    again = start_init()
    assert again.process.wait(30) != 0
    text = again.events()[-1]["text"]
    assert "remembers a ring" in text and "init.py reset" in text
    assert not list((tmp_path / "data").glob("node-*"))


def test_join_beside_old_data_of_another_ring(start_init, tmp_path):
    first = start_init(nodes=1)
    first.wait_event("ready")
    folder, ports = tmp_path / "other-host", PortBlock()
    folder.mkdir()
    try:
        alone = Init(folder, ports, nodes=1)
        alone.wait_event("ready")
        alone.wait_event("status")
        assert alone.end() == 0
        seed = f"127.0.0.1:{first.ports.rpc_port + 1}"
        joins = Init(folder, ports, "--join", seed, nodes=1)
        assert joins.process.wait(30) == 2
        text = joins.events()[-1]["text"]
        assert "chordctl merge" in text and "init.py reset" in text and seed in text
    finally:
        ports.close()


def test_a_join_with_another_key_or_to_a_page(start_init, tmp_path):
    keys = [tmp_path / name for name in ("key", "other")]
    for key in keys:
        key.write_text(f"a ring key named {key.name}\n")
        key.chmod(0o600)
    first = start_init("--ring-key-file", str(keys[0]), nodes=1)
    first.wait_event("ready")
    folder, ports = tmp_path / "other-host", PortBlock()
    folder.mkdir()
    seed = f"127.0.0.1:{first.ports.rpc_port + 1}"
    page = f"127.0.0.1:{first.ports.port}"
    for join, key, words in ((seed, [], "ring key"), (page, ["--ring-key-file", str(keys[0])],
                             "no node"), (seed, ["--ring-key-file", str(keys[1])], "ring key")):
        began = time.monotonic()
        joins = Init(folder, ports, "--join", join, *key, nodes=1)
        assert joins.process.wait(30) != 0
        text = joins.events()[-1]["text"]
        assert words in text and join in text, text
        assert time.monotonic() - began < 15
    ports.close()


def test_taken_port(start_init):
    ports = PortBlock()
    with socket.create_server(("127.0.0.1", ports.rpc_port + 2)):
        init = start_init("--port", str(ports.port), "--rpc-port", str(ports.rpc_port))
        assert init.process.wait(30) != 0
    ports.close()
    text = init.events()[-1]["text"]
    assert f"port {ports.rpc_port + 2}, for node 2, is taken by process {os.getpid()}" in text
    assert "--rpc-port" in text


def test_a_node_that_cannot_start_stops_everything(start_init, tmp_path):
    (tmp_path / "data" / "node-2" / "chord.db").mkdir(parents=True)
    for folder in (tmp_path / "data", tmp_path / "data" / "node-2"):
        folder.chmod(0o700)
    init = start_init()
    assert init.process.wait(60) != 0
    error = next(event for event in init.events() if event["event"] == "error")
    assert "node 2 ended with exit code" in error["text"]
    assert no_process_left(tmp_path / "data")
