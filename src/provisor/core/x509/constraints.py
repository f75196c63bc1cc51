"""Name constraints of the issuing chain (RFC 5280 section 4.2.1.10), with the verdicts and texts of step-ca.

The lists of all certificates of the chain are concatenated: an excluded match refuses, and where there
is a permitted list of a kind one of it has to match. Kinds without constraints are free. The common
name is not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.general_names import Tag
from provisor.core.x509.matching import (
    domain_matches,
    mailbox_matches,
    parse_mailbox,
    quote,
    refusal,
    uri_matches,
)
from provisor.errors import Malformed, Unencodable

_MAPPED = bytes(10) + b"\xff\xff"

T = TypeVar("T")


class AddressRange(Struct, frozen=True):
    """Addresses that agree with `address` in their first `prefix` bits. 4 or 16 octets; only the same length agrees."""

    address: bytes
    prefix: int

    def holds(self, address: bytes) -> bool:
        if len(address) != len(self.address):
            return False
        differs = int.from_bytes(address, "big") ^ int.from_bytes(self.address, "big")
        return differs >> (8 * len(address) - self.prefix) == 0

    def __str__(self) -> str:
        return f"{ipaddress.ip_address(self.address)}/{self.prefix}"


class NameConstraints(Struct, frozen=True):
    """What is permitted and excluded: domains, address ranges, mailboxes or their domains, hosts of URIs.

    `others`: there are constraints on kinds of name that Provisor does not put into certificates.
    """

    permitted_dns: tuple[str, ...] = ()
    excluded_dns: tuple[str, ...] = ()
    permitted_ip: tuple[AddressRange, ...] = ()
    excluded_ip: tuple[AddressRange, ...] = ()
    permitted_email: tuple[str, ...] = ()
    excluded_email: tuple[str, ...] = ()
    permitted_uri: tuple[str, ...] = ()
    excluded_uri: tuple[str, ...] = ()
    others: bool = False

    @property
    def is_free(self) -> bool:
        return self == _FREE

    def check_names(self, names: Iterable[Name]) -> None:
        """Raises `NameConstrained` for the first name that is not allowed, in the order dns, ip, email, uri.

        Raises `Unencodable` for an email address that is none.
        """
        if self.is_free:
            return
        given = tuple(names)
        for kind, check in (
            (NameKind.DNS, self._check_dns),
            (NameKind.IP, self._check_ip),
            (NameKind.EMAIL, self._check_email),
            (NameKind.URI, self._check_uri),
        ):
            for name in given:
                if name.kind is kind:
                    check(name.value)

    def _check_dns(self, name: str) -> None:
        _check("DNS name", name, self.excluded_dns, self.permitted_dns, lambda c: domain_matches(name, c))

    def _check_ip(self, name: str) -> None:
        address = _unmapped(ipaddress.ip_address(name).packed)
        text = str(ipaddress.ip_address(address))
        _check("IP address", text, self.excluded_ip, self.permitted_ip, lambda c: c.holds(address))

    def _check_email(self, name: str) -> None:
        if not self.excluded_email and not self.permitted_email:
            return
        mailbox = parse_mailbox(name)
        if mailbox is None:
            # step-ca: answered as an internal error, not as a refusal.
            raise Unencodable(f"cannot parse rfc822Name {quote(name)}")
        _check("Email address", name, self.excluded_email, self.permitted_email, lambda c: mailbox_matches(mailbox, c))

    def _check_uri(self, name: str) -> None:
        _check("URI", name, self.excluded_uri, self.permitted_uri, lambda c: uri_matches(name, c))


_FREE = NameConstraints()


def _check(kind: str, name: str, excluded: Sequence[T], permitted: Sequence[T], matches: Callable[[T], bool]) -> None:
    for constraint in excluded:
        if matches(constraint):
            raise refusal(f"{kind} {quote(name)} is excluded by constraint {quote(str(constraint))}")
    if permitted and not any(matches(constraint) for constraint in permitted):
        raise refusal(f"{kind} {quote(name)} is not permitted by any constraint")


def _unmapped(address: bytes) -> bytes:
    return address[12:] if address.startswith(_MAPPED) and len(address) == 16 else address


# -- reading ----------------------------------------------------------------------------------------


@asn1.sequence
class _Subtree:
    base: asn1.TLV
    minimum: Annotated[int | None, asn1.Implicit(0)]
    maximum: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class _Constraints:
    permitted: Annotated[list[_Subtree] | None, asn1.Implicit(0)]
    excluded: Annotated[list[_Subtree] | None, asn1.Implicit(1)]


class _Subtrees(Struct):
    dns: list[str] = []
    ip: list[AddressRange] = []
    email: list[str] = []
    uri: list[str] = []
    others: bool = False


def join_constraints(chain: Iterable[Certificate]) -> NameConstraints:
    """The constraints of every certificate of the chain together. Raises `Malformed`."""
    permitted, excluded = _Subtrees(), _Subtrees()
    for certificate in chain:
        value = certificate.extension(oids.NAME_CONSTRAINTS)
        if value is None:
            continue
        try:
            shape = asn1.decode_der(_Constraints, value)
            _sort(shape.permitted or (), permitted)
            _sort(shape.excluded or (), excluded)
        except ValueError as error:
            raise Malformed(f"name constraints: {error}") from error
    return NameConstraints(
        permitted_dns=tuple(permitted.dns),
        excluded_dns=tuple(excluded.dns),
        permitted_ip=tuple(permitted.ip),
        excluded_ip=tuple(excluded.ip),
        permitted_email=tuple(permitted.email),
        excluded_email=tuple(excluded.email),
        permitted_uri=tuple(permitted.uri),
        excluded_uri=tuple(excluded.uri),
        others=permitted.others or excluded.others,
    )


def _sort(subtrees: Iterable[_Subtree], into: _Subtrees) -> None:
    for subtree in subtrees:
        if subtree.minimum or subtree.maximum is not None:
            raise ValueError("a subtree has a minimum or a maximum")
        match subtree.base.tag_bytes[0]:
            case Tag.DNS:
                into.dns.append(str(subtree.base.data, "ascii"))
            case Tag.EMAIL:
                into.email.append(str(subtree.base.data, "ascii"))
            case Tag.URI:
                into.uri.append(str(subtree.base.data, "ascii"))
            case Tag.IP:
                into.ip.append(_parse_range(bytes(subtree.base.data)))
            case _:
                into.others = True


def _parse_range(octets: bytes) -> AddressRange:
    """Address and mask, one after the other (RFC 5280 section 4.2.1.10). Raises `ValueError`."""
    if len(octets) not in (8, 32):
        raise ValueError("an address range has 8 or 32 octets")
    half = len(octets) // 2
    address, mask = octets[:half], int.from_bytes(octets[half:], "big")
    prefix = mask.bit_count()
    if mask != ((1 << prefix) - 1) << (8 * half - prefix):
        raise ValueError("an address mask has holes")
    if prefix >= 96 and address.startswith(_MAPPED):
        return AddressRange(address[12:], prefix - 96)
    return AddressRange(address, prefix)
