# SPDX-License-Identifier: MIT
"""Every client library against the same list of cases, proto/clients/conformance/cases.json: one
driver a language, the same rings. The README there tells the driver's protocol and the cases'
language.

    pytest tests/system/test_conformance.py -k python-put

CHORD_CONFORMANCE_DRIVER: C's driver, where it is not the build folder's.
"""

import base64
import os
import random
import time

import pytest

import go_client
import javascript_package
from conformance import CASES, Case, encode
from conformance_driver import Driver
from conformance_rings import NOBODY, CaseRings
from histories import DONE, FAILED, UNKNOWN, run_history
from ring import BUILD, ROOT

SEED = int(os.environ.get("CHORD_TEST_SEED", time.time_ns() % 1_000_000))
CLIENTS = ROOT / "proto" / "clients"
# Those that have to be there; another one's cases are skipped where its driver is missing.
REQUIRED = ("c", "python", "javascript", "go")
HISTORY_S = 3


class Missing(Exception):
    """What a language's driver needs."""


class Broken(Missing):
    """It is there and cannot be built."""


def c_driver(folder):
    del folder
    path = os.environ.get("CHORD_CONFORMANCE_DRIVER",
                          BUILD / "proto" / "clients" / "conformance" / "chord-conformance-driver")
    return [need(path)], {}


def python_driver(folder):
    del folder
    need(CLIENTS / "python" / "chord_dht" / "conformance.py")
    return ["/usr/bin/python3", "-m", "chord_dht.conformance"], {
        "PYTHONPATH": str(CLIENTS / "python")}


def javascript_driver(folder):
    del folder
    return ["node", javascript_package.built() / "conformance.mjs"], {}


def go_driver(folder):
    del folder
    return [go_client.build("conformance")], {}


def need(path):
    if not os.path.exists(path):
        raise Missing(f"{path} is not there")
    return path


LANGUAGES = {"c": c_driver, "python": python_driver, "javascript": javascript_driver,
             "go": go_driver}


class Drivers:
    """The processes of one language; one that a failed case leaves behind is not used again."""

    def __init__(self, folder, language):
        self.folder, self.language, self.processes, self.missing = folder, language, {}, None
        try:
            self.command, self.environment = LANGUAGES[language](folder)
        except Missing as missing:
            self.missing = missing

    def check(self):
        if self.missing is not None:
            required = self.language in REQUIRED or isinstance(self.missing, Broken)
            (pytest.fail if required else pytest.skip)(str(self.missing))
        return self

    def get(self, name=""):
        if name not in self.processes:
            log = self.folder / f"driver{name and '-'}{name}.log"
            self.processes[name] = Driver(self.command, {**os.environ, **self.environment}, log)
        return self.processes[name]

    def kill(self):
        for driver in self.processes.values():
            driver.kill()
        self.processes = {}

    def end(self):
        processes, self.processes = self.processes, {}
        return [driver.end() for driver in processes.values()]


@pytest.fixture(scope="module")
def rings(tmp_path_factory):
    made = CaseRings(tmp_path_factory.mktemp("rings"), SEED)
    yield made
    made.close()


@pytest.fixture(scope="module")
def drivers(tmp_path_factory):
    made = {}

    def of(language):
        if language not in made:
            made[language] = Drivers(tmp_path_factory.mktemp(language), language)
        return made[language].check()
    yield of
    for one in made.values():
        one.kill()


def played():
    for language in LANGUAGES:
        for case in CASES:
            yield pytest.param(language, case, id=f"{language}-{case['name']}",
                               marks=[pytest.mark.slow] if case.get("slow") else [])


def mend(rings, drivers, name):
    """After a case that failed: nothing of it is left."""
    drivers.kill()
    try:
        rings.get(name).mend()
    except Exception as problem:
        print(f"the ring {name!r} cannot be mended, the next case has a new one: {problem}")
        rings.drop(name)


@pytest.mark.parametrize("language,case", played())
def test_case(language, case, rings, drivers):
    mine, ring = drivers(language), case.get("ring", "three")
    prefix = f"{random.randbytes(3).hex()}/".encode()
    well = False
    try:
        Case(case, rings, mine.get, prefix).run()
        left = rings.get(ring).mend()
        well = True
        assert left == 0, f"{left} orders to the proxies were never carried out"
    finally:
        if not well:
            mend(rings, mine, ring)


class Asker:
    """For run_history."""

    def __init__(self, driver, prefix):
        self.driver, self.prefix = driver, prefix

    def ask(self, kind, key, value):
        request = {"do": kind, "key": encode(f"{self.prefix}/{key}".encode())}
        if kind == "put":
            request["value"] = encode(value)
        answer, _ = self.driver.ask(request, 20)
        outcome = {"done": DONE, "not done": FAILED, "maybe done": UNKNOWN}[answer["fate"]]
        if outcome != DONE:
            return outcome, None, None
        if kind == "get":
            return DONE, base64.b64decode(answer["value"]) if "value" in answer else None, None
        # A deletion that was sent again may have found nothing because of its own first attempt.
        return DONE, None, answer["existed"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_history_is_linearizable(language, rings, drivers, tmp_path):
    """Many operations at once over one client, behind the hostile proxy."""
    print(f"CHORD_TEST_SEED={SEED}")
    mine, place = drivers(language), rings.get("three")
    driver = mine.get()
    answer, _ = driver.ask({"do": "open", "members": [place.outer(slot) for slot in place.slots],
                            "timeout_ms": 6000, "attempt_ms": 300}, 20)
    assert answer.get("code") == "OK", answer
    prefix = random.randbytes(3).hex()
    for proxy in place.proxies:
        proxy.set_hostile(True)
    try:
        with place.reader() as reader:
            run_history(lambda number: Asker(driver, prefix), place.proxies, SEED, HISTORY_S,
                        lambda key: reader.value(f"{prefix}/{key}"), tmp_path, language)
    finally:
        for proxy in place.proxies:
            proxy.set_hostile(False)
    assert driver.ask({"do": "close"}, 20)[0].get("code") == "OK"


@pytest.mark.parametrize("language", LANGUAGES)
def test_driver_ends(language, drivers):
    """With its input, with 0, and soon, also while something is under way; under a sanitizer this
    also means that nothing leaks."""
    mine = drivers(language)
    mine.end()
    driver = mine.get()
    driver.ask({"do": "open", "members": [NOBODY], "timeout_ms": 1000, "attempt_ms": 500}, 20)
    driver.send({"do": "put", "key": encode(b"k"), "value": ""})
    (seconds,) = mine.end()
    print(f"ended after {seconds:.2f} s")
