# SPDX-License-Identifier: MIT
"""Instructions of a get, a put, a lookup's step, an envelope each way, a CSV row: counted by callgrind,
the same on a busy machine as on a quiet one, and compared with instructions.json.

    python3 tests/bench/instructions.py build/sim [--write]

More than MARGIN away, either way, is a fault: a slower program, or a figure to be renewed (--write).
Counts depend on the compiler, so they are judged by the one that they were taken with only.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

FIGURES = Path(__file__).with_suffix(".json")
WORKS = ("get", "put", "lookup", "envelope", "csv")
MARGIN = 0.05


def compiler(build):
    cache = (build / "CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.M)[1]
    return subprocess.run([path, "--version"], capture_output=True, text=True,
                          check=True).stdout.splitlines()[0]


def count(build, work):
    """Instructions of one."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counted",
         build / "tests" / "bench" / "instructions", work],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    told = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or told is None:
        sys.exit(f"instructions {work}: {done.stderr[-500:]}")
    return round(int(told[1]) / int(done.stdout))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("build", type=Path, help="a build folder of the preset sim")
    parser.add_argument("--write", action="store_true", help="take these for the figures from now on")
    options = parser.parse_args()
    build = options.build
    by, counts = compiler(build), {work: count(build, work) for work in WORKS}
    if options.write:
        FIGURES.write_text(json.dumps({"compiler": by, "instructions": counts}, indent=1) + "\n")
    wanted = json.loads(FIGURES.read_text())
    judged, wrong = by == wanted["compiler"], 0
    for work, number in counts.items():
        ratio = number / wanted["instructions"][work]
        well = not judged or abs(ratio - 1) <= MARGIN
        wrong += not well
        print(f"{'ok' if well else 'FAILED'} {work}: {number:,} instructions, {ratio:.3f} of those of "
              f"{FIGURES.name}{'' if judged else ', by another compiler: not judged'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
