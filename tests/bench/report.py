# SPDX-License-Identifier: MIT
"""The figures as tables and as plots."""

import plot
from figures import CLIENT, HTTP

IN_FLIGHT = "operations in flight"

HEAD = ("", "ratio", "of the pairs", "a second", "reference", "its", "p50", "p99", "p99.9")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def time(side, name):
    if name not in side:
        return ""
    us = side[name]["median"]
    return f"{us:.0f} us" if us < 1000 else f"{us / 1000:.1f} ms" if us < 100000 else \
        f"{us / 1e6:.2f} s"


def row(result):
    subject, reference, ratio = result["subject"], result["reference"], result["ratio"]
    return (result["name"] + (f" ({result['errors']} ERRORS)" if result["errors"] else ""),
            f"{ratio['median']:.3f}", f"{ratio['low']:.3f} to {ratio['high']:.3f}",
            number(subject["per_second"]["median"]), reference["what"],
            number(reference["per_second"]["median"]) if result["by"] == "per_second"
            else time(reference, result["by"]), time(subject, "p50_us"),
            time(subject, "p99_us"), time(subject, "p999_us"))


def table(head, rows, left):
    """In Markdown, which a terminal shows as well; `left`: columns of words."""
    rows = [head, *rows]
    widths = [max(len(line[column]) for line in rows) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) if column in left else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths))) + " |"
             for line in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def tables(results, alone):
    parts = [f"{group}:\n\n" + table(HEAD, [row(result) for result in results
                                           if result["group"] == group], (0, 4))
             for group in dict.fromkeys(result["group"] for result in results)]
    if alone:
        parts.append("The ring alone:\n\n" + table(
            ("", "median", "lowest to highest"),
            [(one["name"], f"{one['median']:.2f} {one['unit']}",
              f"{one['low']:.2f} to {one['high']:.2f}") for one in alone], (0,)))
    return "\n\n".join(parts) + "\n"


def summary(results, alone, words):
    """The table of README.md."""
    def share(value):
        return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"

    def told(result, side):
        by = result["by"]
        return number(side[by]["median"]) if by == "per_second" \
            else f"{by.split('_')[0]} {time(side, by)}"
    rows = [(f"{result['group'].split(',')[0]}: {result['name']}",
             f"{share(ratio['median'])} ({share(ratio['low'])} to {share(ratio['high'])})",
             told(result, result["subject"]),
             f"{result['reference']['what']}: {told(result, result['reference'])}")
            for result in results for ratio in [result["ratio"]]]
    rows += [(f"alone: {one['name']}", "", f"{one['median']:.1f} {one['unit']}", "") for one in alone]
    return words + "\n\n" + table(("a second, medians", "ratio", "the ring", "reference"), rows,
                                  (0, 1, 2, 3)) + "\n"


def curves(results, group, size, side, values):
    """{name: [(in flight, value, lowest, highest)]} of one side of a group's figures."""
    found = {}
    for result in results:
        options, told = result["options"], result[side]
        if result["group"] == group and options.get("value_bytes") == size:
            name = f"{group}: {options['kind']}" if side == "subject" else told["what"]
            found.setdefault(name, {}).setdefault(options["in_flight"],
                                                  [max(value, 0.1) for value in values(told)])
    return {name: [(flight, *points[flight]) for flight in sorted(points)]
            for name, points in found.items()}


def rates(told):
    return [told["per_second"][key] for key in ("median", "low", "high")]


def times(told):
    p50, p99 = told["p50_us"]["median"], told["p99_us"]["median"]
    return p50, p50, p99


def plots(results):
    """(name, SVG) of each."""
    yield "ratios", plot.bars("how much of what the reference can do (1: as well)", [
        (f"{result['group'].split(',')[0]}: {result['name']}, of {result['reference']['what']}",
         *(result["ratio"][key] for key in ("median", "low", "high"))) for result in results])
    for size in sorted({result["options"].get("value_bytes", 0) for result in results} - {0}):
        for name, title, values in (
                ("rate", "operations a second (bars: lowest to highest run)", rates),
                ("latency", "microseconds (p50, bars up to p99)", times)):
            drawn = {}
            for side in ("subject", "reference"):
                for group in (CLIENT, HTTP):
                    drawn.update(curves(results, group, size, side, values))
            yield f"{name}-{size}", plot.lines(f"values of {size} bytes", IN_FLIGHT, title, drawn)
