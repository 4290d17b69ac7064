# SPDX-License-Identifier: MIT
"""What `--hosts` would run, and what it makes of answers. No host is asked: looks are made up, and steps
run on this machine."""

import json
import shlex
import subprocess
import sys
import types

import pytest
from conftest import ROOT, Said
from launcher import (background, datadir, fleet, hosts, plan, remote,
                      settings as settings_module)
from launcher.common import Refused

FRESH = {"running": False, "phase": "stopped", "has_data": False, "well": False, "commit": "old"}
BARE = {"phase": plan.NO_CHECKOUT}
STOPPED = {**FRESH, "has_data": True}
RING = {"id": "ab", "state": "healthy", "reason": "", "members": 2}
RUNNING = {**FRESH, "running": True, "phase": "running", "well": True, "has_data": True, "ready": True,
           "slots": [{"slot": 1, "state": "running"}], "ring": RING, "version": "0.2.0",
           "ring_dashboard": "http://192.0.2.1:3000"}
LOST = {"phase": "not reached", "problem": "exit code 255: No route to host"}
CODE = ("c0ffee" * 6, b"a bundle")


def fleet_of(tmp_path, count=3, more="", addresses=True):
    lines = [more]
    for number in range(1, count + 1):
        lines += ["[[host]]", f'name = "h{number}"']
        lines += [f'address = "192.0.2.{number}"'] if addresses else []
    (tmp_path / "hosts.toml").write_text("\n".join(lines))
    return hosts.read(tmp_path / "hosts.toml")


def up(found, *seen, create=False):
    """[(host, words of its init.py or the step's first word)]"""
    seen = dict(zip((host.name for host in found), seen))
    steps = plan.up(found, seen, lambda: CODE, create)
    return [(step.host.name, words_of(step)) for step in steps]


def words_of(step):
    if "&& python3 init.py " in step.command:
        return " ".join(shlex.split(step.command)[5:])
    return "code" if step.data == CODE[1] else f"secret {shlex.split(step.command)[-1]}"


def test_bare_hosts(tmp_path):
    found = fleet_of(tmp_path, 2, "nodes = 4\n[settings]\nM = 32")
    assert up(found, BARE, BARE) == [
        ("h1", "code"), ("h1", "up --yes --m 32 --host 192.0.2.1 --nodes 4"),
        ("h2", "code"), ("h2", "up --yes --m 32 --host 192.0.2.2 --nodes 4 --join 192.0.2.1")]


@pytest.mark.parametrize("seen, who", [
    ([RUNNING, RUNNING, RUNNING], []),
    ([FRESH, FRESH, FRESH], ["h1 makes", "h2 joins", "h3 joins"]),
    # Who runs, or has data, may be the ring: nobody makes a second one, not even the first.
    ([FRESH, RUNNING, FRESH], ["h1 joins", "h3 joins"]),
    ([FRESH, STOPPED, FRESH], ["h2 joins", "h1 joins", "h3 joins"]),
    # A ring that is down comes back together.
    ([STOPPED, STOPPED, STOPPED], ["h1 joins, alone", "h2 joins, alone", "h3 joins"]),
    ([FRESH, STOPPED, STOPPED], ["h2 joins, alone", "h3 joins", "h1 joins"]),
    ([RUNNING, STOPPED, STOPPED], ["h2 joins, alone", "h3 joins"]),
])
def test_who_makes_a_ring_and_who_waits(tmp_path, seen, who):
    assert [f"{name} {'joins' if '--join' in words else 'makes'}"
            f"{', alone' if '--no-wait' in words else ''}"
            for name, words in up(fleet_of(tmp_path), *seen)] == who


def test_a_second_ring_is_made_by_nobody_but_the_first(tmp_path):
    found = fleet_of(tmp_path, 2)
    for create in (False, True):
        assert ["--create" in words for _, words in up(found, FRESH, FRESH, create=create)] == \
            [create, False]
        assert "--create" not in str(up(found, FRESH, RUNNING, create=create))


def test_without_addresses_the_ring_is_in_the_tailnet(tmp_path):
    """--create beside --join tailscale makes a ring only where Tailscale runs and no ring is found."""
    found = fleet_of(tmp_path, 2, addresses=False)
    assert [words for _, words in up(found, FRESH, FRESH)] == [
        "up --yes --join tailscale --create", "up --yes --join tailscale"]
    assert [words for _, words in up(found, RUNNING, FRESH)] == ["up --yes --join tailscale"]
    assert up(fleet_of(tmp_path, 1, addresses=False), FRESH) == [("h1", "up --yes")]


def test_secrets_and_folders(tmp_path):
    for number, name in enumerate(("ring.key", "api.token")):
        (tmp_path / name).write_text(f"{number} a secret of sixteen bytes and more\n")
        (tmp_path / name).chmod(0o600)
    found = fleet_of(tmp_path, 1, 'directory = "my ring"\nbuild = "built"\n[settings]\nDATA_DIR = "/d"\n'
                     '[secrets]\nRING_KEY_FILE = "ring.key"\nAPI_TOKEN_FILE = "api.token"')
    assert up(found, FRESH) == [
        ("h1", "secret ring.key"), ("h1", "secret api.token"),
        ("h1", "up --yes --host 192.0.2.1 --ring-key-file /d/ring.key --api-token-file /d/api.token "
               "--build built --data-dir /d")]
    steps = plan.up(found, {"h1": FRESH}, lambda: CODE)
    assert not any("a secret" in step.command for step in steps)
    assert steps[-1].command.startswith("cd 'my ring' && ")
    assert "--data-dir /d" in plan.down(found, {"h1": RUNNING})[0].command


