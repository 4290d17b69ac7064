# SPDX-License-Identifier: MIT
"""`init.py up|status|rolling-restart|upgrade|down --hosts`: hosts that have nothing become a ring, and are
driven from one place. Namespaces play the hosts, a script plays ssh."""

import contextlib
import threading
import time

import pytest
from fleet_hosts import SECRETS, Fleet
from ring import until
from tailnet_hosts import why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture
def fleet(tmp_path):
    with contextlib.ExitStack() as stack:
        def make(*arguments):
            made = Fleet(tmp_path, *arguments)
            stack.callback(made.close)
            return made
        yield make


@pytest.mark.slow
def test_two_bare_hosts_become_a_ring_and_stop(fleet):
    it = fleet(2, 1, False)
    one, two = it.hosts
    code, plan = it.init("up", "--dry-run")
    assert code == 0 and not (one.folder / "chord").exists()
    code, said = it.init("up")
    assert code == 0, said
    assert [line for line in plan.splitlines() if "$ " in line] == \
        [line for line in said.splitlines() if "$ " in line]
    for host in it.hosts:
        assert host.members() == ["100.64.1.1:4001", "100.64.2.1:4001"]
        for name in SECRETS.values():
            there = it.data(host) / name
            assert there.read_text() == (it.folder / name).read_text()
            assert there.stat().st_mode & 0o777 == 0o600
            assert there.read_text().strip() not in said
    pids = [it.seen(host)[0]["slots"][0]["pid"] for host in it.hosts]
    code, said = it.init("up")
    assert code == 0 and "Nothing to do" in said
    assert pids == [it.seen(host)[0]["slots"][0]["pid"] for host in it.hosts]

    # One node is stopped by its number: all see it, and nothing is restarted around it.
    assert it.on(two, "--stop", "1")[0] == 0
    until(lambda: it.seen(one)[0]["ring"]["state"] != "healthy", 20, lambda: str(it.seen(one)))
    code, said = it.init("status")
    assert code == 1 and "0 of 1" in said and "host-2 is not well" in said
    code, said = it.init("rolling-restart")
    assert code == 1 and "host-1" in said and "not well" in said and "--from host-1" in said
    assert it.on(two, "--restart", "1")[0] == 0
    until(lambda: it.init("status")[0] == 0, 30, "a healthy ring")

    it.reach(two, False)
    code, said = it.init("status")
    assert code == 1 and "No route to host" in said
    code, said = it.init("up")
    assert code == 1 and "host-2" in said and "No route to host" in said
    it.reach(two)
    code, said = it.init("down")
    assert code == 0 and said.index("host-2: stop") < said.index("host-1: stop")
    assert [it.seen(host)[0]["running"] for host in it.hosts] == [False, False]


class Load:
    """One client that writes and reads all the time, at each host's gateway in turn. What fails is tried
    again; `problems` has what that did not cure."""

    RETRY_S = 60

    def __init__(self, hosts):
        self.hosts, self.turn = hosts, 0
        self.acknowledged, self.problems = {}, []
        self.retries, self.longest = 0, 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def operation(self, *words, good):
        """The body; None when no answer of `good` came in time."""
        began = time.monotonic()
        while time.monotonic() < began + self.RETRY_S:
            self.turn += 1
            status, body = self.hosts[self.turn % len(self.hosts)].ask(*words, timeout_s=15)
            if status in good:
                self.longest = max(self.longest, time.monotonic() - began)
                return body
            self.retries += 1
            time.sleep(0.05)  # the pause of a client
        self.problems.append(f"{words}: {status} {body}")
        return None

    def run(self):
        number = 0
        while not self.ended.is_set():
            number += 1
            key = f"key-{number % 50}"
            body = self.operation(f"/api/v1/kv/{key}", "-X", "PUT", "-d", f"{number}", good=(201, 204))
            if body is not None:
                self.acknowledged[key] = f"{number}"
            self.check(f"key-{number * 7 % 50}")

    def check(self, key):
        if key in self.acknowledged:
            found = self.operation(f"/api/v1/kv/{key}", good=(200, 404))
            if found != self.acknowledged[key]:
                self.problems.append(f"{key} is {found}, acknowledged was {self.acknowledged[key]}")

    @contextlib.contextmanager
    def running(self):
        self.thread.start()
        yield self
        self.ended.set()
        self.thread.join()
        for key in self.acknowledged:
            self.check(key)
        print(f"{len(self.acknowledged)} keys, {self.retries} retries, longest {self.longest:.1f} s")
        assert self.acknowledged and not self.problems, self.problems


@pytest.mark.slow
@pytest.mark.time_limit(900)
def test_three_hosts_are_restarted_and_upgraded_under_load(fleet):
    it = fleet(3, 4, True)
    code, said = it.init("up")
    assert code == 0, said
    before = {host.number: it.seen(host)[0] for host in it.hosts}
    with Load(it.hosts).running() as load:
        until(lambda: len(load.acknowledged) == 50, 120, "every key")
        code, said = it.init("rolling-restart")
        assert code == 0, said
        for host in it.hosts:
            slots, old = it.seen(host)[0]["slots"], before[host.number]["slots"]
            assert len(slots) == 4 and not {slot["pid"] for slot in slots} & {slot["pid"] for slot in old}

        (it.checkout / "init.py").write_text((it.checkout / "init.py").read_text() + "# changed\n")
        code, said = it.init("upgrade")
        assert code == 1 and "init.py" in said and "differ" in said
        commit = it.commit("second")
        # Somebody has changed a file on one host: the run stops there, and goes on from there.
        theirs = it.hosts[1].folder / "chord" / "init.py"
        ours = theirs.read_text()
        theirs.write_text(ours + "# mine\n")
        code, said = it.init("upgrade")
        assert code == 1 and "host-2: bring commit" in said and "--from host-2" in said, said
        assert [it.seen(host)[0]["commit"] == commit for host in it.hosts] == [True, False, False]
        theirs.write_text(ours)
        code, said = it.init("upgrade", "--from", "host-2")
        assert code == 0, said
        for host in it.hosts:
            assert it.seen(host)[0]["commit"] == commit
            assert len(host.members()) == 12
    # All are stopped: no host alone is a ring, and all together are the one that they were.
    assert it.init("down")[0] == 0
    code, said = it.init("up")
    assert code == 0, said
    assert it.seen(it.hosts[0])[0]["ring"]["id"] == before[1]["ring"]["id"]
    for key, value in load.acknowledged.items():
        assert it.hosts[2].ask(f"/api/v1/kv/{key}") == (200, value)
