"""Which provisioners there are, one line a kind, and how a token or a certificate finds its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, final
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from provisor.config.ca_json import ProvisionerEntry
from provisor.core.claims import BUILT_IN, ClaimsError, ClaimSettings, ProvisionerClaims, merge
from provisor.core.identity import ProvisionerRef
from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jwt import TokenClaims
from provisor.errors import BadRequest, ConfigError, ProvisionerDisabled, TokenInvalid
from provisor.provisioners.base import Provisioner, check_renewal
from provisor.provisioners.jwk import JWKConfig, JWKProvisioner
from provisor.provisioners.options import NO_OPTIONS, Options, read_options
from provisor.wire.gojson import canonical_members
from provisor.wire.provisioners import KINDS, Kind, public_form

_Builder = Callable[[ProvisionerEntry, ProvisionerClaims, Mapping[str, object], Options], Provisioner]


def _jwk(
    entry: ProvisionerEntry, claims: ProvisionerClaims, public: Mapping[str, object], options: Options
) -> Provisioner:
    members = canonical_members(entry.raw, ("key", "encryptedKey"))
    return JWKProvisioner(entry.name, msgspec.convert(members, JWKConfig), claims, public, options)


BUILDERS: Final[Mapping[str, _Builder]] = {
    "JWK": _jwk,
}
"""The kinds this version serves. A kind of `KINDS` that is not here is listed, renews and proves nobody."""

_DEFAULT_PAGE: Final = 20
_LARGEST_PAGE: Final = 100


@final
class Disabled:
    """A provisioner that proves nobody: it could not be initialised, or this version cannot enforce a rule of it.

    `renews` says whether certificates it issued earlier may be renewed: only where its claims are
    understood, since they alone decide a renewal.
    """

    def __init__(
        self, ref: ProvisionerRef, claims: ProvisionerClaims, public: Mapping[str, object], reason: str, *, renews: bool
    ) -> None:
        self.ref = ref
        self.token_id = ref.id
        self.claims = claims
        self.options = NO_OPTIONS
        self.reason = reason
        self.renews = renews
        self.token_flow = ref.kind not in ("ACME", "SCEP")
        self.public: Mapping[str, object] = {**public, "state": "Uninitialized", "stateReason": reason}

    def refusal(self) -> ProvisionerDisabled:
        return ProvisionerDisabled(self.ref.name, self.reason)


@final
class Noop:
    """Whose certificates nobody claims: renewed only where the operator asked for it by a switch."""

    def __init__(self) -> None:
        self.ref = ProvisionerRef("", "", "")
        self.token_id = ""
        self.claims = BUILT_IN
        self.options = NO_OPTIONS
        self.public: Mapping[str, object] = {}


class Fault(Struct, frozen=True):
    """A provisioner that was disabled, and why. `where` is a pointer into ca.json."""

    where: str
    kind: str
    name: str
    reason: str


class Page(Struct, frozen=True):
    provisioners: Sequence[Mapping[str, object]]
    next_cursor: str


@final
class Registry:
    """The configured provisioners in their order. Immutable once built."""

    def __init__(self, provisioners: Iterable[Provisioner], faults: Sequence[Fault] = ()) -> None:
        """Raises `ConfigError` for two provisioners of one id, name or token id."""
        self.all: tuple[Provisioner, ...] = tuple(provisioners)
        self.faults = tuple(faults)
        self._by_id: dict[str, Provisioner] = {}
        self._by_name: dict[str, Provisioner] = {}
        self._keys: dict[str, str] = {}
        for provisioner in self.all:
            _add_once(self._by_id, provisioner.ref.id, provisioner, "id")
            _add_once(self._by_name, provisioner.ref.name, provisioner, "name")
            if isinstance(provisioner, JWKProvisioner) and provisioner.encrypted_key:
                self._keys.setdefault(provisioner.kid, provisioner.encrypted_key)
        self._cursors = [_cursor(index, provisioner.ref.id) for index, provisioner in enumerate(self.all)]

    def find_by_name(self, name: str) -> Provisioner | None:
        return self._by_name.get(name)

    def find_by_id(self, provisioner_id: str) -> Provisioner | None:
        return self._by_id.get(provisioner_id)

    def find_encrypted_key(self, kid: str) -> str | None:
        return self._keys.get(kid)

    def get_for_token(self, claims: TokenClaims, kid: str, audiences: tuple[str, ...]) -> Provisioner:
        """The provisioner a token is meant for, by its unverified claims (provisioners 2.1).

        `audiences` are our own of every operation. Raises `TokenInvalid` when there is none.
        """
        fragment = next((part for value in claims.aud if (part := _fragment(value))), "")
        accepted = tuple(f"{audience}#{fragment}" for audience in audiences) if fragment else audiences
        found: Provisioner | None
        if audiences_match(claims.aud, accepted):
            found = self._by_id.get(unquote(fragment) if fragment else f"{claims.iss}:{kid}")
        else:
            found = self._find_foreign(claims)
        if found is None:
            raise TokenInvalid(f"provisioner not found or invalid audience ({', '.join(claims.aud)})")
        return found

    def _find_foreign(self, claims: TokenClaims) -> Provisioner | None:
        """A token that is not addressed to our URLs: its own issuer's naming decides."""
        if claims.iss == "kubernetes/serviceaccount":
            return self._by_id.get("k8ssa/k8sSA-default")
        if not claims.aud:
            return None
        if claims.azp and (found := self._by_id.get(claims.azp)):
            return found
        if claims.tid:
            if claims.email and (found := self._by_id.get(claims.aud[0])):
                return found
            if found := self._by_id.get(claims.tid):
                return found
        return self._by_id.get(claims.aud[0])

    def page(self, cursor: str, limit: int) -> Page:
        """At most `limit` public forms, beginning at `cursor` (core-api 1.5)."""
        size = _DEFAULT_PAGE if limit <= 0 else min(limit, _LARGEST_PAGE)
        wanted = cursor.rjust(40, "0")
        start = next((index for index, value in enumerate(self._cursors) if value >= wanted), len(self.all))
        end = start + size
        following = self._cursors[end].lstrip("0") if end < len(self.all) else ""
        return Page([provisioner.public for provisioner in self.all[start:end]], following)