def test_the_other_plans(tmp_path):
    found = fleet_of(tmp_path)
    seen = {"h1": RUNNING, "h2": STOPPED, "h3": {**RUNNING, "commit": CODE[0]}}
    assert [step.host.name for step in plan.down(found, seen)] == ["h3", "h1"]
    assert [step.host.name for step in plan.rolling_restart(found[1:])] == ["h2", "h3"]
    steps = plan.upgrade(found, found, seen, lambda: CODE)
    assert [(step.host.name, words_of(step).split()[0]) for step in steps] == [
        ("h1", "code"), ("h1", "upgrade"), ("h2", "code"), ("h2", "upgrade"), ("h3", "upgrade")]
    assert "--join 192.0.2.2,192.0.2.3" in steps[1].command
    assert [host.name for host in fleet.from_first(found, "h2")] == ["h2", "h3"]
    with pytest.raises(Refused, match="--from h9 .* h1, h2, h3"):
        fleet.from_first(found, "h9")


def options(tmp_path, command, **more):
    return types.SimpleNamespace(**{"command": command, "hosts": str(tmp_path / "hosts.toml"),
                                    "first": None, "create": False, "yes": False, "dry_run": False,
                                    **more})


@pytest.mark.parametrize("verb", ["up", "rolling-restart", "upgrade"])
def test_nothing_is_done_while_a_host_is_not_known(tmp_path, monkeypatch, verb):
    fleet_of(tmp_path, 2)
    monkeypatch.setattr(fleet, "look", lambda host: FRESH if host.name == "h1" else LOST)
    with pytest.raises(Refused, match="cannot ask h2 .*No route to host"):
        fleet.run(options(tmp_path, verb, yes=True), Said())


def test_down_stops_whom_it_reaches_and_says_who_is_left(tmp_path, monkeypatch):
    fleet_of(tmp_path, 2)
    ran = []
    monkeypatch.setattr(fleet, "look", lambda host: RUNNING if host.name == "h1" else LOST)
    monkeypatch.setattr(remote, "run", lambda host, *rest: ran.append(host.name) or (0, ""))
    with pytest.raises(Refused, match="still runs on h2"):
        fleet.run(options(tmp_path, "down", yes=True), Said())
    assert ran == ["h1"]


def test_nobody_is_touched_unasked(tmp_path, monkeypatch):
    fleet_of(tmp_path, 1)
    monkeypatch.setattr(fleet, "look", lambda host: FRESH)
    monkeypatch.setattr(remote, "run", None)
    said = Said()
    with pytest.raises(Refused, match="--yes"):
        fleet.run(options(tmp_path, "up"), said)
    assert "h1$ cd chord && python3 init.py up --yes" in said.texts("plan")[0]
    assert fleet.run(options(tmp_path, "up", dry_run=True), Said()) == 0


def test_a_step_that_fails_ends_the_run_with_the_way_on(tmp_path, monkeypatch):
    fleet_of(tmp_path, 3)
    monkeypatch.setattr(fleet, "look", lambda host: RUNNING)
    ran = []

    def run(host, command, data, say):
        ran.append(host.name)
        say("its words")
        return (3, "its last words") if host.name == "h2" else (0, "")
    monkeypatch.setattr(remote, "run", run)
    said = Said()
    with pytest.raises(Refused) as refusal:
        fleet.run(options(tmp_path, "rolling-restart", yes=True), said)
    for part in ("h2: restart its nodes", "exit code 3: its last words",
                 f"init.py rolling-restart --hosts {tmp_path}/hosts.toml --from h2"):
        assert part in str(refusal.value)
    assert ran == ["h1", "h2"] and said.texts("output") == ["  h1: its words", "  h2: its words"]


@pytest.mark.parametrize("code, last, phase, words", [
    (0, json.dumps(RUNNING), "running", ""),
    (1, json.dumps({"running": True, "phase": "running"}), "unknown", "of another version"), (1, json.dumps(FRESH), "stopped", ""),
    (1, json.dumps(BARE), plan.NO_CHECKOUT, ""),
    (2, '{"event": "error", "text": "M=2 is out of range"}', "unknown", "exit code 2: M=2"),
    (255, "ssh: No route to host", "not reached", "exit code 255: ssh: No route"),
    (127, "", "unknown", "it said nothing"), (0, "[1]", "unknown", "[1]"),
    (0, "{" * 100_000, "unknown", "exit code 0"), (0, '{"phase"', "unknown", "exit code 0"),
])
def test_what_a_host_answers(tmp_path, monkeypatch, code, last, phase, words):
    monkeypatch.setattr(remote, "run", lambda *arguments: (code, last))
    seen = fleet.look(fleet_of(tmp_path, 1)[0])
    assert seen["phase"] == phase and words in seen.get("problem", "")


