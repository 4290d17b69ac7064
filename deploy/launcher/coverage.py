# SPDX-License-Identifier: MIT
"""`init.py coverage`: how many lines of the core the tests reach, file by file.

Runs the unit tests of the core, the fuzzer's corpus and the simulator with its scenarios and some
seeds, all in a build of its own (preset `coverage`), then asks gcovr.
"""

import os
import re
import subprocess

from . import build
from .common import ROOT, Refused

FOLDER = ROOT / "build" / "coverage"
CORE = ROOT / "node" / "chord"
SIMULATOR = FOLDER / "tests" / "sim" / "chord-sim"
TARGETS = r"test_id|test_core_\w+|replay_core|chord-sim"
TESTS = "test_id|test_core_|fuzz_core_|scenario_"
SEEDS = "1..6"  # of the simulator
LINES_WANTED = 95  # per cent


def step(arguments, what):
    print(f"== {what}", flush=True)
    done = subprocess.run(arguments, cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        print(done.stdout[-4000:])
        raise Refused(f"{what} failed; its output is above")
    return done.stdout


def forget_counts():
    for counts in FOLDER.rglob("*.gcda"):
        counts.unlink()


def run():
    """Exit code 0 when at least LINES_WANTED per cent of the core's lines were reached."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    jobs = str(os.cpu_count() or 2)
    step(build.configure_arguments("coverage", FOLDER), "configuring")
    listed = step(["cmake", "--build", str(FOLDER), "--target", "help"], "looking for the tests")
    targets = sorted(set(re.findall(rf"^(?:\.\.\. )?({TARGETS})\b", listed, re.MULTILINE)))
    step(["cmake", "--build", str(FOLDER), "-j", jobs, "--target", *targets],
         "building with counters")
    forget_counts()
    step(["ctest", "--test-dir", str(FOLDER), "-R", TESTS, "--output-on-failure"],
         "unit tests, scenarios and corpus of the core")
    step([str(SIMULATOR), "--seeds", SEEDS], f"chord-sim --seeds {SEEDS}")
    report = ["gcovr", "--root", str(ROOT), "--filter", f"{CORE}/", str(FOLDER)]
    print(step(report, "lines of the core"))
    done = subprocess.run([*report, "--fail-under-line", str(LINES_WANTED)], cwd=FOLDER,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    verdict = "reached" if done.returncode == 0 else "NOT reached"
    print(f"{LINES_WANTED} % of the core's lines: {verdict}")
    return 0 if done.returncode == 0 else 1
