"""What a certificate is found by: octets whose order makes every question of the inventory one range.

A term is a letter for its kind and a key. Names turn their most general part to the front (`com.example.www`),
so that everything below a domain, at a mail domain, under a URI or in a network lies side by side. Letter
case does not count.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from provisor.core.names import NameKind, classify_san
from provisor.errors import BadRequest

_NAME: Final = b"n"
_FINGERPRINT: Final = b"f"
_KEY: Final = b"k"
_PROVISIONER: Final = b"p"
_LINEAGE: Final = b"l"
_EXPIRY: Final = b"e"

_DIGEST_OCTETS: Final = 16
_LATEST: Final = 2**63 - 1
_LONGEST_PLAIN: Final = 255

_KINDS: Final = {NameKind.DNS: b"nd", NameKind.IP: b"ni", NameKind.EMAIL: b"ne", NameKind.URI: b"nu"}
EVERYTHING: Final = "*"


class TermRange(Struct, frozen=True):
    """All terms from `low` on and below `high`. A single term has `exact`."""

    low: bytes
    high: bytes
    exact: bool = False

    def holds(self, term: bytes) -> bool:
        return self.low <= term < self.high

    def first_of(self, terms: Iterable[bytes]) -> bytes | None:
        """The least of the terms that lie inside, None if none does."""
        return min((term for term in terms if self.holds(term)), default=None)


def one(term: bytes) -> TermRange:
    """The range that holds this term alone."""
    return TermRange(term, term + b"\x00", exact=True)


def _beginning_with(prefix: bytes) -> TermRange:
    """Every term that begins so; the last octet of a prefix is never 0xff."""
    return TermRange(prefix, prefix[:-1] + bytes((prefix[-1] + 1,)))


# -- the terms of a certificate -----------------------------------------------------------------


def name_term(text: str) -> bytes:
    """The term of a subject alternative name as it is written; b"" for an empty one."""
    name = classify_san(text)
    if name is None:
        return b""
    if name.kind is NameKind.DNS:
        return _bounded(b"nd" + _reversed_labels(name.value))
    return _bounded(_KINDS[name.kind] + _name_key(name.kind, name.value))


def _name_key(kind: NameKind, value: str) -> bytes:
    if kind is NameKind.IP:
        return _packed(value)
    if kind is NameKind.EMAIL:
        local, _, domain = value.rpartition("@")
        return _reversed_labels(domain) + b"@" + _octets(local.lower())
    return _octets(value.lower())


def _reversed_labels(domain: str) -> bytes:
    """`www.Example.com.` as `com.example.www`."""
    labels = domain.lower().removesuffix(".").split(".")
    labels.reverse()
    return _octets(".".join(labels))


def _packed(address: str) -> bytes:
    parsed = ipaddress.ip_address(address)
    return b"%d" % parsed.version + parsed.packed


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _bounded(term: bytes) -> bytes:
    """A term of bounded length: no index takes a key of any length. What is cut off is hashed."""
    if len(term) <= _LONGEST_PLAIN:
        return term
    return term[:_LONGEST_PLAIN] + hashlib.sha256(term).digest()[:_DIGEST_OCTETS]


def fingerprint_term(digest: bytes) -> bytes:
    """`digest`: SHA-256 of the certificate."""
    return _FINGERPRINT + digest[:_DIGEST_OCTETS]


def key_term(digest: bytes) -> bytes:
    """`digest`: SHA-256 of the SubjectPublicKeyInfo."""
    return _KEY + digest[:_DIGEST_OCTETS]


def provisioner_term(name: str) -> bytes:
    return _bounded(_PROVISIONER + _octets(name))


def lineage_term(serial: int) -> bytes:
    """`serial`: of the first certificate of the line."""
    return _LINEAGE + serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)


def expiry_term(not_after: int) -> bytes:
    """`not_after` in unix seconds; before 1970 counts as 1970."""
    return _EXPIRY + min(max(not_after, 0), _LATEST).to_bytes(8, "big")


def certificate_terms(
    *, names: Iterable[str], fingerprint: bytes, key: bytes, provisioner: str, lineage: int, not_after: int
) -> set[bytes]:
    """Every term of one certificate. `fingerprint` and `key` are SHA-256 digests, `not_after` unix seconds."""
    terms = {name_term(name) for name in names}
    terms.discard(b"")
    terms.add(fingerprint_term(fingerprint))
    terms.add(key_term(key))
    terms.add(provisioner_term(provisioner))
    terms.add(lineage_term(lineage))
    terms.add(expiry_term(not_after))
    return terms


# -- what is searched for -----------------------------------------------------------------------


def expiring(since: int | None, before: int | None) -> TermRange:
    """Certificates that end at `since` or later, and before `before` (unix seconds; None: no bound)."""
    low = _EXPIRY if since is None else expiry_term(since)
    return TermRange(low, b"f" if before is None else expiry_term(before))


def parse_name_pattern(text: str) -> TermRange | None:
    """The range of a name or pattern; None for `*`, which stands for every certificate.

    ``*.example.com`` is every DNS name below the domain, not the domain itself; ``*@example.com`` every address at
    it; ``10.0.0.0/8`` every address of a network; ``spiffe://example.com/*`` every URI that begins so. Anything
    else is one name, in any letter case. Raises `BadRequest` for another use of the asterisk.
    """
    if text == EVERYTHING:
        return None
    if not text:
        raise BadRequest("name is empty: leave it out to find every certificate")
    found = _parse_network(text) or _parse_wildcard(text)
    if found is not None:
        return found
    return one(name_term(text))


def _parse_network(text: str) -> TermRange | None:
    address, slash, bits = text.partition("/")
    if not slash or not bits.isascii() or not bits.isdigit() or "*" in text:
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return None
        raise BadRequest(f"{text[:100]} is no network: an address has not so many bits") from None
    low = b"ni" + _packed(str(network.network_address))
    return TermRange(low, b"ni" + _packed(str(network.broadcast_address)) + b"\x00")


def _parse_wildcard(text: str) -> TermRange | None:
    """None if there is no asterisk in it. Raises `BadRequest` where it stands for no range."""
    if "*" not in text:
        return None
    before, _, after = text.partition("*")
    if "*" in after:
        raise _misplaced(text)
    if not before and after.startswith(".") and _is_domain(after[1:]):
        return _whole(b"nd" + _reversed_labels(after[1:]) + b".", text)
    if not before and after.startswith("@") and _is_domain(after[1:]):
        return _whole(b"ne" + _reversed_labels(after[1:]) + b"@", text)
    if not after and "://" in before:
        return _whole(b"nu" + _octets(before.lower()), text)
    raise _misplaced(text)


def _is_domain(text: str) -> bool:
    return all(text.removesuffix(".").split(".")) and not set(text) & set("@/:")


def _whole(prefix: bytes, text: str) -> TermRange:
    if len(prefix) > _LONGEST_PLAIN:
        raise BadRequest(f"{text[:100]}... is too long for a pattern")
    return _beginning_with(prefix)


def _misplaced(text: str) -> BadRequest:
    return BadRequest(
        f"{text[:100]} is no pattern: write *.example.com, *@example.com, 10.0.0.0/8, spiffe://example.com/* or *"
    )


def parse_digest(text: str, what: str) -> bytes:
    """A SHA-256 digest in hex; colons, spaces and letter case do not matter. Raises `BadRequest`."""
    plain = text.replace(":", "").replace(" ", "")
    try:
        digest = bytes.fromhex(plain) if plain.isascii() else b""
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise BadRequest(f"{what} is no SHA-256 digest in hex (64 digits): {text[:100]}")
    return digest
