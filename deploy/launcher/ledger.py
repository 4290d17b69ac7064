# SPDX-License-Identifier: MIT
"""The ledger of a long run: its blocks, one JSON object a line, each under the name (commit and
options) that it was run with, so that a run that is started again goes on where it stopped."""

import json
import subprocess

from .common import ROOT

SOAK = ROOT / "build" / "soak"


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


class Ledger:
    def __init__(self, path, name):
        self.path, self.name = path, name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.entries = [entry for entry in map(json.loads, lines) if entry["name"] == name]

    def add(self, entry):
        self.entries.append({"name": self.name, **entry})
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.entries[-1]) + "\n")

    def sum(self, key):
        return round(sum(entry.get(key, 0) for entry in self.entries), 2)
