# SPDX-License-Identifier: MIT
"""A run without processes: when it is ready, for whom it waits, what is never stopped; the gateway's
pauses; what the terminal shows; a ring that was forgotten."""

import os
import sqlite3
import time
import types

import pytest
from conftest import Said
from launcher import joining, memory, report, ringview, run, settings as s
from launcher.common import Refused
from launcher.supervisor import NODE_EXIT_COPY, Pauses, Supervisor


class Child:
    def __init__(self, name, code=None):
        self.name, self.pid, self.end_seen = name, 1000, False
        self.process = types.SimpleNamespace(returncode=code)

    @property
    def running(self):
        return self.process.returncode is None

    def uptime_s(self):
        return 1.0

    def how_it_ended(self):
        return f"ended with exit code {self.process.returncode}"

    def stderr_tail(self):
        return "chord-node: its own last words"

    last_words = stderr_tail

    @property
    def is_copy(self):
        return self.process.returncode == NODE_EXIT_COPY


def session_of(tmp_path, nodes, with_data=(), states=None, elsewhere=()):
    """A session of which only the ring's answer and the nodes are made up."""
    tmp_path.chmod(0o700)
    settings = s.choose({"DATA_DIR": tmp_path, "HOST": "127.0.0.1"}, {}, tmp_path / "none")
    session = run.Session(settings, None, Said(), False)
    session.supervisor.nodes = nodes
    session.supervisor.with_data = set(with_data)
    entries = [{"address": settings.rpc_address(slot), "slot": slot, "state": state}
               for slot, state in (states or {}).items()]
    entries += [{"address": address, "slot": None, "state": "down"} for address in elsewhere]
    session.monitor.view = {**session.monitor.view, "usage": {},
                            "ring": {"ring_id": "ab", "state": "healing", "nodes": entries}}
    session.control = types.SimpleNamespace(serve=lambda timeout_s: None)
    session.api.why_not_ready = lambda: "another range is being copied"
    return session


@pytest.fixture
def no_patience(monkeypatch):
    monkeypatch.setattr(run, "START_TIMEOUT_S", 0)
    monkeypatch.setattr(run, "START_TIMEOUT_PER_NODE_S", 0)
    monkeypatch.setattr(run, "TELL_WAITING_AFTER_S", 0)


def test_ready_means_that_our_nodes_are_members(tmp_path):
    session = session_of(tmp_path, {1: Child("node 1"), 2: Child("node 2")},
                         states={1: "member", 2: "member"}, elsewhere=["10.0.0.9:4001"])
    session.wait_ready(2)
    assert session.ready and session.report.texts("ready")


@pytest.mark.parametrize("state, uptime_ms, seen", [
    ("member", 400, "member"), ("member", 0, "member"), ("member", 60000, "starting"),
    ("member", None, "member"), ("joining", 400, "joining"), ("down", None, "starting")])
def test_the_life_before_is_not_taken_for_this_one(state, uptime_ms, seen):
    assert ringview.state_of(Child("node 1"), {"state": state, "uptime_ms": uptime_ms}) == seen
    assert ringview.state_of(Child("node 1", 0), {"state": state, "uptime_ms": uptime_ms}) == "down"


def test_nodes_with_data_wait_and_say_for_whom(tmp_path, no_patience):
    session = session_of(tmp_path, {1: Child("node 1")}, with_data=[1], states={1: "joining"},
                         elsewhere=["10.0.0.9:4001"])
    session.wait_ready(1)  # no refusal
    assert not session.ready
    assert "node 1 waits for 10.0.0.9:4001" in session.report.texts("waiting")[0]
    session.monitor.view["ring"]["nodes"][0]["state"] = "member"
    session.tend_start(session.picture())
    assert session.ready and session.report.texts("ready")


def test_members_are_not_stopped_because_others_are_ill(tmp_path, no_patience):
    session = session_of(tmp_path, {1: Child("node 1"), 2: Child("node 2")},
                         states={1: "member", 2: "joining"})
    session.wait_ready(2)
    assert "another range is being copied" in session.report.texts("waiting")[0]


def test_a_join_that_never_works_is_refused(tmp_path, no_patience):
    session = session_of(tmp_path, {1: Child("node 1")}, states={1: "joining"})
    with pytest.raises(Refused, match="no node of this host could join"):
        session.wait_ready(1)


def test_one_node_that_cannot_start_does_not_stop_members(tmp_path):
    session = session_of(tmp_path, {1: Child("node 1"), 2: Child("node 2", 4)},
                         states={1: "member"})
    session.wait_ready(2)
    assert session.ready
    assert "its own last words" in session.report.texts("node_down")[0]


