# SPDX-License-Identifier: MIT
"""The Go client: built, vetted, its own tests, the lines of its README, and its driver against real
rings."""

import base64
import json
import re
import signal

import pytest

import test_hostile_proxy
from go_client import PACKAGE, SOURCE, Driver, build, go, run, text
from ring import Ring
from test_hostile_proxy import FAILED, UNKNOWN, proxies  # noqa: F401

KEY = "the key of the ring in these tests"


@pytest.fixture(scope="module")
def program():
    return build("conformance")


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """For tests that leave it as it was."""
    it = Ring(tmp_path_factory.mktemp("go") / "ring", M=32)
    try:
        yield it.start(3)
    finally:
        it.close()


@pytest.fixture
def new_driver(program):
    made = []

    def create(**options):
        made.append(Driver(program))
        assert made[-1].ask("open", **options) == {"code": "OK"}
        return made[-1]
    yield create
    for one in made:
        one.close()


def test_format_vet_and_its_own_tests():
    assert run("gofmt", "-l", *SOURCE.glob("*.go"), *SOURCE.glob("cmd/*/*.go")) == ""
    programs = [f"{PACKAGE}/cmd/{name}" for name in ("conformance", "measure")]
    go("vet", PACKAGE, *programs)
    go("test", PACKAGE)


@pytest.mark.slow  # for the first time the compiler makes Go's own packages anew
def test_its_own_tests_under_the_race_detector():
    go("test", "-race", "-count=3", PACKAGE)


def test_the_readme(ring, tmp_path):
    (lines,) = re.findall(r"```go\n(.*?)```", (SOURCE / "README.md").read_text(), re.S)
    source = tmp_path / "main.go"
    source.write_text(lines)
    assert run("gofmt", "-l", source) == ""
    go("build", "-o", tmp_path / "hello", source)
    assert run(tmp_path / "hello", "127.0.0.1:1", ring.address(2)) == "hello, ring\n"
    assert ring.get("greeting") == (200, b"hello, ring")


def test_operations(ring, new_driver):
    driver = new_driver(members=[ring.address(1)])
    name = {"key": text(b"\x00\xff go")}
    assert driver.ask("get", **name)["code"] == "NOT_FOUND"
    first = driver.ask("put", **name, value=text("one"))
    assert (first["code"], first["fate"], first["existed"]) == ("OK", "done", False)
    stands = driver.ask("put", **name, value=text("two"), if_absent=True)
    assert (stands["code"], stands["fate"]) == ("FAILED_PRECONDITION", "not done")
    assert stands["version"] == first["version"]
    second = driver.ask("put", **name, value=text("two"), if_version=first["version"])
    assert second["code"] == "OK" and second["existed"]
    for stale in (False, True):
        found = driver.ask("get", **name, stale=stale)
        assert (found["value"], found["version"]) == (text("two"), second["version"])
    assert driver.ask("delete", **name)["existed"]
    again = driver.ask("delete", **name)
    assert (again["code"], again["fate"], again["existed"]) == ("NOT_FOUND", "done", False)
    info = driver.ask("server_info")
    assert (info["m"], info["n"], info["replicas"], len(info["ring_id"])) == (32, 3, 3, 32)
    owner = driver.ask("lookup", **name)["owner"]
    assert owner in [ring.address(slot) for slot in (1, 2, 3)]
    nothing = driver.ask("call", method="chord.v1.KvService/Nothing", payload="")
    assert (nothing["code"], nothing["fate"]) == ("UNIMPLEMENTED", "not done")


def test_values_of_all_sizes(ring, new_driver):
    driver = new_driver(members=[ring.address(3)])
    values = {f"size-{size}": b"v" * size for size in (0, 1, 65536, 1024 * 1024)}
    put = [{"do": "put", "key": text(key), "value": text(value)} for key, value in values.items()]
    get = [{"do": "get", "key": text(key)} for key in values]
    assert {one["code"] for one in driver.ask("batch", operations=put)["results"]} == {"OK"}
    found = driver.ask("batch", operations=get)["results"]  # more than one answer has room for
    assert [one["value"] for one in found] == [text(value) for value in values.values()]
    before = driver.ask("counters")["calls"]
    large = driver.ask("put", key=text("k"), value=text(b"v" * (1024 * 1024 + 1)))
    assert (large["code"], large["fate"]) == ("INVALID_ARGUMENT", "not done")
    assert driver.ask("counters")["calls"] == before


