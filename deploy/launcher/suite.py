# SPDX-License-Identifier: MIT
"""`init.py test`: builds, runs every test, counts, ends with the line `N passed, N failed`.

Parts: lint (clang-format, clang-tidy), unit (ctest: C tests under the address and
undefined-behaviour sanitizers, those with threads under the thread sanitizer, too), sim (seeds of
the simulator), launcher (pytest, init.py's own logic), system (pytest, real processes), model
(Spin), web (node --test, real ring in a browser).
Each part prints what failed and how long it took.
"""

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build, ringview, sim
from .common import ROOT, Refused

SYSTEM_PYTHON = "/usr/bin/python3"
RESULTS = ROOT / "build" / "test-results"
PART_TIMEOUT_S = 1200
CLEAN_UP_S = 20
JOBS = 2
SIM_SEEDS = 200
# Rings that have just been formed, with lists as long as they can be.
GENESIS = ("--n", "8", "--nodes", "9..14", "--minutes", "0.02", "--churn", "0", "--faults", "none")
TRACE_SEEDS = (1, 2, 4, 6)
CLIENT_SEEDS = 20
HOPS_NODES = 1000
RING_START_TIMEOUT_S = 120
HEAL_LIMIT_MS = "3000"
# About half of the system tests' time; the other half runs beside it.
SYSTEM_FIRST = {"test_chordctl", "test_conformance", "test_data", "test_faults", "test_hostile_proxy", "test_init",
                "test_merge", "test_python_client", "test_rpc_client", "test_repair"}
# What drives the gateway's HTTP front.
HTTP_TESTS = ("raw_http", "http", "http_load", "events")
# Whole rings: joins, leaves, kill -9, pauses, partitions, every kind of client.
RING_TESTS = ("ring", "data", "churn", "import", "export", "faults")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A leak found at exit must fail the test whose process had it.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def from_junit(path, ran_well):
    """Counts of a JUnit file; a run that failed without naming a failed test counts as one."""
    count = Count()
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        cases = []
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None \
                or case.get("status") == "fail":
            count.failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            count.skipped += 1
        else:
            count.passed += 1
    if not ran_well and not count.failed:
        count.failed = 1
    return count


def from_tap(text, ran_well):
    """Counts from the summary that `node --test --test-reporter=tap` prints."""
    numbers = {word: int(value) for word, value in
               re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", text, re.MULTILINE)}
    count = Count(numbers.get("pass", 0), numbers.get("fail", 0) + numbers.get("cancelled", 0),
                  numbers.get("skipped", 0))
    if not ran_well and not count.failed:
        count.failed = 1
    return count


def from_lines(text, ran_well):
    """Counts the lines that begin with `ok` and with `FAILED`."""
    count = Count(len(re.findall(r"^ok ", text, re.MULTILINE)),
                  len(re.findall(r"^FAILED ", text, re.MULTILINE)))
    if not ran_well and not count.failed:
        count.failed = 1
    return count


def command(arguments, log_name, environment=None, show=True):
    """Runs one tool, its output to a file and, if wanted, to the terminal; (ran well, output).
    A tool that takes too long is asked to end, so that it can clean up, and then ended."""
    log_path = RESULTS / log_name
    with open(log_path, "wb") as log:
        process = subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE if show else log,
                                   stderr=subprocess.STDOUT,
                                   env=dict(os.environ, **SANITIZER_OPTIONS, **(environment or {})))
        timers = [threading.Timer(PART_TIMEOUT_S, end_late, (process, log_name, "terminate")),
                  threading.Timer(PART_TIMEOUT_S + CLEAN_UP_S, end_late,
                                  (process, log_name, "kill"))]
        try:
            for timer in timers:
                timer.start()
            for line in process.stdout or ():
                log.write(line)
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
            process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        finally:
            for timer in timers:
                timer.cancel()
    return process.returncode == 0, log_path.read_text(errors="replace")


def end_late(process, log_name, how):
    print(f"{log_name}: not done after {PART_TIMEOUT_S} s: {how}", flush=True)
    getattr(process, how)()


