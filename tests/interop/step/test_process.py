"""The program `provisor-ca` in the place of `step-ca`: recorded starts, refusals and reloads, with the recorded files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct

from support.peers import ThrowawayPKI, free_port
from support.provisor_process import CAProcess, clean_environment, provisor_ca

HERE: Final = Path(__file__).resolve().parent
CONFIG: Final = HERE.parents[1] / "api" / "golden" / "config"
RECORDED: Final = HERE / "transcripts" / "process"
PORT_THEN: Final = "9110"
PASSWORD: Final = ("--password-file", "password.txt")
SECONDS: Final = 30.0

Config = dict[str, Any]
Edit = Callable[[Config], object]


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


class Different(Struct, frozen=True):
    """What Provisor does instead, and why."""

    serving: bool
    status: int
    line: str
    reason: str


DIFFERENCES: Final[Mapping[str, Different]] = {}


def recordings() -> Mapping[str, Mapping[str, Any]]:
    return {entry["name"]: entry for entry in json.loads((RECORDED / "startup.json").read_text(encoding="utf-8"))}


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
    EDITS.get(name, lambda config: None)(config)
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


@pytest.mark.parametrize("name", [name for name, entry in recordings().items()])
def test_a_start_ends_as_recorded(name: str, starts: Mapping[str, Start]) -> None:
    recorded, ours = recordings()[name], starts[name]
    lines = lines_of(recorded["stderr"])
    import pprint; pprint.pprint((recorded['exit'],lines,'OURS', ours),width=200)
    if str(recorded["exit"]).startswith("running"):
        assert (ours.serving, ours.status) == (True, 0)
        assert list(ours.lines) == lines
    else:
        assert (ours.serving, ours.status) == (False, recorded["exit"])
        assert re.sub(r" \(\$[^()]*\)$", "", ours.lines[0]) == lines[-1]
