# SPDX-License-Identifier: MIT
"""proto/clients/javascript: its unit tests, its types, its README's lines, and its driver against
live rings: with a ring key, with a node that is paused, behind a hostile proxy."""

import base64
import itertools
import json
import queue
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import javascript_package
from javascript_package import DEADLINE_S, run
from kv import RingClient
from ring import ROOT

KEY = b"a ring key of the tests"


@pytest.fixture(scope="module")
def package():
    return javascript_package.built()


class Driver:
    """conformance.mjs; requests may be made by several threads."""

    def __init__(self, folder, *members, **more):
        self.process = subprocess.Popen(["node", folder / "conformance.mjs"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock, self.ids, self.waiting = threading.Lock(), itertools.count(1), {}
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.opened = self.do("open", members=members, **more)

    def read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            with self.lock:
                waiting = self.waiting.pop(answer.pop("id"))
            waiting.put(answer)

    def start(self, what, **more):
        """A queue to which the answer comes."""
        answer = queue.Queue()
        for name in ("key", "value", "payload"):
            if name in more:
                more[name] = base64.b64encode(more[name]).decode()
        with self.lock:
            number = next(self.ids)
            self.waiting[number] = answer
            print(json.dumps({"id": number, "do": what, **more}), file=self.process.stdin,
                  flush=True)
        return answer

    def do(self, what, **more):
        return self.start(what, **more).get(timeout=DEADLINE_S)

    def close(self):
        """It ends by itself: nothing of its client is left."""
        try:
            assert self.do("close") == {"code": "OK"}
            self.process.stdin.close()
            assert self.process.wait(5) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()


def value_of(answer):
    return base64.b64decode(answer["value"]) if answer["code"] == "OK" else None


def check_operations(driver):
    """Each of them, once."""
    assert driver.opened == {"code": "OK"}
    assert driver.do("get", key=b"k") == {"code": "NOT_FOUND", "fate": "done"}
    expires = 2 ** 53 + 1  # more than a double holds
    put = driver.do("put", key=b"k", value=b"\0\xff", expires_at_ms=expires, if_absent=True)
    assert (put["code"], put["fate"], put["existed"]) == ("OK", "done", False)
    got = {"code": "OK", "fate": "done", "value": "AP8=", "version": put["version"],
           "expires_at_ms": expires, "stale": False}
    assert driver.do("get", key=b"k") == got
    held = driver.do("put", key=b"k", value=b"", if_absent=True)
    assert (held["code"], held["fate"]) == ("FAILED_PRECONDITION", "not done")
    assert held["version"] == put["version"] and held["message"]
    stale = driver.do("get", key=b"k", stale=True)
    assert stale["stale"] and stale["value"] == "AP8="
    b64 = base64.b64encode
    results = driver.do("batch", operations=[
        {"do": "put", "key": b64(b"one").decode(), "value": b64(b"1").decode()},
        {"do": "delete", "key": b64(b"k").decode(), "if_version": put["version"]},
        {"do": "get", "key": b64(b"none").decode()},
        {"do": "put", "key": "", "value": ""}])["results"]
    assert [(one["code"], one["fate"], one.get("existed")) for one in results] == [
        ("OK", "done", False), ("OK", "done", True), ("NOT_FOUND", "done", None),
        ("INVALID_ARGUMENT", "not done", None)]
    gone = driver.do("delete", key=b"k")
    assert (gone["code"], gone["existed"]) == ("NOT_FOUND", False)
    nothing = driver.do("call", method="chord.v1.KvService/Nothing", payload=b"")
    assert (nothing["code"], nothing["fate"]) == ("UNIMPLEMENTED", "not done")


def check_ring(driver, ring):
    info = driver.do("server_info")
    assert (info["m"], info["n"], info["replicas"]) == (32, 3, 3) and len(info["ring_id"]) == 32
    found = driver.do("lookup", key=b"one")
    assert found["owner"] in [ring.address(slot) for slot in (1, 2, 3)]
    with RingClient(ring.address(1), key=driver.ring_key) as other:
        assert other.value("one") == b"1"
        told = other.lookup("one")
        assert (found["owner"], found["key_id"]) == (told.owner.address, told.key_id.hex())


def test_units_and_types(package):
    # What the scripts of package.json do, without a start of npm for each.
    tsc = package / "node_modules" / ".bin" / "tsc"
    tests = sorted((package / "test").glob("*.test.mjs"))
    with ThreadPoolExecutor() as pool:  # most of the tests wait
        units = pool.submit(run, "node", "--test", "--test-reporter=tap", *tests)
        run(tsc, "--project", "tsconfig.declarations.json")
        assert "class Client" in (package / "generated" / "types" / "client.d.ts").read_text()
        run(tsc, "--project", "tsconfig.json")
        print(units.result().splitlines()[-8:])


def test_version_and_lock(package):
    """One version for the whole; the lock file names no host."""
    number = re.search(r"project\(chord VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert json.loads((package / "package.json").read_text())["version"] == number
    lock = json.loads((package / "package-lock.json").read_text())
    assert lock["packages"][""]["version"] == number
    assert not [name for name, module in lock["packages"].items() if "resolved" in module]


def test_a_ring(new_ring, package, tmp_path):
    """The README's lines, every operation, what 16 writers of a key cost, a node that is paused."""
    ring = new_ring(M=32).start(3)
    ring.wait_healthy(3)
    (lines,) = re.findall(r"```js\n(.*?)```", (package / "README.md").read_text(), re.DOTALL)
    (tmp_path / "hello.mjs").write_text(lines)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "chord-dht").symlink_to(package)
    members = f"127.0.0.1:1,{ring.address(2)}"
    assert run("node", "hello.mjs", members, folder=tmp_path) == "hello, ring\n"
    driver = Driver(package, "127.0.0.1:1", ring.address(1))
    driver.ring_key = b""
    try:
        check_operations(driver)
        check_ring(driver, ring)
        figures = json.loads(run("node", "measure.mjs", ring.address(1), "0.5"))
        print(figures)
        assert figures["callsAPut"] <= 1.1
        assert min(figures["putsOfEach"]) * 2 >= figures["puts"] / len(figures["putsOfEach"])
        check_paused(driver, ring)
    finally:
        driver.close()


def check_paused(driver, ring):
    """The leader of a key stands still: what is under way ends well at others, in time."""
    keys = [b"paused %d" % number for number in range(12)]
    for key in keys:
        assert driver.do("put", key=key, value=b"first")["code"] == "OK"
    leader = driver.do("lookup", key=keys[0])["owner"]
    slot = next(slot for slot in (1, 2, 3) if ring.address(slot) == leader)
    ring.supervisor.nodes[slot].signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answers = [driver.start("put", key=key, value=b"second", timeout_ms=20000) for key in keys]
        results = [answer.get(timeout=DEADLINE_S) for answer in answers]
        print(f"12 puts while a node is paused: {time.monotonic() - began:.1f} s")
    finally:
        ring.supervisor.nodes[slot].signal(signal.SIGCONT)
    for key, result in zip(keys, results):
        assert (result["code"], result["fate"], result["existed"]) == ("OK", "done", True)
        assert value_of(driver.do("get", key=key)) == b"second"


def test_a_ring_with_a_key(new_ring, package, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    ring = new_ring(RING_KEY_FILE=path, M=32).start(3)
    ring.wait_healthy(3)
    for key in (None, b"another key, also long"):
        wrong = Driver(package, ring.address(1),
                       **({} if key is None else {"key": key}))
        assert (wrong.opened["code"], wrong.opened["fate"]) == ("UNAUTHENTICATED", "not done")
        wrong.close()
    driver = Driver(package, ring.address(1), key=KEY)
    driver.ring_key = KEY
    try:
        check_operations(driver)
        check_ring(driver, ring)
        for _ in range(2):  # one goes to any member, the next one to the leader, which challenges
            driver.do("put", key=b"counted", value=b"")
        before = driver.do("counters")["calls"]
        for number in range(20):
            driver.do("put", key=b"counted", value=b"%d" % number)
        assert driver.do("counters")["calls"] <= before + 22  # challenged no more
    finally:
        driver.close()
