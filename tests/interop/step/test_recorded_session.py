"""A recorded session of `step` with step-ca, its commands in their order: Provisor is the CA, the client, or both.

The session lives on what it made before: tokens, keys, certificates, a revocation. What the recording had from
elsewhere (tokens of a provisioner whose key no client has, expired certificates) is made here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from msgspec import Struct

from provisor.core.pem import encode_private_key
from support.command_line import Ended
from support.credentials import Party, TokenSigner, make_jws, make_key, make_party, make_signer, provisioner_extension
from support.peers import PASSWORD, ThrowawayPKI, free_port, jwk_provisioner, require_peer
from support.provisor_process import CAFolder, provisor_ca, step_ca
from support.step_lab import Texts, Transcript, Workplace, load_transcript
from support.wrong_tokens import parts

pytestmark = pytest.mark.peer

RECORDINGS: Final = Path(__file__).resolve().parent / "transcripts" / "session"
ROOT_THEN: Final = "57b1615f6aa0671e36d5290dde51141bc5c8888e8d29e8848cbdf9dba2703aa1"
KID_THEN: Final = "bvLpt7V4m45n7jkm1-VSptMCg1FM6Zd1ekowqascErk"
SERIALS_THEN: Final[Mapping[str, str]] = {
    "141599316572933156896362823083954416060": "r.crt",
    "336783561177996736830427997566209927614": "o.crt",
    "0xfd5e278ef36d6956a8f60e6ca0e4a9be": "o.crt",
}
"""Whose serial numbers they were."""

STDIN: Final[Mapping[str, str]] = {"16-token-inspect": "15-token", "69-revoke-token-inspect": "68-revoke-token"}
"""Commands that read what an earlier one printed."""

DIFFERENCES: Final[Mapping[tuple[str, str], str]] = {
    # our request for a client certificate names no CA, so that step sends what the reference lets it keep back
    ("step", "80-renew-of-another-ca"): (
        "error renewing certificate: client POST https://$CA/renew failed: remote error: tls: unknown"
        " certificate authority\n"
    ),
    # OpenSSL sends it too, and has its own name for the alert
    ("provisor", "80-renew-of-another-ca"): (
        "error renewing certificate: client POST https://$CA/renew failed: remote error: tls: unknown ca\n"
    ),
    # the key is compared with the certificate before anything is sent
    ("provisor", "50-renew-wrong-key"): (
        "error loading certificate key pair: tls: private key does not match public key\n"
    ),
}
"""What a client prints instead, and why."""

_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")


class Pairing(Struct, frozen=True):
    """Which client talks to which server."""

    client: str
    server: str

    def __str__(self) -> str:
        return f"{self.client} to {self.server}"


PAIRINGS: Final = (Pairing("step", "provisor"), Pairing("provisor", "step-ca"), Pairing("provisor", "provisor"))


class Session:
    """Provisor, a folder that the commands share, and what they have printed so far."""

    def __init__(self, pairing: Pairing, folder: CAFolder, workplace: Workplace, nokey: TokenSigner) -> None:
        self.pairing = pairing
        self.folder = folder
        self.workplace = workplace
        self.ended: dict[str, Ended] = {}
        self._nokey = nokey
        self._tokens: dict[str, str] = {}
        self._closed_port = free_port()
        fixtures = workplace.cwd.parent / "golden"
        self._stranger = fixtures / "config" / "certs"
        _make_stranger(fixtures / "config")
        self._fixtures = fixtures
        self.texts = Texts(
            {
                str(workplace.step_path): "$STEPPATH",
                str(fixtures): "$GOLDEN",
                str(workplace.cwd): "$CWD",
                f"localhost:{folder.port}": "$CA",
                "localhost:9100": "$CA",
                "localhost:9101": "$CA",
                f"localhost:{self._closed_port}": "$CLOSED",
                "localhost:9139": "$CLOSED",
                folder.fingerprint: "FINGERPRINT",
                ROOT_THEN: "FINGERPRINT",
                "provisor ca": "step ca",
                "Lab CA Intermediate CA": "Test Intermediate CA",
            }
        )

    def run(self, recorded: Transcript) -> None:
        if recorded.name == "53-renew-disabled":
            self._make_old_certificates()
        typed = self.ended[STDIN[recorded.name]].stdout if recorded.name in STDIN else ""
        done = self.workplace.run(self._command(recorded.command), typed=typed)
        self.ended[recorded.name] = done
        self._tokens[recorded.stdout.strip()] = done.stdout.strip()

    def _command(self, text: str) -> str:
        if self.pairing.client == "provisor":
            text = re.sub(r"\bstep (ca|certificate inspect)\b", r"provisor \1", text)
        text = _TOKEN.sub(lambda found: self._token(found[0]), text)
        here = f"localhost:{self.folder.port}"
        for then, now in {
            "localhost:9100": here,
            "localhost:9101": here,
            "localhost:9139": f"localhost:{self._closed_port}",
            ROOT_THEN: self.folder.fingerprint,
            KID_THEN: self.folder.provisioners[0]["key"]["kid"],
            "$GOLDEN": str(self._fixtures),
        }.items():
            text = text.replace(then, now)
        for then, file in SERIALS_THEN.items():
            if then in text:
                serial = self._serial(file)
                text = text.replace(then, hex(serial) if then.startswith("0x") else str(serial))
        return text

    def _token(self, recorded: str) -> str:
        """What was printed here in its place, or else its like, signed by `nokey`."""
        if recorded in self._tokens:
            return self._tokens[recorded]
        header, claims, _ = parts(recorded)
        now = int(time.time())
        audience = str(claims["aud"]).replace("localhost:9101", f"localhost:{self.folder.port}")
        subject = str(claims["sub"])
        if subject in SERIALS_THEN:
            subject = str(self._serial(SERIALS_THEN[subject]))
        claims |= {"aud": audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 300}
        return make_jws(header | {"kid": self._nokey.kid}, claims, self._nokey.key)

    def _serial(self, file: str) -> int:
        return x509.load_pem_x509_certificates((self.workplace.cwd / file).read_bytes())[0].serial_number

    def _make_old_certificates(self) -> None:
        """norenew.crt, short.crt and after.crt with leaf.key: the last two have expired."""
        pki = self.folder.pki
        issuer_key = load_pem_private_key(pki.key_file.read_bytes(), None)
        issuer = Party(x509.load_pem_x509_certificate(pki.intermediate_file.read_bytes()), issuer_key)  # type: ignore[arg-type]
        key, now = make_key(), datetime.now(UTC)
        _write_key(self.workplace.cwd / "leaf.key", key)
        for file, provisioner, ends in (
            ("norenew", "norenew", 60),
            ("short", "short", -1),
            ("after", "afterexpiry", -1),
        ):
            extension = provisioner_extension(provisioner)
            leaf = make_party(
                "old.example.test",
                issuer,
                now=now,
                key=key,
                starts=timedelta(hours=-2),
                ends=timedelta(minutes=ends),
                names=["old.example.test"],
                extensions=[extension],
            )
            path = self.workplace.cwd / f"{file}.crt"
            path.write_bytes(leaf.pem.encode() + pki.intermediate_file.read_bytes())
            path.chmod(0o644)


def _write_key(path: Path, key: object) -> None:
    path.write_bytes(encode_private_key(key, random=lambda size: bytes(size)))  # type: ignore[arg-type]
    path.chmod(0o600)


def _make_stranger(config: Path) -> None:
    """Root, leaf and key of another CA."""
    (config / "certs").mkdir(parents=True)
    (config / "keys").mkdir()
    now = datetime.now(UTC)
    root = make_party("Foreign Root", None, now=now, authority=True)
    leaf = make_party("foreign.example.test", root, now=now, names=["foreign.example.test"])
    (config / "certs" / "foreign_root.crt").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (config / "certs" / "foreign_leaf.crt").write_bytes(leaf.pem.encode() + root.pem.encode())
    _write_key(config / "keys" / "foreign-leaf.pem", leaf.key)


def recordings() -> list[Path]:
    return sorted(RECORDINGS.glob("*.json"))


@pytest.fixture(scope="module", params=PAIRINGS, ids=str)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    require_peer("step")
    pairing: Pairing = request.param
    base = tmp_path_factory.mktemp("session")
    nokey = make_signer("nokey")
    folder = CAFolder(
        base / "ca",
        [
            jwk_provisioner("admin@example.test"),
            nokey.entry(),
            make_signer("norenew").entry(claims={"disableRenewal": True}),
            make_signer("short").entry(),
            make_signer("afterexpiry").entry(claims={"allowRenewalAfterExpiry": True}),
            {"type": "X5C", "name": "broken"},
        ],
        settings={
            "dnsNames": ["localhost", "127.0.0.1", "ca.example.test"],
            "federatedRoots": [str(_other_root(base / "federated"))],
        },
    )
    workplace = Workplace(base / "work", base / "step", STEP_CA_URL=folder.url)
    (workplace.cwd / "pw").write_text(PASSWORD)
    with folder.serve(provisor_ca() if pairing.server == "provisor" else step_ca()):
        made = Session(pairing, folder, workplace, nokey)
        for path in recordings():
            made.run(load_transcript(path))
        yield made


def _other_root(folder: Path) -> Path:
    folder.mkdir()
    return ThrowawayPKI(folder).root_file


@pytest.mark.parametrize("path", recordings(), ids=lambda path: path.stem)
def test_every_command_of_the_session_ends_as_recorded(path: Path, session: Session) -> None:
    recorded, mine = load_transcript(path), (session.pairing.client, path.stem)
    done, normal = session.ended[path.stem], session.texts.normal
    assert normal(done.stderr) == (DIFFERENCES.get(mine) or normal(recorded.stderr))
    assert normal(done.stdout) == normal(recorded.stdout)
    assert done.status == recorded.status
    session.workplace.check_files(recorded.files)


@pytest.mark.parametrize("name", ["15-token", "39-token-for-c-with-two-sans", "68-revoke-token", "78-revoke-token-2"])
def test_a_token_of_the_session_says_what_the_recorded_one_says(name: str, session: Session) -> None:
    (theirs, claims, _), (ours, our_claims, _) = (
        parts(text.strip())
        for text in (load_transcript(RECORDINGS / f"{name}.json").stdout, session.ended[name].stdout)
    )
    assert theirs.keys() == ours.keys()
    assert claims.keys() == our_claims.keys()
    assert our_claims["aud"] == str(claims["aud"]).replace("9101", str(session.folder.port))
    assert our_claims.get("sans") == claims.get("sans")
