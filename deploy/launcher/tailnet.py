# SPDX-License-Identifier: MIT
"""Tailscale, as `tailscale status --json` tells of it: this host's address, why there is none, and
the other hosts that are online. The format is not frozen: everything in it may be missing, or of
another type."""

import ipaddress
import json
import shutil
import subprocess
from dataclasses import dataclass

TIMEOUT_S = 5
STATE_LETTERS_MAX = 40
NAME_LETTERS_MAX = 63
NETWORK = ipaddress.ip_network("100.64.0.0/10")
RUNNING = "Running"
NOT_INSTALLED = "not installed"
NOT_ANSWERING = "not answering"
# What a state that is not RUNNING means for this host, and what to do.
REASONS = {
    NOT_INSTALLED: "Tailscale is not installed here",
    "Stopped": "Tailscale is stopped here (start it: tailscale up)",
    "NeedsLogin": "Tailscale is logged out here (log in: tailscale up)",
    "NeedsMachineAuth": "an administrator of the tailnet has not approved this machine yet",
    "Starting": "Tailscale is only starting here (try again in some seconds)",
    "NoState": "Tailscale has not begun here (start it: tailscale up)",
    "offline": "Tailscale has no connection to its network here (look: tailscale status)",
    "without an IPv4 address": "Tailscale has given this machine IPv6 addresses only, and nodes need "
                               "an IPv4 one (allow IPv4 in the tailnet's policy, or set HOST)",
    NOT_ANSWERING: "tailscale status does not answer here (is tailscaled running?)",
}


@dataclass(frozen=True)
class Peer:
    name: str
    address: str  # IPv4
    tags: tuple


def reason(state):
    return REASONS.get(state, f"Tailscale is in the state {state} here (look: tailscale status)")


def ipv4_of(host):
    """Of an entry of the status, or None."""
    addresses = host.get("TailscaleIPs")
    for text in addresses if isinstance(addresses, list) else []:
        try:
            if isinstance(text, str):
                return str(ipaddress.IPv4Address(text))
        except ValueError:
            continue
    return None


def name_of(host, otherwise):
    """Its name as people may see it: other hosts choose what it says."""
    name = host.get("HostName")
    if not isinstance(name, str) or not name:
        return otherwise
    return "".join(letter if letter.isprintable() else "?" for letter in name[:NAME_LETTERS_MAX])


def own_address(status):
    """(IPv4 address or None, the state in a word). That an address is listed says nothing: it stays
    when Tailscale is stopped."""
    if not isinstance(status, dict):
        return None, "unknown"
    state = status.get("BackendState")
    if state != RUNNING:
        known = isinstance(state, str) and state.isalpha() and len(state) <= STATE_LETTERS_MAX
        return None, state if known else "unknown"
    own = status.get("Self")
    if not isinstance(own, dict) or own.get("Online") is not True:
        return None, "offline"
    address = ipv4_of(own)
    return address, RUNNING if address else "without an IPv4 address"


def peers(status, tag=""):
    """The other hosts that are online and have an IPv4 address, those with the tag if one is given,
    by name."""
    entries = status.get("Peer") if isinstance(status, dict) else None
    found = []
    for entry in entries.values() if isinstance(entries, dict) else []:
        if not isinstance(entry, dict) or entry.get("Online") is not True:
            continue
        tags = entry.get("Tags")
        tags = tuple(each for each in tags if isinstance(each, str)) if isinstance(tags, list) else ()
        address = ipv4_of(entry)
        if address and (not tag or tag in tags):
            found.append(Peer(name_of(entry, address), address, tags))
    return sorted(found, key=lambda peer: (peer.name, peer.address))


def read(answer):
    """The same as status(), of the bytes that the command wrote."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    return (None, NOT_ANSWERING) if found is None else (found, "")


def status():
    """(the answer of `tailscale status --json` or None, why there is none)"""
    if not shutil.which("tailscale"):
        return None, NOT_INSTALLED
    try:
        answer = subprocess.run(["tailscale", "status", "--json"], capture_output=True,
                                timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None, NOT_ANSWERING
    return read(answer.stdout)


def find_own():
    """The same as own_address(), asked now."""
    answer, problem = status()
    return (None, problem) if problem else own_address(answer)
