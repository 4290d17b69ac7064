#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the checked models, of the ring and of the view change, and the mutation gate.

    run.py --bound small|full [--build FOLDER] [--only NAME]

One line per check and per mutant; the exit code is 0 only if every check held and every mutant was
caught. `--only` takes the name of a check or a mutant, or `checks` or `mutants` for all of them.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import views_runs

HERE = Path(__file__).resolve().parent
MEMORY_MIB = 6000 # of each of two at a time
JOBS = 2
DEPTH = 1000000
TIMEOUT_S = {"small": 300, "full": 7200}


class Check:
    """One run of the verifier. `defines` per bound; a bound that is missing has no such check.
    `fails` names what is to be violated: the run shows that something does happen."""

    def __init__(self, name, model, live=False, fails=None, **defines):
        self.name, self.model, self.live, self.fails = name, model, live, fails
        self.defines = defines


def bounds(joins, failures, returns, more=""):
    """Budgets of the environment. The ring begins with 3 founders, or 4 by -DFOUNDERS=4."""
    return f"-DJOINS={joins} -DFAILURES={failures} -DRETURNS={returns} {more}".split()


CHECKS = [
    Check("ring safety", "ring", small=bounds(2, 1, 0), full=bounds(2, 2, 1)),
    Check("ring safety, one return", "ring", small=bounds(1, 1, 1)),
    Check("ring safety, answers on their way", "ring",
          small=bounds(1, 1, 0, "-DSPLIT"), full=bounds(2, 1, 0, "-DSPLIT")),
    Check("ring safety, answers on their way, 4 founders", "ring",
          full=bounds(1, 2, 0, "-DSPLIT -DFOUNDERS=4")),
    Check("ring at rest is ideal", "ring",
          small=bounds(1, 1, 1, "-DLIVE -DREST"), full=bounds(2, 1, 1, "-DLIVE -DREST")),
    Check("ring liveness", "ring", live=True,
          small=bounds(1, 1, 0, "-DLIVE"), full=bounds(2, 1, 0, "-DLIVE")),
    Check("suspicion: two rings do appear", "suspicion", fails="two rings",
          small=["-DSLOTS=3", "-DREST", "-DNEVER_TWO"], full=["-DSLOTS=4", "-DREST", "-DNEVER_TWO"]),
    Check("suspicion liveness, partition at any moment", "suspicion", live=True,
          small=["-DSLOTS=3"], full=["-DSLOTS=3"]),
    Check("suspicion: two closed rings come to rest as one", "suspicion",
          full=["-DSLOTS=4", "-DCLOSED", "-DREST"]),
    Check("suspicion: the same without the MERGE hint", "suspicion",
          full=["-DSLOTS=4", "-DCLOSED", "-DREST", "-DNO_MERGE_HINT"]),
    Check("suspicion liveness, two closed rings", "suspicion", live=True,
          full=["-DSLOTS=4", "-DCLOSED"]),
]

SAFE = ("ring", False, bounds(2, 1, 0))
SAFE_RETURN = ("ring", False, bounds(2, 2, 1))
SPLIT = ("ring", False, bounds(1, 2, 0, "-DSPLIT -DFOUNDERS=4"))
SAFE_2_FAILURES = ("ring", False, bounds(2, 2, 0))
LIVELY = ("ring", True, bounds(1, 1, 0, "-DLIVE"))
REST = ("ring", False, bounds(1, 1, 1, "-DLIVE -DREST"))
HEAL = ("suspicion", False, ["-DSLOTS=3", "-DREST"])
HEAL_CLOSED = ("suspicion", False, ["-DSLOTS=4", "-DCLOSED", "-DREST"])

# Name, defect class of the literature, what is broken, the run that is to catch it.
MUTANTS = [
    ("START_SMALL", "B1", "the ring starts with two members", SAFE),
    ("JOIN_SHORT", "B2", "a joiner takes one successor, no list", SAFE),
    ("JOIN_STALE_REST", "B2", "a joiner's list misses an entry", SAFE),
    ("ADOPT_UNASKED", "B3", "skip S2: a pointer is adopted without asking its target",
     SAFE_2_FAILURES),
    ("KEEP_REST", "B4", "the first entry and the rest of the list are updated apart", SAFE),
    ("DEAD_PREDECESSOR_STAYS", "B5", "a dead predecessor is never cleared", LIVELY),
    ("NOTIFY_ADOPTS", "B5", "notify replaces the predecessor unasked", SAFE),
    ("RECTIFY_ANY", "B5", "rectify takes any notifier, nearer or not", SAFE),
    ("WRAP", "B6", "lists wrap past their owner in small rings", HEAL),
    ("S2_KEEPS_LIST", "B7", "the new first successor's own list is not taken", SAFE),
    ("EQUAL_ENDS", "B8", "an interval with equal ends is empty", SAFE),
    ("CLOSED_END", "B8", "intervals contain their end", HEAL),
    ("OLD_SELF", "B9", "a returner goes on with its old list", SAFE_RETURN),
    ("NO_INCARNATION", "B9", "lives of a slot are not told apart", REST),
    ("NO_BUSY", "A6", "no Busy while an answer is on its way", SPLIT),
    ("ADMIT_ANYWHERE", "join", "a member admits a joiner that is not between it and its predecessor",
     SAFE),
    ("ADMIT_WITHOUT_PREDECESSOR", "join", "a member without predecessor admits", SAFE),
    ("NO_NOTIFY", "repair", "nobody is notified", LIVELY),
    ("DEAD_SUCCESSOR_STAYS", "repair", "a dead first successor stays", REST),
    ("NO_BETWEEN", "B7", "a candidate is adopted that is not nearer", SAFE),
    ("NO_GRAVEYARD", "merge", "removed peers are never pinged again", HEAL),
    ("NO_SELF_LOOKUP", "merge", "who answers again is not looked through", HEAL_CLOSED),
]


