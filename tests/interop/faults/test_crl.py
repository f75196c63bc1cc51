"""The revocation list of a running CA: at once, in order, and not more often than once a second."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from cryptography import x509

from support.load import Attempt, Load, attempts
from support.server import Answer, RunningProvisor, exchange, quiet_port, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[RunningProvisor]:
    settings = {
        "crl": {"enabled": True, "generateOnRevoke": True, "cacheDuration": "1h"},
        "insecureAddress": f"127.0.0.1:{quiet_port()}",
    }
    with RunningProvisor(tmp_path, settings=settings) as running:
        yield running


def _issue(ca: RunningProvisor, label: str, count: int) -> list[int]:
    made: list[Attempt] = Load(ca, attempts(ca, label, count)).run()
    return [attempt.certificate.serial_number for attempt in made]


def _revoke(ca: RunningProvisor, serial: int, connection: http.client.HTTPSConnection | None = None) -> None:
    body = {"serial": str(serial), "ott": ca.token(str(serial), purpose="revoke"), "passive": True, "reasonCode": 1}
    if connection is None:
        answer = ca.post("/1.0/revoke", body)
    else:
        answer = exchange(connection, "POST", "/1.0/revoke", json.dumps(body).encode())
    assert answer.status == 200, answer


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _fetch(ca: RunningProvisor) -> x509.CertificateRevocationList:
    answer = ca.get("/crl")
    assert answer.status == 200
    crl = x509.load_der_x509_crl(answer.body)
    issuer = x509.load_pem_x509_certificate(ca.pki.intermediate_file.read_bytes())
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # a P-256 key
    assert answer.headers["etag"] == f'"{_number(crl)}"'
    return crl


def _serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {revoked.serial_number for revoked in crl}


def test_a_serial_is_on_the_list_right_after_its_revocation(ca: RunningProvisor) -> None:
    first, second, third = _issue(ca, "right-after", 3)
    assert _serials(_fetch(ca)) == set()
    for known in ([first], [first, second], [first, second, third]):
        _revoke(ca, known[-1])
        assert _serials(_fetch(ca)) == set(known)
    host = str(ca.config["insecureAddress"])
    with closing(http.client.HTTPConnection(host, timeout=5)) as plain:
        plain.request("GET", "/crl")
        assert _serials(x509.load_der_x509_crl(plain.getresponse().read())) == {first, second, third}


def test_numbers_go_up_over_restarts_and_deaths(ca: RunningProvisor) -> None:
    numbers = [_number(_fetch(ca))]
    serials = _issue(ca, "numbers", 6)
    for victim, serial in zip(("", "notary", "jobs", "worker", "restart", "supervisor"), serials, strict=True):
        match victim:
            case "notary" | "jobs" | "worker":
                os.kill(ca.pids(victim)[0], signal.SIGKILL)
                ca.await_log(f"the {victim}" + (" 0" if victim == "worker" else "") + " process is back")
            case "restart":
                assert ca.stop() == 0
                ca.start()
            case "supervisor":
                ca.kill()
                ca.start()
        ca.await_ready()
        _revoke(ca, serial)
        crl = _fetch(ca)
        assert serial in _serials(crl)
        numbers.append(_number(crl))
    assert numbers == sorted(set(numbers))
    assert _serials(_fetch(ca)) == set(serials)


def test_a_list_that_has_not_changed_is_not_sent_again(ca: RunningProvisor) -> None:
    (serial,) = _issue(ca, "cached", 1)
    first = ca.get("/crl")
    etag = first.headers["etag"]
    modified = parsedate_to_datetime(first.headers["last-modified"])
    assert modified == x509.load_der_x509_crl(first.body).last_update_utc
    same: list[Answer] = [ca.get("/crl", if_none_match=etag) for _ in range(8)]
    assert {(answer.status, answer.body, answer.headers["etag"]) for answer in same} == {(304, b"", etag)}
    assert ca.get("/crl", if_none_match='"other"').status == 200
    _revoke(ca, serial)
    changed = [ca.get("/crl", if_none_match=etag) for _ in range(8)]
    assert {answer.status for answer in changed} == {200}
    assert {answer.headers["etag"] for answer in changed} != {etag}
    assert parsedate_to_datetime(changed[0].headers["last-modified"]) >= modified


def test_a_burst_of_revocations_makes_about_one_list_a_second(ca: RunningProvisor) -> None:
    serials = _issue(ca, "burst", 50)
    before = _number(_fetch(ca))
    began = time.monotonic()

    def revoke_some(some: list[int]) -> None:
        with closing(ca.connect()) as connection:
            for serial in some:
                _revoke(ca, serial, connection)
                time.sleep(0.1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(revoke_some, (serials[:25], serials[25:])))
    wait_for(lambda: _serials(_fetch(ca)) == set(serials), "not all on the list", ca, 5.0)
    made = _number(_fetch(ca)) - before
    assert 1 <= made <= time.monotonic() - began + 1.5
