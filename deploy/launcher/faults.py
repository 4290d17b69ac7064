"""`init.py soak faults`: the programs for tests/faults, and its start."""

import subprocess
import sys

from . import build
from .common import ROOT
from .ledger import SOAK, commit

MAIN = ROOT / "tests" / "faults" / "main.py"


def words(node, check_history, *options):
    return [sys.executable, str(MAIN), "--node", str(node), "--check-history", str(check_history),
            *map(str, options)]


def soak(options):
    node = build.build("release", print, "chord-node").node
    check = build.build("sim", print, "check-history").folder / "tests" / "sim" / "check-history"
    sys.stdout.flush()
    return subprocess.run(words(node, check, "--ledger", SOAK / "faults.jsonl", "--name", commit(),
                                "--folder", SOAK, *options), check=False).returncode
