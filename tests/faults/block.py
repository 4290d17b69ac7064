# SPDX-License-Identifier: MIT
"""One block: faults under the eyes of clients, then quiet, the last reads and the verdict."""

import time

import availability
from chord_dht import ChordError, Get
from clients import NO_VERSION, Clients, Entry, History, now_us
from cluster import Finding
from faults import draw_episode, live_through
from verdict import check

KEYS = 24
CLIENTS = 8
KEPT_KEYS_BATCH = 200
LONG_MS = 3000  # the promise for 99 of 100
BEFORE_FAULT_S = 0.3  # at most, between a healthy ring and the next fault


class Block:
    def __init__(self, cluster, check_history, seed, random, kept, folder, say):
        """`kept`: {key: entries} of earlier blocks, which nobody writes any more."""
        self.cluster, self.check_history, self.seed = cluster, check_history, seed
        self.random, self.kept, self.folder, self.tell = random, kept, folder, say
        self.keys = [f"{seed}-{number}" for number in range(KEYS)]
        self.missed, self.missed_keys = [], []  # (kind, milliseconds) after single faults
        self.healed = []   # milliseconds from the end of an episode to a healthy ring
        self.told = []
        self.counts = {"kill": 0, "pause": 0, "partition": 0, "one_way": 0, "single": 0,
                       "late": 0}

    def say(self, text):
        self.told.append(f"{now_us()} {text}")
        self.tell(text)

    def run(self, left):
        """Live through all of `left` = {kind: how many}. The block's figures; raises Finding."""
        began = time.monotonic()
        clients = Clients(CLIENTS, self.cluster.addresses(), self.keys, self.seed)
        self.clients = clients
        with clients:
            self.await_leaders()
            singles = []
            while sum(left.values()) > 0:
                singles += self.episode(left)
        self.measure(singles)
        unread = clients.read_last()
        verdict = check(self.check_history, clients.history,
                        self.folder / f"history-{self.seed}.txt")
        self.check_kept()
        return {"seconds": round(time.monotonic() - began, 1), **self.counts, **verdict,
                "unread": len(unread), "failed": clients.history.failed,
                "retried": clients.history.retried, "strange": clients.history.strange[:5],
                "missed_ms": self.missed, "missed_key_ms": self.missed_keys,
                "healed_ms": self.healed}

    def await_leaders(self):
        deadline = time.monotonic() + 20
        while len(self.clients.history.leaders) < len(self.keys):
            if time.monotonic() > deadline:
                raise Finding("keys of a healthy ring are not answered")
            time.sleep(0.02)

    def episode(self, left):
        """[(fault, leaders before it)] of a single one, else []."""
        episode = draw_episode(self.random, self.cluster, left)
        time.sleep(self.random.uniform(0, BEFORE_FAULT_S))
        leaders = dict(self.clients.history.leaders)
        live_through(episode, now_us, self.cluster.check_running)
        took = self.cluster.wait_healthy()
        self.healed.append(round(took * 1000))
        for _, fault in episode:
            self.counts[fault.kind] += 1
            self.counts["one_way"] += fault.one_way
        self.say(f"{'; '.join(fault.text for _, fault in episode)}: healthy after {took:.1f} s")
        if len(episode) > 1:
            return []
        self.counts["single"] += 1
        return [(episode[0][1], leaders)]

    def measure(self, singles):
        for fault, leaders in singles:
            missed = availability.after_fault(
                self.clients.history.attempts, leaders, fault,
                self.cluster.address(fault.victim), now_us())
            self.missed_keys += [(fault.kind, round(ms)) for ms in missed.values()]
            if missed:
                key = min(missed, key=missed.get)
                self.missed.append((fault.kind, round(missed[key])))
                if missed[key] > LONG_MS:
                    self.explain(key, missed[key], fault)

    def explain(self, key, ms, fault):
        """What clients were told of a key that they missed for long."""
        tries = [f"+{(sent - fault.began_us) / 1000:.0f}..{(returned - fault.began_us) / 1000:.0f} "
                 f"node {node} {code}"
                 for name, sent, returned, node, code in self.clients.history.attempts
                 if name == key and returned > fault.began_us
                 and sent < fault.began_us + 1000 * ms]
        self.say(f"LONG: {key} for {ms:.0f} ms after {fault.text} (for {fault.seconds:.2f} s): "
                 + "; ".join(tries))

    def check_kept(self):
        """Keys of earlier blocks are as those left them, or as a write of unknown outcome can have
        left them since. This block's join them."""
        for key, entry in self.read(list(self.kept)).items():
            entries = self.kept[key]
            if entry.value != entries[-1].value:
                entries.append(entry)
                self.check_late(key, entries)
        for entry in self.clients.history.entries:
            self.kept.setdefault(entry.key, []).append(entry)

    def check_late(self, key, entries):
        """A write took effect after all clients had ended."""
        late = History()
        late.entries = entries
        check(self.check_history, late, self.folder / f"late-{key}.txt")
        self.counts["late"] += 1
        self.say(f"{key} changed afterwards, as a write of unknown outcome may: "
                 + entries[-1].line().strip())

    def read(self, keys):
        """{key: the read as an entry}"""
        found = {}
        node = self.random.choice(self.cluster.nodes())
        for start in range(0, len(keys), KEPT_KEYS_BATCH):
            part = keys[start:start + KEPT_KEYS_BATCH]
            deadline = time.monotonic() + 20
            while part:
                called = now_us()
                results = self.batch(node, part)
                for key, result in zip(part, results):
                    if result.fate == "done":
                        found[key] = Entry(key, outcome="done", value=int(result.value or 0),
                                           called=called, returned=now_us(), node=node, last=True,
                                           version=tuple(result.version or NO_VERSION))
                part = [key for key in part if key not in found]
                if part and time.monotonic() > deadline:
                    raise Finding(f"{len(part)} keys of earlier blocks cannot be read in a healthy "
                                  f"ring, for example {part[0]}")
        return found

    def batch(self, node, keys):
        try:
            return self.cluster.looks[node].batch([Get(key) for key in keys])
        except ChordError:
            return []
