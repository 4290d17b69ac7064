# SPDX-License-Identifier: MIT
"""A fuzzer for what is written in Python: runs a target over the files of its corpus, then over
inputs made of them by chance. It takes libFuzzer's flags (those that `init.py fuzz` gives), prints
its seed, and knows nothing of coverage.

    python3 tests/fuzz/fuzz_env.py tests/fuzz/corpus/env -runs=100000 -seed=7
"""

import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

DEFAULTS = {"runs": -1, "max_total_time": 0, "max_len": 1000, "seed": 0, "print_final_stats": 0,
            "timeout": 30, "artifact_prefix": "./"}


def read_arguments(words):
    """(flags, folders)"""
    flags = dict(DEFAULTS)
    for word in words:
        if match := re.fullmatch(r"-(\w+)=(.*)", word):
            kind = type(DEFAULTS[match[1]])
            flags[match[1]] = kind(match[2])
    return flags, [Path(word) for word in words if not word.startswith("-")]


def read_files(paths):
    """{path: bytes}, of folders and files."""
    files = [file for path in paths
             for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return {file: file.read_bytes() for file in files}


def mutate(chance, data, others, tokens):
    """One to five small changes."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(0, 12))
        what = chance.randrange(6)
        if what == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif what == 1:
            data[at:at] = chance.choice(tokens)
        elif what == 2:
            del data[at:end]
        elif what == 3:
            data[at:at] = data[at:end] * chance.choice((1, 1, 2, 30))
        elif what == 4:
            data[at:end] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))
        else:
            other = chance.choice(others)
            cut = chance.randint(0, len(other))
            data[at:] = other[cut:]
    return bytes(data)


def give_up(name, data, prefix):
    path = Path(f"{prefix}crash-{abs(hash(data)):016x}")
    path.write_bytes(data)
    traceback.print_exc()
    print(f"{name}: broken by {path}: {data[:200]!r}", flush=True)
    return 1


def run(target, tokens, mutate_form=None):
    """The program: target(bytes) raises where something is wrong. mutate_form(chance, bytes): changes
    an input and keeps its form; every other input is made by it."""
    flags, paths = read_arguments(sys.argv[1:])
    seed = flags["seed"] or random.SystemRandom().randrange(1, 2 ** 32)
    chance = random.Random(seed)
    corpus = read_files(paths)
    inputs = list(corpus.values()) or [b""]
    print(f"{sys.argv[0]}: {len(corpus)} files, -seed={seed}", flush=True)
    end = time.monotonic() + flags["max_total_time"] if flags["max_total_time"] else None
    runs = 0
    while runs < len(corpus) or runs != flags["runs"] and not (end and time.monotonic() > end):
        data = inputs[runs] if runs < len(corpus) else chance.choice(inputs)
        if runs >= len(corpus) and mutate_form and runs % 2:
            data = mutate_form(chance, data)
        elif runs >= len(corpus):
            data = mutate(chance, data, inputs, tokens)[:flags["max_len"]]
        signal.alarm(flags["timeout"])  # ends it, with the input unsaid: -seed= finds it again
        try:
            target(data)
        except Exception:  # whatever it is, the target does not raise it
            return give_up(sys.argv[0], data, flags["artifact_prefix"])
        runs += 1
    signal.alarm(0)
    if flags["print_final_stats"]:
        print(f"stat::number_of_executed_units: {runs}")
    return 0
