# SPDX-License-Identifier: MIT
"""proto/clients/javascript, ready to run: its modules by npm (over the network the first time
only), and the messages of the contract as it is now."""

import subprocess

from launcher import build
from ring import ROOT

FOLDER = ROOT / "proto" / "clients" / "javascript"
DEADLINE_S = 60


def run(*command, folder=FOLDER):
    """Its standard output; fails with both outputs where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          timeout=DEADLINE_S)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def built():
    build.npm_ci(FOLDER)
    run("node", "build.mjs")
    return FOLDER
