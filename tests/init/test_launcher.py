"""Tailscale, ports, DATA_DIR, packages, counting: the launcher's other parts without a ring."""

import os
import socket
import subprocess
import sys

import pytest
from conftest import ROOT
from launcher import datadir, network, packages, settings as s, suite
from launcher.common import Refused


def settings_for(tmp_path, **values):
    settings = s.choose({"DATA_DIR": tmp_path / "data", "HOST": "127.0.0.1", **values}, {},
                        tmp_path / "none")
    return settings


# Shape of `tailscale status --json`, shortened.
STATUS = {"Version": "1.56.1", "BackendState": "Running",
          "Self": {"HostName": "a", "Online": True,
                   "TailscaleIPs": ["fd7a:115c:a1e0::1", "100.101.102.103"]}, "Peer": {}}


@pytest.mark.parametrize("status, expected", [
    (STATUS, "100.101.102.103"),
    ({**STATUS, "BackendState": "Stopped"}, None),
    ({**STATUS, "Self": {**STATUS["Self"], "Online": False}}, None),
    ({**STATUS, "Self": {"Online": True, "TailscaleIPs": None}}, None),
    ({**STATUS, "Self": None}, None),
    ([], None),
])
def test_tailscale_address(status, expected):
    assert network.tailscale_ipv4(status) == expected


def test_taken_port_names_the_holder_and_the_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_for(tmp_path)
        with pytest.raises(Refused) as refusal:
            network.check_ports(settings, [(port, "the ring dashboard")])
    text = str(refusal.value)
    assert f"port {port}" in text and str(os.getpid()) in text and "--port" in text


def test_join_to_nobody(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        network.check_join(f"127.0.0.1:1,127.0.0.1:{port}")
    with pytest.raises(Refused, match=f"127.0.0.1:{port}"):
        network.check_join(f"127.0.0.1:{port}")
    del tmp_path


def test_lock_is_held_once_and_tells_by_whom(tmp_path):
    first, second = datadir.Lock(tmp_path), datadir.Lock(tmp_path)
    assert first.acquire("http://127.0.0.1:3000")
    assert not second.acquire("http://127.0.0.1:4000")
    assert second.holder() == {"pid": str(os.getpid()), "address": "http://127.0.0.1:3000"}
    first.release()
    assert second.holder() is None
    assert second.acquire("x")
    second.release()


def test_unwritable_data_dir(tmp_path):
    (tmp_path / "file").write_text("")
    settings = settings_for(tmp_path, DATA_DIR=tmp_path / "file" / "data")
    with pytest.raises(Refused, match="DATA_DIR=.*cannot be written"):
        datadir.prepare(settings)


def test_a_ring_comes_back_with_all_its_nodes(tmp_path):
    settings = settings_for(tmp_path, NUM_OF_NODES="3")
    assert datadir.slots_to_start(settings) == 3
    for slot in (1, 7):
        settings.node_dir(slot).mkdir(parents=True)
    (settings.node_dir(7) / "chord.db").write_text("")
    assert datadir.slots_to_start(settings) == 7


def reset(tmp_path, typed):
    return subprocess.run([sys.executable, ROOT / "init.py", "reset", "--data-dir",
                           tmp_path / "data"], input=typed, capture_output=True, text=True)


def test_reset_asks_and_deletes_only_what_it_knows(tmp_path):
    data = tmp_path / "data"
    (data / "node-1").mkdir(parents=True)
    (data / "node-1" / "chord.db").write_text("rows")
    (data / "gateway.db-wal").write_text("")
    (data / "notes.txt").write_text("mine")
    refused = reset(tmp_path, "yes\n")
    assert refused.returncode != 0 and (data / "node-1" / "chord.db").exists()
    done = reset(tmp_path, "reset\n")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in data.iterdir()] == ["notes.txt"]


def test_reset_refuses_while_running(tmp_path):
    (tmp_path / "data").mkdir()
    lock = datadir.Lock(tmp_path / "data")
    assert lock.acquire("http://127.0.0.1:3000")
    answer = reset(tmp_path, "reset\n")
    lock.release()
    assert answer.returncode != 0
    assert str(os.getpid()) in answer.stderr


def test_missing_packages_without_root_name_the_command(monkeypatch):
    monkeypatch.setattr(packages, "has_switched", False)
    monkeypatch.setattr(packages, "missing_packages", lambda package_set: ["libnng-dev"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="sudo sh deploy/install-deps.sh test"):
        packages.ensure_packages("test", True, lambda text: None)


def test_nothing_missing_calls_nothing(monkeypatch):
    monkeypatch.setattr(packages, "has_switched", False)
    monkeypatch.setattr(packages, "missing_packages", lambda package_set: [])
    monkeypatch.setattr(subprocess, "run", None)
    packages.ensure_packages("test", True, lambda text: None)


def test_package_list_is_printed_once_each():
    def listed(*extra):
        return subprocess.run(["sh", ROOT / "deploy" / "install-deps.sh", "--list", *extra],
                              capture_output=True, text=True, check=True).stdout.split()
    assert len(listed()) == len(set(listed()))
    assert set(listed("test")) > set(listed())


def test_counts(tmp_path):
    junit = tmp_path / "junit.xml"
    junit.write_text("<testsuites><testsuite><testcase/><testcase><failure/></testcase>"
                     "<testcase><skipped/></testcase></testsuite></testsuites>")
    assert str(suite.from_junit(junit, True)) == "1 passed, 1 failed, 1 skipped"
    assert suite.from_junit(tmp_path / "none.xml", False).failed == 1
    assert str(suite.from_tap("# pass 4\n# fail 1\n# cancelled 0\n", False)) == \
        "4 passed, 1 failed"


def test_help_names_every_setting():
    text = subprocess.run([sys.executable, ROOT / "init.py", "--help"], capture_output=True,
                          text=True, check=True).stdout
    for setting in s.TABLE:
        assert setting.flag_name in text and setting.name in text
