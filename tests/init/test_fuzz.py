# SPDX-License-Identifier: MIT
"""`init.py fuzz`: runs that go on where they stopped, and what it says of a finding."""

import shutil

from launcher import fuzz
from launcher.ledger import Ledger


def ledger_of(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path / "build")
    return Ledger(tmp_path / "fuzz.jsonl", "a commit")


def test_every_target_has_its_source_and_inputs_to_begin_with():
    for name, target in fuzz.TARGETS.items():
        assert (fuzz.SOURCES / f"fuzz_{name}.{'py' if target.python else 'c'}").is_file()
        assert list((fuzz.SOURCES / "corpus" / name).iterdir())


def test_runs_go_on_where_they_stopped(tmp_path, monkeypatch, capsys):
    ledger = ledger_of(tmp_path, monkeypatch)
    assert fuzz.run_one("env", ledger, 0, 300)
    assert fuzz.run_one("env", ledger, 0, 300)
    assert ledger.sum("executions") == 300 and len(ledger.entries) == 1
    again = Ledger(ledger.path, "a commit")
    assert fuzz.run_one("env", again, 0, 500)
    assert again.sum("executions") == 500 and again.sum("findings") == 0
    fuzz.table(again, ["env"])
    assert "env                 500" in capsys.readouterr().out


def test_a_finding_is_kept_and_said(tmp_path, monkeypatch, capsys):
    ledger = ledger_of(tmp_path, monkeypatch)
    (tmp_path / "corpus" / "env").mkdir(parents=True)
    (tmp_path / "corpus" / "env" / "seed").write_bytes(b"a")
    shutil.copy(fuzz.SOURCES / "mutate.py", tmp_path)
    (tmp_path / "fuzz_env.py").write_text(
        "import mutate\ndef target(data):\n    assert b'z' not in data\n"
        "raise SystemExit(mutate.run(target, [b'z']))\n")
    monkeypatch.setattr(fuzz, "SOURCES", tmp_path)
    assert not fuzz.run_one("env", ledger, 0, 10000)
    found, = (tmp_path / "build" / "found" / "env").iterdir()
    assert b"z" in found.read_bytes() and ledger.sum("findings") == 1
    said = capsys.readouterr().out
    assert "FOUND SOMETHING" in said and "-seed=" in said and f"again: {fuzz.sys.executable}" in said
