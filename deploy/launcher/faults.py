# SPDX-License-Identifier: MIT
"""`init.py soak faults`: the programs for tests/faults, and its start."""

import subprocess
import sys

from . import build
from .common import ROOT
from .ledger import SOAK, commit

MAIN = ROOT / "tests" / "faults" / "main.py"


def soak(options):
    node = build.build("release", print, "chord-node").node
    build.build("sim", print, "check-history")
    tests = build.build("sim", print, "net_shim").folder / "tests"
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, str(MAIN), "--node", str(node), "--check-history",
         str(tests / "sim" / "check-history"), "--shim", str(tests / "faults" / "libnet_shim.so"),
         "--ledger", str(SOAK / "faults.jsonl"), "--name", commit(), "--folder", str(SOAK),
         *options], check=False).returncode
