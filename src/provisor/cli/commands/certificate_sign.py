"""`certificate sign`: a certificate for a signing request, by a key at hand."""

from __future__ import annotations

from datetime import UTC, datetime

from provisor.cli import exits, keys, output
from provisor.cli.certificates import reading
from provisor.cli.certificates.making import IssuingPair, Profile, Wanted, is_pair, make_certificate
from provisor.cli.certificates.validity import DAY, TEN_YEARS, window_from
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text, unbuilt
from provisor.cli.inspection.document import parse_request
from provisor.core.keys import PrivateKey
from provisor.core.names import Name, classify_sans
from provisor.core.pem import encode_pem
from provisor.core.x509.algorithms import find_scheme
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.extensions import Extension
from provisor.core.x509.request import CertificateRequest, verify_csr
from provisor.errors import BadCSR, Malformed, ProvisorError

_PROFILES = (Profile.LEAF, Profile.INTERMEDIATE, Profile.CSR)
_NO_LIMIT = -1
_FAILURES = {
    "EC": "x509: ECDSA verification failure",
    "Ed25519": "x509: Ed25519 verification failure",
    "RSA": "crypto/rsa: verification error",
}


@command(
    "certificate sign",
    usage="<csr-file> <crt-file> <key-file>",
    flags=(
        text("profile", help="leaf, intermediate-ca, or csr: what the request asks for", default=Profile.LEAF),
        switch("omit-cn-san", help="do not make a name of the common name of a request that has no names"),
        text("password-file", metavar="file", help="file with the password of the authority's key"),
        Flag(
            names=("path-len",),
            kind=FlagKind.INT,
            metavar="number",
            help="authorities that may follow below an intermediate-ca (default: 0); -1 sets no limit",
        ),
        common.NOT_BEFORE,
        common.NOT_AFTER,
        switch("bundle", help="put the authority's certificates behind the new one"),
        unbuilt("template"),
        unbuilt("set"),
        unbuilt("set-file"),
        unbuilt("kms"),
    ),
    least=3,
    most=3,
    reads_defaults=False,
)
def sign(call: Call) -> None:
    """sign a certificate signing request

    <crt-file> and <key-file> are those of the authority. The certificate comes on stdout. Leaves are valid for a day,
    authorities for ten years.
    """
    csr_file, crt_file, key_file = call.arguments
    request = reading.read_request(csr_file)
    try:
        # step-ca: SHA-1 will do here, where the request only shows that it belongs to its key
        verify_csr(request, allow_sha1=True)
    except BadCSR as error:
        reason = _FAILURES.get(request.key.kind, error.detail) if find_scheme(request.algorithm) else error.detail
        raise CommandError(f"certificate request has invalid signature: {reason}") from error
    profile = _profile(call)
    chain = _chain(crt_file)
    key = _key(call, key_file)
    _check_issuer(call, chain[0], key, profile)
    is_authority = profile is Profile.INTERMEDIATE
    path_length = call.number("path-len")
    wanted = Wanted(
        profile=profile,
        subject=request.subject,
        spki=request.spki,
        window=window_from(call, TEN_YEARS if is_authority else DAY, datetime.now(UTC)),
        names=() if is_authority else _names(call, request),
        path_length=None if path_length == _NO_LIMIT else path_length,
        requested=_requested(csr_file, request) if profile is Profile.CSR else (),
    )
    try:
        ders = [make_certificate(wanted, IssuingPair(key, chain[0]))]
    except ProvisorError as error:
        raise CommandError(f"error creating certificate: {error.detail}") from error
    if call.switch("bundle"):
        ders += [certificate.der for certificate in chain]
    output.data("".join(encode_pem("CERTIFICATE", der) for der in ders), end="")


def _profile(call: Call) -> Profile:
    """Raises `CommandError` for another one, and for an impossible path length."""
    if call.text("profile") not in tuple(_PROFILES):
        raise exits.invalid_value(call.text("profile"), "profile", _PROFILES)
    if call.number("path-len") < _NO_LIMIT:
        raise CommandError(
            f"{exits.invalid_value(call.text('path-len'), 'path-len').message}; path-len must be -1 or greater"
        )
    return Profile(call.text("profile"))


def _chain(path: str) -> tuple[Certificate, ...]:
    try:
        return reading.read_chain(path)
    except CommandError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise CommandError(f"file {path} does not contain a valid certificate: {error.message}") from error


def _key(call: Call, path: str) -> PrivateKey:
    password, flag = keys.password_from(call, "password-file")
    try:
        return reading.read_private_key(path, password, flag=flag)
    except CommandError as error:
        if "contains an unexpected header" in error.message:
            raise CommandError(f"file {path} does not contain a valid private key") from error
        raise


def _check_issuer(call: Call, issuer: Certificate, key: PrivateKey, profile: Profile) -> None:
    if not is_pair(issuer, key):
        raise CommandError("private key does not match issuer public key")
    if not issuer.is_ca:
        raise CommandError("issuer certificate is not a certificate authority")
    limit = issuer.path_length
    if profile is not Profile.INTERMEDIATE or limit is None:
        return
    if limit == 0:
        raise CommandError("issuer certificate cannot sign an intermediate-ca: pathLenConstraint is 0")
    wanted = call.number("path-len")
    if wanted == _NO_LIMIT or wanted >= limit:
        raise CommandError(
            f"issuer certificate cannot sign an intermediate-ca: pathLenConstraint is {limit}, want at most {limit - 1}"
        )


def _names(call: Call, request: CertificateRequest) -> tuple[Name, ...]:
    """Those of the request, else its common name."""
    if request.names or call.switch("omit-cn-san") or not request.common_name:
        return request.names
    return classify_sans((request.common_name,))


def _requested(path: str, request: CertificateRequest) -> tuple[Extension, ...]:
    try:
        return parse_request(request.der).extensions
    except Malformed as error:
        raise CommandError(f"error parsing {path}: {reading.parser_words(error)}") from error