def test_a_copy_is_told_what_to_do_and_stays_in_sight(tmp_path):
    session = session_of(tmp_path, {1: Child("node 1"), 2: Child("node 2", NODE_EXIT_COPY)},
                         states={1: "member"})
    session.wait_ready(2)
    told = session.report.texts("node_down")[0]
    assert "its own last words" in told and "--start 2" in told and "--moved" in told
    assert "a new member" in told and "node-2" in told
    down = session.picture()["nodes"][1]
    assert "exit code 7" in down["ended"] and "its own last words" in down["why"]
    assert "its own last words" in report.summary(session.picture())
    assert session.handle({"command": "status"})["slots"][1]["why"] == down["why"]


def test_nodes_of_this_host_that_are_down_are_waited_for_too(tmp_path, no_patience):
    session = session_of(tmp_path, {1: Child("node 1"), 2: Child("node 2", 4)}, with_data=[1, 2],
                         states={1: "joining", 2: "down"}, elsewhere=["10.0.0.9:4001"])
    session.wait_ready(2)
    missing = [session.settings.rpc_address(2), "10.0.0.9:4001"]
    assert session.picture()["waiting_for"] == sorted(missing)
    assert all(address in report.summary(session.picture()) for address in missing)
    assert session.handle({"command": "status"})["waiting_for"] == sorted(missing)


@pytest.mark.parametrize("join, beside, seeds", [
    ("", [1, 2, 3], "127.0.0.1:4001,127.0.0.1:4003"),
    ("10.0.0.9:4001", [], "10.0.0.9:4001"),
    ("10.0.0.9:4001,127.0.0.1:4001", [1, 2, 3], "10.0.0.9:4001,127.0.0.1:4001,127.0.0.1:4003"),
    (",".join(f"10.0.0.9:{port}" for port in range(1, 17)), [1],
     ",".join(f"10.0.0.9:{port}" for port in range(1, 16)) + ",127.0.0.1:4001"),
])
def test_whom_a_node_asks(tmp_path, join, beside, seeds):
    settings = s.choose({"DATA_DIR": tmp_path, "HOST": "127.0.0.1", "JOIN": join}, {},
                        tmp_path / "none")
    assert Supervisor(settings, None, None).seeds(2, beside) == seeds


def test_a_host_with_data_needs_nobody_else_to_join(tmp_path):
    """Its own nodes lead a new one to their ring."""
    settings = s.choose({"DATA_DIR": tmp_path, "HOST": "127.0.0.1", "JOIN": "127.0.0.1:1"}, {},
                        tmp_path / "none")
    with pytest.raises(Refused, match="nobody to join answers"):
        joining.check(settings, 2, run.is_fresh(settings, 2))
    settings.node_dir(1).mkdir()
    (settings.node_dir(1) / "chord.db").touch()
    joining.check(settings, 2, run.is_fresh(settings, 2))


def test_the_gateway_is_started_again_for_ever(tmp_path, monkeypatch):
    session = session_of(tmp_path, {1: Child("node 1")}, states={1: "member"})
    started = []
    monkeypatch.setattr(session.supervisor, "start_gateway", lambda: started.append(1))
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(20):
        session.supervisor.gateway = Child("the gateway", 1)
        session.show_end(session.supervisor.gateway)
        session.tend_gateway()
        clock[0] += Pauses.LONGEST_S
        session.tend_gateway()
    assert len(started) == 20
    assert len(session.report.texts("gateway_restarted")) == 20


def test_pauses_grow_and_begin_anew():
    pauses = Pauses()
    grown = [pauses.died(1) for _ in range(12)]
    assert grown == sorted(grown) and grown[0] == 0.1 and grown[-1] == Pauses.LONGEST_S
    assert pauses.died(Pauses.WELL_AFTER_S) == 0.1


# A ring that was forgotten

def forgotten(tmp_path):
    tmp_path.chmod(0o700)
    settings = s.choose({"DATA_DIR": tmp_path, "HOST": "127.0.0.1"}, {}, tmp_path / "none")
    said = Said()
    run.refuse_forgotten_ring(settings, said)
    return said


def test_an_empty_folder_asks_nobody(tmp_path):
    assert forgotten(tmp_path).events == []


def gateway_remembers(folder):
    database = sqlite3.connect(folder / "gateway.db")
    database.execute("CREATE TABLE member(address TEXT PRIMARY KEY, id TEXT, seen_ms INTEGER)")
    database.execute("INSERT INTO member VALUES('10.0.0.9:4001', 'ab', 1)")
    database.commit()
    database.close()


def supervisor_remembers(folder):
    memory.Memory(folder).note({"ring_id": "7c71", "nodes": [
        {"address": "127.0.0.1:1", "state": "member"}]})


