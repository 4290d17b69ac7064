# SPDX-License-Identifier: MIT
"""`init.py bench`: the release build with the load generators of tests/bench, and their start."""

import subprocess
import sys

from . import build
from .common import ROOT
from .ledger import commit

MAIN = ROOT / "tests" / "bench" / "main.py"
FOLDER = ROOT / "build" / "bench"


def run(options):
    if "--help" not in options:
        build.build("release", print)
        build.build("release", print, "bench")
    sys.stdout.flush()
    return subprocess.run([sys.executable, str(MAIN), "--build", str(ROOT / "build" / "release"),
                           "--folder", str(FOLDER), "--name", commit(), *options],
                          check=False).returncode
