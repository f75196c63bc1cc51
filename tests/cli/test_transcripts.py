"""Recorded command lines of `step`, run with Provisor's program against the real step-ca, and compared.

What differs on every run (ports, serials, keys, times) is replaced on both sides. Where Provisor differs on purpose,
`DIFFERENCES` says what it prints instead, and why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.client.csr import csr_pem, make_csr
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import JWK, encode_jwk, jwk_members, make_jwk
from provisor.core.names import classify_sans
from provisor.core.pem import encode_private_key, parse_private_key
from support.certificates import write_certificate
from support.peers import PASSWORD, REPOSITORY, RealStepCA, ThrowawayPKI, free_port, jwk_provisioner
from support.terminal import plain, run_on_terminal

pytestmark = pytest.mark.peer

RECORDINGS = Path(__file__).parent / "transcripts" / "online"
NEW_PASSWORD = "newpassword"
ROOT_THEN = "9059807aca6f4f0b8bc1cacdf03911240432fa626d6c1b57591b4b87f8b3602b"
"""Fingerprint of the root at the time of the recording."""

OURS = "--provisioner you@smallstep.com --provisioner-password-file pw"
OFFLINE = "step ca certificate off off.crt off.key --offline --provisioner you@smallstep.com --password-file pw"
PREPARE: Mapping[str, str] = {
    **dict.fromkeys(("offline-rekey", "offline-renew", "offline-revoke-no-terminal"), OFFLINE),
    "rekey-private-key-force": "step ca rekey foo.crt foo.key --out-cert rk2.crt --private-key ec.pem",
    "revoke-token-again": (
        "step ca revoke $(step certificate inspect r2.crt --format json | jq -r .serial_number) --token "
        "$(step ca token $(step certificate inspect r2.crt --format json | jq -r .serial_number) --revoke "
        "--provisioner you@smallstep.com --password-file pw)"
    ),
    "bootstrap-again-no-terminal": "step ca bootstrap --ca-url $URL --fingerprint $FINGERPRINT",
    "bootstrap-again-force": "step ca bootstrap --ca-url $URL --fingerprint $FINGERPRINT",
    "bootstrap-context-again": "step ca bootstrap --ca-url $URL --fingerprint $FINGERPRINT --context remote",
    "bootstrap-then-health": "step ca bootstrap --ca-url $URL --fingerprint $FINGERPRINT",
    "renew-disabled": "step ca certificate nr nrn.crt nrn.key --provisioner norenew --provisioner-password-file newpw",
    "renew-expires-in-due": f"step ca certificate n n.crt n.key {OURS} --not-after 59m",
    "renew-expires-in-too-long": f"step ca certificate n n.crt n.key {OURS} --not-after 1h",
    "renew-revoked": "step ca revoke --cert r4.crt --key r4.key",
    "rekey-revoked": "step ca revoke --cert r4.crt --key r4.key",
    "revoke-mtls-again": "step ca revoke --cert r4.crt --key r4.key",
    "root-file-again-no-terminal": "step ca root root.out",
    "root-file-force": "step ca root root.out",
    "sign-again-no-terminal": f"step ca sign foo.csr sg.crt {OURS}",
}
MORE_LINES: Mapping[str, str] = {
    # two renewal tokens of one second differ, so that a server may spend them
    "token-renew": '    "jti": "RANDOM",\n',
}
"""What ours prints beside the recorded text, once."""

FRESH_FILES = frozenset({"certificate", "certificate-env", "certificate-terminal"})
"""Recordings that were made before foo.crt was there."""

DIFFERENCES: Mapping[str, str] = {
    # the key is compared with the certificate before anything is sent
    "renew-mismatch": "error loading certificate key pair: tls: private key does not match public key\n",
    # the reference forgets the name of the file
    "renew-missing": 'error reading certificate chain: error reading "none.crt": no such file or directory\n',
    # OpenSSL shows a client certificate that the CA said it would not take
    "renew-foreign": (
        "error renewing certificate: client POST https://$CA/renew failed: remote error: tls: unknown ca\n"
    ),
    # SSH is refused by name in this version
    "token-host-no-ssh": "flag '--host' is not supported by this version of provisor\n",
    # the words of another JSON reader
    "certificate-set-bad-file": (
        "✔ Provisioner: tpl (JWK) [kid: KID]\n✔ CA: https://$CA\n"
        "error unmarshaling baddata.json: JSON is malformed: object keys must be strings (byte 1)\n"
    ),
}


class Lab:
    """A running CA, and a folder of files as the recordings had them."""

    def __init__(self, ca: RealStepCA, files: Path, bin_folder: Path) -> None:
        self.ca = ca
        self.files = files
        self.bin_folder = bin_folder
        self.closed_port = free_port()

    def environment(self, step_path: Path, changes: Mapping[str, str]) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
        env |= {"PATH": f"{self.bin_folder}:{env['PATH']}", "STEPPATH": str(step_path), "STEP_CA_URL": self.ca.url}
        for name, value in changes.items():
            if value == "None":
                env.pop(name, None)
            else:
                env[name] = value
        return env

    def command(self, text: str) -> str:
        text = text.replace("https://localhost:9161", self.ca.url).replace("https://localhost:9160", self.ca.url)
        text = text.replace("localhost:9161", self.ca.url.removeprefix("https://"))
        text = text.replace("localhost:9169", f"localhost:{self.closed_port}")
        text = text.replace(ROOT_THEN, self.ca.fingerprint).replace(ROOT_THEN.upper(), self.ca.fingerprint.upper())
        return text.replace("$URL", self.ca.url).replace("$FINGERPRINT", self.ca.fingerprint)

    def normal(self, text: str, cwd: Path, step_path: Path) -> str:
        """Without what differs on every run."""
        text = plain(text)
        for folder, name in ((step_path, "$STEPPATH"), (cwd, "$CWD")):
            text = text.replace(str(folder), name)
        text = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", text)
        text = re.sub(r"(dial tcp )[\d.:\[\]]+", r"\1ADDRESS", text)
        text = re.sub(rf"(https?)://localhost:(916[01]|{self.ca.port})", r"\1://$CA", text)
        text = re.sub(rf"localhost:(9169|{self.closed_port})", "$CLOSED", text)
        text = text.replace(self.ca.fingerprint, "FINGERPRINT").replace(ROOT_THEN, "FINGERPRINT")
        text = re.sub(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", "CERTIFICATE", text)
        text = re.sub(r'"MII[A-Za-z0-9+/=]+"(,\s+"MII[A-Za-z0-9+/=]+")*', '"DER"', text)
        text = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN", text)
        text = re.sub(r"(\[kid: |\"kid\": \")[\w-]{43}", r"\1KID", text)
        text = re.sub(r'"(exp|iat|nbf)": \d+', r'"\1": TIME', text)
        text = re.sub(r'"(jti|signature|x5rt#S256)": "[\w-]{40,}"', r'"\1": "RANDOM"', text)
        text = re.sub(r"\b\d{35,40}\b", "SERIAL", text)
        text = re.sub(r"expires in \d+h\d+m\d+s", "expires in AWHILE", text)
        text = re.sub(r"'requested [a-z ]+'=[\dhm.]+s", "'requested'=AWHILE", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "INSTANT", text)
        text = re.sub(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT", "INSTANT", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT", text)
        text = re.sub(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "INSTANT", text)
        text = re.sub(r"(INFO: .* in )\d+h\d+m\d+s", r"\1AWHILE", text)
        text = re.sub(r"\[(Serial|ID): [\w-]{4}\.\.\.[\w-]{4}\]", r"[\1]", text)
        text = re.sub(r"\b(serial=|0x)[0-9A-F]{30,32}\b", r"\1SERIAL", text)
        text = re.sub(r'(does not match ")[\w-]{43}', r"\1RANDOM", text)
        text = re.sub(r"(?m)^step (ACME|SCEP)", r"provisor \1", text)
        text = re.sub(r"Issuer:( +).*Intermediate CA", r"Issuer:\1INTERMEDIATE", text)
        text = re.sub(r"(?m)^badger .*\n", "", text)
        return re.sub(r"(?m)(^|[' ])step ca", r"\1provisor ca", text)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("ca")
    template = (
        '{"subject": {"commonName": {{ toJson .Subject.CommonName }}, '
        '"organizationalUnit": {{ toJson .Insecure.User.ou }}}, "sans": {{ toJson .SANs }}, '
        '"keyUsage": ["digitalSignature"]}'
    )
    nokey = make_jwk(ec.generate_private_key(ec.SECP256R1()))
    provisioners: list[Mapping[str, object]] = [
        jwk_provisioner("you@smallstep.com"),
        {"type": "ACME", "name": "acme"},
        {"type": "JWK", "name": "nokey", "key": jwk_members(nokey)},
        jwk_provisioner("norenew", password=NEW_PASSWORD, claims={"disableRenewal": True}),
        jwk_provisioner("after", password=NEW_PASSWORD, claims={"allowRenewalAfterExpiry": True}),
        jwk_provisioner("tpl", password=NEW_PASSWORD, options={"x509": {"template": template}}),
    ]
    with RealStepCA(folder, provisioners) as ca:
        files, bin_folder = folder / "files", folder / "bin"
        files.mkdir()
        bin_folder.mkdir()
        write_shim(bin_folder / "step")
        lab = Lab(ca, files, bin_folder)
        write_files(lab, nokey)
        yield lab


def write_shim(path: Path) -> None:
    """`step` that is Provisor."""
    source, script = REPOSITORY / "src", REPOSITORY / "tests" / "support" / "step_shim.py"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" "{script}" "$@"\n')
    path.chmod(0o755)


def write_files(lab: Lab, nokey: JWK) -> None:
    files, random = lab.files, os.urandom
    (files / "pw").write_text(f"{PASSWORD}\n")
    (files / "newpw").write_text(f"{NEW_PASSWORD}\n")
    (files / "data2.json").write_text('{"a": 1, "b": {"c": "d"}, "s": "file"}\n')
    (files / "baddata.json").write_text("{nope\n")
    key = ec.generate_private_key(ec.SECP256R1())
    for name in ("ec.pem", "k2.pem", "foo.csrkey"):
        (files / name).write_bytes(encode_private_key(key, random=random))
    names = classify_sans(["foo.internal", "bar.internal"])
    (files / "foo.csr").write_text(csr_pem(make_csr(key, "foo.internal", names)))
    (files / "plain.priv").write_bytes(encode_jwk(nokey, private=True))
    (files / "jwk.priv").write_text(
        encrypt_pbes2(encode_jwk(make_jwk(key), private=True), PASSWORD.encode(), random, iterations=1000)
    )
    (files / "x5c.crt").write_bytes(stranger(files))
    for name, provisioner in (("ex", "you@smallstep.com"), ("exa", "after")):
        key_id = next(
            one["key"]["kid"]  # type: ignore[index]
            for one in lab.ca.provisioners
            if one["name"] == provisioner
        )
        write_certificate(
            lab.ca.pki, files / f"{name}.crt", files / f"{name}.key", name, provisioner=provisioner, key_id=key_id
        )


def stranger(files: Path) -> bytes:
    """leaf.crt and leaf.key of another CA; its root."""
    other = files.parent / "other"
    other.mkdir()
    pki = ThrowawayPKI(other)
    write_certificate(pki, files / "leaf.crt", files / "leaf.key", "leaf", ends_in=timedelta(hours=1))
    return pki.root_pem


@pytest.fixture
def workplace(lab: Lab, tmp_path: Path) -> tuple[Path, Path]:
    """A folder with the files, and a $STEPPATH that knows the CA."""
    cwd, step_path = tmp_path / "cwd", tmp_path / "step"
    shutil.copytree(lab.files, cwd)
    for folder in ("certs", "config"):
        (step_path / folder).mkdir(parents=True)
    shutil.copy(lab.ca.pki.root_file, step_path / "certs" / "root_ca.crt")
    shutil.copy(lab.ca.config_file, step_path / "config" / "ca.json")
    defaults = {"ca-url": lab.ca.url, "fingerprint": lab.ca.fingerprint, "root": str(step_path / "certs/root_ca.crt")}
    (step_path / "config" / "defaults.json").write_text(json.dumps(defaults))
    return cwd, step_path


def take_over(step_path: Path) -> None:
    """ca.json for a CA that does not run: a database of its own, and an encrypted key."""
    config = step_path / "config" / "ca.json"
    document = json.loads(config.read_text())
    key = parse_private_key(Path(document["key"]).read_bytes(), None, where="")
    locked = step_path / "intermediate_ca_key"
    locked.write_bytes(encode_private_key(key, password=PASSWORD.encode(), random=os.urandom, iterations=1000))
    document |= {"key": str(locked), "db": {"type": "badgerv2", "dataSource": str(step_path / "db")}}
    config.write_text(json.dumps(document))


def shell(lab: Lab, command: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Without a controlling terminal."""
    return subprocess.run(
        ["bash", "-c", lab.command(command)],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )


