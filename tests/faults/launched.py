# SPDX-License-Identifier: MIT
"""What the programs of `init.py soak faults` and `soak stalls` share: what the launcher tells each of them
(deploy/launcher/faults.py), and lines with the time since the start."""

import argparse
import time
from pathlib import Path


def parser(kind):
    made = argparse.ArgumentParser(prog=f"init.py soak {kind}")
    for flag in ("--node", "--check-history", "--shim", "--name"):
        made.add_argument(flag, required=True, help=argparse.SUPPRESS)
    for flag in ("--ledger", "--folder"):
        made.add_argument(flag, type=Path, required=True, help=argparse.SUPPRESS)
    return made


def new_folder(options, kind):
    folder = options.folder / f"{kind}-{options.name}-{time.time_ns()}"
    folder.mkdir(parents=True)
    return folder


def speaker():
    began = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)
    return say
