"""Claims: what a provisioner may grant at most, merged from three levels (core-api 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from provisor.core.durations import HOUR, MINUTE, Duration, DurationError, format_duration, parse_duration


class ClaimsError(ValueError):
    """Claims that cannot be read, or contradict each other. `member` is the canonical name of the one to look at."""

    def __init__(self, text: str, member: str) -> None:
        super().__init__(text)
        self.member = member


class ClaimSettings(Struct, frozen=True):
    """What one level sets. None inherits."""

    min_tls: Duration | None = None
    max_tls: Duration | None = None
    default_tls: Duration | None = None
    min_user_ssh: Duration | None = None
    max_user_ssh: Duration | None = None
    default_user_ssh: Duration | None = None
    min_host_ssh: Duration | None = None
    max_host_ssh: Duration | None = None
    default_host_ssh: Duration | None = None
    enable_ssh_ca: bool | None = None
    disable_renewal: bool | None = None
    allow_renewal_after_expiry: bool | None = None
    disable_smallstep_extensions: bool | None = None

    @classmethod
    def from_members(cls, members: Mapping[str, object], *, path: str = "") -> ClaimSettings:
        """The claims of a JSON object, letter case of the members apart; unknown ones are left out.

        `path` is where the object stands, for the texts. Raises `ClaimsError`.
        """
        settings: dict[str, object] = {}
        for name, value in members.items():
            attribute = _ATTRIBUTES.get(name.lower())
            if attribute is not None and value is not None:
                settings[attribute] = _claim(attribute, value, path)
        return msgspec.convert(settings, cls)

    def to_members(self) -> dict[str, object]:
        """The JSON object: what is set, durations in canonical form. Inverse of `from_members`."""
        values = {name: getattr(self, attribute) for attribute, name in CLAIM_MEMBERS.items()}
        return {
            name: value if isinstance(value, bool) else format_duration(value)
            for name, value in values.items()
            if value is not None
        }


CLAIM_MEMBERS: Final[Mapping[str, str]] = {
    "min_tls": "minTLSCertDuration",
    "max_tls": "maxTLSCertDuration",
    "default_tls": "defaultTLSCertDuration",
    "min_user_ssh": "minUserSSHCertDuration",
    "max_user_ssh": "maxUserSSHCertDuration",
    "default_user_ssh": "defaultUserSSHCertDuration",
    "min_host_ssh": "minHostSSHCertDuration",
    "max_host_ssh": "maxHostSSHCertDuration",
    "default_host_ssh": "defaultHostSSHCertDuration",
    "enable_ssh_ca": "enableSSHCA",
    "disable_renewal": "disableRenewal",
    "allow_renewal_after_expiry": "allowRenewalAfterExpiry",
    "disable_smallstep_extensions": "disableSmallstepExtensions",
}
"""The canonical member of each attribute, in the order they are written."""

_ATTRIBUTES: Final = {member.lower(): attribute for attribute, member in CLAIM_MEMBERS.items()}
_SWITCHES: Final = frozenset(
    attribute for attribute in CLAIM_MEMBERS if attribute.startswith(("enable", "disable", "allow"))
)


class ProvisionerClaims(Struct, frozen=True):
    """The limits that hold: validity of each kind of certificate, and switches."""

    min_tls: Duration = Duration(5 * MINUTE)
    max_tls: Duration = Duration(24 * HOUR)
    default_tls: Duration = Duration(24 * HOUR)
    min_user_ssh: Duration = Duration(5 * MINUTE)
    max_user_ssh: Duration = Duration(24 * HOUR)
    default_user_ssh: Duration = Duration(16 * HOUR)
    min_host_ssh: Duration = Duration(5 * MINUTE)
    max_host_ssh: Duration = Duration(720 * HOUR)
    default_host_ssh: Duration = Duration(720 * HOUR)
    enable_ssh_ca: bool = False
    disable_renewal: bool = False
    allow_renewal_after_expiry: bool = False
    disable_smallstep_extensions: bool = False


BUILT_IN: Final = ProvisionerClaims()


def merge(parent: ProvisionerClaims, level: ClaimSettings | None) -> ProvisionerClaims:
    """The claims of `level` over those of `parent`. Raises `ClaimsError` when they contradict each other.

    A level that sets only a default moves the inherited minimum and maximum to let it in.
    """
    if level is None:
        return check_claims(parent)
    own = {attribute: value for attribute in CLAIM_MEMBERS if (value := getattr(level, attribute)) is not None}
    for kind in ("tls", "user_ssh", "host_ssh"):
        default: Duration | None = own.get(f"default_{kind}")
        if default is not None:
            own.setdefault(f"min_{kind}", min(default, getattr(parent, f"min_{kind}")))
            own.setdefault(f"max_{kind}", max(default, getattr(parent, f"max_{kind}")))
    return check_claims(msgspec.structs.replace(parent, **own))


def check_claims(claims: ProvisionerClaims) -> ProvisionerClaims:
    """The claims themselves. Raises `ClaimsError`. step-ca: only the limits of X.509 are looked at."""
    lowest, highest, default = claims.min_tls, claims.max_tls, claims.default_tls
    for label, value in (("Min", lowest), ("Max", highest), ("Default", default)):
        if value <= 0:
            raise ClaimsError(f"{label}TLSCertDuration must be greater than 0", f"{label.lower()}TLSCertDuration")
    _check_not_less("Max", highest, "Min", lowest)
    _check_not_less("Default", default, "Min", lowest)
    _check_not_less("Max", highest, "Default", default)
    return claims


def _check_not_less(label: str, value: Duration, bound_label: str, bound: Duration) -> None:
    if value < bound:
        left, right = f"{label}CertDuration", f"{bound_label}CertDuration"
        values = f"{left} - {format_duration(value)}, {right} - {format_duration(bound)}"
        raise ClaimsError(f"{left} cannot be less than {right}: {values}", f"{label.lower()}TLSCertDuration")


def _claim(attribute: str, value: object, path: str) -> object:
    member = CLAIM_MEMBERS[attribute]
    if attribute in _SWITCHES:
        if isinstance(value, bool):
            return value
        where = f"{path}.{member}" if path else member
        raise ClaimsError(
            f"json: cannot unmarshal {json_kind(value)} into Go struct field Claims.{where} of type bool", member
        )
    if not isinstance(value, str):
        text = msgspec.json.encode(value).decode()
        raise ClaimsError(
            f"error unmarshaling {text}: json: cannot unmarshal {json_kind(value)} into Go value of type string", member
        )
    try:
        return parse_duration(value)
    except DurationError as error:
        raise ClaimsError(f"error parsing {value} as duration: {error}", member) from error


def json_kind(value: object) -> str:
    """The word error texts use for the JSON type of a decoded value."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list() | tuple():
            return "array"
        case _:
            return "object"
