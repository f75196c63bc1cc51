"""`certificate verify`: does a certificate lead to a root, is it for this host, has it been revoked?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from provisor.cli import files, output
from provisor.cli.certificates import remote, revocation
from provisor.cli.certificates.revocation import Question
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.inspection.source import fetch_peer_chain, is_url, trusted
from provisor.cli.inspection.trust import verify as verify_chain
from provisor.core.pem import parse_blocks
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Malformed, Unauthenticated


@command(
    "certificate verify",
    usage="<crt-file> [--host=<host>]",
    flags=(
        text("host", help="the DNS name or address that the certificate has to be for", metavar="HOST"),
        remote.ROOTS,
        remote.SERVER_NAME,
        text(
            "issuing-ca", help="the authority that signed it; else from the address in the certificate", metavar="FILE"
        ),
        switch("verify-ocsp", help="ask a responder whether it has been revoked"),
        text("ocsp-endpoint", help="the responder; else those in the certificate", metavar="URL"),
        switch("verify-crl", help="look for it in the list of revoked certificates"),
        text("crl-endpoint", help="where the list is; else what the certificate says", metavar="URL"),
        switch("v", "verbose", help="say what was found out"),
        # step-ca: takes it, and verifies all the same
        switch("insecure", hidden=True),
        switch("json", help="say what was found out as JSON"),
    ),
    least=1,
    most=1,
    reads_defaults=False,
)
def verify(call: Call) -> None:
    """verify a certificate

    Silent when all is well. The roots are those of the system unless --roots names others. The argument is a file or
    a URL such as https://ca.internal.
    """
    place = call.arguments[0]
    roots = trusted(call.text("roots"), may_be_empty=not is_url(place))
    ders = _chain_at(place, call, roots)
    try:
        leaf, *intermediates = map(parse_certificate, ders)
    except Malformed as error:
        raise CommandError(f"error parsing {place}: {error.detail}") from error
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        verify_chain(leaf, intermediates, _readable(roots), host=call.text("host"), now=now)
    except Unauthenticated as error:
        raise CommandError(f"failed to verify certificate: {error.detail}") from error
    found = _check_revocation(call, leaf, now)
    if call.switch("json"):
        facts = {"valid": True, "subject": leaf.common_name, "serialNumber": str(leaf.serial), **found}
        output.data(json.dumps(facts, indent=2))
    elif call.switch("verbose"):
        output.data("certificate validated against roots")
        if url := found.get("crl"):
            output.data(f"certificate validated against CRL {url}")
        if url := found.get("ocsp"):
            output.data(f"certificate status is good according OCSP {url}")
        output.data("certficiate is valid")  # step-ca: spelt so


def _check_revocation(call: Call, leaf: Certificate, now: datetime) -> dict[str, str]:
    """Where the certificate is good, by the means that were asked for. Raises `CommandError`."""
    issuer = _issuing_ca(call)
    by_list, by_responder = call.switch("verify-crl"), call.switch("verify-ocsp")
    if not (by_list or by_responder):
        return {}
    places = revocation.places_in(leaf)
    issuer = issuer or revocation.fetch_issuer(places.issuers)
    if issuer is None:
        raise CommandError("could not get the issuing CA from the cert and no issuing CA certificate provided")
    question = Question(leaf, issuer, now)
    revocation.check_issuer(question)
    complain = _complainer(call)
    found = {}
    if by_list:
        urls = _named(call, "crl-endpoint") or places.lists
        found["crl"] = revocation.check_lists(question, urls, complain=complain)
    if by_responder:
        urls = _named(call, "ocsp-endpoint") or places.responders
        found["ocsp"] = revocation.check_responders(question, urls, complain=complain)
    return found


def _complainer(call: Call) -> Callable[[str], None]:
    """Places that gave no answer: of interest to people, and to scripts that asked for more words."""
    if call.switch("verbose") and not call.switch("json"):
        return output.data
    return output.note if sys.stderr.isatty() else lambda _: None


def _named(call: Call, flag: str) -> tuple[str, ...]:
    return (call.text(flag),) if call.text(flag) else ()


def _issuing_ca(call: Call) -> Certificate | None:
    """That of `--issuing-ca`. Raises `CommandError`."""
    path = call.text("issuing-ca")
    if not path:
        return None
    try:
        content = files.read_file(path)
    except CommandError as error:
        raise CommandError("unable to load the issuing CA certificate file") from error
    blocks = parse_blocks(content)
    try:
        return parse_certificate(blocks[0].der if blocks else content)
    except Malformed as error:
        raise CommandError("failed to decode the issuing CA certificate") from error


def _chain_at(place: str, call: Call, roots: Sequence[bytes]) -> list[bytes]:
    if is_url(place):
        return fetch_peer_chain(place, call.text("servername"), roots)
    content = files.read_file(place)
    blocks = parse_blocks(content)
    if found := [block.der for block in blocks if block.label == "CERTIFICATE"]:
        return found
    if blocks or not content.strip():
        raise CommandError(f"{place} contains no PEM certificate blocks")
    try:
        parse_certificate(content)
    except Malformed as error:
        # step: reads PEM only
        raise CommandError(f"{place} contains an invalid PEM block") from error
    return [content]


def _readable(ders: Sequence[bytes]) -> list[Certificate]:
    """Roots of other people may be of kinds that nobody here reads; they verify nothing then."""
    found = []
    for der in ders:
        try:
            found.append(parse_certificate(der))
        except Malformed:
            continue
    return found
