"""Command lines of `step` that were recorded against step-ca, run by the real `step` against Provisor.

What it prints, how it ends and what it writes must be as recorded: Provisor's answers are behind all of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, jwk_members, make_jwk
from provisor.core.pem import encode_private_key
from support.certificates import write_certificate
from support.credentials import make_csr
from support.peers import PASSWORD, ThrowawayPKI, free_port, jwk_provisioner, require_peer
from support.provisor_process import CAFolder, provisor_ca
from support.step_lab import Texts, Transcript, Workplace, configure, load_transcript
from support.terminal import run_on_terminal

pytestmark = pytest.mark.peer

_HERE: Final = Path(__file__).resolve().parent
_ELSEWHERE: Final = _HERE.parents[1] / "cli" / "transcripts" / "online"
NEW_PASSWORD: Final = "newpassword"
ROOT_THEN: Final = "9059807aca6f4f0b8bc1cacdf03911240432fa626d6c1b57591b4b87f8b3602b"
"""Fingerprint of the root at the time of the recording."""

OURS: Final = "--provisioner you@smallstep.com --provisioner-password-file pw"
BOOTSTRAP: Final = f"step ca bootstrap --ca-url https://localhost:9161 --fingerprint {ROOT_THEN}"
BEFORE: Final[Mapping[str, str]] = {
    "bootstrap-again-no-terminal": BOOTSTRAP,
    "bootstrap-again-force": BOOTSTRAP,
    "bootstrap-context-again": f"{BOOTSTRAP} --context remote",
    "bootstrap-then-health": BOOTSTRAP,
    "renew-disabled": "step ca certificate nr nrn.crt nrn.key --provisioner norenew --provisioner-password-file newpw",
    "renew-expires-in-due": f"step ca certificate n n.crt n.key {OURS} --not-after 59m",
    "renew-revoked": "step ca revoke --cert r4.crt --key r4.key",
    "rekey-revoked": "step ca revoke --cert r4.crt --key r4.key",
    "rekey-private-key-force": f"step ca certificate foo.internal rk2.crt rk2.key {OURS}",
    "sign-again-no-terminal": f"step ca sign foo.csr sg.crt {OURS}",
    "revoke-mtls-again": "step ca revoke --cert r4.crt --key r4.key",
    "revoke-token-again": (
        "S=$(step certificate inspect r2.crt --format json | jq -r .serial_number); step ca revoke $S --token"
        " $(step ca token $S --revoke --provisioner you@smallstep.com --password-file pw 2>/dev/null)"
    ),
}
"""What the commands before a recorded one had done."""

NEW_FILES: Final = frozenset({"certificate", "certificate-env", "certificate-terminal"})
"""Recordings that were made before foo.crt was there."""

NOT_OF_THE_SERVER: Final = frozenset(
    {
        "bootstrap-down",
        "bootstrap-http-url",
        "bootstrap-no-fingerprint",
        "bootstrap-no-url",
        "certificate-four-args",
        "certificate-set",  # its provisioner has a template
        "certificate-key-flag",
        "certificate-token-garbage",
        "offline-no-password",
        "offline-rekey",
        "offline-renew",
        "offline-revoke-no-terminal",
        "renew-daemon-first",
        "renew-daemon-hup",
        "renew-exec-missing",
        "renew-expires-in",
        "renew-expires-in-too-long",
        "renew-missing",
        "renew-no-force-no-terminal",
        "renew-period-no-daemon",
        "renew-period-too-long",
        "renew-pid-and-file",
        "renew-pid-file",
        "revoke-bad-code",
        "revoke-bad-name",
        "revoke-bad-serial",
        "revoke-mtls-cert-only",
        "revoke-mtls-serial",
        "revoke-nothing",
        "root-file-again-no-terminal",
        "token-bad-ca-url",
        "token-host-no-ssh",
        "token-no-subject",
        "token-offline-key",
        "token-offline-set",
        "token-renew",
        "token-renew-alone",
        "token-renew-other-subject",
        "token-set-bad",
        "token-wrong-password-terminal",
    }
)
"""Recordings that say nothing of the server: they end before anything is sent, or are about the client's own times."""

DIFFERENCES: Final[Mapping[str, str]] = {
    # our request for a client certificate names no CA, so that step sends what the reference lets it keep back
    "renew-foreign": (
        "error renewing certificate: client POST https://$CA/renew failed: remote error: tls: unknown"
        " certificate authority\n"
    ),
}
"""What the real `step` prints instead, and why."""


