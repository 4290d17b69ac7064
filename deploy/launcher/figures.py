# SPDX-License-Identifier: MIT
"""`init.py figures [MAX_NODES]`: Chord's own figures (Stoica et al. 2001, section 6), measured again.

Rings of 2^3 to MAX_NODES (131072) members, brought up in the simulator by ordinary joins: hops of a
lookup beside half of log2 n, keys of each node, messages of maintenance; and the time to the ideal
ring after 1, 10 and 50 percent of the members fail at once. Writes build/figures/table.md, one SVG
for each figure, and the raw figures as measures.jsonl; a measurement that is there from the same
commit is not made again.
"""

import json
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor

from . import sim
from .common import ROOT, Refused

FIGURES = ROOT / "build" / "figures"
SIZE_MAX = 1 << 17
LOOKUPS = 10000
QUIET_S = 4
FAILURE_NODES = 2000
FAILURE_SUCCESSORS = 20  # as many as the paper keeps: 2 log2 n; half of a short list may be all of it
FAILURE_SEEDS = 5
FAILURES = (1, 10, 50)


def measure(path, commit, known, **options):
    name = json.dumps([commit, options], sort_keys=True)
    if name not in known:
        arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        done = subprocess.run([str(path), "--json", "--measure", *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode != 0:
            raise Refused(f"chord-sim {' '.join(arguments)}: {done.stdout or done.returncode}")
        known[name] = json.loads(done.stdout)
        with open(FIGURES / "measures.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "result": known[name]}) + "\n")
        print(f"  {' '.join(arguments)}: {known[name]['seconds']:.0f} s", flush=True)
    return known[name]


def known_before():
    path = FIGURES / "measures.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["name"]: entry["result"] for entry in map(json.loads, lines)}


def table(sizes, failures):
    lines = ["| nodes | hops: mean | half log2 n | 1 % | 99 % | keys a node: 1 % | 50 % | 99 % "
             "| messages per node and second | ideal after |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for row in sizes:
        lines.append(
            f"| {row['nodes']} | {row['hops_mean']:.2f} | {math.log2(row['nodes']) / 2:.2f} "
            f"| {row['hops_1']} | {row['hops_99']} | {row['keys_1']} | {row['keys_50']} "
            f"| {row['keys_99']} | {row['messages_per_node_s']:.1f} | {row['ideal_s']:.1f} s |")
    lines += ["", f"Of {FAILURE_NODES} members (N={FAILURE_SUCCESSORS}) fail at once, "
              f"{FAILURE_SEEDS} seeds:", "",
              "| failed | lists and predecessors right after | fingers too |", "|---|---|---|"]
    for percent, rows in failures.items():
        lines.append(f"| {percent} % | {spread(rows, 'reconnected_s')} | {spread(rows, 'healed_s')} |")
    return "\n".join(lines) + "\n"


def spread(rows, key):
    values = sorted(row[key] for row in rows)
    return f"{values[len(values) // 2]:.1f} s ({values[0]:.1f} to {values[-1]:.1f})"


PLOTS = {
    "hops": ("hops of a lookup", "set logscale x 2", [
        ("1:2:3:4 with yerrorbars pt 7 ps 0.6 lw 2", "mean, 1st and 99th percentile", ("hops_mean", "hops_1",
                                                                           "hops_99")),
        ("1:(log($1)/log(2)/2) with lines lw 2", "half of log2 n", ())]),
    "load": ("keys of a node, of 100 a node on average", "set logscale x 2", [
        ("1:2:3:4 with yerrorbars pt 7 ps 0.6 lw 2", "median, 1st and 99th percentile", ("keys_50", "keys_1",
                                                                             "keys_99"))]),
    "maintenance": ("messages per node and second, quiet ring",
                    "set logscale x 2\nset yrange [0:]",
                    [("1:2 with linespoints lw 2", "requests and replies",
                      ("messages_per_node_s",))]),
}


def plot(name, sizes):
    title, settings, curves = PLOTS[name]
    script = [f'set terminal svg size 640,400 background "white"',
              f'set output "{FIGURES / name}.svg"', 'set xlabel "nodes"', f'set ylabel "{title}"',
              "set key top left", "set grid", settings,
              f"set xrange [6:{sizes[-1]['nodes'] * 1.4}]"]
    parts = []
    for number, (how, label, keys) in enumerate(curves):
        data = "\n".join(" ".join(str(row[key]) for key in ("nodes", *keys)) for row in sizes)
        script.append(f"$data{number} << END\n{data}\nEND")
        parts.append(f'$data{number} using {how} title "{label}"')
    run_gnuplot("\n".join(script) + "\nplot " + ", ".join(parts) + "\n")


def plot_failures(failures):
    rows = "\n".join(f"{percent} {row['reconnected_s']} {row['healed_s']}"
                     for percent, results in failures.items() for row in results)
    run_gnuplot(f"""set terminal svg size 640,400 background "white"
set output "{FIGURES / 'failures.svg'}"
set xlabel "percent of the members that fail at once"
set ylabel "seconds until right"
set logscale x
set xrange [0.7:70]
set yrange [0:]
set key top left
set grid
$data << END
{rows}
END
plot $data using 1:2 with points pt 7 title "lists and predecessors", \\
     $data using 1:3 with points pt 6 title "fingers too"
""")


def run_gnuplot(script):
    try:
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"gnuplot failed: {error}") from error


def run(arguments):
    size_max = int(arguments[0]) if arguments and arguments[0].isdigit() else SIZE_MAX
    path = sim.program()
    FIGURES.mkdir(parents=True, exist_ok=True)
    known, commit = known_before(), sim.commit()
    exponents = range(3, int(math.log2(max(size_max, 8))) + 1)
    print(f"measuring rings of 8 to {1 << exponents[-1]} members and their failures")
    with ThreadPoolExecutor(2) as pool:
        failing = {percent: [pool.submit(measure, path, commit, known, nodes=FAILURE_NODES,
                                         n=FAILURE_SUCCESSORS, lookups=0, quiet=0, fail=percent,
                                         seed=seed) for seed in range(1, FAILURE_SEEDS + 1)]
                   for percent in FAILURES}
        growing = [pool.submit(measure, path, commit, known, nodes=1 << exponent, lookups=LOOKUPS,
                               quiet=QUIET_S) for exponent in exponents]
        sizes = [future.result() for future in growing]
        failures = {percent: [future.result() for future in futures]
                    for percent, futures in failing.items()}
    for name in PLOTS:
        plot(name, sizes)
    plot_failures(failures)
    text = table(sizes, failures)
    (FIGURES / "table.md").write_text(text)
    print(text + f"commit {commit}; plots are in {FIGURES}")
    return 0