def run_ctest(preset, *chosen):
    folder = ROOT / "build" / preset
    junit = RESULTS / f"unit-{preset}.xml"
    junit.unlink(missing_ok=True)
    ran_well, output = command(["ctest", "--test-dir", str(folder), "-j", str(JOBS),
                                "--output-on-failure", "--no-tests=ignore", "--output-junit",
                                str(junit), *chosen], f"unit-{preset}.log", show=False)
    if not ran_well:
        print(output)
    return from_junit(junit, ran_well)


def run_pytest(paths, name, environment=None, arguments=()):
    junit = RESULTS / f"{name}.xml"
    junit.unlink(missing_ok=True)
    ran_well, output = command(
        [SYSTEM_PYTHON, "-m", "pytest", *map(str, paths), f"--junitxml={junit}", "-v", "-rfE",
         "--durations=5", "-p", "no:cacheprovider", *arguments], f"{name}.log", environment)
    # 5: nothing was collected.
    return from_junit(junit, ran_well or "no tests ran" in output)


def part_unit(full):
    """With --full the gateway's HTTP front and whole rings, too, under the thread sanitizer; else the
    unit tests that have threads."""
    count = run_ctest("asan")
    build.build("tsan", print, None if full else "threaded_tests")
    count.add(run_ctest("tsan", *([] if full else ["-L", "threads"])))
    if full:
        for name, tests in (("http", HTTP_TESTS), ("ring", RING_TESTS)):
            count.add(run_pytest([ROOT / "tests" / "system" / f"test_{test}.py" for test in tests],
                                 f"{name}-tsan", {"CHORD_BUILD": str(ROOT / "build" / "tsan")},
                                 ("-m", "not slow")))
    return count


def part_lint(full):
    """Format and a short list of checks (.clang-tidy); clang's analyzer takes more than half an hour:
    `tests/lint.py --analyze`."""
    del full
    ran_well, output = command([SYSTEM_PYTHON, str(ROOT / "tests" / "lint.py"),
                                str(ROOT / "build" / "asan")], "lint.log")
    return from_lines(output, ran_well)


def part_sim(full):
    """A fixed set of seeds on the optimised simulator; `init.py soak sim` runs thousands."""
    path = sim.program()
    blocks = range(1, (2000 if full else SIM_SEEDS) + 1, sim.BLOCK_SEEDS)
    count = Count()
    with ThreadPoolExecutor(JOBS) as pool:
        for first, (summary, output) in zip(blocks, pool.map(
                lambda first: sim.run_seeds(path, first, first + sim.BLOCK_SEEDS - 1), blocks)):
            well = summary["violations"] == 0 and summary["runs"] == sim.BLOCK_SEEDS
            count.add(Count(passed=int(well), failed=int(not well)))
            print(f"{'ok' if well else 'not ok'} seeds {first}..{first + sim.BLOCK_SEEDS - 1}: "
                  f"{summary.get('steps', 0)} steps, {summary.get('proof_steps', 0)} of them under "
                  f"the proof's assumptions", flush=True)
            if not well:
                print(output)
    summary, output = sim.run_seeds(path, 1, 400, *GENESIS)
    well = summary["violations"] == 0 and summary["runs"] == 400
    count.add(Count(passed=int(well), failed=int(not well)))
    print(f"{'ok' if well else 'not ok'} seeds 1..400 of genesis{'' if well else ': ' + output}",
          flush=True)
    summary, output = sim.run_seeds(path, 1, CLIENT_SEEDS, *sim.SOAKS["clients"])
    well = summary["violations"] == 0 and summary["runs"] == CLIENT_SEEDS
    count.add(Count(passed=int(well), failed=int(not well)))
    print(f"{'ok' if well else 'not ok'} seeds 1..{CLIENT_SEEDS} with clients: "
          f"{summary.get('acknowledged', 0)} writes acknowledged{'' if well else ': ' + output}",
          flush=True)
    count.add(check_wire(path))
    for seed in TRACE_SEEDS:
        count.add(check_ring_trace(path, seed))
    count.add(check_hops(path))
    count.add(check_instructions())
    if full:
        count.add(run_mutants(path))
    return count


