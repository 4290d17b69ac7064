# SPDX-License-Identifier: MIT
"""No query of a page costs other clients more than 5 ms at p99, with 1,000,000 rows on each node."""

import pytest
from page_cost import measure, show
from ring import RELEASE_BUILD

ROWS = 1_000_000
SLOTS = (1, 2, 3)
COST_MS = 5


def write_rows(path, rows):
    with open(path, "w", encoding="ascii") as file:
        file.write("key,value\n")
        for number in range(rows):
            file.write(f"user {number:07d},{'v' * 40}\n")
    return path


@pytest.mark.slow
@pytest.mark.time_limit(600)
def test_queries_of_a_page_cost_other_clients_little(new_ring, tmp_path):
    ring = new_ring(M=32, build=RELEASE_BUILD).start(len(SLOTS))
    operation = ring.import_csv(write_rows(tmp_path / "rows.csv", ROWS), 300)
    assert operation["rows_stored"] == ROWS, operation
    ring.wait_healthy(len(SLOTS), 120)
    table = measure(ring, ROWS, SLOTS)
    show(table)
    for name, _, quiet, _, asked, count, _ in table:
        assert count > 0, f"{name} was never answered"
        assert asked <= quiet + COST_MS, f"{name} costs {asked - quiet:.1f} ms at p99"
