# SPDX-License-Identifier: MIT
"""Reading many keys through one node, with the project's own Python client."""

import time

from chord_client import ChordClient

BATCH_KEYS = 500
DEADLINE_S = 60
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED")


def read_batch(client, keys, deadline):
    """[(code, value)] for the keys; whoever says `not now` is asked again until the deadline."""
    answers = {}
    waiting = list(keys)
    while waiting:
        results = client.batch([("get", key) for key in waiting])
        assert len(results) == len(waiting)
        for key, result in zip(waiting, results):
            answers[key] = (client._code(result.code), result.value)
        waiting = [key for key in waiting if answers[key][0] in RETRIED]
        if waiting:
            assert time.monotonic() < deadline, \
                f"{len(waiting)} keys still {answers[waiting[0]][0]}, for example {waiting[0]!r}"
            time.sleep(0.05)
    return answers


def read_all(ring, slot, keys):
    """{key: bytes} of the keys that node `slot` finds."""
    found, keys = {}, list(keys)
    deadline = time.monotonic() + DEADLINE_S
    with ChordClient(ring.address(slot), timeout=30) as client:
        for start in range(0, len(keys), BATCH_KEYS):
            answers = read_batch(client, keys[start:start + BATCH_KEYS], deadline)
            for key, (code, value) in answers.items():
                assert code in ("OK", "NOT_FOUND"), f"{key!r} through node {slot}: {code}"
                if code == "OK":
                    found[key] = value
    return found
