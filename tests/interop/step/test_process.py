"""The program `provisor-ca` in the place of `step-ca`: recorded starts, refusals and reloads."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from msgspec import Struct

from support.peers import REPOSITORY, ThrowawayPKI, free_port
from support.provisor_process import CAProcess, clean_environment, provisor_ca

HERE: Final = Path(__file__).resolve().parent
CONFIG: Final = HERE.parents[1] / "api" / "golden" / "config"
RECORDED: Final = HERE / "transcripts" / "process"
PORT_THEN: Final = "9110"
PASSWORD: Final = ("--password-file", "password.txt")
SECONDS: Final = 30.0

Config = dict[str, Any]
Edit = Callable[[Config], object]


def _nothing(config: Config) -> None:
    """The recorded configuration as it is."""


def _set(*path: str, value: object) -> Edit:
    def edit(config: Config) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return edit


def _drop(name: str) -> Edit:
    return lambda config: config.pop(name)


def _claims(**claims: object) -> Edit:
    return _set("authority", "claims", value=claims)


def _second(**members: object) -> Edit:
    return lambda config: config["authority"]["provisioners"][1].update(members)


def _without(member: str) -> Edit:
    return lambda config: config["authority"]["provisioners"][1].pop(member)


def _again(**members: object) -> Edit:
    """The second provisioner once more, with other members."""

    def edit(config: Config) -> None:
        provisioners = config["authority"]["provisioners"]
        provisioners.append({**provisioners[1], **members})

    return edit


def _all(*edits: Edit) -> Edit:
    return lambda config: [edit(config) for edit in edits]


def _document() -> Config:
    document: Config = json.loads((CONFIG / "ca.json").read_text(encoding="utf-8"))
    return document


def _third_key() -> object:
    return _document()["authority"]["provisioners"][2]["key"]


EDITS: Final[Mapping[str, Edit]] = {
    **{f"{name} absent": _drop(name) for name in ("address", "root", "crt", "key", "dnsNames", "authority", "db")},
    **{f"{name} absent": _drop(name) for name in ("tls", "logger")},
    "dnsNames empty": _set("dnsNames", value=[]),
    "address without port": _set("address", value="localhost"),
    "address only port": lambda config: config.update(address=":" + config["address"].rpartition(":")[2]),
    "root missing file": _set("root", value="nope.crt"),
    "root array": _set("root", value=["certs/root_ca.crt", "certs/foreign_root.crt"]),
    "crt missing file": _set("crt", value="nope.crt"),
    "key missing file": _set("key", value="nope"),
    "key of another certificate": _set("key", value="keys/leaf-ec.pem"),
    "crt not signed by root": _set("root", value="certs/foreign_root.crt"),
    "unknown member": _set("whatever", value=1),
    "members in other case": lambda config: config.update(DNSNAMES=config.pop("dnsNames")),
    "logger format unknown": _set("logger", "format", value="xml"),
    "logger format common": _set("logger", "format", value="common"),
    "db type unknown": _set("db", "type", value="nope"),
    "db type in capitals": _set("db", "type", value="BadgerV2"),
    "db type badger": _set("db", "type", value="badger"),
    "db type bbolt": lambda config: config["db"].update(type="bbolt", dataSource="bolt.db"),
    "metricsAddress bad": _set("metricsAddress", value="nope"),
    "insecureAddress bad": lambda config: config.update(insecureAddress="nope", crl={"enabled": True}),
    "tls min above max": lambda config: config["tls"].update(minVersion=1.3, maxVersion=1.2),
    "tls version nonsense": _set("tls", "minVersion", value=1.7),
    "tls version string": _set("tls", "minVersion", value="1.2"),
    "tls cipher unknown": _set("tls", "cipherSuites", value=["NOPE"]),
    "claims min 0": _claims(minTLSCertDuration="0s"),
    "claims min above max": _claims(minTLSCertDuration="48h"),
    "claims default above max": _claims(defaultTLSCertDuration="48h", maxTLSCertDuration="24h"),
    "claims default below min": _claims(defaultTLSCertDuration="1m", minTLSCertDuration="5m"),
    "claims not a duration": _claims(minTLSCertDuration="1d"),
    "claims a number": _claims(minTLSCertDuration=300),
    "backdate negative": _set("authority", "backdate", value="-1m"),
    "backdate 0": _set("authority", "backdate", value="0s"),
    "provisioner claims min above max": _second(claims={"minTLSCertDuration": "48h"}),
    "provisioner twice": _again(),
    "provisioner same name, other key": _again(key=_third_key()),
    "provisioner same key, other name": _again(name="second"),
    "provisioner without name": _second(name=""),
    "provisioner without key": _without("key"),
    "provisioner without type": _without("type"),
    "provisioner type lower case": _second(type="jwk"),
    "provisioners empty": _set("authority", "provisioners", value=[]),
    "provisioners null": _set("authority", "provisioners", value=None),
    "authority type unknown": _set("authority", "type", value="nope"),
    "kms type unknown": _set("kms", value={"type": "nope"}),
    "crl without db": _all(_drop("db"), _set("crl", value={"enabled": True})),
    "crl cacheDuration negative": _set("crl", value={"enabled": True, "cacheDuration": "-1h"}),
    "crl renewPeriod above cacheDuration": _set(
        "crl", value={"enabled": True, "cacheDuration": "1h", "renewPeriod": "2h"}
    ),
    "crl disabled with nonsense": _set("crl", value={"cacheDuration": "1h", "renewPeriod": "2h"}),
    "monitoring unknown": _set("monitoring", value={"type": "nope"}),
    "policy on names of the CA": _set("authority", "policy", value={"x509": {"allow": {"dns": ["*.nothing.test"]}}}),
}

TEXTS: Final[Mapping[str, str]] = {
    "configuration not JSON": "nope",
    "configuration empty object": "{}",
    "configuration trailing data": "",
}


class Start(Struct, frozen=True):
    """One start. `status` is that of the program, or after SIGTERM if it was `serving`."""

    status: int
    serving: bool
    stdout: str
    lines: tuple[str, ...]


class Refused(Struct, frozen=True):
    """Not served where the reference serves, or pretends to; and why."""

    line: str
    reason: str


REFUSED: Final[Mapping[str, Refused]] = {
    "insecureAddress bad": Refused("invalid insecure address nope", "unusable `insecureAddress`"),
    "tls cipher unknown": Refused(
        "ca.json: $.tls.cipherSuites: none of the cipher suites can be used: NOPE",
        "`tls.cipherSuites` that leave HTTPS unusable",
    ),
    "address in use": Refused(f"listen tcp 127.0.0.1:{PORT_THEN}: bind: address already in use", "address in use"),
}

REMARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "crt not signed by root": (
        'certificate "Lab CA Intermediate CA" does not lead to any certificate of root: no client will accept it',
    ),
    "unknown member": ("unknown member 'whatever'",),
    "provisioner without type": ("provisioner without type is left out",),
}
"""What our log says besides, where the reference is silent."""


def recordings() -> Mapping[str, Mapping[str, Any]]:
    return {entry["name"]: entry for entry in json.loads((RECORDED / "startup.json").read_text(encoding="utf-8"))}


def _serves(entry: Mapping[str, Any]) -> bool:
    elsewhere = entry["name"] in REFUSED or entry["name"] == "configuration trailing data"
    return str(entry["exit"]).startswith("running") and not elsewhere


def _is_refused(entry: Mapping[str, Any]) -> bool:
    """By the configuration or the command line; what is said of the program itself is compared below."""
    own = ("no configuration file", "no argument", "unknown flag", "version", "--version", "export")
    crashed = "panic" in entry["stderr"]
    return not str(entry["exit"]).startswith("running") and not crashed and entry["name"] not in own


def prepare(folder: Path, name: str, port: int) -> None:
    """The recorded authority, and run.json as this start had it."""
    shutil.copytree(CONFIG, folder)
    foreign = folder / "foreign"
    foreign.mkdir()
    shutil.copy(ThrowawayPKI(foreign).root_file, folder / "certs" / "foreign_root.crt")
    (folder / "password.txt").write_text("password")
    config = _document()
    config["address"] = f"127.0.0.1:{port}"
    config["provisor"] = {"workers": 1}
    if name != "configuration trailing data":
        config["authority"]["provisioners"] = config["authority"]["provisioners"][:2]
    EDITS.get(name, _nothing)(config)
    (folder / "run.json").write_text(TEXTS.get(name) or json.dumps(config) + ("xyz" if name in TEXTS else ""))


def start(folder: Path, name: str, arguments: list[str]) -> Start:
    """Until it serves, or ends."""
    folder.mkdir()
    port = free_port()
    prepare(folder / "ca", name, port)
    busy = socket.socket()
    if name == "address in use":
        busy.bind(("127.0.0.1", port))
        busy.listen()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err, busy:
        process = subprocess.Popen(
            [*provisor_ca(), *arguments],
            cwd=folder / "ca",
            env=clean_environment(STEPPATH=str(folder / "none")),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        serving = wait(process, folder / "stderr")
        if serving:
            process.terminate()
        status = process.wait(SECONDS)
    text = (folder / "stderr").read_text().replace(f":{port}", f":{PORT_THEN}")
    return Start(status, serving, (folder / "stdout").read_text(), tuple(lines_of(text)))


def wait(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether it serves; False once it has ended."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if "Serving HTTPS on" in log.read_text():
            return True
        time.sleep(0.02)
    assert process.poll() is not None, log.read_text()
    return False


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Start]:
    """All of them, some at a time: a start is mostly waiting for fresh interpreters."""
    base = tmp_path_factory.mktemp("starts")
    names = {name: entry["args"] for name, entry in recordings().items()}
    provisor_ca()
    with ThreadPoolExecutor(3) as pool:
        begun = {
            name: pool.submit(start, base / str(number), name, arguments)
            for number, (name, arguments) in enumerate(names.items())
        }
        return {name: future.result() for name, future in begun.items()}


_OF_THE_REFERENCE: Final = ("Documentation: ", "Community Discord: ")
_OF_OURS: Final = re.compile(r"^\S+ is new\. Only Provisor reads it: ")


def lines_of(text: str) -> list[str]:
    """Without times, names of the program, and what only one of the two says."""
    text = re.sub(r"(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", text)
    text = re.sub(r"Starting (Smallstep CA|Provisor)/.*", "Starting", text)
    kept = (line for line in text.splitlines() if not line.startswith(_OF_THE_REFERENCE))
    return [line for line in kept if not _OF_OURS.match(line)]


def test_every_recorded_start_is_tried() -> None:
    odd = {name for name in recordings() if name not in EDITS and name not in TEXTS}
    assert odd == {
        *("good", "good, quiet", "no configuration file", "no argument", "two arguments", "unknown flag", "version"),
        *("--version", "wrong password", "no password, no terminal", "pidfile", "acme-http-port without insecure"),
        *("export", "address in use"),
    }


@pytest.mark.parametrize("name", [name for name, entry in recordings().items() if _serves(entry)])
def test_what_the_reference_serves_is_served_with_the_same_lines(name: str, starts: Mapping[str, Start]) -> None:
    ours, remarks = starts[name], REMARKS.get(name, ())
    assert ours.serving
    assert ours.status == 0
    kept = [line for line in ours.lines if line not in remarks]
    assert [_normal(line) for line in kept] == [_normal(line) for line in lines_of(recordings()[name]["stderr"])]
    assert len(ours.lines) == len(kept) + len(remarks)


@pytest.mark.parametrize("name", [name for name, entry in recordings().items() if _is_refused(entry)])
def test_what_the_reference_refuses_is_refused_in_the_same_words(name: str, starts: Mapping[str, Start]) -> None:
    recorded, ours = recordings()[name], starts[name]
    assert not ours.serving
    assert ours.status == recorded["exit"]
    assert _without_place(ours.lines[0]) == _normal(lines_of(recorded["stderr"])[-1])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_although_the_reference_starts(name: str, starts: Mapping[str, Start]) -> None:
    ours = starts[name]
    assert not ours.serving
    assert ours.status == 2
    assert _without_place(ours.lines[0]) == REFUSED[name].line
    assert f"| {REFUSED[name].reason} |" in (REPOSITORY / "docs" / "compatibility.md").read_text(encoding="utf-8")


def _without_place(line: str) -> str:
    """Without the pointer, or line and column, that ours has at the end."""
    return re.sub(r" \((\$[^()]*|line \d+, column \d+)\)$", "", line)


def _normal(line: str) -> str:
    line = re.sub(r"(Fingerprint: )[0-9a-f]{64}", r"\1SHA256", line)  # of the stranger: made anew each time
    return line.replace("step-ca <config>", "provisor-ca <config>")


# -- starts of another kind -------------------------------------------------------------------------------


def test_a_jwk_provisioner_without_key_is_disabled_where_the_reference_crashes(starts: Mapping[str, Start]) -> None:
    ours = starts["provisioner without key"]
    assert ours.serving
    assert ours.lines[0] == 'failed to initialize JWK provisioner "nokey": provisioner key cannot be empty'
    assert "panic" in recordings()["provisioner without key"]["stderr"]


def test_something_behind_the_configuration_is_ignored(starts: Mapping[str, Start]) -> None:
    """The reference's own lines are in the log; there are more, as more provisioners cannot be used yet."""
    ours = starts["configuration trailing data"]
    assert ours.serving
    recorded = [
        line for line in lines_of(recordings()["configuration trailing data"]["stderr"]) if "broken" not in line
    ]
    assert [line for line in ours.lines if line in recorded] == recorded