def check_renewable(provisioner: Provisioner, not_before: datetime, not_after: datetime, now: datetime) -> None:
    """Whether a certificate of this provisioner may be renewed now. Raises `Unauthenticated` kinds."""
    if isinstance(provisioner, Disabled) and not provisioner.renews:
        raise provisioner.refusal()
    check_renewal(provisioner.ref, provisioner.claims, not_before, not_after, now)


def build_registry(entries: Sequence[ProvisionerEntry], claims: ProvisionerClaims) -> Registry:
    """Provisioners of ca.json. A fault inside one disables that one and is reported; a clash stops the start."""
    built: list[Provisioner] = []
    faults: list[Fault] = []
    for entry in entries:
        kind = KINDS.get(entry.kind.lower())
        if kind is None:
            continue  # step-ca: a type it does not know is left out, so that older servers read newer files.
        provisioner = _build(kind, entry, claims)
        if isinstance(provisioner, Disabled):
            faults.append(Fault(entry.pointer, kind.name, entry.name, provisioner.reason))
        built.append(provisioner)
    if sum(provisioner.ref.kind == "K8sSA" for provisioner in built) > 1:
        raise ConfigError(
            "$.authority.provisioners", "cannot have more than one kubernetes service account provisioner"
        )
    return Registry(built, faults)


def _build(kind: Kind, entry: ProvisionerEntry, inherited: ProvisionerClaims) -> Provisioner:
    spelling = str(canonical_members(entry.raw, ("type",)).get("type") or kind.name)
    public = public_form(kind, spelling, entry.name, entry.raw)
    ref = ProvisionerRef(
        kind.token_id(entry.name, canonical_members(entry.raw, kind.members)), entry.name, kind.name, kind.number
    )
    try:
        claims = merge(inherited, _claim_settings(entry.raw))
    except ClaimsError as error:
        return Disabled(ref, inherited, public, f"claims: {error}", renews=False)
    builder = BUILDERS.get(kind.name)
    if builder is None:
        reason = f"{kind.name} provisioners are not supported by this version of Provisor"
        return Disabled(ref, claims, public, reason, renews=bool(entry.name))
    try:
        return _renewing(entry, builder(entry, claims, public, read_options(entry.raw)))
    except ConfigError as error:
        return Disabled(ref, claims, public, error.reason, renews=False)
    except msgspec.ValidationError as error:
        return Disabled(ref, claims, public, str(error), renews=False)


def _renewing(entry: ProvisionerEntry, provisioner: Provisioner) -> Provisioner:
    """The provisioner, unless it has a rule that this version cannot enforce."""
    unenforceable = find_unenforceable(entry.raw)
    if unenforceable is None:
        return provisioner
    reason = f"{unenforceable} is not supported by this version of Provisor"
    return Disabled(provisioner.ref, provisioner.claims, provisioner.public, reason, renews=True)


def find_unenforceable(raw: Mapping[str, object]) -> str | None:
    """The member that holds a rule which this version cannot enforce, as a path inside the provisioner."""
    options = canonical_members(raw, ("options",)).get("options")
    parts = canonical_members(options, ("wire",)) if isinstance(options, Mapping) else {}
    return "options.wire" if parts.get("wire") else None


def _claim_settings(raw: Mapping[str, object]) -> ClaimSettings | None:
    claims = canonical_members(raw, ("claims",)).get("claims")
    if claims is None:
        return None
    if not isinstance(claims, Mapping):
        raise ClaimsError("claims is not an object", "claims")
    return ClaimSettings.from_members(claims)


def _fragment(audience: str) -> str:
    try:
        return urlsplit(audience).fragment
    except ValueError:
        return ""


def _add_once(index: dict[str, Provisioner], key: str, provisioner: Provisioner, what: str) -> None:
    if key in index:
        raise ConfigError("$.authority.provisioners", f"cannot add multiple provisioners with the same {what}")
    index[key] = provisioner


def _cursor(index: int, provisioner_id: str) -> str:
    """40 hexadecimal digits: SHA-1 of the id with the place in the list over its first four octets."""
    digest = hashlib.sha1(provisioner_id.encode(), usedforsecurity=False).digest()
    return (index.to_bytes(4, "big") + digest[4:]).hex()


def parse_limit(text: str) -> int:
    """The `limit` of a page. Raises `BadRequest` unless it is an integer of 64 bits."""
    try:
        if not text.isascii() or "_" in text or text != text.strip():
            raise ValueError(text)
        limit = int(text)
        if not -(2**63) <= limit < 2**63:
            raise ValueError(text)
    except ValueError as error:
        raise BadRequest(f"limit '{text}' is not an integer") from error
    return limit
