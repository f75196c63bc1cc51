"""A renewal that meets a CA that lies, stumbles or is away, and files in the way."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.cli import daemon, files
from provisor.cli.exits import CommandError
from provisor.cli.main import run
from provisor.cli.pair import make_pair
from provisor.client import renewal
from provisor.core.durations import Duration
from provisor.core.pem import encode_private_key, parse_certificates, parse_private_key
from provisor.core.x509.certificate import Certificate, parse_certificate
from support.certificates import write_certificate
from support.fake_ca import FakeCA, send
from support.peers import PASSWORD

PROVISIONER = ("--provisioner", "you@smallstep.com", "--provisioner-password-file", "pw")
Lie = Callable[[FakeCA, dict[str, Any]], bytes]


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[FakeCA]:
    """With foo.crt and foo.key of it in the working directory."""
    folder, cwd = tmp_path / "ca", tmp_path / "cwd"
    folder.mkdir()
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    (cwd / "pw").write_text(f"{PASSWORD}\n")
    with FakeCA(folder) as running:
        assert run(["ca", "bootstrap", "--ca-url", running.url, "--fingerprint", running.pki.fingerprint]) == 0
        assert run(["ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER]) == 0
        capsys.readouterr()
        yield running


def leaf() -> Certificate:
    return parse_certificate(parse_certificates(Path("foo.crt").read_bytes())[0])


def both() -> tuple[bytes, bytes]:
    return Path("foo.crt").read_bytes(), Path("foo.key").read_bytes()


def assert_they_fit() -> None:
    """The files are a certificate and its key, and nothing else is left in the folder."""
    make_pair(
        parse_certificates(Path("foo.crt").read_bytes()),
        parse_private_key(Path("foo.key").read_bytes(), None, where=""),
    )
    assert sorted(os.listdir()) == ["foo.crt", "foo.key", "pw"]


# -- a CA that lies -------------------------------------------------------------------------------


def another_key(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    write_certificate(ca.pki, Path("lie.crt"), Path("lie.key"), "foo", ends_in=timedelta(hours=1))
    content = Path("lie.crt").read_text()
    for name in ("lie.crt", "lie.key"):
        os.unlink(name)
    return json.dumps({"crt": content, "ca": ""}).encode()


def the_same_again(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return json.dumps({"crt": Path("foo.crt").read_text(), "ca": ""}).encode()


def a_chain_of_others(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return json.dumps({**answer, "certChain": [answer["crt"], ca.pki.root_pem.decode()]}).encode()


def cut_off(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()[:400]


def a_cut_certificate(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return json.dumps({"crt": answer["crt"][:200], "ca": ""}).encode()


def nothing_at_all(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return b"{}"


def a_page(ca: FakeCA, answer: dict[str, Any]) -> bytes:
    return b"<html>please log in</html>"


LIES: dict[Lie, str] = {
    another_key: "another key",
    the_same_again: "the same certificate again",
    a_chain_of_others: "a broken chain",
    cut_off: "error reading the answer of the CA",
    a_cut_certificate: "something that is no certificate",
    nothing_at_all: "error reading the answer of the CA",
    a_page: "error reading the answer of the CA",
}


@pytest.mark.parametrize("command", ["renew", "rekey"])
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_what_is_not_the_renewal_leaves_the_files_as_they_are(
    ca: FakeCA, capsys: pytest.CaptureFixture[str], lie: Lie, command: str
) -> None:
    before = both()
    honest = ca.answer

    def trouble(handler: BaseHTTPRequestHandler) -> None:
        _, answer = honest(ca.seen[-1])
        assert isinstance(answer, dict)
        send(handler, 201, lie(ca, answer))

    ca.trouble[f"/{command}"] = trouble
    assert run(["ca", command, "foo.crt", "foo.key", "-f"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error {command}ing certificate: ")
    wanted = LIES[lie]
    if lie is the_same_again and command == "rekey":
        wanted = "another key"
    assert wanted in said
    assert len(said.splitlines()) == 1
    assert both() == before
    assert_they_fit()


def test_an_answer_that_stops_in_the_middle_is_none(ca: FakeCA, capsys: pytest.CaptureFixture[str]) -> None:
    def trouble(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(201)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b'{"crt":"-----BEGIN')
        handler.close_connection = True

    before = both()
    ca.trouble["/renew"] = trouble
    assert run(["ca", "renew", "foo.crt", "foo.key", "-f"]) == 1
    assert "the connection was closed before the answer was complete" in capsys.readouterr().err
    assert both() == before


# -- files ----------------------------------------------------------------------------------------


def test_a_key_that_cannot_be_written_takes_the_new_certificate_back(ca: FakeCA) -> None:
    before = both()
    replace = Path.replace

    def fail_for_the_key(self: Path, target: Path) -> Path:
        if str(target).endswith("foo.key"):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", fail_for_the_key)
        assert run(["ca", "rekey", "foo.crt", "foo.key", "-f"]) == 1
    assert both() == before
    assert_they_fit()


def test_a_key_that_a_crash_left_beside_its_place_is_taken(ca: FakeCA, capsys: pytest.CaptureFixture[str]) -> None:
    old = Path("foo.key").read_bytes()
    assert run(["ca", "rekey", "foo.crt", "foo.key", "-f"]) == 0
    new = Path("foo.key").read_bytes()
    Path(".foo.key.abcd1234").write_bytes(new)
    Path("foo.key").write_bytes(old)
    assert run(["ca", "renew", "foo.crt", "foo.key", "-f"]) == 0
    assert Path("foo.key").read_bytes() == new
    assert_they_fit()


def test_a_foreign_key_beside_it_is_not_taken(ca: FakeCA, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = encode_private_key(ec.generate_private_key(ec.SECP256R1()), random=os.urandom)
    Path(".foo.key.abcd1234").write_bytes(foreign)
    Path("foo.key").write_bytes(encode_private_key(ec.generate_private_key(ec.SECP256R1()), random=os.urandom))
    assert run(["ca", "renew", "foo.crt", "foo.key", "-f"]) == 1
    assert "private key does not match public key" in capsys.readouterr().err


def test_files_keep_mode_and_owner(ca: FakeCA) -> None:
    os.chmod("foo.crt", 0o644)
    os.chmod("foo.key", 0o640)
    if os.geteuid() == 0:
        os.chown("foo.key", 12345, 54321)
    before = os.stat("foo.key")
    assert run(["ca", "rekey", "foo.crt", "foo.key", "-f"]) == 0
    after = os.stat("foo.key")
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert stat.S_IMODE(os.stat("foo.crt").st_mode) == 0o644


def test_a_file_that_is_a_mount_point_is_written_where_it_is(ca: FakeCA, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    inode, serial = os.stat("foo.crt").st_ino, leaf().serial
    monkeypatch.setattr(Path, "replace", busy)
    for command in ("renew", "rekey"):
        assert run(["ca", command, "foo.crt", "foo.key", "-f"]) == 0
    assert os.stat("foo.crt").st_ino == inode
    assert leaf().serial != serial
    assert_they_fit()


def test_a_signal_waits_until_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        with files.uninterrupted():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            files.write_file(path, b"new", force=True)
            assert got == []
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


def test_together_means_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    outputs = [files.Output(str(tmp_path / "a"), b"new"), files.Output(str(tmp_path / "none" / "b"), b"new")]
    with pytest.raises(CommandError, match="no such file or directory"):
        files.write_together(outputs)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


# -- the daemon -----------------------------------------------------------------------------------


class Script:
    """What happens at each wait of a daemon; `waits` are the seconds it wanted to wait."""

    def __init__(self, *steps: tuple[signal.Signals | None, Callable[[], object]]) -> None:
        self.steps = list(steps)
        self.waits: list[float] = []

    def wait(self, left: daemon.Left) -> signal.Signals | None:
        self.waits.append(left())
        if not self.steps:
            return signal.SIGTERM
        number, change = self.steps.pop(0)
        change()
        return number


def act(script: Script, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(daemon.Signals, "wait", lambda self, left: script.wait(left))
    monkeypatch.setattr(daemon, "jitter", lambda limit: Duration(0))
    return run(["ca", "renew", "foo.crt", "foo.key", "--daemon", *words])


def nothing() -> None:
    """Time passes."""


def test_a_ca_that_is_away_is_asked_less_and_less_often(
    ca: FakeCA, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ca.trouble["/renew"] = lambda handler: send(handler, 503, b"{}")
    serial = leaf().serial
    script = Script(*[(None, nothing)] * 6, (None, ca.trouble.clear))
    assert act(script, monkeypatch) == 0
    assert [round(seconds) for seconds in script.waits[1:7]] == [60, 120, 240, 480, 900, 900]
    assert 15 * 3600 < script.waits[7] < 17 * 3600
    assert leaf().serial != serial
    assert len(capsys.readouterr().err.splitlines()) == 6


def test_what_follows_is_tried_again_without_another_certificate(
    ca: FakeCA, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("reload").write_text("#!/bin/sh\ntest -e ready\n")
    os.chmod("reload", 0o755)
    script = Script((None, nothing), (None, nothing), (None, lambda: Path("ready").touch()))
    assert act(script, monkeypatch, "--exec", "./reload") == 0
    assert [one.path for one in ca.seen].count("/renew") == 1
    captured = capsys.readouterr()
    assert captured.err.count("exit status 1") == 2
    assert "foo certificate renewed, next in" in captured.out


def test_a_hangup_renews_even_when_something_is_still_to_be_done(ca: FakeCA, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script((None, nothing), (signal.SIGHUP, nothing))
    assert act(script, monkeypatch, "--exec", "false") == 0
    assert [one.path for one in ca.seen].count("/renew") == 2


def test_a_certificate_that_somebody_else_put_there_is_the_one_that_is_renewed(
    ca: FakeCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = leaf().serial

    def replace() -> None:
        assert run(["ca", "certificate", "foo", "foo.crt", "foo.key", "-f", *PROVISIONER]) == 0

    ca.revoked.add(revoked)
    script = Script((None, nothing), (None, replace))
    assert act(script, monkeypatch) == 0
    renewals = [one.peer for one in ca.seen if one.path == "/renew"]
    assert renewals[0] == revoked
    assert renewals[1] not in (revoked, None)


def test_files_that_vanish_are_written_again(ca: FakeCA, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script((None, lambda: os.unlink("foo.crt")))
    assert act(script, monkeypatch) == 0
    assert_they_fit()


def test_a_ca_that_gives_certificates_that_are_due_at_once_is_not_asked_without_end(
    ca: FakeCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "renewal_time", lambda *_, **__: datetime.now(UTC))
    script = Script((None, nothing))
    assert act(script, monkeypatch) == 0
    assert script.waits[0] <= 0
    assert script.waits[1] > 59


def test_a_clock_that_is_set_does_not_change_a_period() -> None:
    left = daemon.after(30)
    assert 29 < left() <= 30


def test_the_clock_on_the_wall_says_when_a_certificate_ends() -> None:
    assert 59 < daemon.until(datetime.now(UTC) + timedelta(seconds=60))() <= 60


def test_a_program_that_does_not_end_is_ended_with_the_daemon(
    ca: FakeCA, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("slow").write_text("#!/bin/sh\nkill -TERM $PPID\nexec sleep 60\n")
    os.chmod("slow", 0o755)
    monkeypatch.setattr(daemon, "jitter", lambda limit: Duration(0))
    words = ["ca", "renew", "foo.crt", "foo.key", "--daemon", "--renew-period", "10ms", "--exec", "./slow"]
    assert run(words) == 0
    assert "signal: 15" in capsys.readouterr().err