class Lab:
    """A running Provisor, and a folder of files as the recordings had them."""

    def __init__(self, folder: CAFolder, files: Path) -> None:
        self.folder = folder
        self.files = files
        self._closed_port = free_port()
        self._here = f"localhost:{folder.port}"

    def command(self, text: str) -> str:
        text = text.replace("localhost:9161", self._here).replace("localhost:9160", self._here)
        text = text.replace("localhost:9169", f"localhost:{self._closed_port}")
        return text.replace(ROOT_THEN, self.folder.fingerprint).replace(
            ROOT_THEN.upper(), self.folder.fingerprint.upper()
        )

    def texts(self, workplace: Workplace) -> Texts:
        return Texts(
            {
                str(workplace.step_path): "$STEPPATH",
                str(workplace.cwd): "$CWD",
                self._here: "$CA",
                "localhost:9160": "$CA",
                "localhost:9161": "$CA",
                f"localhost:{self._closed_port}": "$CLOSED",
                "localhost:9169": "$CLOSED",
                self.folder.fingerprint: "FINGERPRINT",
                ROOT_THEN: "FINGERPRINT",
                "Lab Intermediate CA": "Test Intermediate CA",
            }
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    require_peer("step")
    base = tmp_path_factory.mktemp("ca")
    nokey = make_jwk(ec.generate_private_key(ec.SECP256R1()))
    provisioners: list[Mapping[str, Any]] = [
        jwk_provisioner("you@smallstep.com"),
        {"type": "ACME", "name": "acme"},
        {"type": "JWK", "name": "nokey", "key": jwk_members(nokey)},
        jwk_provisioner("norenew", password=NEW_PASSWORD, claims={"disableRenewal": True}),
        jwk_provisioner("after", password=NEW_PASSWORD, claims={"allowRenewalAfterExpiry": True}),
        jwk_provisioner("tpl", password=NEW_PASSWORD),
    ]
    folder = CAFolder(base, provisioners)
    files = base / "files"
    files.mkdir()
    (files / "plain.priv").write_bytes(encode_jwk(nokey, private=True))
    write_files(folder, files)
    with folder.serve(provisor_ca()):
        yield Lab(folder, files)


def write_files(folder: CAFolder, files: Path) -> None:
    (files / "pw").write_text(f"{PASSWORD}\n")
    (files / "newpw").write_text(f"{NEW_PASSWORD}\n")
    (files / "data2.json").write_text('{"a": 1, "b": {"c": "d"}, "s": "file"}\n')
    (files / "baddata.json").write_text("{nope\n")
    key = ec.generate_private_key(ec.SECP256R1())
    for name in ("ec.pem", "k2.pem", "foo.csrkey"):
        (files / name).write_bytes(encode_private_key(key, random=os.urandom))
    (files / "foo.csr").write_text(make_csr(key, "foo.internal", ["foo.internal", "bar.internal"]))
    (files / "jwk.priv").write_text(
        encrypt_pbes2(encode_jwk(make_jwk(key), private=True), PASSWORD.encode(), os.urandom, iterations=1000)
    )
    stranger = files.parent / "stranger"
    stranger.mkdir()
    other = ThrowawayPKI(stranger)
    (files / "x5c.crt").write_bytes(other.root_pem)
    write_certificate(other, files / "leaf.crt", files / "leaf.key", "leaf", ends_in=timedelta(hours=1))
    for name, provisioner in (("ex", "you@smallstep.com"), ("exa", "after")):
        key_id = next(entry["key"]["kid"] for entry in folder.provisioners if entry["name"] == provisioner)
        write_certificate(
            folder.pki, files / f"{name}.crt", files / f"{name}.key", name, provisioner=provisioner, key_id=key_id
        )


@pytest.fixture
def workplace(lab: Lab, tmp_path: Path) -> Workplace:
    """A folder with the files, and a $STEPPATH that knows the CA."""
    made = Workplace(tmp_path / "cwd", tmp_path / "step", STEP_CA_URL=lab.folder.url)
    shutil.copytree(lab.files, made.cwd, dirs_exist_ok=True)
    configure(made.step_path, lab.folder.url, lab.folder.fingerprint, lab.folder.pki.root_file)
    shutil.copy(lab.folder.config_file, made.step_path / "config" / "ca.json")
    return made


def recordings() -> list[Path]:
    paths = [*_ELSEWHERE.glob("*.json"), *(_HERE / "transcripts" / "online").glob("*.json")]
    return sorted((path for path in paths if path.stem not in NOT_OF_THE_SERVER), key=lambda path: path.stem)


@pytest.mark.parametrize("path", recordings(), ids=lambda path: path.stem)
def test_a_recorded_command_ends_as_recorded(path: Path, lab: Lab, workplace: Workplace, tmp_path: Path) -> None:
    recorded = load_transcript(path)
    if path.stem.startswith("bootstrap") or path.stem == "health-no-root":
        workplace = Workplace(workplace.cwd, tmp_path / "empty", STEP_CA_URL=lab.folder.url)
    prepare(lab, recorded, workplace)
    texts = lab.texts(workplace)
    if recorded.screen:
        status, screen = run_on_terminal(
            ["bash", "-c", lab.command(recorded.command)],
            recorded.answers,
            env=workplace.changed(recorded.environment),
            cwd=str(workplace.cwd),
        )
        assert status == recorded.status, screen
        assert_screen(texts.normal(screen), texts.normal(recorded.screen))
        return
    done = workplace.run(lab.command(recorded.command), recorded.environment)
    expected = DIFFERENCES.get(path.stem)
    assert texts.normal(done.stderr) == (texts.normal(recorded.stderr) if expected is None else expected)
    assert texts.normal(done.stdout) == texts.normal(recorded.stdout)
    assert done.status == recorded.status
    workplace.check_files(recorded.files)


def prepare(lab: Lab, recorded: Transcript, workplace: Workplace) -> None:
    """What the commands before this one had left behind."""
    if recorded.name not in NEW_FILES and ("foo.crt" in recorded.command or "foo.key" in recorded.command):
        workplace.do(f"step ca certificate foo.internal foo.crt foo.key {OURS}")
    for name in (f"r{digit}" for digit in range(8)):
        if f"{name}.crt" in recorded.command:
            workplace.do(f"step ca certificate {name} {name}.crt {name}.key {OURS}")
    if recorded.name in BEFORE:
        workplace.do(lab.command(BEFORE[recorded.name]))


def assert_screen(screen: str, recorded: str) -> None:
    """Results and errors are there; how a question is drawn and redrawn is the client's."""
    for line in map(str.strip, recorded.splitlines()):
        if line.startswith("✔") or (line and line[0] not in "?▸↓" and ":" in line and "navigate" not in line):
            assert line in screen, f"{line!r} is not on the screen:\n{screen}"
