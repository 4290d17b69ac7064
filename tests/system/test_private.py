# SPDX-License-Identifier: MIT
"""What the programs keep from other users: folders and files by mode, owner and link."""

import os
import re
import subprocess

import pytest
from ports import PortBlock
from ring import BUILD, until

EXIT_SETTING, EXIT_DATA = 2, 4


@pytest.fixture
def ports():
    block = PortBlock()
    yield block
    block.close()


def node(ports, folder, *more):
    return [str(BUILD / "node" / "chord-node"), "--listen", f"127.0.0.1:{ports.rpc_port + 1}",
            "--data", str(folder), "--create", *map(str, more)]


def gateway(ports, folder, *more):
    return [str(BUILD / "gateway" / "chord-gateway"), "--port", str(ports.port), "--data",
            str(folder), *map(str, more)]


PROGRAMS = pytest.mark.parametrize("program", [node, gateway], ids=["node", "gateway"])


def refusal(command, code):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == code, done.stderr
    return done.stderr


@PROGRAMS
@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o730])
def test_a_folder_that_is_open_to_others_is_refused(ports, tmp_path, program, mode):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    said = refusal(program(ports, folder), EXIT_DATA)
    assert f"mode {mode:03o}" in said and f"chmod -R go= {folder}" in said
    assert list(folder.iterdir()) == []


@PROGRAMS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_refused(ports, tmp_path, program):
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, 4711, 4711)
    assert "belongs to user 4711" in refusal(program(ports, folder), EXIT_DATA)


@PROGRAMS
def test_links_are_not_followed(ports, tmp_path, program):
    names = {node: ("chord.db", "chord.db-wal", "node.log", "lock"),
             gateway: ("gateway.db", "gateway.db-wal")}[program]
    for name in names:
        folder, victim = tmp_path / name, tmp_path / f"{name}.victim"
        folder.mkdir()
        victim.write_text("")
        (folder / name).symlink_to(victim)
        refusal(program(ports, folder), EXIT_DATA)
        assert victim.read_text() == "", name


@PROGRAMS
def test_what_is_made_is_the_owners_alone_under_any_umask(ports, tmp_path, program):
    folder = tmp_path / "data"
    old = os.umask(0)
    try:
        process = subprocess.Popen(program(ports, folder), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        os.umask(old)
    try:
        for wanted in {node: ("chord.db-wal", "node.log"), gateway: ("gateway.db-wal",)}[program]:
            until((folder / wanted).exists, 20, wanted)
        for path in (folder, *folder.iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path
    finally:
        process.terminate()
        process.wait(30)


def test_files_of_an_older_version_are_closed_to_others(ports, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "chord.db").touch()
    (folder / "chord.db").chmod(0o644)
    process = subprocess.Popen(node(ports, folder), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((folder / "chord.db-wal").exists, 20, "a database")
        assert (folder / "chord.db").stat().st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        process.wait(30)


@PROGRAMS
@pytest.mark.parametrize("secret, mode, words", [
    (b"a secret of some length\n", 0o644, "chmod 600"),
    (b"a secret of some length\n", 0o660, "chmod 600"),
    (b"\xef\xbb\xbfa secret of some length\n", 0o600, "byte order mark"),
    (b"short\n", 0o600, "too short"), (b"", 0o600, "too short|no token"), (None, 0o600, "No such file"),
    (b"aaaaaaaaaaaaaaaaaaaa\n", 0o600, "can be guessed"),
    (b"passwordpasswordpass\n", 0o600, "can be guessed"), (b"12123123412312341234\n", 0o600, "can be guessed"),
])
def test_secrets(ports, tmp_path, program, secret, mode, words):
    key = tmp_path / "key"
    if secret is not None:
        key.write_bytes(secret)
        key.chmod(mode)
    flags = ["--ring-key-file"] + (["--api-token-file"] if program is gateway else [])
    for flag in flags:
        said = refusal(program(ports, tmp_path / "data", flag, key), EXIT_SETTING)
        assert re.search(words, said) and str(key) in said


@pytest.mark.parametrize("flags, words", [
    (["--client-key-file", "one"], "without RING_KEY_FILE"),
    (["--ring-key-file", "one", "--reader-key-file", "one"], "the same key as RING_KEY_FILE"),
    (["--ring-key-file", "one", "--client-key-file", "two", "--reader-key-file", "two"], "the same key as CLIENT_KEY_FILE"),
    (["--ring-key-file", "one", "--ring-key-also-file", "nothing"], "RING_KEY_ALSO_FILE"),
])
def test_keys_that_do_not_go_together(ports, tmp_path, flags, words):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"the key named {name}, of some length\n")
        (tmp_path / name).chmod(0o600)
    flags = [flag if flag.startswith("--") else tmp_path / flag for flag in flags]
    assert words in refusal(node(ports, tmp_path / "data", *flags), EXIT_SETTING)


# One range in every program: the launcher's own is tests/init/test_settings.py.

@pytest.mark.parametrize("program, flag, high", [
    (node, "--m", 160), (node, "--n", 32), (node, "--replicas", 33), (node, "--channel-size", 60000),
    (gateway, "--port", 65535), (gateway, "--slots", 1000),
])
def test_ranges_are_those_of_the_launcher(ports, tmp_path, program, flag, high):
    for value in (str(high + 1), "-1", "+3", "0x3", " 3", "3 ", "3_0", "1e3"):
        said = refusal(program(ports, tmp_path, flag, value), EXIT_SETTING)
        assert "key" not in said and value.strip() in said
    # In range, so that the next thing that is wrong is what it complains of.
    said = refusal(program(ports, tmp_path, flag, high, "--ring-key-file", "/nowhere/key"),
                   EXIT_SETTING)
    assert "/nowhere/key" in said
