"""The audit log of a running CA: read while it runs, verified, proven, exported; then somebody touches the database."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from provisor.core.tree_head import SignedHead, encode_file
from support.command_line import Desk, Ended
from support.credentials import make_csr, make_key
from support.server import RunningProvisor, wait_for

NAMES = ("a.internal", "b.internal", "c.internal")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvisor]:
    with RunningProvisor(tmp_path_factory.mktemp("ca"), workers=1) as running:
        for name in NAMES:
            answer = running.post("/sign", {"csr": make_csr(make_key(), name), "ott": running.token(name)})
            assert answer.status == 201
            (running.folder / f"{name}.crt").write_text(answer.json["crt"])
        serial = str(serial_of(running, NAMES[0]))
        body = {"serial": serial, "ott": running.token(serial, purpose="revoke"), "reasonCode": 4, "passive": True}
        assert running.post("/1.0/revoke", body).status == 200
        wait_for(lambda: tree_size(path_of(running)) == 5, "the log is not signed", running)
        yield running


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def serial_of(ca: RunningProvisor, name: str) -> int:
    return load_pem_x509_certificate((ca.folder / f"{name}.crt").read_bytes()).serial_number


def path_of(ca: RunningProvisor) -> Path:
    assert isinstance(ca.store, Path)
    return ca.store


def tree_size(store: Path) -> int:
    with sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True) as connection:
        (size,) = connection.execute("SELECT ifnull(max(size), 0) FROM log_heads").fetchone()
    connection.close()
    return int(size)


def audit(desk: Desk, ca: RunningProvisor, words: str) -> Ended:
    return desk.run(f"ca audit {words} --ca-config {ca.config_file}")


def test_what_happened_is_listed_newest_first(desk: Desk, ca: RunningProvisor) -> None:
    done = audit(desk, ca, "list --offline")
    assert done.status == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["PLACE", "TIME", "OPERATION", "OUTCOME", "PROVISIONER", "SUBJECT", "SERIAL"]
    assert [row.split()[:1] + row.split()[2:4] for row in rows] == [
        ["5", "x509-revoke", "granted"],
        *([str(n), "x509-sign", "granted"] for n in (4, 3, 2)),
        ["1", "configure", "granted"],
    ]


@pytest.mark.parametrize(
    ("condition", "places"),
    [
        ("--operation sign", [4, 3, 2]),
        ("--operation renew", []),
        ("--outcome refused", []),
        ("--subject b.internal", [3]),
        ("--provisioner tester --limit 2", [5, 4]),
        ("--provisioner other", []),
        ("--since 1h", [5, 4, 3, 2, 1]),
        ("--until 1h", []),
        ("--limit 2 --cursor 3", [2, 1]),
    ],
)
def test_by_conditions(desk: Desk, ca: RunningProvisor, condition: str, places: list[int]) -> None:
    for way in ("--offline", ""):
        done = audit(desk, ca, f"list --json {condition} {way}")
        assert done.status == 0, done.stderr
        assert [json.loads(line)["place"] for line in done.stdout.splitlines()] == places


def test_by_serial(desk: Desk, ca: RunningProvisor) -> None:
    done = audit(desk, ca, f"list --json --serial {serial_of(ca, NAMES[0])}")
    assert [json.loads(line)["event"]["operation"] for line in done.stdout.splitlines()] == ["x509-revoke", "x509-sign"]


def test_it_is_intact(desk: Desk, ca: RunningProvisor) -> None:
    done = audit(desk, ca, f"verify --root {ca.pki.root_file}")
    assert done.status == 0, done.stdout + done.stderr
    assert "✔ Intact: 5 events, " in done.stdout
    assert "3 certificates, 1 revocation of " in done.stdout


def test_a_second_party_needs_the_export_alone(desk: Desk, ca: RunningProvisor) -> None:
    assert audit(desk, ca, "head kept").status == 0
    assert audit(desk, ca, "export log").status == 0
    again = audit(desk, ca, "export log")
    assert (again.status, again.stderr) == (0, "Nothing new: the log has 5 events under a signed head.\n")
    done = desk.run(f"ca audit verify log --head kept --root {ca.pki.root_file}")
    assert done.status == 0, done.stdout + done.stderr
    (file,) = (desk.cwd / "log").iterdir()
    file.write_bytes(file.read_bytes().replace(b'"n":2,', b'"n":5,'))
    done = desk.run(f"ca audit verify log --head kept --root {ca.pki.root_file}")
    assert done.status == 1
    assert "event missing" in done.stdout


def test_an_export_goes_through_a_pipe(desk: Desk, ca: RunningProvisor) -> None:
    desk.write("all", audit(desk, ca, "export -").stdout)
    assert desk.run("ca audit verify all").status == 0


def test_one_certificate_is_proven(desk: Desk, ca: RunningProvisor) -> None:
    certificate, other = (ca.folder / f"{name}.crt" for name in NAMES[:2])
    done = audit(desk, ca, f"proof {serial_of(ca, NAMES[0])}")
    assert done.status == 0, done.stderr
    desk.write("proof", done.stdout)
    audit(desk, ca, "head kept")
    words = f"ca audit verify --proof proof --head kept --root {ca.pki.root_file} --cert"
    assert desk.run(f"{words} {certificate}").status == 0
    done = desk.run(f"{words} {other}")
    assert done.status == 1
    assert "proof wrong" in done.stdout


def test_that_the_log_goes_on_from_a_head_is_proven(desk: Desk, ca: RunningProvisor) -> None:
    with sqlite3.connect(path_of(ca)) as store:
        text, signature = store.execute("SELECT text, signature FROM log_heads ORDER BY size LIMIT 1").fetchone()
    store.close()
    desk.write("old", encode_file(SignedHead(text, signature)))
    assert audit(desk, ca, "head new").status == 0
    for words in ("--from old", "--from old --to new"):
        done = audit(desk, ca, f"proof {words}")
        assert done.status == 0, done.stderr
        desk.write("proof", done.stdout)
        words = f"ca audit verify --proof proof --head old --head new --root {ca.pki.root_file}"
        assert desk.run(words).status == 0
    desk.write("proof", done.stdout.replace('"hashes":["', '"hashes":["AAAA'))
    assert desk.run("ca audit verify --proof proof").status == 1
    assert audit(desk, ca, "proof --from new --to old").status == 5


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "give the serial or fingerprint of a certificate, or --from a head"),
        ("4711 --to old", "flag '--to' requires the '--from' flag"),
        ("4711 --from old", "flag '--from' is incompatible with '<serial|fingerprint>'"),
        ("--from old --head old", "flag '--from' is incompatible with '--head'"),
    ],
)
def test_a_proof_is_of_one_thing(desk: Desk, ca: RunningProvisor, words: str, complaint: str) -> None:
    done = audit(desk, ca, f"proof {words}")
    assert (done.status, done.stderr) == (1, f"{complaint}\n")


def test_a_fingerprint_finds_it_too(desk: Desk, ca: RunningProvisor) -> None:
    der = subprocess.run(
        ["openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", ca.folder / f"{NAMES[2]}.crt"],
        capture_output=True,
        text=True,
        check=True,
    )
    fingerprint = der.stdout.strip().partition("=")[2]
    wait_for(lambda: audit(desk, ca, f"proof {fingerprint}").status == 0, "not in the index", ca)


@pytest.mark.parametrize("reference", ["4711", "f" * 64])
def test_what_was_not_issued_is_not_proven(desk: Desk, ca: RunningProvisor, reference: str) -> None:
    done = audit(desk, ca, f"proof {reference}")
    assert (done.status, done.stderr) == (1, f"no event of the audit log gave a certificate {reference}\n")


def test_a_changed_database_is_not_intact(desk: Desk, ca: RunningProvisor) -> None:
    """Last: a copy of it, taken while the CA runs."""
    with sqlite3.connect(path_of(ca)) as source, sqlite3.connect(desk.cwd / "copy.db") as copy:
        source.backup(copy)
    source.close()
    assert desk.run("ca audit verify --db copy.db").status == 0
    copy.execute("UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'a.internal', 'x.internal') AS BLOB)")
    copy.commit()
    copy.close()
    done = desk.run("ca audit verify --db copy.db")
    assert done.status == 1
    assert "event altered: event 2: its hash is not the one in the tree" in done.stdout
    assert "the audit log is not as it was" in done.stderr
    report = json.loads(desk.run("ca audit verify --db copy.db --json").stdout)
    assert (report["ok"], report["findings"][0]["place"]) == (False, 2)