def check_wire(path):
    """Each scenario comes to the same digest when messages are encoded and decoded on their way."""
    scenarios = sorted(map(str, (ROOT / "tests" / "sim" / "scenarios").glob("*.txt")))
    digests = [[line for line in command([str(path), *options, *scenarios], "sim-wire.log",
                                         show=False)[1].splitlines() if line.startswith("ok ")]
               for options in ([], ["--wire"])]
    well = len(digests[0]) == len(scenarios) and digests[0] == digests[1]
    print(f"{'ok' if well else 'not ok'} {len(scenarios)} scenarios, the same over the wire",
          flush=True)
    return Count(passed=int(well), failed=int(not well))


def check_ring_trace(path, seed):
    """Each change of the ring in a run is one that a step of the model makes."""
    trace = RESULTS / f"ring-{seed}.trace"
    ran_well, _ = command([str(path), "--seed", str(seed), "--ring-trace", str(trace)],
                          f"sim-{seed}.log", show=False)
    well, output = command([SYSTEM_PYTHON, str(ROOT / "tests" / "model" / "check_trace.py"),
                            str(trace)], f"trace-{seed}.log", show=False)
    print(f"{'ok' if ran_well and well else 'not ok'} the trace of seed {seed} in the model's rules: "
          f"{output.strip()}", flush=True)
    return Count(passed=int(ran_well and well), failed=int(not (ran_well and well)))