@pytest.mark.parametrize("name", ["no configuration file", "no argument"])
def test_without_a_configuration_the_way_to_one_is_told_on_stdout(name: str, starts: Mapping[str, Start]) -> None:
    recorded, ours = recordings()[name], starts[name]
    assert (ours.status, ours.lines) == (recorded["exit"], ())
    theirs = recorded["stdout"].replace("step-ca", "provisor-ca").replace("step ca init", "provisor ca init")
    assert ours.stdout.splitlines() == theirs.splitlines()[:2]


@pytest.mark.parametrize("name", ["version", "--version"])
def test_the_version_is_in_the_form_of_the_reference(name: str, starts: Mapping[str, Start]) -> None:
    ours = starts[name]
    assert (ours.status, ours.lines) == (0, ())
    form = re.compile(r"[A-Za-z]+ CA/\S+ \([a-z0-9]+/[a-z0-9]+\)")
    assert form.fullmatch(ours.stdout.strip())
    assert form.fullmatch(recordings()[name]["stdout"].splitlines()[0])


def test_an_unknown_flag_brings_the_help_as_the_reference_does(starts: Mapping[str, Start]) -> None:
    recorded, ours = recordings()["unknown flag"], starts["unknown flag"]
    assert (ours.status, ours.lines) == (recorded["exit"], tuple(lines_of(recorded["stderr"])))
    assert ours.stdout.splitlines()[0] == recorded["stdout"].splitlines()[0]
    asked = subprocess.run([*provisor_ca(), "--help"], capture_output=True, text=True, check=True).stdout
    assert asked.strip() in ours.stdout
    theirs, mine = (set(re.findall(r"--([a-z-]+)", text)) for text in (recorded["stdout"], asked))
    # hosted CAs, registration authorities and ACME are not built
    assert theirs - mine == {
        *("token", "issuer-password-file", "acme-http-port", "acme-tls-port", "acme-strict-fqdn", "insecure"),
    }


