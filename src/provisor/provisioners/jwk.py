"""JWK: whoever holds the provisioner's private key signs one-time tokens with it.

Configuration: ``{"type": "JWK", "name": ..., "key": <public JWK>, "encryptedKey": <JWE>, "claims": {...}}``.
The encrypted private key is only kept for clients; the server never opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, final

from msgspec import Struct

from provisor.core.claims import ProvisionerClaims
from provisor.core.durations import Duration
from provisor.core.grant import CommonNameIn, ConfirmedRequest, KeyRule, SameNames, ValidityRule, X509Grant
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse, X509Ask
from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jwk import JWK, jwk_members, parse_jwk, public_jwk
from provisor.core.jose.jws import UnverifiedToken, verify_signature
from provisor.core.jose.jwt import TokenClaims, check_times, parse_confirmation, token_key
from provisor.core.keys import PublicKey
from provisor.core.names import classify_sans
from provisor.core.text import go_quoted
from provisor.errors import BadKey, ConfigError, SubjectMismatch, TokenInvalid
from provisor.provisioners.options import NO_OPTIONS, Options

EXTENSION_NUMBER: Final = 1


class JWKConfig(Struct, frozen=True, rename="camel"):
    """The members of a JWK provisioner that no other kind has."""

    key: Mapping[str, object] | None = None
    encrypted_key: str = ""


@final
class JWKProvisioner:
    """Tokens signed by one key: `iss` is the provisioner's name, `kid` the key's id."""

    def __init__(
        self,
        name: str,
        config: JWKConfig,
        claims: ProvisionerClaims,
        public: Mapping[str, object],
        options: Options = NO_OPTIONS,
    ) -> None:
        """Raises `ConfigError` with the reference's text when the provisioner cannot be used."""
        if not name:
            raise ConfigError("name", "provisioner name cannot be empty")
        if not config.key:
            raise ConfigError("key", "provisioner key cannot be empty")
        self._key = _verification_key(config.key)
        self._public_key = _public_key(self._key)
        self.claims = claims
        self.options = options
        self.encrypted_key = config.encrypted_key
        self.kid = self._key.kid
        self.token_id = f"{name}:{self._key.kid}"
        self.ref = ProvisionerRef(self.token_id, name, "JWK", EXTENSION_NUMBER, self._key.kid)
        self.public: Mapping[str, object] = {**public, "key": jwk_members(self._key)}

    async def verify(
        self,
        token: UnverifiedToken,
        claims: TokenClaims,
        operation: Operation,
        audiences: tuple[str, ...],
        now: datetime,
    ) -> TokenUse:
        verify_signature(token, self._public_key)
        if claims.iss != self.ref.name:
            raise TokenInvalid("jwk.authorizeToken; invalid jwk claims: invalid issuer claim (iss)")
        check_times(claims, now)
        if not audiences_match(claims.aud, audiences):
            raise TokenInvalid(f"jwk.authorizeToken; invalid jwk token audience claim (aud) for {operation}")
        return TokenUse(token_key(token, claims), None if claims.exp is None else int(claims.exp))

    def identify(self, token: UnverifiedToken, claims: TokenClaims, use: TokenUse) -> Identity:
        if not claims.sub:
            raise TokenInvalid("jwk.authorizeToken; jwk token subject cannot be empty")
        sans = tuple(san for san in claims.sans or () if san) or (claims.sub,)
        return Identity(
            provisioner=self.ref,
            method="token",
            subject=claims.sub,
            names=classify_sans(sans),
            sans=tuple(claims.sans or ()) or (claims.sub,),
            confirmation=parse_confirmation(claims),
            token=use,
            claims=claims.raw,
        )

    def x509_grant(self, who: Identity, ask: X509Ask, backdate: Duration) -> X509Grant:
        return X509Grant(
            provisioner=self.ref,
            subject=who.subject,
            names=who.names,
            # step-ca: the subject stands before the names, which hold it once more.
            common_name=CommonNameIn((who.subject, *who.sans)),
            request_names=SameNames(who.names),
            request=ConfirmedRequest(who.confirmation),
            key=KeyRule(),
            validity=ValidityRule(self.claims.min_tls, self.claims.default_tls, self.claims.max_tls, backdate),
            extension=not self.claims.disable_smallstep_extensions,
        )

    def x509_revocation(self, who: Identity, serial: int) -> None:
        """A token revokes the one serial it names, whoever issued it."""
        if who.subject != str(serial):
            text = f'request serial number "{serial}" and token subject {go_quoted(who.subject)} do not match'
            raise SubjectMismatch(text, public=text)


def _verification_key(members: Mapping[str, object]) -> JWK:
    try:
        key = parse_jwk(members)
    except BadKey as error:
        raise ConfigError("key", error.detail) from error
    return public_jwk(key)


def _public_key(key: JWK) -> PublicKey:
    if key.public_key is None:
        raise ConfigError(
            "key", "a symmetric key cannot verify tokens: whoever verifies could forge; use an EC, RSA or OKP key"
        )
    return key.public_key