@pytest.mark.parametrize("remember, words", [
    (gateway_remembers, "gateway.db: 1 members"),
    (supervisor_remembers, "ring 7c71"),
    (lambda folder: (folder / "slots").write_text("5\n"), "nodes ran here"),
    (lambda folder: (folder / "node-2").mkdir(), "folders of nodes 2"),
])
def test_whoever_remembers_a_ring_stops_a_new_one(tmp_path, remember, words):
    remember(tmp_path)
    with pytest.raises(Refused) as refusal:
        forgotten(tmp_path)
    assert words in str(refusal.value) and "init.py reset" in str(refusal.value)


def test_data_asks_nobody(tmp_path):
    supervisor_remembers(tmp_path)
    (tmp_path / "node-2").mkdir()
    (tmp_path / "node-2" / "chord.db").write_text("")
    assert forgotten(tmp_path).events == []


def test_a_folder_that_goes_away_is_remembered_at_the_end(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    remembers = memory.Memory(folder)
    remembers.note({"ring_id": "7c71", "nodes": [{"address": "127.0.0.1:1", "state": "member"}]})
    (folder / "ring.json").unlink()
    folder.rmdir()
    remembers.write_if_gone()
    assert memory.recall(folder)["ring_id"] == "7c71"


# The terminal

def picture(address="127.0.0.1:4001", ident="2a", count=5):
    nodes = [{"slot": slot, "id": ident, "address": address, "state": "member", "keys": 1234567,
              "cpu_percent": 99.9, "memory_pss_bytes": 1023 * 1024 ** 2, "uptime_s": 360000,
              "pid": 1, "ended": "", "why": ""} for slot in range(1, count + 1)]
    nodes[3]["state"] = "down"
    return {"ring_state": "degraded", "ring_reason": "no living node leads the keys from id 2a on; "
            "they come back when a node that holds them does", "warning": "", "keys": 9999999,
            "survives_failures": 0, "active": 4, "members_elsewhere": 0,
            "memory_total_bytes": 2 ** 34, "memory_used_bytes": 2 ** 33,
            "ring_dashboard": "http://100.101.102.103:3000", "nodes": nodes, "waiting_for": []}


def drawn(monkeypatch, width, height, **what):
    monkeypatch.setenv("NO_COLOR", "1")
    table = report.TableReporter()
    table.drawn = True
    for second in range(8):
        table.event("message", f"an older event {second}")
    table.event("node_down", "node 4 (pid 1234567) was killed by SIGKILL; start it again from its "
                "page or with: python3 init.py --start 4 --data-dir /var/lib/some/where")
    return table.lines(picture(**what), height, width)


@pytest.mark.parametrize("width, height, what", [
    (80, 24, {}), (80, 24, {"address": "100.101.102.103:4001", "ident": "0123456789abcdef"}),
    (80, 24, {"count": 30}), (60, 20, {}), (132, 43, {}), (40, 12, {}),
])
def test_nothing_is_cut_off(monkeypatch, width, height, what):
    lines = drawn(monkeypatch, width, height, **what)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "--start 4" in text and "/var/lib/some/where" in text
    if height >= 20:
        assert len(lines) <= height, lines
        assert "Ctrl-C stops" in lines[-1] and "down" in text
        assert "come back when a node that holds them does" in text
    if width >= 80 and "address" not in what:
        assert "PSS" in text and "uptime" in text


@pytest.mark.parametrize("state, reason", [
    ("healthy", "5 members, every list is right; survives 1 failure"),
    ("healing", "the predecessor of node 2a should be 17"),
    ("degraded", "survives 0; 90 % of the keys have lost their majority"),
])
def test_what_the_ring_survives_is_said_once(state, reason):
    shown = report.TableReporter().head(
        {**picture(), "ring_state": state, "ring_reason": reason, "survives_failures": 1}, 200)
    assert " ".join(shown).count("survives") == 1


def test_a_warning_has_a_line_of_its_own():
    shown = report.TableReporter().head({**picture(), "warning": "start more nodes"}, 200)
    assert "start more nodes" in shown and not any("elsewhere" in line for line in shown)
    shown = report.TableReporter().head({**picture(), "members_elsewhere": 2}, 200)
    assert any("4 active nodes, 2 of them elsewhere" in line for line in shown)
    assert shown[-1] == "" and "" not in shown[:-1]


class Stream:
    encoding = "ascii"

    def __init__(self, place):
        self.fileno = lambda: place


def test_what_cannot_be_written_is_lost_and_nothing_else():
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    for place in (writing, full, 9999):
        report.put(Stream(place), "text …\n")
    report.put(None, "text")
    os.close(writing)
    os.close(full)


def test_memory_is_pss_and_named(tmp_path):
    assert ringview.Usage().of(os.getpid())[1] > 1024 * 1024
    del tmp_path
