#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds every C file of ours against .clang-format and .clang-tidy.

    tests/lint.py BUILD_FOLDER [--analyze]

BUILD_FOLDER has compile_commands.json. --analyze adds clang's analyzer (core and unix checks), which
takes more than half an hour. One line, `ok ...` or `FAILED ...`, for each of the two; ends with 1 when something was
found.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("gateway", "node", "proto", "tests")
VERSION = 14  # another one formats otherwise
FILES_AT_ONCE = 8
ANALYZER = "clang-analyzer-core.*,clang-analyzer-unix.*"


def run(arguments):
    """What it found, empty when nothing."""
    done = subprocess.run(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return done.stdout if done.returncode != 0 else ""


def say(found, what):
    print(f"{'FAILED' if found else 'ok'} {what}\n{found}".rstrip(), flush=True)
    return bool(found)


def wrong_format():
    files = sorted(str(path.relative_to(ROOT)) for room in ROOMS
                   for path in (ROOT / room).rglob("*.[ch]"))
    found = run([f"clang-format-{VERSION}", "--dry-run", "-Werror", *files])
    return say(found, f"clang-format-{VERSION}: {len(files)} files (mend: clang-format-{VERSION} -i)")


def wrong_code(folder, analyze):
    commands = json.loads((folder / "compile_commands.json").read_text())
    files = sorted({entry["file"] for entry in commands
                    if str(folder) not in entry["file"] and Path(entry["file"]).exists()})
    tidy = [f"clang-tidy-{VERSION}", "-p", str(folder), "--quiet",
            *([f"--checks={ANALYZER}"] if analyze else [])]
    parts = [files[first:first + FILES_AT_ONCE] for first in range(0, len(files), FILES_AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        found = "".join(pool.map(lambda part: run([*tidy, *part]), parts))
    return say(found or ("" if files else f"{folder}/compile_commands.json names no file"),
               f"clang-tidy-{VERSION}: {len(files)} files (.clang-tidy)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--analyze", action="store_true")
    options = parser.parse_args()
    wrong = wrong_format()
    wrong |= wrong_code(options.folder.resolve(), options.analyze)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
