# SPDX-License-Identifier: MIT
"""`init.py soak faults` and `soak stalls`: the programs for tests/faults, and their start."""

import subprocess
import sys

from . import build
from .common import ROOT
from .ledger import SOAK, commit

PROGRAMS = {"faults": "main.py",    # real processes broken
            "stalls": "stalls.py"}  # real processes on a network that stands still at times


def soak(kind, options):
    node = build.build("release", print, "chord-node").node
    build.build("sim", print, "check-history")
    tests = build.build("sim", print, "net_shim").folder / "tests"
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "faults" / PROGRAMS[kind]), "--node", str(node),
         "--check-history", str(tests / "sim" / "check-history"), "--shim",
         str(tests / "faults" / "libnet_shim.so"), "--ledger", str(SOAK / f"{kind}.jsonl"), "--name",
         commit(), "--folder", str(SOAK), *options], check=False).returncode
