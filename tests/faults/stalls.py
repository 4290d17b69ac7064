# SPDX-License-Identifier: MIT
"""A ring of real processes that are far apart (150 ms round trips), whose lines stand still for up to
a second every few seconds, under clients.

    python3 init.py soak stalls [--minutes 60] [--seed S]

When the ring has seen the stalls for a while, no member may be given up any more, and every operation
must be answered, and rightly. Goes on where the ledger (build/soak/stalls.jsonl) says that it stopped.
Exit codes: 0 all of it, and nothing wrong; 1 a finding, whose history and logs stay beside the
ledger.
"""

import json
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "proto" / "clients" / "python"),
                str(ROOT / "tests" / "system")]

import launched  # noqa: E402
from clients import Clients  # noqa: E402
from cluster import Cluster, Finding  # noqa: E402
from launcher.ledger import Ledger  # noqa: E402
from ports import PortBlock  # noqa: E402
from slow_proxy import SlowProxy  # noqa: E402
from verdict import check  # noqa: E402

NODES, CLIENTS, KEYS = 5, 4, 12
ONE_WAY_S = 0.075
STALL_S, STALL_EVERY_S = (0.2, 1.0), (2.0, 5.0)
ALL_SHARE = 0.3  # of the stalls: the whole network at once
LEARNING_S, BLOCK_S = 60, 120
REMOVED = "failure no answer from"
SUMS = ("stalls", "learning_removals", "removals", "operations", "acknowledged", "reads", "refused",
        "unknown", "failed", "retried", "lost", "not_linearizable", "given_up", "unread", "seconds")


def arguments():
    parser = launched.parser("stalls")
    parser.add_argument("--minutes", type=float, default=60, help="after the first one, in which "
                        "the ring learns")
    parser.add_argument("--seed", type=int, default=random.randrange(10 ** 9))
    return parser.parse_args()


class Stalls:
    """Until it is left, lines stand still: one node's, or all."""

    def __init__(self, proxy, seed):
        self.proxy, self.random, self.count = proxy, random.Random(seed), 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def loop(self):
        nodes = range(1, NODES + 1)
        while not self.ended.wait(self.random.uniform(*STALL_EVERY_S)):
            seconds = self.random.uniform(*STALL_S)
            one = [self.random.choice(nodes)]
            for node in nodes if self.random.random() < ALL_SHARE else one:
                self.proxy.stall(node, seconds)
            self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


class Run:
    def __init__(self, options, cluster, stalls, folder):
        self.options, self.cluster, self.stalls, self.folder = options, cluster, stalls, folder
        self.blocks = 0

    def removals(self):
        return sum((self.cluster.node_folder(node) / "stderr.log").read_text().count(REMOVED)
                   for node in self.cluster.nodes())

    def block(self, seconds):
        """Clients for so long: the figures. Raises Finding when an answer was wrong."""
        self.blocks += 1
        began, removed, stalls = time.monotonic(), self.removals(), self.stalls.count
        seed = f"{self.options.seed} {self.blocks}"
        keys = [f"{self.blocks}-{number}" for number in range(KEYS)]
        clients = Clients(CLIENTS, self.cluster.addresses(), keys, seed)
        with clients:
            time.sleep(seconds)
            self.cluster.check_running()
        unread = clients.read_last()
        verdict = check(self.options.check_history, clients.history,
                        self.folder / f"history-{self.blocks}.txt")
        history = clients.history
        if history.failed or history.strange or unread:
            raise Finding(f"{history.failed} operations failed, {len(unread)} keys were not read; "
                          f"{history.strange[:5]}")
        return {"seconds": round(time.monotonic() - began, 1), "removals": self.removals() - removed,
                "stalls": self.stalls.count - stalls, "failed": history.failed,
                "retried": history.retried, "unread": len(unread), **verdict}

    def learn(self):
        return self.block(LEARNING_S)["removals"]


def run_blocks(options, proxy, ledger, folder, say):
    cluster = Cluster(options.node, proxy, folder, NODES)
    try:
        cluster.start_all()
        cluster.wait_healthy()
        with Stalls(proxy, options.seed) as stalls:
            run = Run(options, cluster, stalls, folder)
            learning = run.learn()
            say(f"seed {options.seed}: {learning} removals while the ring learned")
            while (left := 60 * options.minutes - ledger.sum("seconds")) > 0:
                figures = run.block(min(BLOCK_S, left))
                ledger.add({"seed": options.seed, "learning_removals": learning, **figures})
                learning = 0
                say(json.dumps(figures))
                if figures["removals"]:
                    raise Finding(f"{figures['removals']} removals of living members")
        cluster.wait_healthy()
    except Finding as finding:
        target = folder.with_name(f"finding-stalls-{options.seed}")
        target.mkdir(exist_ok=True)
        (target / "finding.txt").write_text(f"seed {options.seed}\n{finding}\n")
        cluster.keep_logs(target)
        print(f"FINDING with seed {options.seed}: {finding}\nkept in {target}", flush=True)
        raise
    finally:
        cluster.close()


def main():
    os.umask(0o077)  # the programs refuse folders that others can enter
    options = arguments()
    ledger = Ledger(options.ledger, options.name)
    folder, say = launched.new_folder(options, "stalls"), launched.speaker()

    well = True
    try:
        run_blocks(options, SlowProxy(PortBlock(), NODES, options.shim, ONE_WAY_S), ledger, folder,
                   say)
    except Finding:
        well = False
    shutil.rmtree(folder)
    print(json.dumps({"name": options.name, **{key: ledger.sum(key) for key in SUMS}}))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
