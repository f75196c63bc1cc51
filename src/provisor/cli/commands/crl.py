"""`crl`: looking at certificate revocation lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from provisor.cli import exits, files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.errors import Malformed

if TYPE_CHECKING:
    from cryptography import x509

_FLAGS = (
    text("format", metavar="format", default="text", help="text, json or pem"),
    text("ca", metavar="file", help="the certificate that signed the list, to validate it"),
    switch("from", help="the list that the certificate at the argument (a URL or a file) names"),
    text("roots", metavar="roots", help="root certificates for the server: files, separated by commas, or a folder"),
    switch("insecure", help="show a list that nobody validates"),
)


@command("crl inspect", usage="<file|url>", flags=_FLAGS, most=1, reads_defaults=False)
def inspect(call: Call) -> None:
    """print a certificate revocation list (CRL)

    A list is valid when the certificate of --ca signed it and has not expired, and the next list is not due yet.
    Without an argument, or with -, it is read from stdin.
    """
    if not (call.text("ca") or call.switch("from") or call.switch("insecure")):
        raise exits.missing_flag(call.command, "insecure")
    from provisor.cli import crl
    from provisor.cli.inspection import source

    place = call.arguments[0] if call.arguments else "-"
    roots = None if call.switch("insecure") else source.trusted(call.text("roots"))
    issuer = _read_issuer(call.text("ca")) if call.text("ca") else None
    if call.switch("from"):
        place, found_issuer = _follow(place, roots)
        issuer = issuer or found_issuer
    found = crl.parse_crl(crl.read_crl(place, roots))
    verdict = crl.UNJUDGED if issuer is None else crl.judge(found, issuer, crl.now())
    match call.text("format"):
        case "json":
            output.data(crl.json_of(found, verdict))
        case "pem":
            from provisor.core.pem import encode_pem

            output.data(encode_pem("X509 CRL", found.der), end="")
        case _:
            # step-ca: any other format is text
            for line in crl.text_of(found, verdict):
                output.data(line)


def _read_issuer(path: str) -> x509.Certificate:
    from cryptography.x509 import load_der_x509_certificate

    from provisor.core.pem import parse_certificates

    try:
        return load_der_x509_certificate(parse_certificates(files.read_pem_file(path))[0])
    except (Malformed, ValueError) as error:
        raise CommandError(f"error parsing {path}: it holds no certificate") from error


def _follow(place: str, roots: Sequence[bytes] | None) -> tuple[str, x509.Certificate | None]:
    """The first address of the list of the certificate at `place`, and the certificate that issued that one."""
    from cryptography.x509 import load_der_x509_certificate

    from provisor.cli.inspection import source
    from provisor.cli.inspection.extensions import CRL_DISTRIBUTION_POINTS, crl_urls
    from provisor.core.pem import parse_certificates
    from provisor.core.x509.certificate import parse_certificate

    try:
        if source.is_url(place):
            chain: Sequence[bytes] = source.fetch_peer_chain(place, "", roots)
        else:
            chain = parse_certificates(files.read_pem_file(place))
        value = parse_certificate(chain[0]).extension(CRL_DISTRIBUTION_POINTS)
        urls = [] if value is None else crl_urls(value)
        issuer = load_der_x509_certificate(chain[1]) if len(chain) > 1 else None
    except (Malformed, ValueError) as error:
        raise CommandError(f"error parsing the certificate of {place}: {error}") from error
    if not urls:
        raise CommandError(f"failed to get CRL distribution points from {place}")
    return urls[0], issuer
