"""`config/identity.json`: a client certificate for a CA behind a door that asks for one (cli-admin 2.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from provisor.cli.main import run
from support.certificates import write_certificate
from support.fake_ca import FakeCA


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCA]:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    (tmp_path / "ca").mkdir()
    with FakeCA(tmp_path / "ca") as running:
        assert run(["ca", "bootstrap", "--ca-url", running.url, "--fingerprint", running.pki.fingerprint]) == 0
        yield running


def name_identity(ca: FakeCA, tmp_path: Path, **members: str) -> None:
    crt, key = tmp_path / "i.crt", tmp_path / "i.key"
    content = {"type": "mTLS", "crt": str(crt), "key": str(key)} | members
    (tmp_path / "step" / "config" / "identity.json").write_text(json.dumps(content))


def test_it_is_shown(ca: FakeCA, tmp_path: Path) -> None:
    write_certificate(ca.pki, tmp_path / "i.crt", tmp_path / "i.key", "me", ends_in=timedelta(hours=1))
    name_identity(ca, tmp_path)
    assert run(["ca", "health"]) == 0
    assert ca.seen[-1].peer is not None


@pytest.mark.parametrize("members", [{}, {"type": "other"}, {"crt": "/none"}, {"key": "/none"}])
def test_what_cannot_be_used_is_left_out(ca: FakeCA, tmp_path: Path, members: dict[str, str]) -> None:
    ends_in = timedelta(hours=1) if members else timedelta(minutes=-1)
    write_certificate(ca.pki, tmp_path / "i.crt", tmp_path / "i.key", "me", ends_in=ends_in)
    name_identity(ca, tmp_path, **members)
    assert run(["ca", "health"]) == 0
    assert ca.seen[-1].peer is None


def test_junk_is_left_out(ca: FakeCA, tmp_path: Path) -> None:
    (tmp_path / "step" / "config" / "identity.json").write_text("{nope")
    assert run(["ca", "health"]) == 0
    assert ca.seen[-1].peer is None
