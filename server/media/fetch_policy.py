"""Where the server may fetch from: nothing, unless the operator names it.

fetch_public = true                             the internet, ports 80 and 443
fetch_allow = ["10.20.0.0/16:443",              a network, one port
               "nas01.studio.lan:80,443",       a host
               "127.0.0.1:9000"]                an address that only this exact line allows
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from server.media.addresses import AddressPolicy, unwrapped

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

WEB_PORTS = frozenset({80, 443})
# What a name may lead to: one that suddenly points at this machine, or at the addresses where
# clouds keep their credentials, does not do so on the operator's behalf.
_ELSEWHERE = AddressPolicy(loopback=False)
_PUBLIC = AddressPolicy(loopback=False, private=False)


class BadRule(ValueError):
    """A line of `fetch_allow` cannot be read."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of `fetch_allow`."""

    host: str | None
    network: Network | None
    ports: frozenset[int]

    @classmethod
    def parse(cls, line: str) -> Rule:
        """Read `host`, `address` or `network`, then `:port` or `:port,port` or nothing.

        Raises:
            BadRule: If *line* is neither.
        """
        where, ports = _split(line.strip())
        try:
            numbers = frozenset(int(port) for port in ports.split(",")) if ports else WEB_PORTS
        except ValueError:
            msg = f"fetch_allow: {line!r} has no port number after its colon"
            raise BadRule(msg) from None
        try:
            return cls(None, ipaddress.ip_network(where), numbers)
        except ValueError:
            pass  # a name, then
        if not where or "/" in where or "*" in where:
            msg = f"fetch_allow: {line!r} is no host, address or network (10.20.0.0/16:443)"
            raise BadRule(msg) from None
        return cls(where.lower().rstrip("."), None, numbers)

    def allows(self, host: str, port: int, address: str) -> bool:
        """Return whether this line allows *address*, at which *host* was found."""
        if port not in self.ports:
            return False
        if self.network is None:
            return host == self.host and _ELSEWHERE.allows(address)
        ip = unwrapped(address)
        if ip.version != self.network.version or ip not in self.network:
            return False
        # A wide network must not let in this machine or a cloud's metadata by the way.
        return self.network.num_addresses == 1 or _ELSEWHERE.allows(address)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What the operator allows."""

    public: bool
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, lines: Iterable[str], *, public: bool) -> FetchPolicy:
        """Read the settings `fetch_allow` and `fetch_public`.

        Raises:
            BadRule: If one of the lines cannot be read.
        """
        return cls(public, tuple(Rule.parse(line) for line in lines))

    def permits(self, host: str, port: int, address: str) -> bool:
        """Return whether *address* may be connected to, at which *host* was found."""
        name = host.lower().rstrip(".")
        if any(rule.allows(name, port, address) for rule in self.rules):
            return True
        return self.public and port in WEB_PORTS and _PUBLIC.allows(address)

    def names(self, host: str) -> bool:
        """Return whether *host* may be looked up at all: an unlisted name should not leave."""
        name = host.lower().rstrip(".")
        return self.public or any(rule.network or rule.host == name for rule in self.rules)


def _split(line: str) -> tuple[str, str]:
    """Split *line* before its ports; an IPv6 address with ports stands in brackets."""
    if line.startswith("["):
        where, _, rest = line[1:].partition("]")
        return where + rest.partition(":")[0], rest.partition(":")[2]
    if line.count(":") > 1:
        return line, ""
    where, _, ports = line.partition(":")
    return where, ports
