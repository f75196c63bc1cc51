"""`provisor.Client`: what a program does with a CA.

::

    from provisor import Client

    with Client.bootstrap("https://ca.internal", "3c9e...") as ca:
        key = ca.provisioner_key("admin@example.com", "password")
        certificate = ca.issue("web.internal", key)

Every method raises `CAError` when the CA refuses, `Unreachable` when it does not answer, `BadAnswer` when its answer
is not what was asked for.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, final

import msgspec

from provisor.client import renewal
from provisor.client.address import CAAddress, parse_ca_url
from provisor.client.ca import CAClient, Sender, chain_of, fetch_root
from provisor.client.certificate import Certificate
from provisor.client.csr import csr_fingerprint, csr_pem, generate_key, make_csr
from provisor.client.errors import BadAnswer, NotFound, Unreachable
from provisor.client.files import FileName
from provisor.client.live import Failed, Files, LiveCertificate, Renewed
from provisor.client.pool import Pool
from provisor.client.provisioner_key import Credential, ProvisionerKey
from provisor.client.source import Moment, Source
from provisor.client.timetable import Timetable, wall_clock
from provisor.client.tokens import (
    TokenRequest,
    audience,
    make_renew_token,
    make_token,
    open_provisioner_key,
    token_window,
)
from provisor.client.transport import TIMEOUT_SECONDS, Transport, make_tls_context
from provisor.core.durations import UNSET_TIME, TimeDuration, elapsed
from provisor.core.keys import PrivateKey, fingerprint, spki_der
from provisor.core.names import classify_sans
from provisor.core.pem import parse_certificates
from provisor.core.secret import Password, Secret
from provisor.core.x509.request import CertificateRequest, parse_csr_pem
from provisor.errors import BadRequest, Malformed
from provisor.wire import api

Names = str | Sequence[str]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Way(Protocol):
    """How requests get to the CA."""

    def open(self, certificate: Certificate | None) -> Sender:
        """What carries them, showing `certificate` if there is one. Raises `BadKey` without its key."""


@final
class _Network:
    """The usual way. Without a certificate, any number of threads share what `open` gives."""

    def __init__(self, address: CAAddress, roots: bytes, timeout: float) -> None:
        self._address = address
        self._roots = roots
        self._timeout = timeout

    def open(self, certificate: Certificate | None) -> Sender:
        if certificate is None:
            return Pool(self._address, make_tls_context(self._roots), timeout_seconds=self._timeout)
        context = make_tls_context(self._roots, certificate.identity)
        return Transport(self._address, context, timeout_seconds=self._timeout)


@final
class Client:
    """A CA that is trusted by its roots. For any number of threads; nothing is shared with other clients.

    Connections are kept for a while; `close`, or the end of a `with` block, closes those that nobody uses. A client
    that was closed may be used again.
    """

    def __init__(
        self,
        url: str,
        roots: str | bytes | os.PathLike[str],
        *,
        timeout: float = TIMEOUT_SECONDS,
        way: Way | None = None,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        """`roots`: PEM, or a path to it. `timeout` is for a whole request, in seconds.

        `way` and `clock` take the place of the network and of the time of day, for tests. Raises `BadRequest` for
        a wrong URL, `Malformed` for roots that are none, `OSError`.
        """
        content = Path(roots).read_bytes() if isinstance(roots, os.PathLike) else _octets(roots)
        self._roots = content.decode("ascii", errors="replace")
        self._first_root = parse_certificates(content)[0]
        self._address = parse_ca_url(url)
        self._way = way or _Network(self._address, content, timeout)
        self._clock = clock
        self._ca = CAClient(self._address, None, sender=self._way.open(None))

    @classmethod
    def bootstrap(cls, url: str, fingerprint: str, *, timeout: float = TIMEOUT_SECONDS) -> Self:
        """A client of a CA of which no more is known than the SHA-256 of its root, in hex.

        Raises `BadAnswer` when another root comes, `NotFound` when the CA has no such root.
        """
        return cls(url, fetch_root(url, fingerprint), timeout=timeout)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._ca.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    # -- what it knows --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """`https://host[:port]`."""
        return self._address.url

    @property
    def root_pem(self) -> str:
        """The roots that this client trusts."""
        return self._roots

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the first of them in hex: what `bootstrap` wants."""
        return fingerprint(self._first_root)

    # -- what the CA tells everybody ------------------------------------------------------------

    def health(self) -> str:
        """`ok`."""
        return self._ca.health().status

    def version(self) -> str:
        """That of the CA's program."""
        return self._ca.version().version

    def roots(self) -> tuple[str, ...]:
        """The roots that the CA names as its own, as PEM."""
        return self._ca.roots()

    def federation(self) -> tuple[str, ...]:
        """The roots of all CAs it is federated with, its own included, as PEM."""
        return self._ca.federation()

    def provisioners(self) -> tuple[Mapping[str, Any], ...]:
        """All of them, as the CA shows them: `type`, `name` and what the type has."""
        return self._ca.provisioners()

    def crl(self) -> bytes:
        """The list of revoked certificates, as DER."""
        return self._ca.crl()

    # -- tokens ---------------------------------------------------------------------------------

    def provisioner_key(self, name: str, password: Password | str) -> ProvisionerKey:
        """The key of a JWK provisioner that the CA keeps, encrypted under `password`.

        Raises `NotFound` when there is no such provisioner or its key is not kept there, `WrongPassword`.
        """
        for one in self.provisioners():
            if one.get("type") == "JWK" and one.get("name") == name:
                key_id = str(one["key"]["kid"])
                encrypted = self._ca.encrypted_key(key_id)
                secret = Secret(password) if isinstance(password, str | bytes) else password
                return ProvisionerKey(name, open_provisioner_key(encrypted, secret), key_id)
        raise NotFound(404, f"the CA has no JWK provisioner that is called {name}")

    def token(self, names: Names, key: ProvisionerKey, *, csr: str | None = None) -> str:
        """For one certificate with these names, within five minutes; the first one is its common name.

        With `csr` (PEM) for this request only. Raises `BadKey` if the key cannot sign tokens.
        """
        subject, *_ = listed = _listed(names)
        bound = csr_fingerprint(parse_csr_pem(csr).der) if csr else ""
        return self._token("sign", key, subject, listed, bound)

    def _token(
        self, purpose: str, key: ProvisionerKey, subject: str, names: Sequence[str] | None = None, csr: str = ""
    ) -> str:
        now = self._clock()
        request = TokenRequest(
            issuer=key.name,
            subject=subject,
            audience=audience(self._address, purpose),
            key_id=key.key_id,
            window=token_window(now),
            issued_at=now,
            root_fingerprint=self.fingerprint,
            names=names,
            csr_fingerprint=csr,
        )
        return make_token(request, key.private_key)

    # -- certificates ---------------------------------------------------------------------------

    def sign(
        self,
        csr: str | bytes,
        credential: Credential,
        *,
        not_before: Moment = None,
        not_after: Moment = None,
        template_data: Mapping[str, object] | None = None,
    ) -> Certificate:
        """The certificate for a request (PEM) whose key somebody else has.

        With a provisioner key the token is for the names of the request. Raises `BadCSR`.
        """
        request = parse_csr_pem(csr.decode() if isinstance(csr, bytes) else csr)
        if isinstance(credential, ProvisionerKey):
            subject, *names = _names_of(request)
            token = self._token("sign", credential, subject, names or [subject])
        else:
            token = credential
        answer = self._ca.sign(
            api.SignRequest(
                csr=csr_pem(request.der),
                ott=token,
                not_before=_moment(not_before),
                not_after=_moment(not_after),
                template_data=msgspec.UNSET
                if template_data is None
                else msgspec.Raw(msgspec.json.encode(template_data)),
            )
        )
        certificate = _certificate(answer)
        if certificate.leaf.spki != request.spki:
            raise BadAnswer("the CA answered with a certificate for another key")
        return certificate

    def issue(
        self,
        names: Names,
        credential: Credential,
        *,
        private_key: PrivateKey | None = None,
        not_before: Moment = None,
        not_after: Moment = None,
        template_data: Mapping[str, object] | None = None,
    ) -> Certificate:
        """A certificate with a key made here, P-256 unless `private_key` is given. The first name is the common name.

        A token (text) is for the names that were asked for when it was made; these have to be the same.
        """
        listed = _listed(names)
        key = private_key or generate_key()
        csr = csr_pem(make_csr(key, listed[0], classify_sans(listed)))
        token = credential if isinstance(credential, str) else self._token("sign", credential, listed[0], listed)
        signed = self.sign(csr, token, not_before=not_before, not_after=not_after, template_data=template_data)
        return Certificate(signed.chain, key)

    def renew(self, certificate: Certificate) -> Certificate:
        """The same again with a new time. An expired one is renewed where the CA allows that.

        Raises `BadKey` without its key.
        """
        key = certificate.private_key
        if certificate.not_after < self._clock():
            return self._renewed(self._renew_by_token(certificate), certificate, key)
        try:
            with self._shown(certificate) as ca:
                answer = ca.renew()
        except Unreachable as error:
            # The clock of the CA may be ahead of ours.
            if "certificate expired" not in error.detail:
                raise
            answer = self._renew_by_token(certificate)
        return self._renewed(answer, certificate, key)

    def rekey(self, certificate: Certificate, *, private_key: PrivateKey | None = None) -> Certificate:
        """As `renew`, with a new key of the same kind, or with the one given. An expired one cannot be rekeyed."""
        key = private_key or _similar_key(certificate)
        with self._shown(certificate) as ca:
            answer = ca.rekey(csr_pem(make_csr(key, "")))
        return self._renewed(answer, certificate, key)

    def revoke(
        self,
        what: Certificate | int,
        credential: Credential | None = None,
        *,
        reason: str = "",
        reason_code: int = 0,
    ) -> None:
        """Revoke a certificate, which is the credential itself if it is here with its key; or one by its serial.

        `reason_code` as RFC 5280 section 5.3.1. It cannot be renewed then; those who look at the CRL refuse it.
        """
        serial = what if isinstance(what, int) else what.serial
        request = api.RevokeRequest(serial=str(serial), reason=reason, reason_code=reason_code, passive=True)
        if credential is None and isinstance(what, Certificate):
            with self._shown(what) as ca:
                ca.revoke(request)
            return
        if credential is None:
            raise TypeError("a serial number does not revoke itself: a provisioner key or a token is needed")
        token = credential if isinstance(credential, str) else self._token("revoke", credential, str(serial))
        self._ca.revoke(msgspec.structs.replace(request, ott=token))

    # -- TLS ------------------------------------------------------------------------------------

    def client_context(self) -> ssl.SSLContext:
        """For clients without a certificate: it trusts the roots of this CA and no others."""
        return make_tls_context(self._roots.encode("ascii"))

    def keep(
        self,
        what: Names | Certificate,
        credential: Credential | None = None,
        *,
        cert_file: FileName | None = None,
        key_file: FileName | None = None,
        rekey: bool = False,
        not_after: Moment = None,
        expires_in: timedelta | None = None,
        on_renew: Renewed | None = None,
        on_error: Failed | None = None,
    ) -> LiveCertificate:
        """A certificate that renews itself: `what` is one that is here, or the names for a new one.

        With files, one that is there, for these names and of this CA, is taken up; each new one is written. Without
        `key_file` both are in `cert_file`. `rekey`: with a new key each time. `expires_in`: how long before its end,
        instead of when a third of its time is left. With a provisioner key one that expired because the CA was away
        for too long is replaced by a new one. `on_renew` and `on_error` are called in the thread that renews.
        """
        files = Files(cert_file, key_file)
        source = Source(self, self._clock, credential, not_after=not_after, rekey=rekey)
        if isinstance(what, Certificate):
            certificate = what
            certificate.private_key  # noqa: B018 - raises `BadKey` now and not in the thread
            files.save(certificate)
        else:
            certificate = source.first(_listed(what), files)
        live = LiveCertificate(
            certificate,
            source,
            roots=self._roots,
            timetable=Timetable(expires_in, wall=self._clock),
            files=files,
            on_renew=on_renew,
            on_error=on_error,
        )
        live.start()
        return live

    # -- parts ----------------------------------------------------------------------------------

    def _shown(self, certificate: Certificate) -> CAClient:
        return CAClient(self._address, None, sender=self._way.open(certificate))

    def _renew_by_token(self, certificate: Certificate) -> api.SignResponse:
        now = self._clock()
        token = make_renew_token(
            certificate.chain,
            certificate.private_key,
            subject=certificate.common_name,
            audience=f"{self.url}/renew",
            window=token_window(now),
            issued_at=now,
        )
        return self._ca.renew(token)

    def _renewed(self, answer: api.SignResponse, old: Certificate, key: PrivateKey) -> Certificate:
        fresh = _certificate(answer)
        renewal.check_renewed(fresh.chain, old.leaf, spki_der(key.public_key()), self._clock())
        return Certificate(fresh.chain, key)


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _listed(names: Names) -> list[str]:
    """Raises `BadRequest` without any."""
    listed = [names] if isinstance(names, str) else list(names)
    if not listed or not all(listed):
        raise BadRequest("a certificate needs a name, and none of its names is empty")
    return listed


def _names_of(request: CertificateRequest) -> list[str]:
    names = [name.value for name in request.names]
    return _listed([request.common_name or names[0], *names] if names else [request.common_name])


def _moment(moment: Moment) -> TimeDuration:
    if isinstance(moment, timedelta):
        return TimeDuration(after=elapsed(_EPOCH, _EPOCH + moment))
    return UNSET_TIME if moment is None else TimeDuration(at=moment)


def _similar_key(certificate: Certificate) -> PrivateKey:
    kind = certificate.leaf.key
    if kind.kind == "RSA":
        return generate_key("RSA", bits=kind.bits)
    return generate_key("EC", curve=kind.curve) if kind.kind == "EC" else generate_key("OKP")


def _certificate(answer: api.SignResponse) -> Certificate:
    """Raises `BadAnswer`."""
    try:
        return Certificate(parse_certificates("".join(chain_of(answer)).encode()))
    except Malformed as error:
        raise BadAnswer(f"the CA answered with something that is no certificate: {error.detail}") from error
