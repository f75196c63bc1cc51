from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from provisor.cli.inspection.fingerprint import EMOJI, encode_fingerprint
from provisor.cli.inspection.source import is_url
from provisor.cli.inspection.trust import check_host, verify
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Unauthenticated
from support.certificate_shapes import certificate, write_shapes
from support.command_line import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    write_shapes(desk.cwd)
    return desk


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """Shows chain.crt to whoever connects to the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.crt", folder / "rsa.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError), context.wrap_socket(connection, server_side=True):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_the_chain_of_a_server_is_looked_at(desk: Desk) -> None:
    with tls_server(desk.cwd) as port:
        flags = ["--roots", "root.crt", "--servername", "leaf.test"]
        shown = desk.run(["certificate", "inspect", f"https://127.0.0.1:{port}", "--bundle", "--format", "pem", *flags])
        prints = desk.run(["certificate", "fingerprint", f"tls://127.0.0.1:{port}", "--bundle", *flags])
        verified = desk.run(["certificate", "verify", f"HTTPS://127.0.0.1:{port}", *flags])
    assert shown.stdout == (desk.cwd / "chain.crt").read_text()
    assert [line[:3] for line in prints.stdout.splitlines()] == ["0: ", "1: "]
    assert (verified.status, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "certificate is valid for 10.0.0.1, 2001:db8::1, not 127.0.0.1"),
        (["--roots", "rsa.crt", "--servername", "leaf.test"], "certificate signed by unknown authority"),
        (["--roots", "root.crt", "--servername", "other.test"], ", not other.test"),
        (["--roots", "nofile"], "failure to load root certificate pool from input path 'nofile'"),
    ],
)
def test_a_server_nobody_vouches_for_is_not_shown(desk: Desk, flags: list[str], text: str) -> None:
    with tls_server(desk.cwd) as port:
        ended = desk.run(["certificate", "inspect", f"https://127.0.0.1:{port}", *flags])
    assert (ended.status, ended.stdout) == (1, "")
    assert text in ended.stderr


def test_insecure_shows_it_all_the_same(desk: Desk) -> None:
    with tls_server(desk.cwd) as port:
        ended = desk.run(["certificate", "inspect", f"https://127.0.0.1:{port}", "--insecure", "--format", "json"])
    assert json.loads(ended.stdout)["subject_dn"] == "CN=leaf.test"


def test_a_server_that_is_not_there_is_an_error(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = desk.run(["certificate", "inspect", f"https://127.0.0.1:{port}"])
    assert (ended.status, "connection refused" in ended.stderr) == (1, True)


@pytest.mark.parametrize("place", ["http://ca", "ca.crt", "https:/ca", "-", "ssh://x", "://x", "xhttps://x"])
def test_other_places_are_files(place: str) -> None:
    assert not is_url(place)


@pytest.mark.parametrize("place", ["https://ca", "TLS://ca:1", "tcp://ca", "smtps://mail", "ldaps://dir"])
def test_these_places_are_servers(place: str) -> None:
    assert is_url(place)


def test_a_certificate_that_is_cut_off_is_none(desk: Desk) -> None:
    der = (desk.cwd / "leaf.der").read_bytes()
    for size in (1, 10, len(der) // 2, len(der) - 1):
        desk.write("cut.der", der[:size])
        ended = desk.run(["certificate", "inspect", "cut.der"])
        assert ended.status == 1
        assert "does not contain any valid CERTIFICATE" in ended.stderr


def test_what_follows_a_certificate_is_not_passed_over(desk: Desk) -> None:
    desk.write("more.der", (desk.cwd / "leaf.der").read_bytes() + b"\0")
    assert desk.run(["certificate", "inspect", "more.der"]).status == 1


def test_every_octet_has_a_sign_of_its_own() -> None:
    assert len(set(EMOJI)) == len(EMOJI) == 256
    assert encode_fingerprint(b"\x00\xff", "emoji") == EMOJI[0] + EMOJI[255]


# -- trust -----------------------------------------------------------------------------------------

NOW = datetime.now(UTC)


def load(folder: Path, name: str) -> list[Certificate]:
    return [parse_certificate(der) for der in parse_certificates((folder / name).read_bytes())]


def judge(folder: Path, chain: str, root: str, *, host: str = "", now: datetime = NOW) -> str:
    """What is wrong, empty if nothing is."""
    leaf, *above = load(folder, chain)
    try:
        verify(leaf, above, load(folder, root), host=host, now=now)
    except Unauthenticated as error:
        return error.detail
    return ""


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(0), ""),
        (timedelta(days=29), ""),
        (timedelta(days=31), "is after"),
        (timedelta(days=-2), "is before"),
    ],
)
def test_a_chain_is_trusted_in_its_time(desk: Desk, after: timedelta, text: str) -> None:
    found = judge(desk.cwd, "chain.crt", "root.crt", now=NOW + after)
    assert (text in found, bool(found)) == (True, bool(text))


@pytest.mark.parametrize(
    ("chain", "root"),
    [
        ("leaf.crt", "root.crt"),
        ("chain.crt", "rsa.crt"),
        ("leaf-below-leaf.crt", "root.crt"),
        ("too-long.crt", "root.crt"),
    ],
)
def test_what_leads_nowhere_is_not_trusted(desk: Desk, chain: str, root: str) -> None:
    assert judge(desk.cwd, chain, root).startswith("x509: ")


def test_a_name_alone_makes_no_issuer(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    impostor = certificate("Root", key, "Root", key, ca=1)
    desk.write("impostor.crt", impostor.public_bytes(Encoding.PEM))
    assert judge(desk.cwd, "chain.crt", "impostor.crt") == "x509: certificate signed by unknown authority"


def test_names_above_constrain_those_below(desk: Desk) -> None:
    from support.certificate_shapes import CONSTRAINED, LEAF

    key = ec.generate_private_key(ec.SECP256R1())
    narrow = certificate("Narrow", key, "Narrow", key, ca=0, extensions=CONSTRAINED)
    leaf = certificate("leaf.test", key, "Narrow", key, extensions=LEAF)
    desk.write("narrow.crt", narrow.public_bytes(Encoding.PEM))
    desk.write("outside.crt", leaf.public_bytes(Encoding.PEM))
    assert "not permitted" in judge(desk.cwd, "outside.crt", "narrow.crt")


@pytest.mark.parametrize(
    ("host", "good"),
    [
        *(
            (name, True)
            for name in ("leaf.test", "LEAF.TEST", "leaf.test.", "x.wild.test", "10.0.0.1", "[2001:db8::1]")
        ),
        *((name, False) for name in ("leaf.tes", "xleaf.test", "leaf.test.evil", "wild.test", ".wild.test")),
        *((name, False) for name in ("a.b.wild.test", "xwild.test", "*", "10.0.0.2", "010.0.0.1", "10.0.0.1.")),
    ],
)
def test_a_certificate_is_for_the_hosts_it_names(desk: Desk, host: str, good: bool) -> None:
    (leaf,) = load(desk.cwd, "leaf.crt")
    if good:
        check_host(leaf, host)
    else:
        with pytest.raises(Unauthenticated, match="x509: certificate is valid for"):
            check_host(leaf, host)


def test_a_common_name_is_no_host_name(desk: Desk) -> None:
    assert "legacy Common Name" in judge(desk.cwd, "nosan.crt", "nosan.crt", host="nosan.test")
