# SPDX-License-Identifier: MIT
"""Which addresses JOIN means: a host without a port, `tailscale`, or nobody.

A host that finds nobody creates nothing: a second ring is made only when somebody says --create.
"""

import ipaddress
from concurrent.futures import ThreadPoolExecutor

from . import joining, tailnet
from .common import EXIT_BAD_SETTING, Refused
from .settings import JOIN_MAX

TAILSCALE = "tailscale"  # or tailscale:TAG
PROBES = 64              # at a time
PROBE_TIMEOUT_S = 1
PORTS = 8    # of a host that are tried
HOSTS_MAX = 64


def node_ports(settings):
    """Where a host with the same settings has its nodes."""
    first = settings["RPC_PORT"] + 1
    return range(first, min(first + PORTS, 65536))


def nodes_of(hosts, ports):
    """{host: [host:port that a node answers at]}, of those where there is one."""
    asked = [(host, f"{host}:{port}") for host in hosts for port in ports]
    with ThreadPoolExecutor(PROBES) as pool:
        problems = list(pool.map(lambda pair: joining.problem_of(pair[1], PROBE_TIMEOUT_S), asked))
    found = {}
    for (host, peer), problem in zip(asked, problems):
        if problem is None:
            found.setdefault(host, []).append(peer)
    return found


def in_turn(found):
    """One of each host before the second of any, so that no host is needed."""
    longest = max(map(len, found.values()), default=0)
    return [peers[i] for i in range(longest) for peers in found.values() if i < len(peers)]


def ports_text(settings):
    ports = node_ports(settings)
    return f"{ports[0]} to {ports[-1]}"


def with_ports(settings):
    """JOIN's hosts, each with a port where a node answers, or the first that could be one's."""
    seeds = joining.seeds_of(settings["JOIN"])
    bare = [seed for seed in seeds if ":" not in seed]
    found = nodes_of(bare, node_ports(settings)) if bare else {}
    return [seed if ":" in seed else
            found.get(seed, [f"{seed}:{settings['RPC_PORT'] + 1}"])[0] for seed in seeds]


def tag_of(join):
    return join.partition(":")[2]


def of_tailnet(settings, say):
    """Nodes of the other hosts of this tailnet; also says who was asked."""
    status, problem = tailnet.status()
    if not problem:
        address, problem = tailnet.own_address(status)
        problem = "" if address else problem
    if problem:
        raise joining.bad_join(settings, f"cannot be followed: {tailnet.reason(problem)}")
    tag = tag_of(settings["JOIN"])
    peers = tailnet.peers(status, tag)[:HOSTS_MAX]
    found = nodes_of([peer.address for peer in peers], node_ports(settings))
    names = {peer.address: peer.name for peer in peers}
    if found:
        say("Nodes of other hosts: " + ", ".join(
            f"{names[host]} ({peers[0]}{' and more' if len(peers) > 1 else ''})"
            for host, peers in found.items()))
    return in_turn(found)[:JOIN_MAX], sorted(names.values())


def nobody(settings, asked):
    whom = f"asked: {', '.join(asked[:8])}{' and more' if len(asked) > 8 else ''}" if asked else \
        "no other host is online" + (" with that tag" if tag_of(settings["JOIN"]) else "")
    return joining.bad_join(
        settings, f"finds nobody: no host of this tailnet has a node at the ports "
        f"{ports_text(settings)} ({whom}). Start the ring's first host before, or make a new ring "
        "here with --create")


def refuse_second_ring(settings):
    """Other hosts of the tailnet have nodes, and this start would make a ring beside theirs."""
    status, problem = tailnet.status()
    peers = [] if problem else tailnet.peers(status)[:HOSTS_MAX]
    found = in_turn(nodes_of([peer.address for peer in peers], node_ports(settings)))
    if found:
        raise Refused(f"there are nodes in this tailnet already ({', '.join(found[:3])}), and this "
                      "start would make a ring of its own beside them: join them with --join "
                      "tailscale, or make a second ring with --create", EXIT_BAD_SETTING)


def check_create(settings, fresh):
    if not fresh:
        raise Refused(f"--create makes a new ring, and {settings['DATA_DIR']} holds nodes of one: "
                      "start without it, or with another --data-dir", EXIT_BAD_SETTING)
    if settings["JOIN"] and not is_tailscale(settings["JOIN"]):
        raise joining.bad_join(settings, "names a ring to join, and --create makes a new one: give "
                               "one of the two")


def is_tailscale(join):
    return join.partition(":")[0] == TAILSCALE


def choose(settings, fresh, create, say):
    """Makes JOIN what the programs take: HOST:PORT, with commas, or nothing. fresh: no node here has
    data, so they need a member, or make a ring."""
    if create:
        check_create(settings, fresh)
    if is_tailscale(settings["JOIN"]):
        found, asked = of_tailnet(settings, say)
        if not found and fresh and not create:
            raise nobody(settings, asked)
        if found and create:
            raise joining.bad_join(settings, f"finds a ring ({', '.join(found[:3])}), and --create "
                                   "makes a new one: give one of the two")
        settings.values["JOIN"] = ",".join(found)
        settings.origin["JOIN"] = "tailscale status"
    elif settings["JOIN"]:
        settings.values["JOIN"] = ",".join(with_ports(settings))
    elif fresh and not create and ipaddress.IPv4Address(settings["HOST"]) in tailnet.NETWORK:
        refuse_second_ring(settings)
