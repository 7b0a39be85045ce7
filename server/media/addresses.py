"""Which addresses the server may connect to on a client's behalf.

The check is made on the address that is about to be connected to, not on the URL's text: redirects,
names that change their answer between two look-ups, and odd spellings of 127.0.0.1 all arrive here
as an IP address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]

# Never a web server anyone meant: "this network", link-local (cloud metadata lives there, at the
# two single addresses and at 192.0.0.192), multicast. Python 3.11.7 takes all of 192.0.0.0/24 but
# its first eight for global, and the local form of NAT64 too.
_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "64:ff9b:1::/48",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "100.100.100.200/32",
        "::/128",
        "fe80::/10",
        "ff00::/8",
        "fd00:ec2::254/128",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(httpcore.ConnectError):
    """The address may not be connected to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """What may be connected to."""

    loopback: bool
    """Addresses of this machine: sensible only while nobody else can submit requests."""
    private: bool = True
    """Addresses of the local network, where a studio's own services are."""
    public: bool = True

    def allows(self, address: str) -> bool:
        """Return whether the IP address *address* may be connected to."""
        ip = unwrapped(address)
        if any(ip.version == net.version and ip in net for net in _NEVER):
            return False
        if ip.is_loopback:
            return self.loopback
        return self.public if ip.is_global else self.private

    def permits(self, _host: str, _port: int, address: str) -> bool:
        """Return whether *address* may be connected to, whatever it was found by."""
        return self.allows(address)


class Policy(Protocol):
    """Decides about one address at a time."""

    def permits(self, host: str, port: int, address: str, /) -> bool:
        """Return whether *address* may be connected to, at which *host* was found."""
        ...


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only where *policy* allows, and to the very address that was checked."""

    def __init__(self, policy: Policy, resolve: Resolver | None = None) -> None:
        self._policy = policy
        self._resolve = resolve or resolve_name
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve *host*, check every answer, and connect to the first.

        Raises:
            AddressRefused: If any of the answers is not allowed: a name that points half inside
                and half outside is not a mistake to be generous about.
        """
        addresses = self._resolve(host, port)
        if not addresses or not all(self._policy.permits(host, port, ip) for ip in addresses):
            msg = "the address is not allowed"
            raise AddressRefused(msg)
        return self._sockets.connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def resolve_name(host: str, port: int) -> list[str]:
    """Return the IP addresses of *host* in the resolver's order.

    Raises:
        httpcore.ConnectError: If the name has none, or is no name at all.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # UnicodeError: names such as "." that the IDNA codec chokes on.
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return [str(answer[4][0]) for answer in answers]


def unwrapped(address: str) -> Address:
    """Return the IP address *address*, or the IPv4 one inside it if it wears IPv6 clothes."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    # ::a.b.c.d, the deprecated IPv4-compatible form; :: and ::1 are not meant.
    if inner is None and 1 < int(ip) < 2**32:
        inner = ipaddress.IPv4Address(int(ip))
    return inner or ip