def test_sixteen_writers_of_one_key(ring):
    figures = json.loads(run(build("measure"), "-members", ring.address(1), "-seconds", "0.5"))
    print(figures)
    assert figures["requests_a_put"] <= 1.1 and figures["requests_a_get"] <= 1.1
    assert min(figures["puts_of_each"]) * 2 >= sum(figures["puts_of_each"]) / 16


def test_a_ring_with_a_key(new_ring, new_driver, tmp_path):
    path = tmp_path / "ring.key"
    path.write_text(KEY + "\n")
    ring = new_ring(M=32, RING_KEY_FILE=path).start(3)
    addresses = [ring.address(slot) for slot in (1, 2, 3)]
    driver = new_driver(members=addresses[:1], key=text(KEY))
    keys = [text(f"key-{number}") for number in range(20)]
    for key in keys:
        assert driver.ask("put", key=key, value=key)["code"] == "OK"
    calls = driver.ask("counters")["calls"]
    assert len(keys) <= calls <= len(keys) + 3, calls  # each node wants to be met once
    for other in ({"key": text(KEY[::-1])}, {}):
        stranger = new_driver(members=addresses, **other)
        refused = stranger.ask("put", key=keys[0], value="")
        assert (refused["code"], refused["fate"]) == ("UNAUTHENTICATED", "not done"), refused
    # A node that is started anew takes nothing that was signed for the one before.
    ring.kill(2)
    ring.start_node(2)
    ring.wait_healthy(3)
    for key in keys:
        assert driver.ask("get", key=key)["value"] == key


def test_a_paused_node(new_ring, new_driver):
    """Whatever is under way then, and after: each operation is done at another node in time, and its
    connection costs others nothing."""
    ring = new_ring(M=32).start(4)
    ring.wait_healthy(4)
    driver = new_driver(members=[ring.address(2)], attempt_ms=300, timeout_ms=20000)
    keys = [text(f"key-{number}") for number in range(40)]
    warm = [driver.start("put", key=key, value=text("before")) for key in keys]
    assert {one.result(60)["code"] for one in warm} == {"OK"}
    ring.supervisor.nodes[2].signal(signal.SIGSTOP)
    try:
        writes = [driver.start("put", key=key, value=key) for key in keys]
        answers = [one.result(60) for one in writes]
        reads = [driver.start("get", key=key) for key in keys]
        found = [one.result(60) for one in reads]
    finally:
        ring.supervisor.nodes[2].signal(signal.SIGCONT)
    assert {answer["code"] for answer in found} == {"OK"}, found
    for key, answer, read in zip(keys, answers, found):
        if answer["fate"] == "done":
            assert read["value"] == key
        else:  # it was overwritten by its own attempt, or may still come
            assert answer["fate"] == "maybe done" and read["value"] in (key, text("before"))
    assert sum(answer["fate"] == "done" for answer in answers) >= len(keys) * 3 / 4, answers
    ring.wait_healthy(4)
    for key, answer in zip(keys, answers):
        if answer["fate"] == "done":
            assert driver.ask("get", key=key)["value"] == key


class Go:
    """Drivers as test_hostile_proxy asks its clients: each for half of the threads."""

    drivers = ()

    def __init__(self, outer, gateway, seed):
        self.driver = Go.drivers[seed % len(Go.drivers)]

    def ask(self, kind, key, value):
        fields = {"value": text(value)} if kind == "put" else {}
        answer = self.driver.ask(kind, key=text(key), **fields)
        if answer["fate"] != "done":
            return UNKNOWN if answer["fate"] == "maybe done" else FAILED, None, None
        if kind == "get":
            return "done", base64.b64decode(answer["value"]) if "value" in answer else None, None
        return "done", None, answer["existed"]


@pytest.mark.slow
def test_histories_are_linearizable(proxies, new_driver, tmp_path, monkeypatch):  # noqa: F811
    """Behind proxies that lose, repeat and delay."""
    outer = [f"127.0.0.2:{proxy.port}" for proxy in proxies[1]]
    drivers = [new_driver(members=outer, timeout_ms=6000) for _ in range(2)]
    monkeypatch.setattr(Go, "drivers", drivers)
    test_hostile_proxy.test_histories_are_linearizable(Go, proxies, None, tmp_path)
