# SPDX-License-Identifier: MIT
"""`init.py fuzz [NAME] [--minutes K]`: builds the fuzzers with clang and lets each run for a while.

New inputs go to build/fuzz/corpus/NAME, what breaks something to build/fuzz/found/NAME; the inputs
in tests/fuzz/corpus/NAME are where it begins. A found input that is copied there stays in the test
run (replay_NAME) for good.
"""

import argparse
import os
import re
import subprocess

from . import build
from .common import ROOT

FOLDER = ROOT / "build" / "fuzz"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
NAMES = ("core", "envelope", "http", "readers", "tokens")
BYTES_MAX = {"core": 400, "envelope": 4000, "http": 4000, "readers": 4000, "tokens": 2000}  # of one input
END_S = 60  # so long it may take to end after its time


def build_fuzzers(names):
    FOLDER.mkdir(parents=True, exist_ok=True)
    print("Building the fuzzers ...", flush=True)
    build.run_quietly(build.configure_arguments("fuzz", FOLDER), "configuring the fuzz build")
    build.run_quietly(["cmake", "--build", str(FOLDER), "-j", str(os.cpu_count() or 2), "--target",
                       *(f"fuzz_{name}" for name in names)], "the fuzz build")


def run_one(name, minutes):
    """True: it found nothing. Shows libFuzzer's own output as it comes."""
    new, found = FOLDER / "corpus" / name, FOLDER / "found" / name
    new.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    program = FOLDER / "tests" / "fuzz" / f"fuzz_{name}"
    seconds = round(minutes * 60)
    log_path = FOLDER / f"{name}.log"
    print(f"fuzz_{name}: {minutes:g} minutes, output in {log_path}", flush=True)
    with open(log_path, "w", encoding="utf-8") as log:
        done = subprocess.run(
            [program, new, CORPUS / name, f"-max_total_time={seconds}", "-print_final_stats=1",
             f"-max_len={BYTES_MAX[name]}", f"-artifact_prefix={found}/"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=seconds + END_S)
    text = log_path.read_text(errors="replace")
    executions = re.search(r"number_of_executed_units:\s*(\d+)", text)
    print(f"fuzz_{name}: {executions[1] if executions else '?'} executions, "
          f"{'nothing found' if done.returncode == 0 else 'FOUND SOMETHING'}", flush=True)
    if done.returncode != 0:
        print(text[-4000:])
        for path in sorted(found.iterdir(), key=os.path.getmtime)[-1:]:
            print(f"again: {program} {path}")
    return done.returncode == 0


def run(words):
    parser = argparse.ArgumentParser(prog="init.py fuzz", allow_abbrev=False)
    parser.add_argument("name", nargs="?", choices=NAMES, help="one of them; default all")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="K",
                        help="how long each runs; default 10")
    options = parser.parse_args(words)
    names = NAMES if options.name is None else (options.name,)
    build_fuzzers(names)
    results = [run_one(name, options.minutes) for name in names]
    return 0 if all(results) else 1
