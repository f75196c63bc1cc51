"""The one issuance path: nine steps, numbered as in docs/issuance.md, in the audit trail and in the metrics.

    1 authenticate   who is asking; is the token genuine, for us, for this, in time, unspent
    2 authorize      identity and ask become a grant
    3 match          the request is signed by its own key, and key and names fit the grant
    4 enrich         webhooks add template data
    5 build          grant to draft: subject, names, window, serial, extensions
    6 check          what will really be signed: window, issuer, constraints
    7 consent        webhooks see the checked draft
    8 notarize       the exact bytes are checked again, signed, and committed with token and event
    9 notify         metrics and log; never undoes an issuance

Steps 2 to 7 change nothing anywhere, so that they run without 8 by construction: `explain` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, final

from msgspec import Struct
from msgspec.structs import replace

from provisor.authority import policy, templates, webhooks
from provisor.authority.audit import LONGEST_LIST, Asked, Given, Trail
from provisor.authority.authenticate import authenticate_token
from provisor.authority.commit import accounted, commit_granted
from provisor.authority.snapshot import Snapshot
from provisor.authority.templates import Outside
from provisor.core.durations import format_rfc3339, format_time_duration
from provisor.core.grant import X509Grant
from provisor.core.identity import Identity, Operation, X509Ask
from provisor.core.names import Name, classify_san
from provisor.core.webhook import CertificateType, Webhook, WebhookKind
from provisor.core.x509 import oids
from provisor.core.x509.build import build_leaf
from provisor.core.x509.check import check_draft
from provisor.core.x509.draft import CheckedDraft, Draft
from provisor.core.x509.extensions import Extension, ProvisionerExtension, encode_provisioner
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.schema import CertificateShape, OutputError
from provisor.core.x509.template_data import TemplateData
from provisor.core.x509.templated import algorithm_for, build_parts, check_readable, is_usual
from provisor.errors import Forbidden, TemplateBroken
from provisor.ports import Guard, ToSign
from provisor.provisioners.base import Provisioner, signs_x509
from provisor.provisioners.options import TemplateSource


class Hooks(Struct, frozen=True):
    """Which webhooks are asked: all of them, but for a `rehearsal`, of which they are told."""

    enriching: bool = True
    authorizing: bool = True
    rehearsal: bool = False


ALL_HOOKS: Final = Hooks()


@final
class Issued(Struct, frozen=True):
    """A certificate that is signed and recorded. `chain` is its issuer and what stands above, DER."""

    certificate: bytes
    chain: tuple[bytes, ...]
    draft: Draft
    provisioner: str
    credential: str


async def sign(ca: Snapshot, token: str, ask: X509Ask, trail: Trail) -> Issued:
    """A certificate for a one-time token.

    Raises `Unauthenticated`, `Forbidden`, `Malformed` kinds; `Unencodable` for names no certificate can hold;
    `TemplateBroken` and `PolicyUndecided` for what the operator has to mend.
    """
    trail.asked = describe_ask(ask)
    async with accounted(ca, trail):
        case = await prove(ca, token, ask, trail)
        checked = await decide(ca, ca.issuer, case, trail)
        return await notarize(ca, ca.issuer, checked, trail, case.grant, hashlib.sha256(ask.request.der).digest())


class Case(Struct, frozen=True):
    """Who asks for what, and what may be had."""

    provisioner: Provisioner
    who: Identity
    grant: X509Grant
    ask: X509Ask


async def prove(ca: Snapshot, token: str, ask: X509Ask, trail: Trail) -> Case:
    """Steps 1 and 2."""
    trail.enter(1)
    who, provisioner = await authenticate_token(ca, token, Operation.SIGN, trail)
    trail.enter(2)
    return Case(provisioner, who, authorize(provisioner, who, ask, ca), ask)


def authorize(provisioner: Provisioner, who: Identity, ask: X509Ask, ca: Snapshot) -> X509Grant:
    """Step 2."""
    if not signs_x509(provisioner):
        raise Forbidden(f"{provisioner.ref.kind} provisioners do not sign X.509 certificates")
    return provisioner.x509_grant(who, ask, ca.backdate)


async def decide(
    ca: Snapshot, issuer: Issuer, case: Case, trail: Trail, *, ask_hooks: Hooks = ALL_HOOKS
) -> CheckedDraft:
    """Steps 3 to 7: from grant to a draft that may be signed. Only webhooks and template files are asked."""
    trail.enter(3)
    case.grant.match(case.ask.request)
    options = case.provisioner.options
    trail.enter(4)
    work = await _enriched(ca, case, trail, ask_hooks) if options.x509 or options.webhooks else None
    trail.enter(5)
    built = _plain(ca, issuer, case, trail) if work is None else _templated(ca, issuer, case, work, trail)
    draft = built.draft
    if trail.facts is not None:
        trail.note("draft", _draft_facts(draft))
    trail.enter(6)
    hidden = () if ca.config.provisor.switches.allow_hidden_names else built.hidden
    policy.check_provisioner(options.policies.x509, built.names, built.common_name, hidden, trail)
    checked = check_draft(
        draft, issuer=issuer, not_beyond_issuer=not ca.config.provisor.switches.allow_not_after_beyond_issuer
    )
    if built.shape is not None and not is_usual(built.shape, built.names):
        check_readable(checked.tbs, issuer)
    policy.check_authority(ca.policies.x509, built.names, built.common_name, hidden, trail)
    trail.enter(7)
    if work is not None and options.webhooks:
        await _consent(ca, case, work, built, trail, ask_hooks)
    return checked


class Work(Struct):
    """What a template works with: its source, its data, and what it may use of the world."""

    source: TemplateSource
    data: TemplateData
    outside: Outside


class Built(Struct, frozen=True):
    """A draft, and the names it shows: those that were said in lists, and `hidden` ones behind them.

    `shape` is what a template rendered, None where none did.
    """

    draft: Draft
    names: tuple[Name, ...]
    common_name: str
    hidden: tuple[Name, ...] = ()
    shape: CertificateShape | None = None


async def _enriched(ca: Snapshot, case: Case, trail: Trail, ask_hooks: Hooks) -> Work:
    """Step 4: the data of a template, webhooks asked."""
    options = case.provisioner.options
    source = options.x509 or TemplateSource()
    if source.fault:
        raise TemplateBroken(f"authority.Sign: {source.fault}")
    outside = Outside(trail.now, ca.random)
    data = templates.template_data(case.grant, case.who, case.ask, source)
    if options.webhooks and ask_hooks.enriching:
        body = webhooks.request_body(data["Insecure"]["CR"], outside)
        found = await webhooks.enrich(
            ca, options.webhooks, CertificateType.X509, body, data, trail, rehearsal=ask_hooks.rehearsal
        )
        if found:
            data["Webhooks"] = {**_object(data.get("Webhooks")), **found}
    elif options.webhooks:
        _note_unasked(options.webhooks, WebhookKind.ENRICHING, trail)
    return Work(source, data, outside)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _note_unasked(hooks: Sequence[Webhook], kind: WebhookKind, trail: Trail) -> None:
    for hook in hooks:
        if hook.is_for(kind, CertificateType.X509):
            trail.note("webhook", {"name": hook.name, "kind": str(hook.kind), "verdict": "would ask"})


async def _consent(ca: Snapshot, case: Case, work: Work, built: Built, trail: Trail, ask_hooks: Hooks) -> None:
    """Step 7."""
    hooks = case.provisioner.options.webhooks
    if not ask_hooks.authorizing:
        _note_unasked(hooks, WebhookKind.AUTHORIZING, trail)
        return
    assert built.shape is not None
    window = built.draft.not_before, built.draft.not_after
    body = webhooks.certificate_body(built.shape, work.data["Insecure"]["CR"], window, work.outside)
    public = "error creating certificate"
    await webhooks.consent(ca, hooks, CertificateType.X509, body, work.data, trail, public=public)


def _plain(ca: Snapshot, issuer: Issuer, case: Case, trail: Trail) -> Built:
    """Step 5 without a template: the built-in leaf, at once."""
    grant, ask = case.grant, case.ask
    start, end, explicit = grant.validity.window(ask, trail.now)
    draft = build_leaf(
        subject_cn=grant.subject,
        names=grant.names,
        spki=ask.request.spki,
        key=ask.request.key,
        issuer=issuer,
        serial=ca.generate_serial(trail.now),
        not_before=start,
        not_after=end if explicit else min(end, issuer.certificate.not_after),
        subject_defaults=ca.subject_defaults,
        provisioner_extension=_extension(grant),
    )
    return Built(draft, draft.names, grant.subject or ca.subject_defaults.common_name)


def _templated(ca: Snapshot, issuer: Issuer, case: Case, work: Work, trail: Trail) -> Built:
    """Step 5 with one: rendered, read, and completed."""
    grant, request = case.grant, case.ask.request
    rendered = templates.render(templates.load_text(work.source), work.data, work.outside)
    trail.note("rendered", rendered)
    shape = templates.shape_of(rendered)
    try:
        parts = build_parts(shape, request.spki, issuer.certificate.skid, ca.subject_defaults)
    except OutputError as error:
        raise TemplateBroken(f"authority.Sign: {error}") from error
    window = templates.instant(shape.not_before), templates.instant(shape.not_after)
    start, end, explicit = grant.validity.window(case.ask, trail.now, window)
    extensions = parts.extensions
    if (own := _extension(grant)) is not None:
        extensions = _with_provisioner(extensions, encode_provisioner(own))
    draft = Draft(
        serial=ca.generate_serial(trail.now) if parts.serial is None else parts.serial,
        issuer=issuer.certificate.subject,
        signature_algorithm=algorithm_for(
            shape.signature_algorithm, issuer.certificate.key, issuer.signature_algorithm
        ),
        subject=parts.subject,
        not_before=start,
        not_after=end if explicit else min(end, issuer.certificate.not_after),
        spki=request.spki,
        extensions=extensions,
        names=parts.names,
    )
    if is_usual(shape, parts.names):
        return Built(draft, parts.names, parts.common_name, (), shape)
    hidden = policy.hidden_names(draft, parts.names)
    more = tuple(
        name
        for text in policy.common_names(parts.subject)
        if text != parts.common_name and (name := classify_san(text)) is not None
    )
    draft = replace(draft, names=(*parts.names, *hidden))
    return Built(draft, parts.names, parts.common_name, (*hidden, *more), shape)


def _with_provisioner(extensions: Sequence[Extension], own: Extension) -> tuple[Extension, ...]:
    """In the place of the one that the template wrote, else at the end."""
    if all(extension.oid != oids.PROVISIONER for extension in extensions):
        return (*extensions, own)
    return tuple(own if extension.oid == oids.PROVISIONER else extension for extension in extensions)


def _extension(grant: X509Grant) -> ProvisionerExtension | None:
    ref = grant.provisioner
    return ProvisionerExtension(ref.number, ref.name, ref.credential) if grant.extension else None


def _draft_facts(draft: Draft) -> dict[str, object]:
    return {
        "names": [f"{name.kind}:{name.value}" for name in draft.names],
        "notBefore": _second(draft.not_before),
        "notAfter": _second(draft.not_after),
        "extensions": [extension.oid for extension in draft.extensions],
    }


async def notarize(
    ca: Snapshot,
    issuer: Issuer,
    checked: CheckedDraft,
    trail: Trail,
    grant: X509Grant,
    csr_digest: bytes,
) -> Issued:
    """Step 8 for a new certificate: the first of its line."""
    ref = grant.provisioner
    to_sign = ToSign(
        issuer=issuer.id,
        tbs=checked.tbs,
        serial=checked.draft.serial,
        provisioner_id=ref.id,
        provisioner_name=ref.name,
        provisioner_kind=ref.kind,
        lineage=checked.draft.serial,
        predecessor=None,
        csr_digest=csr_digest,
    )
    return await release(ca, issuer, checked, trail, to_sign)


async def release(
    ca: Snapshot, issuer: Issuer, checked: CheckedDraft, trail: Trail, to_sign: ToSign, guards: tuple[Guard, ...] = ()
) -> Issued:
    """Sign, record and only then return. Shared by issuance and renewal."""
    trail.given = describe_draft(checked, to_sign.predecessor)
    outcome = await commit_granted(ca, trail, guards=guards, sign=to_sign)
    credential = trail.who.provisioner.credential if trail.who else ""
    return Issued(outcome.certificate, issuer.chain, checked.draft, to_sign.provisioner_name, credential)


def describe_ask(ask: X509Ask) -> Asked:
    request = ask.request
    return Asked(
        subject=request.common_name[:LONGEST_LIST],
        names=[name.value for name in request.names[:LONGEST_LIST]],
        key=request.key.label,
        not_before=format_time_duration(ask.not_before),
        not_after=format_time_duration(ask.not_after),
    )


def describe_draft(checked: CheckedDraft, predecessor: int | None) -> Given:
    draft = checked.draft
    return Given(
        serial=str(draft.serial),
        names=[name.value for name in draft.names[:LONGEST_LIST]],
        not_before=_second(draft.not_before),
        not_after=_second(draft.not_after),
        key=hashlib.sha256(draft.spki).hexdigest(),
        tbs=hashlib.sha256(checked.tbs).hexdigest(),
        predecessor="" if predecessor is None else str(predecessor),
    )


def _second(moment: datetime) -> str:
    return format_rfc3339(moment)
