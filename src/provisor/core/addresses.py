"""IP addresses by what they lead to: into the machine, its cloud, or out (RFC 4291, 6890).

Names and URLs of calls that a CA makes come from strangers or templates, so that the address decides. Bad are loopback,
link-local, unspecified, multicast and metadata addresses, in every form that leads to them: IPv4, IPv6, mapped, NAT64,
6to4, Teredo, ISATAP. Private networks are good: that is where the services of a CA live.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED_V4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an unspecified address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("100.100.100.200/32", "a metadata service"),
        ("168.63.129.16/32", "a metadata service"),
        ("192.0.0.0/24", "an address of the IETF's own protocols"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
_REFUSED_V6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
        ("fd00:ec2::/32", "a metadata service"),
        ("fd20:ce::/32", "a metadata service"),
        ("100::/64", "a discarded address"),
        # Where in it the IPv4 address lies is known to the local translator alone (RFC 8215).
        ("64:ff9b:1::/48", "an address of a local translator"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_LOW: Final = 0xFFFFFFFF


class Allowed(Struct, frozen=True):
    """One entry of `allowedAddresses`; `port` None: every port."""

    network: Network
    port: int | None = None

    def covers(self, address: Address, port: int) -> bool:
        return address in self.network and self.port in (None, port)


def parse_allowed(text: str) -> Allowed:
    """`10.0.0.7`, `10.0.0.0/8`, `127.0.0.1:8443`, `::1` or `[::1]:8443`. Raises `ValueError` for anything else."""
    written, port = text, None
    if text.startswith("["):
        written, _, rest = text[1:].partition("]")
        if not rest.startswith(":"):
            raise ValueError(f"{text!r} is not an address, a network or [address]:port")
        port = _port(rest[1:])
    elif text.count(":") == 1:
        written, _, rest = text.partition(":")
        port = _port(rest)
    try:
        return Allowed(ip_network(written), port)
    except ValueError:
        raise ValueError(f"{text!r} is not an address, a network or an address with a port") from None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def refusal_reason(address: Address) -> str | None:
    """What is wrong with an address as it is written, whatever it may lead to; None: nothing."""
    if isinstance(address, IPv4Address):
        return next((what for network, what in _REFUSED_V4 if address in network), None)
    return next((what for network, what in _REFUSED_V6 if address in network), None)


def embedded(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to: RFC 4291 2.5.5, 6052, 3056, 4380, 5214."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif (address in _COMPATIBLE and number > 1) or address in _NAT64:
        yield IPv4Address(number & _LOW)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    if number >> 32 & _LOW in _ISATAP:
        yield IPv4Address(number & _LOW)
