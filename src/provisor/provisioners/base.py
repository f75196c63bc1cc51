"""What a provisioner is. Abilities are opt-in: what a class does not have, no request can reach."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Protocol, TypeGuard, runtime_checkable

from provisor.core.claims import ProvisionerClaims
from provisor.core.durations import Duration, format_go_time
from provisor.core.grant import X509Grant
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse, X509Ask
from provisor.core.jose.jws import UnverifiedToken
from provisor.core.jose.jwt import TokenClaims
from provisor.errors import CertificateExpired, Unauthenticated
from provisor.provisioners.options import Options


class Provisioner(Protocol):
    """One way to prove who is asking.

    `public` is the object `/provisioners` serves; `token_id` where a token is found by it.
    """

    ref: ProvisionerRef
    token_id: str
    claims: ProvisionerClaims
    options: Options

    @property
    def public(self) -> Mapping[str, object]: ...


@runtime_checkable
class AcceptsTokens(Protocol):
    """Proves by token. Provisioners without this ability can be reached by none."""

    async def verify(
        self,
        token: UnverifiedToken,
        claims: TokenClaims,
        operation: Operation,
        audiences: tuple[str, ...],
        now: datetime,
    ) -> TokenUse:
        """Signature, issuer, times, audience. Raises `TokenInvalid`; nothing is spent then."""
        ...

    def identify(self, token: UnverifiedToken, claims: TokenClaims, use: TokenUse) -> Identity:
        """The proven caller. What this raises spends the token."""
        ...


@runtime_checkable
class SignsX509(Protocol):
    def x509_grant(self, who: Identity, ask: X509Ask, backdate: Duration) -> X509Grant:
        """Pure: identity and configuration to what may be had. Raises `Forbidden`."""
        ...


@runtime_checkable
class RevokesX509(Protocol):
    """Its tokens revoke certificates; the token's subject is the decimal serial."""

    def x509_revocation(self, who: Identity, serial: int) -> None:
        """Raises `Forbidden` unless this caller may revoke this serial."""
        ...


class TokenProvisioner(AcceptsTokens, Provisioner, Protocol):
    """A provisioner that has the ability; so are the next two."""


class SigningProvisioner(SignsX509, Provisioner, Protocol): ...


class RevokingProvisioner(RevokesX509, Provisioner, Protocol): ...


@cache
def _has(kind: type, ability: type) -> bool:
    """Whether a class has an ability; looked up once, since asking a protocol costs as much as parsing a token."""
    return issubclass(kind, ability)


def accepts_tokens(provisioner: Provisioner) -> TypeGuard[TokenProvisioner]:
    return _has(type(provisioner), AcceptsTokens)


def signs_x509(provisioner: Provisioner) -> TypeGuard[SigningProvisioner]:
    return _has(type(provisioner), SignsX509)


def revokes_x509(provisioner: Provisioner) -> TypeGuard[RevokingProvisioner]:
    return _has(type(provisioner), RevokesX509)


def check_renewal(
    ref: ProvisionerRef, claims: ProvisionerClaims, not_before: datetime, not_after: datetime, now: datetime
) -> None:
    """The renewal rule all kinds share (provisioners 3.5). Raises `Unauthenticated` kinds."""
    if claims.disable_renewal:
        raise Unauthenticated(f"renew is disabled for provisioner '{ref.name}'")
    moment = now.replace(microsecond=0)
    if moment < not_before:
        raise Unauthenticated(f"certificate is not yet valid, not before {format_go_time(not_before)}")
    if moment > not_after and not claims.allow_renewal_after_expiry:
        text = f"certificate expired on {format_go_time(not_after)}"
        raise CertificateExpired(text, public=text)
