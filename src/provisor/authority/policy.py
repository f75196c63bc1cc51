"""Policies of the authority and of provisioners over what is about to be signed (templates 4.4, 4.5)."""

from __future__ import annotations

from collections.abc import Iterable

from provisor.authority.audit import Trail
from provisor.core.names import Name
from provisor.core.policy import Match, NamePolicy, Reason, Refusal
from provisor.core.x509 import oids
from provisor.core.x509.draft import Draft
from provisor.core.x509.general_names import parse_general_names
from provisor.core.x509.name import parse_name
from provisor.errors import Forbidden, PolicyRefused, PolicyUndecided, ProvisorError


def check_provisioner(
    policy: NamePolicy | None, names: Iterable[Name], common_name: str, hidden: Iterable[Name], trail: Trail
) -> None:
    """Raises `PolicyRefused`, and `Forbidden` for a name that no rule can be asked about."""
    refusal = _check(policy, names, common_name, hidden, trail, "provisioner")
    if refusal is None:
        return
    if refusal.reason is Reason.NOT_ALLOWED:
        raise PolicyRefused(f"provisioner policy: {refusal.detail}", refusal.text)
    raise Forbidden(f"provisioner policy: {refusal.text}: {refusal.detail}", public="error validating certificate")


def check_authority(
    policy: NamePolicy | None, names: Iterable[Name], common_name: str, hidden: Iterable[Name], trail: Trail
) -> None:
    """Raises `PolicyRefused`, and `PolicyUndecided` for a name that no rule can be asked about."""
    refusal = _check(policy, names, common_name, hidden, trail, "authority")
    if refusal is not None:
        raise _authority_error(refusal)


def _authority_error(refusal: Refusal) -> ProvisorError:
    if refusal.reason is Reason.NOT_ALLOWED:
        return PolicyRefused(f"authority policy: {refusal.detail}", refusal.text)
    return PolicyUndecided(f"authority policy: {refusal.text}: {refusal.detail}", public="error creating certificate")


def _check(
    policy: NamePolicy | None,
    names: Iterable[Name],
    common_name: str,
    hidden: Iterable[Name],
    trail: Trail,
    level: str,
) -> Refusal | None:
    if policy is None:
        return None

    def note(match: Match) -> None:
        trail.note("policy", {"level": level, **_shown(match)})

    notes = note if trail.facts is not None else _nothing
    return policy.check_certificate(names, common_name, notes) or policy.check_names(hidden, notes)


def _nothing(_match: Match) -> None:
    pass


def _shown(match: Match) -> dict[str, object]:
    rule = f"*{match.rule}" if match.rule and match.rule.startswith(".") else match.rule  # as it is written
    return {"type": match.kind, "name": match.name, "verdict": match.verdict, "rule": rule}


def hidden_names(draft: Draft, structured: Iterable[Name]) -> tuple[Name, ...]:
    """Names that stand in a certificate although its template did not say them in lists: in a raw extension.

    Raises `PolicyUndecided` for a list of names that cannot be read.
    """
    known = set(structured)
    for extension in draft.extensions:
        if extension.oid == oids.SUBJECT_ALT_NAME:
            try:
                found = parse_general_names(extension.value)
            except ValueError as error:
                raise PolicyUndecided(
                    f"names that cannot be read: {error}", public="error creating certificate"
                ) from error
            return tuple(name for name in found if name not in known)
    return ()


def common_names(subject: bytes) -> tuple[str, ...]:
    """Every common name of a subject, wherever a template hid it."""
    return tuple(text for oid, text in parse_name(subject) if oid == oids.COMMON_NAME and text)
