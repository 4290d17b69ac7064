# SPDX-License-Identifier: MIT
"""How fast, beside what: measures a ring of its own, each figure beside its reference.

    python3 init.py bench [--quick] [--json FILE]

Starts 3 nodes (3 copies of each key), the gateway and the references on free ports of loopback, in a
temporary folder. Writes build/bench/bench.json and table.md. Exit code 1: some operation failed.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "tests" / "system")]

import report  # noqa: E402
from figures import QUICK, Figures, Plan  # noqa: E402
from measure import Failed, measure  # noqa: E402
from servers import Servers  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="init.py bench")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a small part, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures there, too")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--repeats", type=int, help="pairs of each figure")
    parser.add_argument("--keys", type=int, help="at most so many")
    return parser.parse_args()


def plan_of(options):
    plan = QUICK if options.quick else Plan()
    if options.seconds is not None:
        plan = dataclasses.replace(plan, seconds=options.seconds,
                                   warm_up=min(plan.warm_up, options.seconds))
    return dataclasses.replace(plan, repeats=options.repeats or plan.repeats,
                               keys_max=options.keys or plan.keys_max)


def measure_all(figures, plan, say):
    results = []

    def take(figure):
        result = measure(figure, plan.repeats)
        results.append(result)
        say(f"{result['name']}: {result['ratio']['median']:.3f} of {result['reference']['what']}"
            + (f"; {result['errors']} ERRORS: {why(result)}" if result["errors"] else ""))
    for size in plan.sizes:
        filled = figures.fill(size)
        if filled["errors"]:
            raise Failed(f"{filled['errors']} keys could not be stored: {filled['reason']}")
        for figure in figures.of_size(size):
            take(figure)
    return results


def why(result):
    return result["subject"]["reason"] or result["reference"]["reason"]


def write(options, plan, results):
    text = json.dumps({"commit": options.name, "plan": dataclasses.asdict(plan),
                       "cores": os.cpu_count(), "load": os.getloadavg(), "figures": results},
                      indent=1)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "bench.json").write_text(text)
    if options.json:
        options.json.write_text(text)
    (options.folder / "table.md").write_text(report.tables(results))


def main():
    os.umask(0o077)  # the programs refuse folders that others can enter
    options = arguments()
    plan = plan_of(options)
    began = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="chord-bench-") as folder:
            say("starting a ring of 3 nodes")
            with Servers(options.build, Path(folder)) as servers:
                results = measure_all(Figures(servers, plan), plan, say)
    except Failed as failure:
        sys.exit(f"init.py bench: {failure}")
    write(options, plan, results)
    print(f"\n{report.tables(results)}\ncommit {options.name}; {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}; the figures are in {options.folder}")
    return 1 if any(result["errors"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
