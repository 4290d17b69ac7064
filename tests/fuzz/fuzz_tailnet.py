# SPDX-License-Identifier: MIT
"""Fuzzer of what the launcher understands of `tailscale status --json`: whatever it says, this host's
address is an IPv4 one or there is a reason, and what is shown of it to people is one short line of
letters that are seen."""

import copy
import ipaddress
import json
import sys
from pathlib import Path

import mutate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy"))

from launcher import tailnet  # noqa: E402

TOKENS = [token.encode() for token in (
    *'{}[],:"', "{}", "[]", "null", "true", "false", "0", "-1", "1e999", "NaN", "9" * 5000, '""', '"a"',
    '"BackendState":', '"Running"', '"Self":{', '"Online":true', '"Online":false', '"Peer":{', '"Tags":',
    '"tag:x"', '"HostName":', '"TailscaleIPs":', '"100.64.0.1"', '"fd7a::1"', '"1.2.3"', "[" * 3000,
    "\\u001b[31m", "\\u202e", "\\u2028", "\\ud800", "\\u0000", "\ufeff", "\n", '"k":{"Online":true}')]
TOKENS += [b"\xff\xfe", b"\x80", b"\x1b", b"\0"]
SHOWN_MAX = 200


VALUES = (None, True, False, 0, -1, 1e999, 10 ** 40, "", "a", "x" * 300, "\x1b[31m", "\u202e", "\ud800", "Running",
          "Stopped", "100.64.0.9", "fd7a::1", "tag:x", [], {}, [None], ["100.64.0.9"], ["tag:x"],
          {"Online": True, "TailscaleIPs": ["100.64.0.9"]})


def places(value):
    """(container, key) of every part of a value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def mutate_form(chance, data):
    """JSON with one to four values that are others, gone, or there under another name."""
    status = tailnet.read(data)[0]
    for _ in range(chance.randint(1, 4)):
        found = list(places(status))
        if not found:
            break
        container, key = chance.choice(found)
        what = chance.randrange(4)
        if what < 2:
            container[key] = copy.deepcopy(chance.choice(VALUES))
        elif what == 2:
            del container[key]
        else:
            other, name = chance.choice(found)
            container[key] = copy.deepcopy(other[name])
    return json.dumps(status).encode()


def shown(text):
    assert isinstance(text, str) and text.isprintable() and len(text) <= SHOWN_MAX, repr(text)


def target(data):
    status, problem = tailnet.read(data)
    assert (status is None) == bool(problem)
    address, state = tailnet.own_address(status)
    shown(tailnet.reason(problem or state))
    assert address is None or state == tailnet.RUNNING and ipaddress.IPv4Address(address)
    for tag in ("", "tag:x"):
        found = tailnet.peers(status, tag)
        for peer in found:
            shown(peer.name)
            assert ipaddress.IPv4Address(peer.address) and (not tag or tag in peer.tags)
        assert found == sorted(found, key=lambda peer: (peer.name, peer.address))


if __name__ == "__main__":
    sys.exit(mutate.run(target, TOKENS, mutate_form))
