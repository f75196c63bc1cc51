"""`certificate verify --verify-crl` and `--verify-ocsp` against a server that gives every kind of answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from provisor.cli.certificates import web
from support.command_line import Desk

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SERIAL = 4711
Status = ocsp.OCSPCertStatus
Named = Sequence[tuple[x509.ExtensionType, bool]]


class Party(Struct, frozen=True):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make(name: str, issuer: Party | None, extensions: Named = (), serial: int = 0) -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + DAY)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Party(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


CA: Named = [(x509.BasicConstraints(ca=True, path_length=None), True)]
ROOT = make("Root", None, CA)
INTER = make("Inter", ROOT, CA)
STRANGER = make("Inter", None, CA)
RESPONDER = make("Responder", INTER, [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)])
NO_RESPONDER = make("Web", INTER, [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)])


def crl(
    signer: Party,
    *serials: int,
    ends: timedelta = DAY,
    starts: timedelta = -HOUR,
    extensions: Named = (),
    reason: x509.ReasonFlags | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(NOW + starts)
        .next_update(NOW + ends)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        if reason:
            entry = entry.add_extension(x509.CRLReason(reason), False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def answer(
    status: Status = Status.GOOD,
    *,
    about: Party | None = None,
    issuer: Party = INTER,
    signer: Party = INTER,
    starts: timedelta = -HOUR,
    ends: timedelta | None = HOUR,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            (about or LEAF).certificate,
            issuer.certificate,
            algorithm or hashes.SHA1(),
            status,
            NOW + starts,
            None if ends is None else NOW + ends,
            NOW if status is Status.REVOKED else None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if signer is not issuer:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def scope(**options: bool) -> Named:
    everything = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    name = [x509.UniformResourceIdentifier("http://x/crl")]
    point = x509.IssuingDistributionPoint(
        full_name=name, relative_name=None, only_some_reasons=None, **(everything | options)
    )
    return [(point, True)]


LEAF = make("leaf", INTER, serial=SERIAL)
LISTS: Mapping[str, bytes] = {
    "good": crl(INTER, 1, 2),
    "listed": crl(INTER, 1, SERIAL),
    "removed": crl(INTER, SERIAL, reason=x509.ReasonFlags.remove_from_crl),
    "old": crl(INTER, ends=-HOUR / 2),
    "future": crl(INTER, starts=HOUR),
    "stranger": crl(STRANGER),
    "other-issuer": crl(ROOT),
    "users": crl(INTER, extensions=scope(only_contains_user_certs=True)),
    "authorities": crl(INTER, extensions=scope(only_contains_ca_certs=True)),
    "indirect": crl(INTER, extensions=scope(indirect_crl=True)),
    "delta": crl(INTER, extensions=[(x509.DeltaCRLIndicator(1), True)]),
    "strange": crl(INTER, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]),
    "junk": b"junk",
    "empty": b"",
}
ANSWERS: Mapping[str, bytes] = {
    "good": answer(),
    "sha256": answer(algorithm=hashes.SHA256()),
    "endless": answer(ends=None),
    "revoked": answer(Status.REVOKED),
    "unknown": answer(Status.UNKNOWN),
    "delegated": answer(signer=RESPONDER),
    "usurped": answer(signer=NO_RESPONDER),
    "stranger": answer(signer=STRANGER),
    "other": answer(about=RESPONDER),
    "other-issuer": answer(issuer=ROOT, signer=INTER),
    "old": answer(ends=-HOUR / 2),
    "future": answer(starts=HOUR, ends=DAY),
    "refused": ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
        Encoding.DER
    ),
    "junk": b"junk",
}


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "ftp":
            self.send_response(302)
            self.send_header("location", "ftp://127.0.0.1/x")
            self.end_headers()
            return
        pages = {"crl": LISTS, "ocsp": ANSWERS, "ca": {"der": INTER.certificate.public_bytes(Encoding.DER)}}
        content = pages.get(kind, {}).get(name)
        self.send_response(404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    do_GET = do_POST = _answer  # noqa: N815  # names of the library

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    for name, parties in (("leaf", (LEAF, INTER)), ("inter", (INTER,)), ("root", (ROOT,))):
        desk.write(f"{name}.crt", b"".join(party.certificate.public_bytes(Encoding.PEM) for party in parties))
    return desk


VERIFY = "certificate verify leaf.crt --roots root.crt"
NO_LIST = "could not verify certificate against CRL distribution point(s)\n"
NO_ANSWER = "could not verify certificate against OCSP server(s)\n"


@pytest.mark.parametrize("name", ["good", "removed", "users"])
def test_a_certificate_that_no_list_has_is_good(desk: Desk, server: str, name: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-crl --crl-endpoint {server}/crl/{name} --verbose")
    assert ended.stdout.splitlines() == [
        "certificate validated against roots",
        f"certificate validated against CRL {server}/crl/{name}",
        "certficiate is valid",
    ]
    assert (ended.status, ended.stderr) == (0, "")


def test_a_certificate_on_the_list_is_revoked(desk: Desk, server: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-crl --crl-endpoint {server}/crl/listed")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == f"certificate has been revoked according to CRL {server}/crl/listed\n"


@pytest.mark.parametrize(
    "name",
    [name for name in LISTS if name not in ("good", "removed", "users", "listed")] + ["missing"],
)
def test_a_list_that_says_nothing_is_no_answer(desk: Desk, server: str, name: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-crl --crl-endpoint {server}/crl/{name}")
    assert (ended.status, ended.stdout, ended.stderr) == (1, "", NO_LIST)


@pytest.mark.parametrize("name", ["good", "sha256", "endless", "delegated"])
def test_a_responder_calls_it_good(desk: Desk, server: str, name: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-ocsp --ocsp-endpoint {server}/ocsp/{name} --verbose")
    assert f"certificate status is good according OCSP {server}/ocsp/{name}\n" in ended.stdout
    assert (ended.status, ended.stderr) == (0, "")


@pytest.mark.parametrize(("name", "words"), [("revoked", "has been revoked"), ("unknown", "status is unknown")])
def test_a_responder_calls_it_bad(desk: Desk, server: str, name: str, words: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-ocsp --ocsp-endpoint {server}/ocsp/{name}")
    assert (ended.status, ended.stderr) == (1, f"certificate {words} according to OCSP {server}/ocsp/{name}\n")


@pytest.mark.parametrize(
    "name", ["usurped", "stranger", "other", "other-issuer", "old", "future", "refused", "junk", "missing"]
)
def test_an_answer_that_does_not_count_is_none(desk: Desk, server: str, name: str) -> None:
    url = f"{server}/ocsp/{name}"
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-ocsp --ocsp-endpoint {url} --verbose")
    assert (ended.status, ended.stderr) == (1, NO_ANSWER)
    assert ended.stdout == f"error parsing response from OCSP server: {url}\n"


def test_a_responder_that_is_not_there_is_told_on_request(desk: Desk) -> None:
    words = f"{VERIFY} --issuing-ca inter.crt --verify-ocsp --ocsp-endpoint http://127.0.0.1:1/"
    assert desk.run(words).stdout == ""
    assert desk.run(f"{words} --verbose").stdout == "error contacting OCSP server: http://127.0.0.1:1/\n"


def test_the_addresses_in_the_certificate_are_asked_in_turn(desk: Desk, server: str) -> None:
    def at(path: str) -> x509.UniformResourceIdentifier:
        return x509.UniformResourceIdentifier(f"{server}/{path}")

    oid = AuthorityInformationAccessOID
    access = [(oid.CA_ISSUERS, "ca/der"), (oid.OCSP, "ocsp/missing"), (oid.OCSP, "ocsp/good")]
    lists = [x509.DistributionPoint([at(path)], None, None, None) for path in ("crl/missing", "crl/good", "crl/listed")]
    party = make(
        "leaf",
        INTER,
        [
            (x509.AuthorityInformationAccess([x509.AccessDescription(oid, at(path)) for oid, path in access]), False),
            (x509.CRLDistributionPoints(lists), False),
        ],
        serial=SERIAL,
    )
    chain = (party.certificate, INTER.certificate)
    desk.write("leaf.crt", b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    ended = desk.run(f"{VERIFY} --verify-crl --verify-ocsp --verbose")
    assert ended.stdout.splitlines() == [
        "error downloading crl: status code 404",
        f"error parsing response from OCSP server: {server}/ocsp/missing",
        "certificate validated against roots",
        f"certificate validated against CRL {server}/crl/good",
        f"certificate status is good according OCSP {server}/ocsp/good",
        "certficiate is valid",
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--verify-crl", "could not get the issuing CA from the cert and no issuing CA certificate provided"),
        ("--verify-crl --issuing-ca inter.crt", "CRL distribution endpoint not found in certificate"),
        ("--verify-ocsp --issuing-ca inter.crt", "no OCSP AIA extension found"),
        ("--issuing-ca nofile", "unable to load the issuing CA certificate file"),
        ("--issuing-ca pw", "failed to decode the issuing CA certificate"),
        (
            "--verify-crl --issuing-ca root.crt",
            "the issuing CA certificate did not sign the certificate: give the right one with '--issuing-ca'",
        ),
    ],
)
def test_what_is_missing_is_named(desk: Desk, flags: str, text: str) -> None:
    ended = desk.run(f"{VERIFY} {flags}")
    assert (ended.status, ended.stdout, ended.stderr) == (1, "", f"{text}\n")


def test_the_result_is_there_for_programs_too(desk: Desk, server: str) -> None:
    ended = desk.run(f"{VERIFY} --issuing-ca inter.crt --verify-crl --crl-endpoint {server}/crl/good --json")
    assert f'"serialNumber": "{SERIAL}"' in ended.stdout
    assert f'"crl": "{server}/crl/good"' in ended.stdout


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "foo", "", "http://", "http://127.0.0.1:x/"]
)
def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(web.Unreachable):
        web.fetch(url)


def test_a_redirection_leads_nowhere_else(server: str) -> None:
    with pytest.raises(web.Unreachable):
        web.fetch(f"{server}/ftp/")
