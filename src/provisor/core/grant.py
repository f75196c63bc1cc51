"""The hinge: what one request may have, as plain data, and the rules it is made of.

A provisioner answers with an `X509Grant`; nothing after it needs to know which provisioner spoke.
Each rule is a frozen value with one pure method that returns nothing or raises.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from provisor.core.durations import Duration, add, elapsed, format_duration, format_go_time
from provisor.core.identity import ProvisionerRef, X509Ask
from provisor.core.keys import KeyInfo
from provisor.core.names import Name, NameKind
from provisor.core.text import go_quoted
from provisor.core.x509.request import CertificateRequest
from provisor.errors import BadRequest, KeyNotAllowed, NameNotAllowed, ValidityNotAllowed

_KIND_WORDS = (
    (NameKind.DNS, "DNS names"),
    (NameKind.EMAIL, "email addresses"),
    (NameKind.IP, "IP addresses"),
    (NameKind.URI, "URIs"),
)


def _go_list(values: Sequence[str]) -> str:
    return "[" + " ".join(values) + "]"


class ConfirmedRequest(Struct, frozen=True):
    """The token names the one request it may be used with: RFC 7800, member `x5rt#S256`."""

    digest: str

    def check(self, request: CertificateRequest) -> None:
        """Raises `KeyNotAllowed` unless `digest` is the unpadded base64url SHA-256 of the request's DER."""
        if not self.digest:
            return
        try:
            padding = "=" * (-len(self.digest) % 4)
            if set("=+/") & set(self.digest):
                raise ValueError("padded, or of the other alphabet")
            wanted = base64.b64decode(self.digest + padding, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise KeyNotAllowed("cnf is not unpadded base64url", public="error decoding fingerprint") from error
        if hashlib.sha256(request.der).digest() != wanted:
            text = f"certificate request fingerprint does not match {go_quoted(self.digest)}"
            raise KeyNotAllowed(text, public=text)


class CommonNameIn(Struct, frozen=True):
    """The request's common name is empty or one of these, letter for letter."""

    names: tuple[str, ...]

    def check(self, request: CertificateRequest) -> None:
        if request.common_name and request.common_name not in self.names:
            text = (
                "certificate request does not contain the valid common name - "
                f"got {request.common_name}, want {_go_list(self.names)}"
            )
            raise NameNotAllowed(text, public=text)


class SameNames(Struct, frozen=True):
    """For each kind of name the request has any of, exactly these names of that kind.

    A request without names of a kind gets all of that kind. Order and repetition do not matter.
    """

    names: tuple[Name, ...]

    def check(self, request: CertificateRequest) -> None:
        if request.names == self.names:
            return
        for kind, word in _KIND_WORDS:
            got = [name.value for name in request.names if name.kind is kind]
            want = [name.value for name in self.names if name.kind is kind]
            if got and set(got) != set(want):
                lists = f"got {_go_list(got)}, want {_go_list(want)}"
                text = f"certificate request does not contain the valid {word} - {lists}"
                raise NameNotAllowed(text, public=text)


class KeyRule(Struct, frozen=True):
    """Which public keys may be certified: EC on a curve that the parser knows, Ed25519, RSA of a minimum size."""

    min_rsa_bits: int = 2048

    def check(self, key: KeyInfo) -> None:
        if key.kind in ("EC", "Ed25519"):
            return
        if key.kind == "RSA":
            # step-ca: the size is counted in octets of the modulus.
            if (key.bits + 7) // 8 * 8 < self.min_rsa_bits:
                text = (
                    f"certificate request RSA key must be at least {self.min_rsa_bits} bits "
                    f"({self.min_rsa_bits // 8} bytes)"
                )
                raise KeyNotAllowed(text, public=text)
            return
        raise BadRequest(f"certificate request key of type '{key.kind}' is not supported")


class ValidityRule(Struct, frozen=True):
    """Minimum, default and maximum of a certificate's life, and how far its beginning is put back."""

    minimum: Duration
    default: Duration
    maximum: Duration
    backdate: Duration

    def window(
        self, ask: X509Ask, now: datetime, template: tuple[datetime | None, datetime | None] = (None, None)
    ) -> tuple[datetime, datetime, bool]:
        """The certificate's window in whole seconds, and whether its end was asked for explicitly.

        What the client asks for comes before what the `template` says. Put back only when the beginning
        was left to us. Raises `BadRequest` for a window that is no window, `ValidityNotAllowed` for one
        outside the limits.
        """
        asked_start, asked_end = ask.window(now, template[0])
        asked_start, asked_end = asked_start or template[0], asked_end or template[1]
        start = asked_start or now
        end = asked_end or add(start, self.default)
        if asked_start is None:
            start = add(start, Duration(-self.backdate))
        start, end = _whole_seconds(start), _whole_seconds(end)
        self._check(start, end, _whole_seconds(now))
        return start, end, asked_end is not None

    def _check(self, start: datetime, end: datetime, now: datetime) -> None:
        if end < now:
            raise BadRequest(f"notAfter cannot be in the past; na={format_go_time(end)}")
        if end < start:
            raise BadRequest(
                f"notAfter cannot be before notBefore; na={format_go_time(end)}, nb={format_go_time(start)}"
            )
        length = elapsed(start, end)
        if length < self.minimum:
            text = (
                f"requested duration of {format_duration(length)} is less than the authorized minimum "
                f"certificate duration of {format_duration(self.minimum)}"
            )
            raise ValidityNotAllowed(text, public=text)
        # step-ca: the allowance for backdating is there even when nothing was put back.
        allowed = Duration(self.maximum + self.backdate)
        if length > allowed:
            text = (
                f"requested duration of {format_duration(length)} is more than the authorized maximum "
                f"certificate duration of {format_duration(allowed)}"
            )
            raise ValidityNotAllowed(text, public=text)


def _whole_seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0) if at.microsecond else at


class X509Grant(Struct, frozen=True):
    """What one request may have. Data only: it can be logged, compared and shown to an admin.

    `subject` and `names` go into the certificate; the rules bind the request that asks for it.
    `extension` says whether the provisioner is written into the certificate.
    """

    provisioner: ProvisionerRef
    subject: str
    names: tuple[Name, ...]
    common_name: CommonNameIn
    request_names: SameNames
    request: ConfirmedRequest
    key: KeyRule
    validity: ValidityRule
    extension: bool

    def match(self, request: CertificateRequest) -> None:
        """Step 3: raises unless the request is the one that was granted."""
        self.request.check(request)
        self.common_name.check(request)
        self.request_names.check(request)
        self.key.check(request.key)
