# SPDX-License-Identifier: MIT
"""What is broken, and when: kills, pauses and cuts of the network, alone or overlapping.

An *episode* is a list of faults with their moments. A single fault strikes a healthy ring, and how
long clients miss a key is measured for these; overlapping ones may take a majority of some range's
copies away, and then no answer is the right answer. Everything is drawn from one seeded random;
what the ring does between two moments is of course not repeatable.
"""

import heapq
import itertools
import time

KINDS = ("kill", "pause", "partition")
SINGLE_SHARE = 0.7         # of the episodes
ONE_WAY_SHARE = 0.36         # of the partitions: over a third
OVERLAP = (2, 4)           # faults in an episode of several
OVERLAP_S = 1.5            # they begin within
DOWN_S = (0.0, 1.8)        # a killed node is started again after
SHORT_PAUSE_S, LONG_PAUSE_S = (0.05, 0.35), (0.8, 3.0)  # the failure timeout lies between
LONG_PAUSE_SHARE = 0.6
CUT_S = (0.2, 3.0)


class Fault:
    """One node or some links for some time; `text` is what it is called in reports."""

    def __init__(self, kind, victim, text, seconds, begin, end):
        self.kind, self.victim, self.text, self.seconds = kind, victim, text, seconds
        self.begin, self.end = begin, end
        self.one_way = False
        self.began_us = self.struck_us = self.ended_us = 0  # `struck`: it has taken effect


def make_kill(random, cluster, victim):
    return Fault("kill", victim, f"kill -9 of node {victim}", random.uniform(*DOWN_S),
                 lambda: cluster.kill(victim), lambda: cluster.start(victim))


def make_pause(random, cluster, victim):
    long = random.random() < LONG_PAUSE_SHARE
    return Fault("pause", victim, f"{'long' if long else 'short'} pause of node {victim}",
                 random.uniform(*(LONG_PAUSE_S if long else SHORT_PAUSE_S)),
                 lambda: cluster.pause(victim), lambda: cluster.resume(victim))


def make_partition(random, cluster, victim, single):
    """One node cut off, or one link, or (not as a single fault) two nodes from three."""
    others = [node for node in cluster.nodes() if node != victim]
    random.shuffle(others)
    shape = random.choice(("node", "node", "link") if single else ("node", "link", "halves"))
    side = [victim, others[0]] if shape == "halves" else [victim]
    far = others[:1] if shape == "link" else [node for node in others if node not in side]
    out = [(a, b) for a in side for b in far]
    back = [(b, a) for a, b in out]
    one_way = random.random() < ONE_WAY_SHARE
    pairs = random.choice((out, back)) if one_way else out + back
    way = " one way" if one_way and pairs is out else " one way, inwards" if one_way else ""
    fault = Fault("partition", victim, f"cut of {shape} {side} from {far}{way}",
                  random.uniform(*CUT_S), lambda: cluster.network.cut(pairs),
                  lambda: cluster.network.mend(pairs))
    fault.one_way = one_way
    return fault


def make(random, cluster, kind, victim, single):
    if kind == "kill":
        return make_kill(random, cluster, victim)
    if kind == "pause":
        return make_pause(random, cluster, victim)
    return make_partition(random, cluster, victim, single)


def draw_episode(random, cluster, left):
    """[(seconds from now, fault)]; `left`: how many of each kind are still wanted, counted down."""
    single = random.random() < SINGLE_SHARE
    count = 1 if single else random.randint(*OVERLAP)
    episode, busy = [], set()
    for _ in range(min(count, sum(left.values()))):
        kind = random.choices(KINDS, [left[kind] for kind in KINDS])[0]
        free = [node for node in cluster.nodes() if kind == "partition" or node not in busy]
        victim = random.choice(free)
        if kind != "partition":
            busy.add(victim)  # one process is killed or paused once at a time
        left[kind] -= 1
        # All at the same moment is as likely as one after the other.
        moment = 0.0 if single else random.choice((0.0, random.uniform(0, OVERLAP_S)))
        episode.append((moment, make(random, cluster, kind, victim, len(episode) == 0 and single)))
    return episode


def live_through(episode, now_us, watch=lambda: None):
    """Begins and ends each fault at its moment; returns when the last has ended. `watch` is called
    between."""
    began, order = time.monotonic(), itertools.count()
    moments = [(moment, next(order), fault, True) for moment, fault in episode]
    heapq.heapify(moments)
    while moments:
        moment, _, fault, begins = heapq.heappop(moments)
        while (left := began + moment - time.monotonic()) > 0:
            watch()
            time.sleep(min(left, 0.2))
        if begins:
            fault.began_us = now_us()
            fault.begin()
            fault.struck_us = now_us()
            heapq.heappush(moments, (time.monotonic() - began + fault.seconds, next(order), fault,
                                     False))
        else:
            fault.end()
            fault.ended_us = now_us()
    watch()
