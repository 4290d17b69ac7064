# SPDX-License-Identifier: MIT
"""`init.py sim`, `init.py soak sim` and `soak clients`: the simulator, optimised, and its long runs.

A soak goes through seeds in blocks, two blocks at a time, and writes each block's figures as a line
of JSON to build/soak/NAME.jsonl, with the commit. Started again on the same commit it goes on where
it stopped. A violation stops it, and its shortest plan stays beside the ledger.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from . import build
from .common import EXIT_FAILED, Refused
from .ledger import SOAK, Ledger, commit

BLOCK_SEEDS = 50
SOAKS = {"sim": [],  # the ring under every fault
         "clients": ["--clients", "32", "--rate", "40"]}  # and the data
SUMS = ("runs", "violations", "steps", "proof_steps", "messages", "orders", "suspicions",
        "lookups", "simulated_hours", "seconds", "reads", "acknowledged", "unknown",
        "histories_given_up")


def program():
    return build.build("sim", print, "chord-sim").folder / "tests" / "sim" / "chord-sim"


def run(arguments):
    """`init.py sim ...`: chord-sim with these arguments."""
    path = program()
    sys.stdout.flush()
    return subprocess.run([str(path), *arguments], check=False).returncode


def run_seeds(path, first, last, *options):
    """One block of seeds: (the program's summary, everything it printed)."""
    done = subprocess.run([str(path), "--seeds", f"{first}..{last}", "--json", *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    lines = done.stdout.splitlines()
    try:
        return json.loads(lines[-1]), done.stdout
    except (IndexError, ValueError):
        return {"runs": 0, "violations": 1, "died": done.returncode}, done.stdout


def totals(ledger):
    sums = {key: ledger.sum(key) for key in SUMS}
    sums["heal_periods_max"] = max((entry.get("heal_periods_max", 0) for entry in ledger.entries),
                                   default=0)
    return sums


def soak(kind, seeds, options=()):
    """Seeds 1..`seeds`, those done before left out. Exit code 0: no violation."""
    options = [*SOAKS[kind], *options]
    path = program()
    name = " ".join([commit(), *options])
    ledger = Ledger(SOAK / f"{kind}.jsonl", name)
    done = {entry["first"] for entry in ledger.entries}
    blocks = [first for first in range(1, seeds + 1, BLOCK_SEEDS) if first not in done]
    print(f"soak {kind}: {name}: seeds 1..{seeds}, {len(done) * BLOCK_SEEDS} were done before")
    began, told = time.monotonic(), 0.0
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        running = {}
        while (blocks or running) and totals(ledger)["violations"] == 0:
            while blocks and len(running) < (os.cpu_count() or 2):
                first = blocks.pop(0)
                last = min(first + BLOCK_SEEDS - 1, seeds)
                running[pool.submit(run_seeds, path, first, last, *options)] = (first, last)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                first, last = running.pop(future)
                summary, output = future.result()
                ledger.add({"first": first, "last": last, **summary})
                if summary["violations"]:
                    report = SOAK / f"{kind}-violation-{first}.txt"
                    report.write_text(output)
                    print(output)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                sums = totals(ledger)
                print(f"  {sums['runs']} of {seeds} seeds, {sums['violations']} violations, "
                      f"{told - began:.0f} s", flush=True)
    sums = totals(ledger)
    print(json.dumps({"name": name, **sums}))
    if sums["violations"]:
        raise Refused(f"{sums['violations']} violations; see {SOAK}")
    return 0 if sums["runs"] >= seeds else EXIT_FAILED
