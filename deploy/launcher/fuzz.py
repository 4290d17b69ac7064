# SPDX-License-Identifier: MIT
"""`init.py fuzz [NAME] [--minutes K | --runs K]`: lets each fuzzer run for a while, or until it has run
its target K times. Those of C are built with clang (libFuzzer); those of Python, whose names end
in .py in tests/fuzz, understand the same flags.

New inputs go to build/fuzz/corpus/NAME, what breaks something to build/fuzz/found/NAME; the inputs
in tests/fuzz/corpus/NAME are where it begins. A found input that is copied there stays in the test
run (fuzz_NAME_corpus) for good.

Each minute's figures are a line of build/soak/fuzz.jsonl, with the commit: `--runs`, started again on
the same commit, goes on where it stopped.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

from . import build
from .common import ROOT
from .ledger import SOAK, Ledger, commit

FOLDER = ROOT / "build" / "fuzz"
SOURCES = ROOT / "tests" / "fuzz"
BLOCK_S = 60  # after so long it is told, and kept, how far a run is
HANGS_S = 30  # an input that takes so long is a finding
END_S = 120  # so long a block may take to end after its time


@dataclass(frozen=True)
class Target:
    reads: str  # what it reads
    bytes_max: int  # of one input
    python: bool = False

    def program(self, name):
        path = (SOURCES if self.python else FOLDER / "tests" / "fuzz") / f"fuzz_{name}"
        return [sys.executable, f"{path}.py"] if self.python else [path]


TARGETS = {
    "core": Target("what peers tell a node's core, step by step", 400),
    "env": Target("settings files", 400, python=True),
    "envelope": Target("requests and answers between programs", 4000),
    "http": Target("heads, chunks and conditions of HTTP", 4000),
    "readers": Target("CSV, and forms that carry it", 1000),
    "records": Target("a database's records: identity, views, places", 3000),
    "routes": Target("the gateway's routes, their parameters and bodies", 1500),
    "store": Target("whole database files, of this schema and of an older one", 400),
    "tailnet": Target("tailscale status --json", 2000, python=True),
    "tokens": Target("the file of API tokens", 2000),
}


def build_fuzzers(names):
    programs = [f"fuzz_{name}" for name in names if not TARGETS[name].python]
    if not programs:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    print("Building the fuzzers ...", flush=True)
    build.run_quietly(build.configure_arguments("fuzz", FOLDER), "configuring the fuzz build")
    build.run_quietly(["cmake", "--build", str(FOLDER), "-j", str(os.cpu_count() or 2), "--target",
                       *programs], "the fuzz build")


def run_block(name, seconds, runs):
    """One run of the program: until the time is over, or it has run its target `runs` times (0: any
    number). (executions, seconds, whether it found nothing)"""
    new, found = FOLDER / "corpus" / name, FOLDER / "found" / name
    new.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    log_path = FOLDER / f"{name}.log"
    command = [*TARGETS[name].program(name), new, SOURCES / "corpus" / name,
               f"-max_total_time={seconds}", f"-runs={runs or -1}", f"-timeout={HANGS_S}",
               f"-max_len={TARGETS[name].bytes_max}", f"-artifact_prefix={found}/",
               "-print_final_stats=1"]
    began = time.monotonic()
    with open(log_path, "w", encoding="utf-8") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              timeout=seconds + END_S, check=False)
    text = log_path.read_text(errors="replace")
    executions = re.search(r"number_of_executed_units:\s*(\d+)", text)
    if done.returncode != 0:
        print(text[-4000:])
        for path in sorted(found.iterdir(), key=os.path.getmtime)[-1:]:
            print("again:", *TARGETS[name].program(name), path)
    return int(executions[1]) if executions else 0, time.monotonic() - began, done.returncode == 0


def run_one(name, ledger, minutes, runs):
    """False: it found something. `runs` None: for so many minutes."""
    def done():
        return sum(entry["executions"] for entry in ledger.entries if entry["target"] == name)

    end = time.monotonic() + minutes * 60
    clean = True
    while clean and (done() < runs if runs else time.monotonic() < end):
        seconds = BLOCK_S if runs else min(BLOCK_S, max(1, round(end - time.monotonic())))
        executions, took, clean = run_block(name, seconds, runs - done() if runs else 0)
        ledger.add({"target": name, "executions": executions, "seconds": round(took, 1),
                    "findings": int(not clean)})
        print(f"  {name}: {done():,} executions, "
              f"{'nothing found' if clean else 'FOUND SOMETHING'}", flush=True)
    return clean


def table(ledger, names):
    print(f"\n{'target':10} {'executions':>12} {'a second':>9} {'findings':>9}  reads")
    for name in names:
        entries = [entry for entry in ledger.entries if entry["target"] == name]
        executions, seconds, findings = (sum(entry[key] for entry in entries)
                                         for key in ("executions", "seconds", "findings"))
        print(f"{name:10} {executions:12,} {executions / max(seconds, 1):9,.0f} {findings:9}  "
              f"{TARGETS[name].reads}")


def run(words):
    parser = argparse.ArgumentParser(prog="init.py fuzz", allow_abbrev=False)
    parser.add_argument("name", nargs="?", choices=TARGETS, help="one of them; default all")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--minutes", type=float, default=10.0, metavar="K",
                     help="how long each runs; default 10")
    how.add_argument("--runs", type=int, metavar="K", help="how often each runs its target, all "
                     "starts on this commit together")
    options = parser.parse_args(words)
    names = TARGETS if options.name is None else (options.name,)
    build_fuzzers(names)
    ledger = Ledger(SOAK / "fuzz.jsonl", commit())
    print(f"fuzz: {ledger.name}: {', '.join(names)}")
    results = [run_one(name, ledger, options.minutes, options.runs) for name in names]
    table(ledger, names)
    return 0 if all(results) else 1