def test_the_table_and_the_verdict(tmp_path):
    found = fleet_of(tmp_path)
    ill = {**RUNNING, "well": False, "slots": RUNNING["slots"] + [{"slot": 2, "state": "down"}]}
    other = {**RUNNING, "ring": {**RING, "id": "cd"}}
    assert fleet.problems_of(found, dict.fromkeys(("h1", "h2", "h3"), RUNNING)) == []
    assert fleet.problems_of(found, {"h1": RUNNING, "h2": LOST, "h3": FRESH}) == [
        "h2 is not well", "h3 is not well"]
    assert "different rings: ab, cd" in str(fleet.problems_of(found, {"h1": RUNNING, "h2": other,
                                                                      "h3": RUNNING}))
    lines = fleet.table(found, {"h1": ill, "h2": LOST, "h3": BARE})
    assert "1 of 2" in lines[1] and "No route to host" in lines[2] and "no checkout" in lines[3]


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A host that is this machine, with tmp_path for a home folder; runs a step there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    host = hosts.Host("h", "chord", "", True, "", {}, {})
    return lambda command, data=b"": remote.run(host, command, data, lambda line: None, 60)


def test_a_secret_is_written_where_it_differs(tmp_path, local):
    (tmp_path / "chord").mkdir()
    there = tmp_path / "chord" / "data" / "ring.key"
    bring = plan.script(plan.BRING_SECRET, "chord", "data", "ring.key")
    assert local(bring, b"one\n") == (0, "ring.key is written")
    assert there.stat().st_mode & 0o777 == 0o600 and there.parent.stat().st_mode & 0o777 == 0o700
    there.chmod(0o644)
    made = there.stat().st_ino
    assert local(bring, b"one\n") == (0, "")
    assert there.stat().st_ino == made and there.stat().st_mode & 0o777 == 0o600
    assert local(bring, b"two\n") == (0, "ring.key is written")
    assert there.read_bytes() == b"two\n" and [entry.name for entry in there.parent.iterdir()] == \
        ["ring.key"]


def test_code_is_not_put_among_other_files(tmp_path, local):
    (tmp_path / "chord").mkdir()
    (tmp_path / "chord" / "letter.txt").touch()
    code, last = local(plan.script(plan.BRING_CODE, "chord", CODE[0]), CODE[1])
    assert code != 0 and last == "chord holds other files and is no checkout of git"
    assert local(plan.script(fleet.LOOK, "none", "status"))[1] == json.dumps(BARE)


def test_one_that_builds_has_no_socket_yet(tmp_path):
    tmp_path.chmod(0o700)
    settings = settings_module.choose({"DATA_DIR": tmp_path}, {}, tmp_path / "none")
    assert background.look(settings)["phase"] == "stopped"
    lock = datadir.Lock(tmp_path)
    assert lock.acquire("(starting)")
    seen = background.look(settings)
    assert seen["running"] and not seen["well"] and seen["phase"] == "starting or stopping"
    assert fleet.FIELDS <= set(seen)
    found = fleet_of(tmp_path, 2)
    assert fleet.problems_of(found, {"h1": seen, "h2": RUNNING}) == ["h1 is not well"]
    lock.release()


def test_an_init_that_goes_on_is_told_the_same_settings():
    given = types.SimpleNamespace(env_file="my.env", build="built", moved=True, create=False,
                                  setting_M=32, setting_HOST="192.0.2.1", setting_JOIN=None)
    table = [plan.setting_named(name) for name in ("M", "HOST", "JOIN")]
    assert background.start_words(given, table) == [
        "release", "--m", 32, "--host", "192.0.2.1", "--env-file", "my.env", "--build", "built", "--moved"]


@pytest.mark.parametrize("changed, well", [
    ({}, True), ({"phase": "leaving"}, False), ({"ready": False}, False),
    ({"ring": {**RING, "state": "healing"}}, False),
    ({"slots": [{"slot": 1, "state": "down"}]}, False)])
def test_what_is_well(changed, well):
    assert background.is_well({**RUNNING, **changed}) is well
    assert background.well_with(3)({**RUNNING, **changed}) is False


@pytest.mark.parametrize("words, part", [
    ("test --hosts", "--hosts goes with up"), ("up --dry-run", "--dry-run goes with --hosts"),
    ("up --hosts --from a", "--from goes with rolling-restart --hosts"),
    ("rolling-restart --from a", "--from goes with"), ("up --hosts --no-wait", "--no-wait goes with up"),
    ("up --hosts --nodes 3", "--nodes is for one host"), ("up --hosts --build b", "--build is for one host"),
    ("up --start 3", "takes no order"), ("down --create", "--create goes with a start")])
def test_options_that_would_not_be_heeded_are_refused(words, part):
    done = subprocess.run([sys.executable, ROOT / "init.py", *words.split()], capture_output=True,
                          text=True, check=False)
    assert done.returncode != 0 and part in done.stderr
