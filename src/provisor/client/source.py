"""Where the certificates of a kept one come from: its files, a renewal, or the provisioner's key once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, final

from provisor.client.certificate import Certificate
from provisor.client.errors import CAError
from provisor.client.live import Files
from provisor.client.provisioner_key import Credential, ProvisionerKey
from provisor.core.names import classify_sans
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.chain import is_issued_by

Moment = datetime | timedelta | None
"""An instant, or how long after now; None: what the CA sets."""


class CA(Protocol):
    """What is asked of a client."""

    @property
    def root_pem(self) -> str: ...

    def issue(self, names: Sequence[str], credential: Credential, *, not_after: Moment = None) -> Certificate: ...

    def renew(self, certificate: Certificate) -> Certificate: ...

    def rekey(self, certificate: Certificate) -> Certificate: ...


@final
class Source:
    """The first certificate, and each one after it."""

    def __init__(
        self,
        ca: CA,
        clock: Callable[[], datetime],
        credential: Credential | None,
        *,
        not_after: Moment,
        rekey: bool,
    ) -> None:
        self._ca = ca
        self._clock = clock
        self._credential = credential
        self._not_after = not_after
        self._rekey = rekey

    def first(self, names: Sequence[str], files: Files) -> Certificate:
        """The one in the files if it is for these names and of this CA, else a new one. Raises `ProvisorError`.

        Raises `TypeError` when a new one is needed and there is no credential.
        """
        found = files.load()
        if found is not None and self._fits(found, names):
            if not self._is_over(found):
                return found
            certificate = self.next(found)
        else:
            certificate = self._issue(names)
        files.save(certificate)
        return certificate

    def next(self, current: Certificate) -> Certificate:
        """What takes the place of `current`. Raises `ProvisorError`."""
        is_over = self._is_over(current)
        try:
            return self._ca.rekey(current) if self._rekey and not is_over else self._ca.renew(current)
        except CAError:
            # A CA that refuses before the end has its reasons, and is not asked in another way.
            if not is_over or not isinstance(self._credential, ProvisionerKey):
                raise
        return self._issue(current.names or (current.common_name,))

    def _issue(self, names: Sequence[str]) -> Certificate:
        if self._credential is None:
            raise TypeError("there is no certificate yet: a provisioner key or a token is needed")
        return self._ca.issue(names, self._credential, not_after=self._not_after)

    def _is_over(self, certificate: Certificate) -> bool:
        return certificate.not_after <= self._clock()

    def _fits(self, certificate: Certificate, names: Sequence[str]) -> bool:
        last = parse_certificate(certificate.chain[-1])
        roots = [parse_certificate(der) for der in parse_certificates(self._ca.root_pem.encode())]
        is_ours = any(last.der == root.der or is_issued_by(last, root) for root in roots)
        return is_ours and sorted(certificate.leaf.names) == sorted(classify_sans(names))