def test_export_is_refused_by_name(starts: Mapping[str, Start]) -> None:
    ours = starts["export"]
    assert (ours.status, ours.lines) == (1, ("'provisor-ca export' is not supported by this version of Provisor",))


def test_no_process_id_is_left_behind(tmp_path: Path) -> None:
    with serving(tmp_path, "--pidfile", "pid") as server:
        assert int((tmp_path / "pid").read_text()) == server.process.pid
        assert server.stop() == 0
    assert not (tmp_path / "pid").exists()


# -- SIGHUP -----------------------------------------------------------------------------------------------


def serving(folder: Path, *options: str) -> CAProcess:
    """The recorded authority, in `folder`, as `provisor-ca run.json`."""
    port = free_port()
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    (folder / "password.txt").write_text("password")
    write(folder, lambda config: config.update(address=f"127.0.0.1:{port}"))
    words = [*provisor_ca(), "run.json", *PASSWORD, *options]
    return CAProcess(words, port, folder / "log", cwd=folder)


def write(folder: Path, edit: Edit) -> None:
    """run.json after a change, from what it was."""
    run = folder / "run.json"
    config = json.loads(run.read_text()) if run.exists() else _document()
    edit(config)
    run.write_text(json.dumps(config))


def _first_two(config: Config) -> None:
    config["authority"]["provisioners"] = config["authority"]["provisioners"][:2]
    config["dnsNames"] = ["localhost", "new.example.test"]


def test_reloads_are_logged_as_recorded(tmp_path: Path) -> None:
    recorded = json.loads((RECORDED / "reload.json").read_text(encoding="utf-8"))
    with serving(tmp_path) as server:
        address = f"127.0.0.1:{server.port}"
        reloads = {
            "provisioner removed, name added": (_first_two, "Serving HTTPS"),
            "broken configuration": (_set("address", value=""), "error reloading server"),
            "db section changed": (
                _all(_set("address", value=address), _set("db", "dataSource", value="db2")),
                "error reloading server",
            ),
        }
        for name, (edit, last) in reloads.items():
            write(tmp_path, edit)
            theirs = [
                re.sub(r"^[\d/]+ [\d:]+ ", "", line).replace("127.0.0.1:9100", address) for line in recorded[name]
            ]
            assert [_without_place(line) for line in server.reload(last)] == theirs, name
        # what was refused is not in force, and the accepted names are
        names = subprocess.run(
            ["openssl", "s_client", "-connect", address, "-showcerts"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        certificate = x509.load_pem_x509_certificate(names[names.index("-----BEGIN") :].encode())
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert sans.get_values_for_type(x509.DNSName) == ["localhost", "new.example.test"]
        assert server.stop() == 0
