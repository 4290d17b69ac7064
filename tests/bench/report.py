# SPDX-License-Identifier: MIT
"""The figures as tables."""

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
            number(reference["per_second"]["median"]), time(subject, "p50_us"),
            time(subject, "p99_us"), time(subject, "p999_us"))


def table(results):
    """In Markdown, which a terminal shows as well."""
    rows = [HEAD, *map(row, results)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    lines = ["| " + " | ".join(cell.ljust(width) if column in (0, 4) else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths))) + " |"
             for line in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def tables(results):
    groups = dict.fromkeys(result["group"] for result in results)
    return "\n\n".join(f"{group}:\n\n" + table([result for result in results
                                                if result["group"] == group])
                       for group in groups) + "\n"
