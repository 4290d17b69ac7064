# SPDX-License-Identifier: MIT
"""A figure is measured beside its reference: first the one, then the other, several times in turn,
so that what else the machine does in these seconds meets both. The ratio of each pair is formed
first; what is told is the median of the pairs and how far they lie apart."""

import json
import statistics
import subprocess
from dataclasses import dataclass
from typing import Callable

LATENCIES = ("p50_us", "p99_us", "p999_us")


class Failed(Exception):
    """A generator or a server that could not do its part; one sentence."""


@dataclass
class Side:
    """What is measured: run() does it once and gives per_second, errors, reason and, where there are
    any, latencies."""
    what: str
    run: Callable[[], dict]

    def run_well(self):
        """Something that must not fail, such as storing the keys."""
        told = self.run()
        if told["errors"]:
            raise Failed(f"{self.what}: {told['errors']} errors: {told['reason']}")


@dataclass
class Figure:
    group: str   # the table it stands in
    name: str    # the row
    subject: Side
    reference: Side
    options: dict  # what was asked: kind, value_bytes, in_flight, ...
    by: str = "per_second"  # what the ratio is of; of times, where less is better, it is turned round


def generate_start(program, *words):
    words = (program, "--exit-with-parent", *words)
    return subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def generate_finish(generator, timeout_s=600):
    """A load generator's line of JSON."""
    try:
        said, problem = generator.communicate(timeout=timeout_s)
    finally:
        generator.kill()
    try:
        return json.loads(said)
    except ValueError:
        raise Failed(f"{' '.join(generator.args)} ended with {generator.returncode}: "
                     f"{(problem or said).strip()}") from None


def generate(program, *words):
    return generate_finish(generate_start(program, *words))


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def told_of(side, runs):
    told = {"what": side.what, "per_second": spread([run["per_second"] for run in runs]),
            "errors": sum(run["errors"] for run in runs),
            "reason": next((run["reason"] for run in runs if run.get("reason")), "")}
    for name in LATENCIES:
        if all(name in run for run in runs):
            told[name] = spread([run[name] for run in runs])
    return told


def ratio(by, subject, reference):
    """Above 1: the subject does better."""
    above, below = (reference, subject) if by in LATENCIES else (subject, reference)
    return above[by] / below[by] if below[by] else 0.0


def measure(figure, repeats):
    pairs = [(figure.subject.run(), figure.reference.run()) for _ in range(repeats)]
    subject, reference = (told_of(side, list(runs)) for side, runs in
                          zip((figure.subject, figure.reference), zip(*pairs)))
    return {"group": figure.group, "name": figure.name, "options": figure.options,
            "subject": subject, "reference": reference,
            "errors": subject["errors"] + reference["errors"],
            "by": figure.by, "ratio": spread([ratio(figure.by, *pair) for pair in pairs])}
