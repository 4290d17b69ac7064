# SPDX-License-Identifier: MIT
"""The command line: python3 -m chord_dht HOST:PORT put KEY VALUE.

Exit codes: 0 done, 1 no such key, 2 bad arguments, 3 the ring did not answer or refused."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from . import ChordError, Client, messages


def _arguments(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="chord_dht", description="Talks to a Chord ring.",
        epilog="Exit codes: 0 done, 1 no such key, 2 bad arguments, 3 the ring did not answer.")
    parser.add_argument("addresses", metavar="HOST:PORT[,HOST:PORT...]")
    parser.add_argument("command", choices=("get", "put", "delete", "lookup", "status"))
    parser.add_argument("key", nargs="?")
    parser.add_argument("value", nargs="?", help="- reads it from the standard input")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds (5)")
    parser.add_argument("--key-file", help="the ring key (its first line)")
    parsed = parser.parse_args(arguments)
    if parsed.command != "status" and parsed.key is None:
        parser.error(f"{parsed.command} needs a KEY")
    if parsed.command == "put" and parsed.value is None:
        parser.error("put needs a VALUE")
    return parsed


def _no_key(key: str) -> int:
    print(f"no key {key!r}", file=sys.stderr)
    return 1


def _get(client: Client, key: str) -> int:
    found = client.get(key)
    if found is None:
        return _no_key(key)
    sys.stdout.buffer.write(found.value)
    if sys.stdout.isatty():
        print()
    return 0


def _lookup(client: Client, key: str) -> None:
    found = client.lookup(key)
    print(f"key id {found.key_id.hex()}")
    for hop in found.hops:
        print(f"asked  {hop.node.id.hex()} {hop.node.address} {hop.microseconds} us")
    print(f"owner  {found.owner.id.hex()} {found.owner.address}")


def _status(client: Client) -> None:
    client.server_info()  # until a member answers; that one is asked
    answer = client.call("chord.v1.AdminService/Status")
    if answer.code != "OK":
        raise ChordError(answer.code, answer.message, answer.fate, answer.retry_after_ms)
    print(messages.load().admin.StatusResponse.FromString(answer.payload), end="")


def _run(client: Client, parsed: argparse.Namespace) -> int:
    if parsed.command == "get":
        return _get(client, parsed.key)
    if parsed.command == "put":
        value = sys.stdin.buffer.read() if parsed.value == "-" else parsed.value
        print("replaced" if client.put(parsed.key, value).existed else "new")
    elif parsed.command == "delete":
        if not client.delete(parsed.key).existed:
            return _no_key(parsed.key)
        print("deleted")
    elif parsed.command == "lookup":
        _lookup(client, parsed.key)
    else:
        _status(client)
    return 0


def main(arguments: Optional[List[str]] = None) -> int:
    """Returns the exit code."""
    parsed = _arguments(arguments)
    key = b""
    try:
        if parsed.key_file:
            with open(parsed.key_file, "rb") as file:
                key = file.readline().rstrip(b"\r\n")
        with Client(parsed.addresses, timeout=parsed.timeout, key=key) as client:
            return _run(client, parsed)
    except ChordError as error:
        print(f"chord_dht: {error}", file=sys.stderr)
        return 3
    except (OSError, RuntimeError, ValueError) as error:
        print(f"chord_dht: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
