"""The test kit: a CA in memory."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path

import pytest

from provisor import Client, Denied, Unauthorized, Unreachable
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.errors import ConfigError
from provisor.testing import CA

SOURCE = Path(__file__).resolve().parents[2] / "src"


def loops() -> int:
    return sum(thread.name == "provisor-testing" for thread in threading.enumerate())


def test_a_certificate_takes_three_lines() -> None:
    ca = CA()
    certificate = ca.issue("localhost")
    ca.close()
    assert certificate.names == ("localhost",)
    assert is_issued_by(certificate.leaf, parse_certificate(certificate.chain[1]))


@pytest.mark.slow
def test_a_ca_is_there_in_less_than_fifty_milliseconds() -> None:
    CA().close()  # imports
    times = []
    for _ in range(5):
        began = time.perf_counter()
        CA().close()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


def test_two_have_nothing_in_common() -> None:
    with CA() as one, CA() as other:
        assert one.fingerprint != other.fingerprint
        with pytest.raises(Unauthorized):
            one.client().issue("a.test", other.provisioner_key)


def test_it_listens_where_it_is_told_and_comes_back_there() -> None:
    with CA() as ca:
        assert ca.url == "https://localhost"
        url = ca.listen()
        assert ca.listen() == url == ca.url
        with Client.bootstrap(url, ca.fingerprint) as client:
            certificate = client.issue("a.test", client.provisioner_key("test", "password"))
            ca.stop_listening()
            ca.stop_listening()
            with pytest.raises(Unreachable):
                client.renew(certificate)
            assert ca.listen() == url
            assert client.renew(certificate).serial != certificate.serial


def test_without_a_network_it_can_be_asked_in_a_running_loop() -> None:
    async def main() -> None:
        with CA() as ca:
            assert ca.issue("a.test").names == ("a.test",)

    asyncio.run(main())


def test_many_threads_ask_at_once() -> None:
    with CA() as ca:
        found = []
        threads = [threading.Thread(target=lambda: found.append(ca.issue("a.test").serial)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 20


def test_times_may_be_anything() -> None:
    with CA() as ca:
        old = ca.issue("a.test", age=timedelta(days=2))
        assert old.not_after < ca.now
        assert ca.issue("a.test", not_after=timedelta(seconds=5)).not_after - ca.now < timedelta(seconds=6)
        assert ca.issue("a.test", not_after=timedelta(days=3000)).not_after - ca.now > timedelta(days=2999)
        ca.travel(timedelta(days=30))
        assert ca.issue("a.test").not_before - old.not_before > timedelta(days=30)


def test_rules_of_the_real_ca_are_in_force() -> None:
    with CA(claims={"maxTLSCertDuration": "1h", "defaultTLSCertDuration": "1h"}) as ca:
        assert ca.issue("a.test").names == ("a.test",)
        with pytest.raises(Denied):
            ca.issue("a.test", not_after=timedelta(hours=2))


def test_settings_are_merged_into_ca_json() -> None:
    with CA(settings={"crl": {"enabled": True}, "authority": {"claims": {"disableRenewal": True}}}) as ca:
        assert ca.client().crl()
        with pytest.raises(Unauthorized):
            ca.client().renew(ca.issue("a.test"))


def test_claims_are_taken_over() -> None:
    with CA(claims={"defaultTLSCertDuration": "2h"}) as ca:
        certificate = ca.issue("a.test")
        assert certificate.not_after - certificate.not_before == timedelta(hours=2, minutes=1)


def test_settings_that_are_none_are_refused() -> None:
    before = loops()
    with pytest.raises(ConfigError):
        CA(claims={"minTLSCertDuration": "a week"})
    gc.collect()
    assert loops() == before


def test_contexts_for_both_sides(tmp_path: Path) -> None:
    with CA() as ca:
        server, client = ca.server_context("localhost", verify_clients=True), ca.client_context("me")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        serving = server.wrap_bio(to_server, to_client, server_side=True)
        calling = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        for _ in range(4):
            for side in (calling, serving):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        peer = serving.getpeercert()
        assert peer is not None
        assert peer["subjectAltName"] == (("DNS", "me"),)


def test_it_ends_with_close() -> None:
    before = loops()
    ca = CA(listen=True)
    assert loops() == before + 1
    client = ca.client()
    ca.close()
    ca.close()
    assert loops() == before
    with pytest.raises(Unreachable, match="the CA of this test is closed"):
        client.health()


def test_it_ends_when_nobody_uses_it() -> None:
    before = loops()
    ca = CA(listen=True)
    gone = weakref.ref(ca)
    client = ca.client()
    del ca
    assert client.health() == "ok"  # a client keeps it
    del client
    assert gone() is None
    assert loops() == before


def test_the_fixtures_are_there(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_one(provisor_ca, provisor_shared_ca):\n"
        "    assert provisor_ca.issue('a.test').names == provisor_shared_ca.issue('a.test').names\n"
        "    assert provisor_ca.fingerprint != provisor_shared_ca.fingerprint\n"
        "    with open('seen', 'a') as file:\n        print(provisor_shared_ca.fingerprint, file=file)\n"
        "test_two = test_one\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "provisor.pytest_plugin", "-W", "error"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert len(set((tmp_path / "seen").read_text().split())) == 1
