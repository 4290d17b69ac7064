# SPDX-License-Identifier: MIT
"""Whom this host joins: what can be told about JOIN's addresses (seeds) before a node starts.

A join that cannot work is refused here by the seed's name: this host's own nodes, an unknown name,
a port that is no node's, another ring key, addresses that the others could not dial.
"""

import ipaddress
import json
import socket
import subprocess

from .common import EXIT_BAD_SETTING, Refused

PROBE_TIMEOUT_S = 3
ASK_TIMEOUT_MS = 3000
# The first bytes of both sides of a connection (proto/README.md): who asks, who answers.
HELLO_OF_CLIENT = b"\0SP\0\0\x30\0\0"
HELLO_OF_NODE = b"\0SP\0\0\x31\0\0"


def seeds_of(text):
    return [peer for peer in text.split(",") if peer]


def resolve(host):
    """The IPv4 address of a name; raises OSError."""
    return socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]


def receive(connection, count):
    data = b""
    while len(data) < count and (part := connection.recv(count - len(data))):
        data += part
    return data


def problem_of(peer, timeout_s=PROBE_TIMEOUT_S):
    """Why a seed cannot be joined, or None when a node listens there."""
    host, _, port = peer.rpartition(":")
    try:
        address = resolve(host)
    except OSError as error:
        return f"the name {host} is unknown ({error.strerror or error})"
    try:
        with socket.create_connection((address, int(port)), timeout_s) as connection:
            connection.sendall(HELLO_OF_CLIENT)
            if receive(connection, len(HELLO_OF_NODE)) == HELLO_OF_NODE:
                return None
    except (TimeoutError, ConnectionResetError):
        pass
    except OSError as error:
        return f"{error.strerror or error}"
    return ("something listens there that is no node, perhaps a dashboard or its gateway: node i of "
            "a host listens on its RPC_PORT+i, node 1 on 4001 by default")


def is_loopback(host):
    try:
        return ipaddress.IPv4Address(resolve(host)).is_loopback
    except (OSError, ValueError):
        return None


def bad_join(settings, text):
    return Refused(f"JOIN={settings['JOIN']} (from {settings.origin['JOIN']}) {text}",
                   EXIT_BAD_SETTING)


def others(settings, slots):
    """The seeds without this host's own nodes; one JOIN for all hosts may name them."""
    own = {settings.rpc_address(slot) for slot in range(1, slots + 1)}
    found = []
    for peer in seeds_of(settings["JOIN"]):
        host, _, port = peer.rpartition(":")
        try:
            resolved = f"{resolve(host)}:{int(port)}"
        except OSError:
            resolved = peer
        if resolved not in own:
            found.append(peer)
    return found


def check_addresses(settings, seeds):
    """Members must be able to dial each other: loopback and the network do not mix."""
    own = ipaddress.IPv4Address(settings["HOST"]).is_loopback
    for peer in seeds:
        loopback = is_loopback(peer.rpartition(":")[0])
        if loopback is None or loopback == own:
            continue
        if own:
            raise Refused(f"HOST={settings['HOST']} ({settings.origin['HOST']}) is an address that "
                          f"only this machine can dial, so the members at {peer} could not reach "
                          "its nodes: start Tailscale (tailscale up), or set HOST to this host's "
                          "address in their network", EXIT_BAD_SETTING)
        raise bad_join(settings, f"names {peer}, which only this machine can dial, while HOST is "
                       f"{settings['HOST']}: give that ring's address in the network, or set "
                       "HOST=127.0.0.1")


def check(settings, slots, fresh):
    """Before anything is built. fresh: no node here has data, so they need a member."""
    if not settings["JOIN"]:
        return
    seeds = others(settings, slots)
    if not seeds and fresh:
        raise bad_join(settings, "names this host's own nodes: give a node of another host, or "
                       "leave JOIN empty to create a ring")
    check_addresses(settings, seeds)
    problems = [f"{peer}: {problem}" for peer in seeds if (problem := problem_of(peer))]
    if fresh and len(problems) == len(seeds):
        raise Refused(f"nobody to join answers ({'; '.join(problems)}): start that ring first, "
                      "check JOIN (a node's address such as 127.0.0.1:4001, not its dashboard's), "
                      "or leave JOIN empty to create a ring")


def ask(programs, settings, peer):
    """(ring id or None, why not) of a seed, with our ring key."""
    arguments = [str(programs.chordctl), "node", "--node", peer, "-o", "json", "--timeout",
                 str(ASK_TIMEOUT_MS)]
    if settings["RING_KEY_FILE"]:
        arguments += ["--ring-key-file", str(settings["RING_KEY_FILE"])]
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=ASK_TIMEOUT_MS / 1000 + 5,
                              env=settings.environment())
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    ring_id = answer.get("ring_id") if isinstance(answer, dict) else None
    return ring_id, done.stderr.strip().removeprefix("chordctl: ")


def check_ring(programs, settings, slots, fresh, remembered):
    """After the build: the key is right, and old data is not put beside another ring. remembered:
    the ring id of this host's data, "" when nobody knows it."""
    if not settings["JOIN"]:
        return
    refusals = []
    for peer in others(settings, slots):
        ring_id, problem = ask(programs, settings, peer)
        if ring_id is None:
            refusals.append(f"{peer}: {problem}")
            continue
        if remembered and ring_id != remembered:
            raise bad_join(settings, f"is of ring {ring_id}, but {settings['DATA_DIR']} holds data "
                           f"of ring {remembered}, which would stay in its own ring: start without "
                           f"JOIN and bring the two together with chordctl merge --from "
                           f"{settings.rpc_address(1)} --into {peer}, or give the old data up with "
                           "python3 init.py reset")
        return
    if fresh and refusals:
        raise Refused(f"no seed lets this host in ({'; '.join(refusals)}); a ring key must be the "
                      "same file on every host (RING_KEY_FILE)")