def prepare(lab: Lab, recorded: Mapping[str, Any], cwd: Path, env: Mapping[str, str]) -> None:
    """What the recordings before this one had left behind."""
    name, command = recorded["name"], recorded["command"]
    if name not in FRESH_FILES and re.search(r"\bfoo\.(crt|key)", command):
        done = shell(lab, f"step ca certificate foo.internal foo.crt foo.key {OURS}", cwd, env)
        assert done.returncode == 0, done.stderr
    for pair in sorted(set(re.findall(r"\b(r\d)\.crt", command))):
        shell(lab, f"step ca certificate {pair} {pair}.crt {pair}.key {OURS}", cwd, env)
    if name in PREPARE:
        done = shell(lab, PREPARE[name], cwd, env)
        assert done.returncode == 0, done.stderr


def recordings() -> list[str]:
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))


@pytest.mark.parametrize("name", recordings())
def test_a_recorded_command_does_the_same_here(name: str, lab: Lab, workplace: tuple[Path, Path]) -> None:
    recorded = json.loads((RECORDINGS / f"{name}.json").read_text())
    cwd, step_path = workplace
    if name.startswith("bootstrap") or name == "health-no-root":
        step_path = cwd.parent / "empty"
    if name.startswith("offline-"):
        take_over(step_path)
    env = lab.environment(step_path, recorded.get("env", {}))
    prepare(lab, recorded, cwd, env)
    before = modes(cwd)
    if "screen" in recorded:
        answers = [(wait, typed) for wait, typed in recorded["terminal"]]
        status, screen = run_on_terminal(
            ["bash", "-c", lab.command(recorded["command"])], answers, env=env, cwd=str(cwd)
        )
        assert status == recorded["exit"], screen
        assert_screen(lab.normal(screen, cwd, step_path), lab.normal(recorded["screen"], cwd, step_path))
        return
    done = shell(lab, recorded["command"], cwd, env)
    assert lab.normal(done.stderr, cwd, step_path) == expected_stderr(lab, recorded, cwd, step_path)
    more = MORE_LINES.get(name, "")
    printed = lab.normal(done.stdout, cwd, step_path)
    assert more in printed
    assert printed.replace(more, "", 1) == lab.normal(recorded["stdout"], cwd, step_path)
    assert done.returncode == recorded["exit"]
    check_files(recorded, cwd, step_path, before)


