# SPDX-License-Identifier: MIT
"""Fixtures of the system tests: `new_ring(...)` gives a Ring (see ring.py) that is ended with the
test, `start_init(...)` an init.py (init_process.py), `gateway` and
`own(...)` a Gateway alone (lone_gateway.py). When a test failed, the last lines
of its ring's processes are printed. Every test has a time limit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(ROOT / "proto" / "clients" / "python"))
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from init_process import Init  # noqa: E402
from lone_gateway import Gateway  # noqa: E402
from ports import PortBlock  # noqa: E402
from ring import Ring  # noqa: E402


TEST_TIMEOUT_S = 150


def stop_tests(number, frame):
    raise KeyboardInterrupt


def give_up(number, frame):
    # Again soon, in case a clean-up hangs as well.
    signal.setitimer(signal.ITIMER_REAL, TEST_TIMEOUT_S / 3)
    raise AssertionError("the test was not done within its time limit")


def pytest_configure(config):
    # Data folders and key files that tests make are their owner's alone, as the programs want it.
    os.umask(0o077)
    # So that fixtures end their processes when the run is asked to end.
    signal.signal(signal.SIGTERM, stop_tests)
    config.addinivalue_line("markers", "slow: only with init.py test --full")
    config.addinivalue_line("markers", "time_limit(seconds): more than TEST_TIMEOUT_S")


@pytest.fixture(autouse=True)
def time_limit(request):
    marker = request.node.get_closest_marker("time_limit")
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, marker.args[0] if marker else TEST_TIMEOUT_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed_in_call = report.failed


def make_factory(folder, rings):
    def create(**values):
        ring = Ring(folder / f"ring-{len(rings)}", **values)
        rings.append(ring)
        return ring
    return create


def close_all(rings):
    problems = []
    for ring in rings:
        try:
            ring.close()
        except Exception as problem:  # every ring must be closed
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture
def new_ring(tmp_path, request):
    rings = []
    yield make_factory(tmp_path, rings)
    if getattr(request.node, "failed_in_call", False):
        for ring in rings:
            ring.print_logs()
    close_all(rings)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One for the tests that leave it as it was. Every 5th operation of a batch fails once."""
    it = Gateway(tmp_path_factory.mktemp("http")).start()
    try:
        yield it.start_node("--fail", "5")
    finally:
        it.close()


@pytest.fixture
def own(tmp_path):
    made = []

    def create(*flags, **more):
        made.append(Gateway(tmp_path, *flags, **more))
        return made[-1].start()
    yield create
    for it in made:
        it.close()


@pytest.fixture
def start_init(tmp_path):
    ports, started = PortBlock(), []

    def start(*arguments, **options):
        started.append(Init(tmp_path, ports, *arguments, **options))
        return started[-1]
    yield start
    for init in started:
        if init.process.poll() is None:
            init.process.send_signal(signal.SIGTERM)
            try:
                init.process.wait(60)
            except subprocess.TimeoutExpired:
                init.process.kill()
    ports.close()
