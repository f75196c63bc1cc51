"""What a place for keys offers: it opens a signer by reference, and the signer signs bytes."""

from __future__ import annotations

from typing import Protocol

from provisor.core.keys import PublicKey
from provisor.core.secret import Password


class Signer(Protocol):
    """A private key that may be elsewhere, slow, or bound to one thread."""

    @property
    def public_key(self) -> PublicKey: ...

    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        """The AlgorithmIdentifiers (DER) this key can sign with, the preferred one first."""
        ...

    @property
    def costly(self) -> bool:
        """One signature takes long enough that it belongs in a pool of its own."""
        ...

    @property
    def concurrency(self) -> int:
        """How many signatures of a costly key are worth having under way at once.

        The cores, for one that is computed here; what the device or the service bears, for one that is waited for.
        """
        ...

    def sign(self, data: bytes, signature_algorithm: bytes) -> bytes:
        """The signature over `data`, as X.509 holds it: DER of r and s for ECDSA, octets otherwise.

        Raises `NotSupported` for an algorithm that is not of this key, `Unavailable` if the key is away.
        """
        ...


class KeyManager(Protocol):
    """One kind of place, as `kms.type` of ca.json chooses it."""

    def open_signer(self, reference: str, password: Password | None) -> Signer:
        """The signer behind a file name or key URI; `password` opens it if it is encrypted.

        Raises `ConfigError` if there is none, `BadKey` if it cannot be read.
        """
        ...
