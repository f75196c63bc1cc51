"""The recorded verdicts on names, and on policies that are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conformance.templates.tables import Document, cases
from provisor.core.names import Name, NameKind, classify_san, parse_ip
from provisor.core.policy import PolicyError, Reason, Refusal, read_policies
from provisor.core.url import parse_url
from support.cases import grouped

Verdict = tuple[str, str | None, str | None]


def x509_names(given: Mapping[str, list[str]]) -> Iterator[Name]:
    yield from (Name(NameKind.DNS, text) for text in given.get("dns", []))
    for text in given.get("ip", []):
        address = parse_ip(text)
        assert address is not None
        yield Name(NameKind.IP, str(address))
    yield from (Name(NameKind.EMAIL, text) for text in given.get("email", []))
    yield from (Name(NameKind.URI, str(parse_url(text))) for text in given.get("uri", []))


def check(case: Document) -> Refusal | None:
    policies, given = read_policies(case["policy"]), case["names"]
    match case["check"]:
        case "x509" if policies.x509:
            return policies.x509.check_certificate(list(x509_names(given)), given.get("cn", ""))
        case "sans" if policies.x509:
            found = [name for text in given["sans"] if (name := classify_san(text)) is not None]
            return policies.x509.check_names(found)
        case "user" | "host":
            return policies.check_ssh(given["principals"], host=case["check"] == "host")
    return None


def verdict(case: Document) -> Verdict:
    try:
        refusal = check(case)
    except PolicyError as error:
        return "configError", str(error), None
    if case["check"] == "config":
        return "ok", None, None
    if refusal is None:
        return "allowed", None, None
    if refusal.reason is Reason.NOT_ALLOWED:
        return "denied", refusal.text, refusal.detail
    return "error", refusal.text, None if refusal.reason is Reason.MISPLACED else refusal.detail


def test_every_verdict_is_the_recorded_one() -> None:
    different = []
    for case in cases("policy-verdicts"):
        wanted = case["verdict"], case.get("error"), case.get("detail")
        found = verdict(case)
        if wanted[0] == "panic":
            assert found[0] in ("error", "denied", "configError"), case
        elif found != wanted:
            different.append((case["id"], case["check"], case["policy"], case["names"], wanted, found))
    assert not different, grouped(different)
