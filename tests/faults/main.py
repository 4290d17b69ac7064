# SPDX-License-Identifier: MIT
"""Breaks a ring of real processes under clients, and says whether it kept its promises.

    python3 init.py soak faults [--kills 1000 --pauses 300 --partitions 300] [--seed S]

Goes on where the ledger (build/soak/faults.jsonl) says that it stopped. Exit codes: 0 all of them,
and nothing wrong; 1 a finding, whose history and logs stay beside the ledger.
"""

import json
import os
import random
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "proto" / "clients" / "python"),
                str(ROOT / "tests" / "system")]

import launched  # noqa: E402
from availability import summary  # noqa: E402
from block import Block  # noqa: E402
from cluster import Cluster, Finding  # noqa: E402
from faults import KINDS  # noqa: E402
from launcher.ledger import Ledger  # noqa: E402
from network import Network, enter_private, why_not_private  # noqa: E402
from ports import PortBlock  # noqa: E402
from proxy import Proxy  # noqa: E402

NODES = 5
SUMS = ("kill", "pause", "partition", "one_way", "single", "late", "operations", "acknowledged",
        "reads", "refused", "unknown", "failed", "retried", "lost", "not_linearizable", "given_up",
        "unread", "seconds")


def arguments():
    parser = launched.parser("faults")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pauses", type=int, default=300)
    parser.add_argument("--partitions", type=int, default=300, help="a third of them one-way")
    parser.add_argument("--block", type=int, default=20, help="faults in a block")
    parser.add_argument("--seed", type=int, help="of the first block; the next count on")
    parser.add_argument("--proxy", action="store_true", help="a proxy, even if namespaces can be")
    return parser.parse_args()


def wanted(options, ledger):
    """{kind: how many are left}"""
    numbers = (options.kills, options.pauses, options.partitions)
    return {kind: max(0, number - int(ledger.sum(kind))) for kind, number in zip(KINDS, numbers)}


def share(left, faults):
    """A block's part of what is left, each kind in proportion; at least one fault."""
    total = sum(left.values())
    part = {kind: round(count * faults / total) for kind, count in left.items()} \
        if total > faults else dict(left)
    if not sum(part.values()):
        part[max(left, key=left.get)] = 1
    return part


def totals(ledger):
    sums = {key: ledger.sum(key) for key in SUMS}
    sums["strange"] = [text for entry in ledger.entries for text in entry["strange"]][:10]
    for name in ("missed_ms", "missed_key_ms"):
        missed = [pair for entry in ledger.entries for pair in entry[name]]
        sums[name] = {"all": summary([ms for _, ms in missed])} | {
            kind: summary([ms for which, ms in missed if which == kind]) for kind in KINDS}
    sums["healed_ms"] = summary([ms for entry in ledger.entries for ms in entry["healed_ms"]])
    return sums


def run_blocks(options, network, ledger, folder, say):
    seed = options.seed if options.seed is not None else random.randrange(10 ** 9)
    cluster = Cluster(options.node, network, folder, NODES)
    try:
        cluster.start_all()
        cluster.wait_healthy()
        kept = {}
        while sum((left := wanted(options, ledger)).values()) > 0:
            say(f"block with seed {seed}; left: "
                + ", ".join(f"{count} {kind}s" for kind, count in left.items()))
            block = Block(cluster, options.check_history, seed, random.Random(seed), kept, folder,
                          say)
            try:
                figures = block.run(share(left, options.block))
            except Finding as finding:
                keep_evidence(cluster, block, folder, finding)
                raise
            ledger.add({"seed": seed, **figures})
            say(json.dumps({key: value for key, value in figures.items()
                            if not key.endswith("_ms")}))
            seed += 1
    finally:
        cluster.close()


def make_network(options):
    """Namespaces; where the machine allows none, a proxy in front of each node."""
    reason = "--proxy" if options.proxy else why_not_private()
    if reason is None:
        enter_private()
        return Network(NODES)
    print(f"partitions by a proxy between the nodes, not by the kernel: {reason}", flush=True)
    return Proxy(PortBlock(), NODES, options.shim)


def keep_evidence(cluster, block, folder, finding):
    target = folder.with_name(f"finding-{block.seed}")
    target.mkdir(exist_ok=True)
    (target / "finding.txt").write_text(f"seed {block.seed}\n{finding}\n" + "\n".join(block.told))
    block.clients.history.write(target / "history.txt")
    cluster.keep_logs(target)
    print(f"FINDING with seed {block.seed}: {finding}\nkept in {target}", flush=True)


def main():
    os.umask(0o077)  # the programs refuse folders that others can enter
    options = arguments()
    network = make_network(options)
    ledger = Ledger(options.ledger, options.name)
    folder, say = launched.new_folder(options, "faults"), launched.speaker()

    try:
        run_blocks(options, network, ledger, folder, say)
        well = True
    except Finding as finding:
        say(str(finding).splitlines()[0])
        well = False
    shutil.rmtree(folder)
    sums = totals(ledger)
    print(json.dumps({"name": options.name, **sums}))
    return 0 if well and not sums["failed"] and not sums["strange"] else 1


if __name__ == "__main__":
    sys.exit(main())
