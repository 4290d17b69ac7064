# SPDX-License-Identifier: MIT
"""`init.py bench`, with the smallest numbers: every figure is there, beside its reference. Figures are
not judged here: the machine that runs tests has other things to do."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import psutil
import pytest

from ring import BUILD, ROOT, SANITIZER_WORDS

MAIN = ROOT / "tests" / "bench" / "main.py"
sys.path.insert(0, str(MAIN.parent))
import peers  # noqa: E402
from measure import Failed, Figure, Side, generate, measure, ratio  # noqa: E402


def test_every_figure_has_a_reference_and_no_errors(tmp_path):
    done = subprocess.run(
        [sys.executable, MAIN, "--build", BUILD.absolute(), "--folder", tmp_path / "bench", "--name",
         "a commit", "--quick", "--seconds", "0.05", "--repeats", "2", "--keys", "100", "--rows",
         "500", "--json", tmp_path / "told.json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(word in done.stderr for word in SANITIZER_WORDS), done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["commit"] == "a commit"
    kinds = {(figure["group"], figure["options"]["kind"]) for figure in told["figures"]}
    assert kinds == {("libchord-client", "get"), ("libchord-client", "put"),
                     ("libchord-client", "stale get"), ("HTTP", "get"), ("HTTP", "put"),
                     ("HTTP, twice the load", "get"),
                     ("libchord-client, an open loop; the ratio is of p99", "get"),
                     ("libchord-client, an open loop; the ratio is of p99", "put"),
                     ("YCSB mixes, libchord-client", "YCSB A"), ("CSV import, rows", "import")}
    for figure in told["figures"]:
        assert figure["errors"] == 0, figure
        for side in (figure["subject"], figure["reference"]):
            assert side["what"] and side["per_second"]["median"] > 0, figure
        assert figure["ratio"]["low"] <= figure["ratio"]["median"] <= figure["ratio"]["high"]
        assert figure["name"] in done.stdout
    assert json.loads((tmp_path / "bench" / "bench.json").read_text()) == told
    for name in ("table.md", "summary.md"):
        text = (tmp_path / "bench" / name).read_text()
        assert all(figure["name"] in text for figure in told["figures"] + told["alone"])
    assert len(told["alone"]) == 4 and all(one["median"] > 0 for one in told["alone"])
    pictures = {path.stem: ElementTree.parse(path).getroot()
                for path in (tmp_path / "bench").glob("*.svg")}
    assert set(pictures) == {"ratios", "rate-64", "latency-64"}
    assert len(pictures["ratios"].findall(".//{*}rect")) == 1 + len(told["figures"])
    assert len(pictures["rate-64"].findall(".//{*}polyline")) == 8  # 3 + 2 kinds, 3 references


def test_sides_take_turns_and_ratios_are_of_pairs():
    order = []

    def side(name, figures):
        rest = list(figures)

        def run():
            order.append(name)
            return {"per_second": rest.pop(0), "errors": 1, "reason": name}
        return Side(name, run)
    # The machine gets ten times slower in the second pair, and both meet it.
    result = measure(Figure("group", "row", side("A", (50, 5, 60)), side("B", (100, 10, 100)), {}), 3)
    assert order == list("ABABAB")
    assert result["ratio"] == {"median": 0.5, "low": 0.5, "high": 0.6}
    assert result["subject"]["per_second"] == {"median": 50, "low": 5, "high": 60}
    assert result["errors"] == 6 and result["subject"]["reason"] == "A"


def test_of_times_less_is_better():
    assert ratio("per_second", {"per_second": 10}, {"per_second": 40}) == 0.25
    assert ratio("p99_us", {"p99_us": 10}, {"p99_us": 40}) == 4


def test_a_generator_that_cannot_start_is_named():
    with pytest.raises(Failed, match="--kind steal: there are get, put and mix"):
        generate(BUILD.absolute() / "tests" / "bench" / "load", "--members", "127.0.0.1:1", "--kind",
                 "steal")


def test_errors_are_told(new_ring):
    """Keys that nobody has stored: each read is an error, by either door."""
    ring = new_ring(M=32).start(1)
    programs = BUILD.absolute() / "tests" / "bench"
    for program, to in (("load", ("--members", ring.address(1))),
                        ("http_load", ("--address", f"127.0.0.1:{ring.ports.port}"))):
        told = generate(programs / program, *to, "--seconds", 0.1, "--warm-up", 0)
        assert told["errors"] > 0 and told["errors"] >= told["operations"], told
        assert "NOT_FOUND" in told["reason"] or "404" in told["reason"], told


def test_a_client_goes_straight_to_the_leader(new_ring):
    """A client remembers who leads what, so a ring that rests is one hop wide, whoever it asks first;
    its first operations, with nothing to remember, take more."""
    ring = new_ring(NUM_OF_NODES=8, M=32).start(8)
    ring.wait_healthy(8)
    load = (BUILD.absolute() / "tests" / "bench" / "load", "--members", ring.address(1), "--keys", 500,
            "--kind", "get", "--in-flight", 1)
    generate(*load, "--fill", "--seconds", 0.1)
    cold = generate(*load, "--seconds", 0.2, "--warm-up", 0)
    warm = generate(*load, "--seconds", 1, "--warm-up", 1)
    assert cold["errors"] == warm["errors"] == 0
    assert cold["hops_mean"] > 1.001, cold
    assert 1 <= warm["hops_mean"] <= 1.1, warm


def test_an_interrupted_bench_leaves_nothing(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    bench = subprocess.Popen(
        [sys.executable, MAIN, "--build", BUILD.absolute(), "--folder", tmp_path / "bench", "--quick"],
        env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    try:
        while "storing" not in (line := bench.stdout.readline()):
            assert line, bench.communicate()
        children = psutil.Process(bench.pid).children(recursive=True)
        assert len(children) >= 6  # three nodes, the gateway, both echoes
        bench.send_signal(signal.SIGTERM)
        assert "interrupted" in bench.communicate(timeout=60)[1]
    finally:
        bench.kill()
        bench.wait()
    assert bench.returncode == 1
    assert not list(folder.glob("chord-bench-*")) and not (tmp_path / "bench").exists()
    assert not psutil.wait_procs(children, timeout=30)[1]


def test_peers_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda program: None)
    said = []
    assert peers.start_installed(None, said.append) == []
    assert said == ["etcd: not installed, apt install etcd-server",
                    "redis-server: not installed, apt install redis-server"]
