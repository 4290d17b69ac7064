# SPDX-License-Identifier: MIT
"""Small hand-made traces, good and bad. Ring of ids 0, 16, 32, 48 (m=6), lists of 2."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_trace

HEAD = "ring-trace m=6 n=2"
# Nodes 0, 1, 2 with ids 0, 10, 20 (hex): an ideal ring of three from genesis on.
RING = [
    "ring 0 0.1 create asked=- state=member id=00 succ=- pred=-",
    "ring 1 1.1 genesis asked=0.1 state=member id=10 succ=0.1 pred=0.1",
    "ring 2 0.1 genesis asked=1.1 state=member id=00 succ=1.1 pred=1.1",
    "ring 3 2.1 genesis asked=0.1 state=member id=20 succ=0.1,1.1 pred=1.1",
    "ring 4 1.1 genesis asked=0.1 state=member id=10 succ=2.1,0.1 pred=0.1",
    "ring 5 0.1 genesis asked=2.1 state=member id=00 succ=1.1,2.1 pred=2.1",
]
JOINED = [
    "ring 10 3.1 start asked=- state=joining id=30 succ=- pred=-",
    "ring 20 3.1 member asked=0.1 state=member id=30 succ=0.1,1.1 pred=-",
    "ring 30 0.1 rectify asked=2.1 state=member id=00 succ=1.1,2.1 pred=3.1",
    "ring 40 2.1 stabilize asked=3.1 state=member id=20 succ=3.1,0.1 pred=1.1",
]


def violations(*lines, window_us=2000000):
    return check_trace.check([HEAD, *RING, *lines], window_us)[0]


def test_a_list_is_longer_where_that_leads_to_another_host():
    short = "ring 50 3.1 stabilize asked=0.1 state=member id=30 succ=0.1,1.1 pred=2.1"
    long = "ring 50 3.1 stabilize asked=0.1 state=member id=30 succ=0.1,1.1,2.1 pred=2.1"

    def wrong(replicas, hosts, line):
        joined = [*JOINED, "ring 45 3.1 rectify asked=- state=member id=30 succ=0.1,1.1 pred=2.1"]
        found = check_trace.check([f"{HEAD} replicas={replicas} hosts={hosts}", *RING, *joined, line],
                                  2000000)[0]
        return any(line in text for text in found)

    assert not wrong(3, 0, short) and wrong(3, 0, long)
    assert not wrong(3, 2, short) and wrong(3, 2, long)  # nodes 0 and 1 are on both
    assert not wrong(3, 3, long)
    assert not wrong(2, 3, short) and wrong(2, 3, long)  # two copies need no third host


def test_genesis_and_join_are_right():
    assert violations(*JOINED) == []


def test_a_death_is_repaired():
    assert violations(*JOINED, "dead 50 3.1",
                      "ring 60 2.1 failure asked=3.1 state=member id=20 succ=0.1 pred=1.1",
                      "ring 61 0.1 failure asked=3.1 state=member id=00 succ=1.1,2.1 pred=-",
                      "ring 70 2.1 stabilize asked=0.1 state=member id=20 succ=0.1,1.1 pred=1.1",
                      "ring 80 0.1 rectify asked=- state=member id=00 succ=1.1,2.1 pred=2.1") == []


def test_a_false_suspicion_is_allowed_only_where_it_is_traced():
    change = "ring 60 2.1 failure asked=3.1 state=member id=20 succ=0.1 pred=1.1"
    assert violations(*JOINED, "suspect 60 2.1 3.1", change) == []
    assert len(violations(*JOINED, change)) == 1
    assert len(violations(*JOINED, "suspect 60 1.1 3.1", change)) == 1


def test_a_list_may_be_the_one_that_asked_had_a_moment_ago():
    late = [*JOINED,
            "ring 1000000 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,0.1 pred=0.1",
            "ring 1000001 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,3.1 pred=0.1",
            "ring 1000002 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,0.1 pred=0.1"]
    assert violations(*late) == []
    assert len(violations(*late, window_us=1000)) == 1


def test_a_returner_is_another_member():
    assert violations(*JOINED, "dead 50 3.1",
                      "ring 60 3.2 start asked=- state=joining id=30 succ=- pred=-",
                      "ring 70 2.1 failure asked=- state=member id=20 succ=0.1 pred=1.1") == []
    assert len(violations(*JOINED, "dead 50 3.1",
                          "ring 60 3.2 start asked=- state=joining id=30 succ=- pred=-",
                          "ring 70 2.1 stabilize asked=3.2 state=member id=20 "
                          "succ=3.2,0.1 pred=1.1")) == 1


def test_leaving_and_joining_anew():
    assert violations(*JOINED,
                      "ring 50 3.1 leave asked=- state=leaving id=30 succ=0.1,1.1 pred=-",
                      "ring 60 3.1 left asked=- state=left id=30 succ=- pred=-",
                      "ring 70 2.1 left asked=- state=member id=20 succ=0.1 pred=1.1",
                      "ring 80 3.1 join asked=- state=joining id=31 succ=- pred=-") == []


@pytest.mark.parametrize("change, text", [
    ("ring 50 1.1 stabilize asked=3.1 state=member id=10 succ=3.1,0.1 pred=0.1", "farther"),
    ("ring 50 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,1.1 pred=0.1", "not ordered"),
    ("ring 50 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,2.1 pred=0.1", "not ordered"),
    ("ring 50 1.1 stabilize asked=2.1 state=member id=10 succ=0.1,2.1 pred=0.1", "not ordered"),
    ("ring 50 1.1 stabilize asked=2.1 state=member id=10 succ=2.1,3.1,0.1 pred=0.1", "more than"),
    ("ring 50 1.1 stabilize asked=- state=member id=10 succ=2.1,3.1 pred=0.1", "no member"),
    ("ring 50 1.1 notified asked=2.1 state=member id=10 succ=2.1,3.1 pred=0.1", "does not change"),
    ("ring 50 1.1 failure asked=2.1 state=member id=10 succ=0.1 pred=0.1", "does not change"),
    ("ring 50 1.1 failure asked=0.1 state=member id=10 succ=2.1,0.1 pred=-", "lives unsuspected"),
    ("ring 50 0.1 rectify asked=3.1 state=member id=00 succ=1.1,2.1 pred=2.1", "not nearer"),
    ("ring 50 3.1 stabilize asked=0.1 state=member id=30 succ=0.1,1.1 pred=2.1", "does not set"),
    ("ring 50 1.1 stabilize asked=2.1 state=member id=11 succ=2.1,3.1 pred=0.1", "id changes"),
    ("ring 50 1.1 rectify asked=- state=member id=10 succ=2.1,0.1 pred=1.1", "own predecessor"),
    ("ring 50 1.1 join asked=- state=joining id=10 succ=2.1,0.1 pred=0.1", "in state joining"),
    ("ring 50 1.1 failure asked=- state=left id=10 succ=- pred=-", "ends no membership"),
    ("ring 50 1.1 failure asked=9.1 state=member id=10 succ=2.1,0.1 pred=0.1", "never heard"),
])
def test_a_bad_change_is_found(change, text):
    found = violations(*JOINED, change)
    assert len(found) == 1 and text in found[0]


@pytest.mark.parametrize("entry, text", [
    ("member asked=1.1 state=member id=30 succ=1.1,2.1 pred=-", "not before it"),
    ("member asked=0.1 state=member id=30 succ=0.1,2.1 pred=-", "is not that of"),
    ("member asked=0.1 state=member id=30 succ=0.1 pred=-", "is not that of"),
    ("join asked=0.1 state=member id=30 succ=0.1,1.1 pred=2.1", "knows no predecessor"),
    ("rectify asked=0.1 state=member id=30 succ=0.1,1.1 pred=-", "makes no member"),
])
def test_a_bad_entry_is_found(entry, text):
    found = violations("ring 9000000 3.1 " + entry)
    assert len(found) == 1 and text in found[0]


def test_the_dead_do_nothing():
    found = violations("dead 10 2.1",
                       "ring 20 2.1 rectify asked=- state=member id=20 succ=0.1,1.1 pred=1.1")
    assert len(found) == 1 and "is dead" in found[0]
    # Nor do they answer, once the window is over.
    assert len(violations("dead 10 2.1",
                          "ring 5000000 1.1 stabilize asked=2.1 state=member id=10 "
                          "succ=2.1 pred=0.1")) == 1


@pytest.mark.parametrize("lines", [
    ["no head"], [HEAD, "ring x"], [HEAD, "ring 1 0.1 create asked=- state=member id=zz succ=- pred=-"],
    [HEAD, "dead 1"], [HEAD, "wrong 1 0.1"],
    [HEAD, "ring 2 0.1 create asked=- state=member id=00 succ=- pred=-", "dead 1 0.1"],
])
def test_what_is_no_trace_is_refused(lines):
    with pytest.raises(ValueError):
        check_trace.check(lines, 1)


def test_the_command_ends_with_its_verdict(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("\n".join([HEAD, *RING]) + "\n")
    bad.write_text("\n".join([HEAD, *RING, "ring 9 0.1 failure asked=- state=member id=00 "
                              "succ=- pred=2.1"]) + "\n")
    for path, code, text in ((good, 0, "ok 6 changes"), (bad, 1, "FAILED 7 changes")):
        done = subprocess.run([sys.executable, check_trace.__file__, path], text=True,
                              capture_output=True, check=False)
        assert done.returncode == code and text in done.stdout
