# SPDX-License-Identifier: MIT
"""Clients of any kind behind hostile proxies (hostile_proxy.py), and the verdict of the simulator's
checker over what all were told: it must be linearizable (tests/sim/check_history.c)."""

import contextlib
import itertools
import random
import threading
import time

from clients import Entry, History, now_us
from ring import BUILD
from verdict import check

THREADS, KEYS = 6, 3
CHECK_HISTORY = BUILD / "tests" / "sim" / "check-history"
HARM_MIN, HARM_S = 3, 40  # of each kind; a busy machine takes longer to meet them
DONE, UNKNOWN, FAILED = "done", "unknown", "failed"


def ask(asker, history, values, number, pick, key):
    kind = pick.choices(("get", "put", "delete"), (3, 6, 1))[0]
    entry = Entry(key, kind=kind, client=number, node=1, attempts=1, called=now_us())
    entry.value = next(values) if kind == "put" else 0
    outcome, read, existed = asker.ask(kind, key, b"%d" % entry.value)
    entry.returned = now_us()
    if outcome == FAILED or (outcome == UNKNOWN and kind == "get"):
        history.failed += 1
        return
    entry.outcome = outcome
    if kind == "get":
        entry.value = int(read) if read else 0
    elif existed is not None:
        entry.existed = "existed" if existed else "not"
    history.add(entry)


def run_history(make_asker, proxies, seed, seconds, read, folder, name):
    """make_asker(number): an object with ask(kind, key, value), which gives the outcome (DONE,
    UNKNOWN, FAILED), the value that was read and what existed, None: not told. read(key): what lies
    there at last."""
    history, values, problems = History(), itertools.count(1), []
    end = time.monotonic() + seconds
    before = [list(proxy.counts) for proxy in proxies]

    def counts():
        return [sum(proxy.counts[which] - old[which] for proxy, old in zip(proxies, before))
                for which in range(3)]

    def enough():
        now = time.monotonic()
        return now > end and (min(counts()) >= HARM_MIN or now > end + HARM_S)

    def loop(number):
        try:
            asker, pick = make_asker(number), random.Random(f"{seed} {number}")
            with contextlib.closing(asker) if hasattr(asker, "close") else contextlib.nullcontext():
                while not enough():
                    ask(asker, history, values, number, pick, f"key-{pick.randrange(KEYS)}")
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    for key in (f"key-{number}" for number in range(KEYS)):
        entry = Entry(key, outcome=DONE, last=True, called=now_us(), node=1, attempts=1)
        entry.value = int(read(key) or 0)
        entry.returned = now_us()
        history.add(entry)
    figures = check(CHECK_HISTORY, history, folder / "history.txt")
    unknown = sum(entry.outcome == UNKNOWN for entry in history.entries)
    lost, unanswered, copied = counts()
    print(f"{name}: {len(history.entries)} operations, {unknown} unknown, {history.failed} failed; "
          f"{lost} requests lost, {unanswered} answers lost, {copied} copies; {figures}")
    assert min(lost, unanswered, copied) >= HARM_MIN
    assert unknown * 10 <= len(history.entries)
