# SPDX-License-Identifier: MIT
"""Whom to ask when nobody is known to lead the key: the members that were given and those that
answers have named, the ones that failed last."""

from __future__ import annotations

from typing import Collection, Iterable, List

MEMBERS_MAX = 256


def parse_address(address: str) -> "tuple[str, int]":
    """(host, port) of "host:port". ValueError: it is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address of a member: host:port, as 127.0.0.1:4001")
    return host.strip("[]"), int(port)


class Members:
    """Addresses in the order in which they are asked."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._order: List[str] = list(dict.fromkeys(addresses))
        if not self._order:
            raise ValueError("give at least one member, host:port")
        for address in self._order:
            parse_address(address)
        self._given = frozenset(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def choose(self, without: Collection[str] = ()) -> str:
        """The next to ask, one of `without` only when there is no other."""
        return next((one for one in self._order if one not in without), self._order[0])

    def all_in(self, addresses: Collection[str]) -> bool:
        """Whether there is nobody else."""
        return all(one in addresses for one in self._order)

    def learn(self, address: str) -> None:
        """An answer named it."""
        if not address or address in self._order:
            return
        try:
            parse_address(address)
        except ValueError:
            return
        if len(self._order) >= MEMBERS_MAX:
            old = next((one for one in reversed(self._order) if one not in self._given), None)
            if old is None:
                return
            self._order.remove(old)
        self._order.append(address)

    def avoid(self, address: str) -> None:
        """Others first, from now on."""
        if address in self._order:
            self._order.remove(address)
            self._order.append(address)