def expected_stderr(lab: Lab, recorded: Mapping[str, Any], cwd: Path, step_path: Path) -> str:
    return DIFFERENCES.get(recorded["name"]) or lab.normal(recorded["stderr"], cwd, step_path)


def assert_screen(screen: str, recorded: str) -> None:
    """Questions look a little different; answers, results and errors do not."""
    for line in recorded.splitlines():
        line = line.strip()
        if line.startswith("✔") or (line and line[0] not in "?▸↓" and ":" in line and "navigate" not in line):
            assert line in screen, f"{line!r} is not on the screen:\n{screen}"


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def check_files(recorded: Mapping[str, Any], cwd: Path, step_path: Path, before: Mapping[str, str]) -> None:
    """Every recorded file is there with its mode, its first line and its last newline, and no other is new."""
    for entry in recorded.get("files", []):
        path = Path(entry["path"].replace("$CWD", str(cwd)).replace("$STEPPATH", str(step_path)))
        assert path.exists(), path
        assert oct(path.stat().st_mode & 0o777) == entry["mode"], path
        if path.is_file():
            content = path.read_text()
            assert content.endswith("\n") == entry["endsWithNewline"], path
            if not entry["first"].startswith("eyJ") and not entry["first"].isdigit():
                assert content.splitlines()[0] == entry["first"], path
    new = {name for name in modes(cwd) if name not in before}
    listed = {entry["path"].removeprefix("$CWD/") for entry in recorded.get("files", [])}
    assert new <= listed
