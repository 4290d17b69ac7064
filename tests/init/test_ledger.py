# SPDX-License-Identifier: MIT
"""The ledger that lets a long run go on where it stopped."""

import json

from launcher.ledger import Ledger


def test_only_the_blocks_of_the_same_name_count(tmp_path):
    path = tmp_path / "soak" / "runs.jsonl"
    Ledger(path, "other").add({"kill": 100})
    first = Ledger(path, "this")
    first.add({"kill": 3, "seconds": 0.5})
    first.add({"kill": 4, "missed_ms": [["kill", 7]]})
    again = Ledger(path, "this")
    assert again.entries == first.entries
    assert (again.sum("kill"), again.sum("seconds"), again.sum("never")) == (7, 0.5, 0)
    assert len(path.read_text().splitlines()) == 3


def test_each_block_is_a_line_as_soon_as_it_is_done(tmp_path):
    ledger = Ledger(tmp_path / "runs.jsonl", "this")
    ledger.add({"seed": 1})
    assert json.loads((tmp_path / "runs.jsonl").read_text()) == {"name": "this", "seed": 1}
