# SPDX-License-Identifier: MIT
"""`init.py bench`: the release build with the load generators of tests/bench, and their start."""

import os
import sys

from . import build
from .common import ROOT
from .ledger import commit

MAIN = ROOT / "tests" / "bench" / "main.py"
FOLDER = ROOT / "build" / "bench"


def run(options):
    """Never returns: the bench is this process from here on, so that a Ctrl-C is its own."""
    if "--help" not in options:
        build.build("release", print)
        build.build("release", print, "bench")
    sys.stdout.flush()
    os.execv(sys.executable,
             [sys.executable, str(MAIN), "--build", str(ROOT / "build" / "release"), "--folder",
              str(FOLDER), "--name", commit(), *options])
