"""Every way a TLS client certificate can be wrong.

A handshake refuses most of them; the application, which is tested here, believes no handshake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from msgspec import Struct

from support.credentials import SERVER, Party, make_key, make_party
from support.doors import CertificateDoor

_CRITICAL: Final = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True


class WrongCertificate(Struct, frozen=True):
    """`proven`: the holder is known, so the refusal is on record. `revoking` is the status at /revoke, None for yes."""

    make: Callable[[CertificateDoor], Party | bytes | None]
    status: int = 401
    proven: bool = False
    revoking: int | None = 401


def _forged(**settings: Any) -> WrongCertificate:
    return WrongCertificate(lambda door: door.world.forge(**settings))


def _not_renewable(**settings: Any) -> WrongCertificate:
    """Whose certificate it is matters to a renewal; its holder may revoke it all the same."""
    return WrongCertificate(lambda door: door.world.forge(**settings), proven=True, revoking=None)


def _of_another_ca(door: CertificateDoor) -> Party:
    now = door.world.ca.clock.now
    return make_party("a.test", make_party("Test Issuer", None, now=now, authority=True), now=now)


def _of_an_impostor(door: CertificateDoor) -> Party:
    impostor = Party(door.world.ca.pki.issuer.certificate, make_key())
    return make_party("a.test", impostor, now=door.world.ca.clock.now)


def _self_signed(door: CertificateDoor) -> Party:
    ca = door.world.ca
    return make_party("a.test", None, now=ca.clock.now, issuer_name=ca.pki.issuer.certificate.subject)


def _by_a_leaf(door: CertificateDoor) -> Party:
    return make_party("b.test", door.world.leaf, now=door.world.ca.clock.now)


def _revoked(door: CertificateDoor) -> Party:
    door.world.revoke(door.world.leaf)
    return door.world.leaf


def _changed(at: int) -> WrongCertificate:
    """The good certificate with one bit changed, counted from its end."""

    def change(door: CertificateDoor) -> bytes:
        der = door.world.leaf.der
        return der[:at] + bytes((der[at] ^ 1,)) + (der[at + 1 :] if at != -1 else b"")

    return WrongCertificate(change)


WRONG_CERTIFICATES: Final[Mapping[str, WrongCertificate]] = {
    "none": WrongCertificate(lambda door: None, status=400, revoking=400),
    "garbage": WrongCertificate(lambda door: b"\x30\x03\x02\x01\x01"),
    "empty": WrongCertificate(lambda door: b""),
    "cut": WrongCertificate(lambda door: door.world.leaf.der[:-1]),
    "followed by more": WrongCertificate(lambda door: door.world.leaf.der + b"\0"),
    "last bit of the signature flipped": _changed(-1),
    "a bit of the signed part flipped": _changed(-120),
    "of another CA": WrongCertificate(_of_another_ca),
    "of an impostor": WrongCertificate(_of_an_impostor),
    "self-signed under the issuer's name": WrongCertificate(_self_signed),
    "signed by a leaf": WrongCertificate(_by_a_leaf),
    "of the issuer itself": WrongCertificate(lambda door: door.world.ca.pki.issuer),
    "of the root": WrongCertificate(lambda door: door.world.ca.pki.roots[0]),
    "of an authority below": _forged(authority=True),
    "for servers only": _forged(purposes=[SERVER]),
    "with a critical extension nobody knows": _forged(extensions=[_CRITICAL]),
    "expired": _forged(starts=timedelta(hours=-2), ends=timedelta(seconds=-1)),
    "not yet valid": _forged(starts=timedelta(seconds=1), ends=timedelta(hours=2)),
    "revoked": WrongCertificate(_revoked, proven=True, revoking=400),
    "of an unknown provisioner": _not_renewable(provisioner="ghost"),
    "of nobody": _not_renewable(provisioner=""),
    "that is not renewed": _not_renewable(provisioner="norenew"),
}