for view_name, view_model, view_small, view_full in views_runs.CHECKS:
    view_defines = {"small": view_small, **({"full": view_full} if view_full else {})}
    CHECKS.append(Check(view_name, view_model, **view_defines))
MUTANTS += views_runs.MUTANTS


# What the verifier prints of each assertion, in the order in which to look for it.
ASSERTIONS = (
    (r"principals", "SufficientPrincipals"),
    (r"\(two\)", "two rings"),
    (r"\bideal\b", "not ideal at rest"),
    (r"c==", "one ring"),
    (r"b>>a", "one ring"),
    (r"pred\[", "predecessor rule"),
    (r"s1\[m\]%\d+\)!=m", "list order"),
    (r"s1\[m\]", "OneLiveSuccessor"),
)


def verdict(output):
    """The name of what was violated, or None: the run ended by an error that is none."""
    if "acceptance cycle" in output:
        return "liveness"
    match = re.search(r"^pan:\d+: assertion violated (.*)\(at depth", output, re.MULTILINE)
    if match is None:
        return None
    for pattern, name in ASSERTIONS:
        if re.search(pattern, match.group(1)):
            return name
    return "assertion"


class Result:
    def __init__(self, output, seconds):
        self.seconds = seconds
        self.states = number(r"(\d+) states, stored", output)
        self.depth = number(r"depth reached (\d+)", output)
        self.errors = number(r"errors: (\d+)", output)
        self.complete = self.errors is not None and "Search not completed" not in output
        self.why = verdict(output) if self.errors else None

    def __str__(self):
        return f"{self.states or 0} states, depth {self.depth or 0}, {self.seconds:.1f} s"


def number(pattern, text):
    match = re.search(pattern, text)
    return int(match.group(1)) if match else None


def run(arguments, folder, timeout_s=600):
    done = subprocess.run(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout_s,
                          check=False)
    return done.returncode, done.stdout


def verify(folder, model, live, defines, bound):
    """Generates, compiles and runs one verifier in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    code, output = run(["spin", *defines, "-a", str(HERE / f"{model}.pml")], folder)
    if code != 0 or "Error" in output:
        sys.exit(f"spin refuses {model}.pml {' '.join(defines)}:\n{output}")
    flags = ["-DNFAIR=3"] if live else ["-DSAFETY", "-DNOFAIR"]
    # Optimizing takes longer than a short run gains by it.
    level = "-O1" if bound == "full" else "-O0"
    code, output = run(["gcc", level, "-w", "-DNOREDUCE", f"-DMEMLIM={MEMORY_MIB}", *flags, "-o",
                        "pan", "pan.c"], folder)
    if code != 0:
        sys.exit(f"the verifier of {model}.pml does not compile:\n{output}")
    began = time.monotonic()
    try:
        _, output = run(["./pan", f"-m{DEPTH}", *(["-a", "-f"] if live else [])], folder,
                        TIMEOUT_S[bound])
    except subprocess.TimeoutExpired:
        output = "Search not completed"
    (folder / "output").write_text(output)
    return Result(output, time.monotonic() - began)


def in_order(work, items):
    """Results of `work` on the items, two at a time, in the order of the items."""
    with ThreadPoolExecutor(JOBS) as pool:
        yield from zip(items, pool.map(work, items))


def run_checks(bound, build, only):
    def work(check):
        return verify(build / re.sub(r"\W+", "-", check.name), check.model, check.live,
                      check.defines[bound], bound)

    failed = 0
    checks = [check for check in CHECKS
              if bound in check.defines and only in (None, "checks", check.name)]
    for check, result in in_order(work, checks):
        held = result.why == check.fails if check.fails else \
            result.complete and result.errors == 0
        failed += not held
        print(f"{'ok' if held else 'FAILED'} {check.name} ({bound}): {result}", flush=True)
    return failed


def run_mutants(build, only):
    def work(mutant):
        name, _, _, (model, live, defines) = mutant
        return verify(build / name, model, live, [*defines, f"-DMUTANT_{name}"], "small")

    survived = 0
    mutants = [mutant for mutant in MUTANTS if only in (None, "mutants", mutant[0])]
    for (name, defect, text, _), result in in_order(work, mutants):
        killed = result.why is not None
        survived += not killed
        print(f"{'ok' if killed else 'FAILED'} mutant {name} ({defect}: {text}): "
              f"{'killed by ' + result.why if killed else 'SURVIVED'}; {result}", flush=True)
    if mutants:
        print(f"killed {len(mutants) - survived}/{len(mutants)}", flush=True)
    return survived


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bound", choices=("small", "full"), default="small")
    parser.add_argument("--build", type=Path, help="a folder for the verifiers; else a temporary one")
    parser.add_argument("--only", help="one check or mutant by its name, or: checks, mutants")
    options = parser.parse_args()
    names = [check.name for check in CHECKS] + [mutant[0] for mutant in MUTANTS]
    if options.only not in (None, "checks", "mutants", *names):
        parser.error(f"no such check or mutant; there are: {', '.join(names)}")
    with tempfile.TemporaryDirectory(prefix="chord-model-") as temporary:
        build = (options.build or Path(temporary)).resolve()
        failed = run_checks(options.bound, build, options.only)
        failed += run_mutants(build, options.only)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
