# SPDX-License-Identifier: MIT
"""Ports, DATA_DIR, packages, counting: the launcher's other parts without a ring."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
import types

import pytest
from conftest import ROOT, listener
from launcher import (build, datadir, joining, network, orders, packages, report, run, settings as s,
                      suite)
from launcher.common import Refused


def settings_for(tmp_path, **values):
    settings = s.choose({"DATA_DIR": tmp_path / "data", "HOST": "127.0.0.1", **values}, {},
                        tmp_path / "none")
    return settings


def test_a_user_without_an_entry_has_a_hint_too(tmp_path, monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 4711")
    monkeypatch.setattr(network.getpass, "getuser", unknown)
    assert "ssh -L" in network.reach_hint(settings_for(tmp_path))


def test_taken_port_names_the_holder_and_the_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_for(tmp_path)
        with pytest.raises(Refused) as refusal:
            network.check_ports(settings, [(port, "the ring dashboard")])
    text = str(refusal.value)
    assert f"port {port}" in text and str(os.getpid()) in text and "--port" in text


def test_joins_that_cannot_work_name_the_seed(tmp_path):
    def check(join, fresh=True, **values):
        joining.check(settings_for(tmp_path, JOIN=join, **values), 3, fresh)
    with listener(joining.HELLO_OF_NODE) as node, listener(b"HTTP/1.1 400") as page:
        check(f"127.0.0.1:1,{node}")
        check(page, fresh=False)  # nodes with data wait for their ring
        for join, word in ((page, "no node"), ("127.0.0.1:1", "Connection refused"),
                           ("nobody.invalid:4001", "the name nobody.invalid is unknown"),
                           ("127.0.0.1:4002", "this host's own nodes"),
                           ("localhost:4001", "this host's own nodes"),
                           ("192.0.2.7:4001", "could not reach")):
            with pytest.raises(Refused) as refusal:
                check(join)
            assert join in str(refusal.value) and word in str(refusal.value)
        with pytest.raises(Refused, match="only this machine can dial"):
            check(node, HOST="100.101.102.103")


def test_lock_is_held_once_and_tells_by_whom(tmp_path):
    first, second = datadir.Lock(tmp_path), datadir.Lock(tmp_path)
    assert first.acquire("http://127.0.0.1:3000")
    assert not second.acquire("http://127.0.0.1:4000")
    assert second.holder() == {"pid": str(os.getpid()), "address": "http://127.0.0.1:3000"}
    first.release()
    assert second.holder() is None
    assert second.acquire("x")
    second.release()


@pytest.mark.parametrize("text, part", [
    ("", "already running"), ("REPLICAS=9", "REPLICAS=9 (from line 3 of .env)"),
    ("RPC_PORT=3002", "RPC_PORT=3002"), ("HOST_NAMES=x\nRING_KEY_FILE=none", "RING_KEY_FILE"),
])
def test_mistakes_in_settings_are_told_beside_a_running_ring(tmp_path, text, part):
    env_file = tmp_path / ".env"
    env_file.write_text(f"DATA_DIR=data\nHOST=127.0.0.1\n{text}\n")
    (tmp_path / "data").mkdir(mode=0o700)
    running = datadir.Lock(tmp_path / "data")
    assert running.acquire("http://127.0.0.1:3000")
    with pytest.raises(Refused) as refusal:
        run.run(s.choose({}, {}, env_file), report.PlainReporter(), "debug")
    running.release()
    assert part in str(refusal.value)


def test_unwritable_data_dir(tmp_path):
    (tmp_path / "file").write_text("")
    settings = settings_for(tmp_path, DATA_DIR=tmp_path / "file" / "data")
    with pytest.raises(Refused, match="DATA_DIR=.*cannot be written"):
        datadir.prepare(settings)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_data_dir_that_others_can_read_is_refused(tmp_path, mode):
    settings = settings_for(tmp_path)
    settings["DATA_DIR"].mkdir()
    settings["DATA_DIR"].chmod(mode)
    with pytest.raises(Refused, match=f"mode {mode:03o}.*chmod -R go="):
        datadir.prepare(settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_data_dir_of_another_user_is_refused(tmp_path):
    settings = settings_for(tmp_path)
    settings["DATA_DIR"].mkdir(mode=0o700)
    os.chown(settings["DATA_DIR"], 4711, 4711)
    with pytest.raises(Refused, match="belongs to user 4711"):
        datadir.prepare(settings)


def test_what_the_launcher_writes_is_the_owners_alone(tmp_path):
    settings = settings_for(tmp_path)
    old = os.umask(0)
    try:
        datadir.prepare(settings)
        lock = datadir.Lock(settings["DATA_DIR"])
        assert lock.acquire("x")
        datadir.write_slots(settings["DATA_DIR"], 3)
    finally:
        os.umask(old)
    assert stat.S_IMODE(settings["DATA_DIR"].stat().st_mode) == 0o700
    for path in settings["DATA_DIR"].iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    lock.release()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    about = os.statvfs_result((4096, 4096, 100, 2, 2, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: about)
    with pytest.raises(Refused, match="only 8192 bytes are left"):
        datadir.prepare(settings_for(tmp_path))


def test_a_first_build_says_that_it_takes_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "run_quietly", lambda *_, **__: None)
    said = []
    build.build("debug", said.append)
    (tmp_path / "build" / "debug" / "CMakeCache.txt").touch()
    build.build("debug", said.append)
    assert ["first time" in text for text in said] == [True, False]


def test_a_checkout_that_cannot_be_written_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path / "checkout")
    (tmp_path / "checkout").write_text("")  # no folder, so that nobody can write in it, root neither
    with pytest.raises(Refused, match="cannot build in .*--build DIR"):
        build.build("debug", print)


def test_links_are_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "init.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Refused, match="init.lock is a symbolic link"):
        datadir.Lock(tmp_path).acquire("x")
    (tmp_path / "slots.new").symlink_to(tmp_path / "victim")
    datadir.write_slots(tmp_path, 3)
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "slots").read_text() == "3\n"


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
    for assume_yes, may in ((True, False), (False, True)):
        monkeypatch.setattr(packages, "sudo_asks_nothing", lambda: may)
        with pytest.raises(Refused, match="sudo sh deploy/install-deps.sh test"):
            packages.ensure_packages("test", assume_yes, lambda text: None)


def test_missing_packages_are_installed_by_a_sudo_that_asks_nothing(monkeypatch):
    called, missing = [], [["libnng-dev"], []]
    monkeypatch.setattr(packages, "has_switched", False)
    monkeypatch.setattr(packages, "missing_packages", lambda package_set: missing.pop(0))
    monkeypatch.setattr(packages, "sudo_asks_nothing", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setattr(subprocess, "run", lambda arguments, **how: called.append(arguments) or
                        types.SimpleNamespace(returncode=0))
    packages.ensure_packages(None, True, lambda text: None)
    assert called == [["sudo", "-n", "sh", str(packages.INSTALL_SCRIPT)]]


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
