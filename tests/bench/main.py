# SPDX-License-Identifier: MIT
"""How fast, beside what: measures a ring of its own, each figure beside its reference.

    python3 init.py bench [--quick] [--peers] [--json FILE]

Starts 3 nodes (3 copies of each key), the gateway and the references on free ports of loopback, in a
temporary folder. Writes build/bench/bench.json, table.md, summary.md and plots as SVG. Exit code 1: some operation failed.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "tests" / "system")]

import growth  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import ring_alone  # noqa: E402
from figures import QUICK, Figures, Plan  # noqa: E402
from measure import Failed, measure  # noqa: E402
from servers import Servers  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="init.py bench")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a small part, within a minute")
    parser.add_argument("--peers", action="store_true",
                        help="beside etcd and redis-server, too, where they are installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures there, too")
    parser.add_argument("--growth", type=int, metavar="ROWS",
                        help="only what changes with the number of keys, up to so many")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--repeats", type=int, help="pairs of each figure")
    parser.add_argument("--keys", type=int, help="at most so many")
    parser.add_argument("--rows", type=int, help="of the CSV import")
    return parser.parse_args()


def plan_of(options):
    plan = QUICK if options.quick else Plan()
    if options.seconds is not None:
        plan = dataclasses.replace(plan, seconds=options.seconds,
                                   warm_up=min(plan.warm_up, options.seconds),
                                   idle_seconds=min(plan.idle_seconds, 10 * options.seconds))
    return dataclasses.replace(plan, repeats=options.repeats or plan.repeats,
                               keys_max=options.keys or plan.keys_max,
                               import_rows=options.rows if options.rows is not None
                               else plan.import_rows)


def measure_each(figures, plan, say):
    for figure in figures:
        result = measure(figure, plan.repeats)
        say(f"{result['name']}: {result['ratio']['median']:.3f} of {result['reference']['what']}"
            + (f"; {result['errors']} ERRORS: {why(result)}" if result["errors"] else ""))
        yield result


def measure_all(options, plan, folder, say):
    """(figures with a reference, those without)"""
    if options.growth:
        return [], list(growth.figures(options.build, folder, options.growth, say))
    say("starting a ring of 3 nodes")
    with Servers(options.build, folder / "3") as servers:
        others = peers.start_installed(servers, say) if options.peers else []
        results = list(measure_each(Figures(servers, plan, others, say).all(), plan, say))
        alone = list(ring_alone.figures(servers, plan, say))
    for nodes in plan.more_nodes:
        say(f"starting a ring of {nodes} nodes")
        with Servers(options.build, folder / str(nodes), nodes) as servers:
            figures = Figures(servers, plan, [], say)
            results += measure_each(figures.of_nodes(nodes), plan, say)
    return results, alone


def why(result):
    return result["subject"]["reason"] or result["reference"]["reason"]


def write(options, plan, results, alone):
    text = json.dumps({"commit": options.name, "plan": dataclasses.asdict(plan),
                       "cores": os.cpu_count(), "load": os.getloadavg(), "figures": results,
                       "alone": alone}, indent=1)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "bench.json").write_text(text)
    if options.json:
        options.json.write_text(text)
    (options.folder / "table.md").write_text(report.tables(results, alone))
    (options.folder / "summary.md").write_text(report.summary(
        results, alone, f"Commit {options.name}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.0f}, medians of {plan.repeats} pairs, in brackets the lowest and the "
        "highest ratio:"))
    for name, picture in report.plots(results):
        (options.folder / f"{name}.svg").write_text(picture)


def stop_by_interrupt(number, frame):
    raise KeyboardInterrupt


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_by_interrupt)
    os.umask(0o077)  # the programs refuse folders that others can enter
    options = arguments()
    plan = plan_of(options)
    began = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="chord-bench-") as folder:
            results, alone = measure_all(options, plan, Path(folder), say)
    except (Failed, AssertionError) as failure:  # ring.py says its reasons so
        sys.exit(f"init.py bench: {failure}")
    except KeyboardInterrupt:
        sys.exit("init.py bench: interrupted")
    write(options, plan, results, alone)
    print(f"\n{report.tables(results, alone)}\ncommit {options.name}; {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}; the figures are in {options.folder}")
    return 1 if any(result["errors"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