def check_hops(path):
    """A lookup takes about half of log2 n hops (Stoica et al. 2001, figure 10)."""
    done = subprocess.run([str(path), "--json", "--measure", "--nodes", str(HOPS_NODES)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    result = json.loads(done.stdout) if done.returncode == 0 else {"hops_mean": 0.0}
    wanted = math.log2(HOPS_NODES) / 2
    well = abs(result["hops_mean"] - wanted) <= wanted / 10
    print(f"{'ok' if well else 'not ok'} {HOPS_NODES} nodes: {result['hops_mean']:.2f} hops, half of "
          f"log2 n is {wanted:.2f}", flush=True)
    return Count(passed=int(well), failed=int(not well))


def check_instructions():
    """What an operation costs, whatever else the machine does."""
    folder = build.build("sim", print, "bench_instructions").folder
    ran_well, output = command([SYSTEM_PYTHON, str(ROOT / "tests" / "bench" / "instructions.py"),
                                str(folder)], "instructions.log")
    return from_lines(output, ran_well)


def run_mutants(path):
    """The rules of the ring taken out one at a time: the simulator must notice each."""
    ran_well, output = command([SYSTEM_PYTHON, str(ROOT / "tests" / "sim" / "mutants.py"),
                                str(path.parents[2])], "mutants.log")
    killed = output.count("\nkilled ") + output.startswith("killed ")
    alive = output.count("ALIVE ")
    return Count(passed=killed - 1 if ran_well else killed, failed=alive or int(not ran_well))


def part_launcher(full):
    del full
    return run_pytest([ROOT / "tests" / "init"], "launcher")


def part_system(full):
    environment = {"CHORD_BUILD": str(ROOT / "build" / "asan"),
                   "CHORD_RELEASE_BUILD": str(ROOT / "build" / "release")}
    files = sorted((ROOT / "tests" / "system").glob("test_*.py"))
    halves = {"system-1": [file for file in files if file.stem in SYSTEM_FIRST],
              "system-2": [file for file in files if file.stem not in SYSTEM_FIRST]}
    chosen = [] if full else ["-m", "not slow"]
    count = Count()
    # Most tests wait: two at a time, each with ports of its own.
    with ThreadPoolExecutor(len(halves)) as pool:
        for result in pool.map(lambda name: run_pytest(halves[name], name, environment, chosen),
                               halves):
            count.add(result)
    return count


def part_web(full):
    """The pages in a headless browser: once over the mock gateway (odd answers that no real ring
    gives on demand), once over a real ring that init.py started."""
    del full
    folder = ROOT / "tests" / "web"
    tests = sorted(str(path) for path in folder.glob("*.test.mjs"))
    if not tests:
        return Count()
    build.npm_ci(folder)
    count = run_node_tests(tests, "web-mock", {"CHORD_MOCK": "1"})
    count.add(guarded(web_over_real_ring, tests))
    return count


def web_over_real_ring(tests):
    with real_ring() as address:
        return run_node_tests(tests, "web", {"BASE_URL": address,
                                             "HEAL_LIMIT_MS": HEAL_LIMIT_MS})


def run_node_tests(tests, name, environment):
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    ran_well, output = command(["node", "--test", "--test-reporter=tap", *tests], f"{name}.log",
                               {"CHROMIUM": browser, **environment}, show=False)
    count = from_tap(output, ran_well)
    print(f"{name}: {count}")
    if count.failed:
        print(output)
    return count


@contextlib.contextmanager
def real_ring():
    """The default ring of five, started by init.py as people start it; gives its address."""
    sys.path.insert(0, str(ROOT / "tests" / "system"))
    from ports import PortBlock

    ports = PortBlock()
    log_path = RESULTS / "web-ring.log"
    with tempfile.TemporaryDirectory(prefix="chord-web-") as data, open(log_path, "w+b") as log:
        ring = subprocess.Popen(
            [sys.executable, str(ROOT / "init.py"), "--json", "--build",
             str(ROOT / "build" / "release"), "--host", "127.0.0.1", "--port", str(ports.port),
             "--rpc-port", str(ports.rpc_port), "--data-dir", data],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for_ready(ring, log_path, ports.port)
            yield f"http://127.0.0.1:{ports.port}"
        finally:
            ring.terminate()
            ring.wait()
            ports.close()


def wait_for_ready(ring, log_path, port):
    """Its nodes are members, and the whole ring is well."""
    api = ringview.Api("127.0.0.1", port)
    deadline = time.monotonic() + RING_START_TIMEOUT_S
    while '"event": "ready"' not in log_path.read_text(errors="replace") or not api.ready():
        if ring.poll() is not None or time.monotonic() > deadline:
            raise Refused("the ring for the page's tests did not start:\n"
                          + log_path.read_text(errors="replace"))
        time.sleep(0.1)


def part_model(full):
    """The checked model of the ring in its small bound, each check and each mutant a test; and the
    tests of its trace checker."""
    del full
    folder = ROOT / "tests" / "model"
    ran_well, output = command([SYSTEM_PYTHON, str(folder / "run.py"), "--bound", "small"],
                               "model.log")
    count = from_lines(output, ran_well)
    count.add(run_pytest([folder], "model-trace"))
    return count


PARTS = {"lint": part_lint, "unit": part_unit, "sim": part_sim, "model": part_model,
         "launcher": part_launcher, "system": part_system, "web": part_web}


def timed(name, work):
    print(f"== {name}", flush=True)
    began = time.monotonic()
    result = work()
    seconds = time.monotonic() - began
    print(f"== {name}: {result} in {seconds:.0f} s", flush=True)
    return result


def guarded(part, argument):
    """A part that could not run at all counts as one failure; the others still run."""
    try:
        return part(argument)
    except Refused as refusal:
        print(f"init.py: {refusal}", flush=True)
        return Count(failed=1)


def build_all(_):
    for preset in ("asan", "release"):
        build.build(preset, print)
    return Count()


def run(full, only):
    """Exit code 0 only when everything passed and something was tested."""
    if only is not None and only not in PARTS:
        raise Refused(f"there is no test part {only!r}; there are: {', '.join(PARTS)}")
    Path(RESULTS).mkdir(parents=True, exist_ok=True)
    total = Count()
    began = time.monotonic()
    built = Count()
    if only != "launcher":
        built = timed("build", lambda: guarded(build_all, None))
        total.add(built)
    for name, part in PARTS.items():
        if only in (None, name) and (not built.failed or name == "launcher"):
            total.add(timed(name, lambda part=part: guarded(part, full)))
    print(f"All parts took {time.monotonic() - began:.0f} s; outputs are in {RESULTS}")
    if total.skipped:
        print(f"{total.skipped} tests were skipped")
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    return 0 if total.failed == 0 and total.passed > 0 else 1
