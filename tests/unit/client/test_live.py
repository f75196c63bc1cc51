"""Certificates that renew themselves: what is shown, kept, told and survived."""

from __future__ import annotations

import gc
import logging
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from provisor import BadKey, CAError, Certificate, Client, LiveCertificate, Unauthorized, Unreachable
from provisor.core.pem import parse_certificates
from provisor.testing import CA

DAY = timedelta(days=1)


@pytest.fixture
def ca() -> Iterator[CA]:
    with CA() as running:
        yield running


@pytest.fixture
def client(ca: CA) -> Client:
    return ca.client()


def shown(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "web.test") -> tuple[bytes, bytes | None]:
    """A handshake in memory: the certificates that both sides see."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    calling = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (calling, serving):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen = calling.getpeercert(binary_form=True)
    assert seen is not None
    return seen, serving.getpeercert(binary_form=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- contexts ---------------------------------------------------------------------------------------


def test_contexts_that_are_in_use_show_the_next_certificate(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web, client.keep("app.test", ca.provisioner_key) as app:
        server, caller = web.server_context(verify_clients=True), app.client_context()
        for _ in range(3):
            assert shown(server, caller) == (web.current.chain[0], app.current.chain[0])
            before = web.current, app.current
            assert web.renew_now() == web.current
            app.renew_now()
            assert web.current.serial != before[0].serial
            assert app.current.serial != before[1].serial


def test_a_connection_that_was_begun_keeps_its_certificate(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key, rekey=True) as web:
        server, caller = web.server_context(), web.client_context()
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        serving = server.wrap_bio(to_server, to_client, server_side=True)
        calling = caller.wrap_bio(to_client, to_server, server_hostname="web.test")
        before = web.current
        web.renew_now()
        for _ in range(4):
            for side in (calling, serving):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        assert calling.getpeercert(binary_form=True) == before.chain[0]
        assert shown(server, caller)[0] == web.current.chain[0]


def test_a_client_without_a_certificate_is_turned_away_if_one_is_wanted(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE"):
            shown(web.server_context(verify_clients=True), client.client_context())
        assert shown(web.server_context(), client.client_context()) == (web.current.chain[0], None)


def test_a_context_is_for_this_ca_only(client: Client, ca: CA) -> None:
    with CA() as other, client.keep("web.test", ca.provisioner_key) as web:
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(web.server_context(), other.client_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(other.server_context("web.test"), web.client_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(web.server_context(), web.client_context(), name="other.test")


def test_settings_of_the_user_stay(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        server, caller = web.server_context(), web.client_context()
        server.set_alpn_protocols(["h2"])
        caller.set_alpn_protocols(["h2"])
        asked: list[str | None] = []
        server.sni_callback = lambda connection, name, context: asked.append(name)
        web.renew_now()
        shown(server, caller)
        assert asked == ["web.test"]


@pytest.mark.slow
@pytest.mark.parametrize("rekey", [False, True])
def test_certificates_change_under_load_and_no_handshake_fails(ca: CA, client: Client, rekey: bool) -> None:
    """With a plain context this ends in failed handshakes and then in a crash."""
    with client.keep("web.test", ca.provisioner_key, rekey=rekey) as web:
        server, caller = web.server_context(verify_clients=True), web.client_context()
        one, other = web.current, web.renew_now()
        done = threading.Event()
        seen: set[bytes] = set()
        failures: list[Exception] = []

        def call() -> None:
            while not done.is_set():
                try:
                    seen.add(shown(server, caller)[0])
                except (ssl.SSLError, AssertionError) as error:
                    failures.append(error)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for thread in callers:
            thread.start()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for certificate in (one, other):
                for context in (server, caller):
                    context.swap(certificate)  # type: ignore[attr-defined]
                time.sleep(0.0005)
        done.set()
        for thread in callers:
            thread.join()
        assert failures == []
        assert seen == {one.chain[0], other.chain[0]}


# -- time -------------------------------------------------------------------------------------------


def test_the_thread_renews_in_time(ca: CA, client: Client) -> None:
    renewed: list[Certificate] = []
    with client.keep("web.test", ca.provisioner_key, not_after=timedelta(seconds=4), on_renew=renewed.append) as web:
        first = web.current
        server, caller = web.server_context(), web.client_context()
        # Issued a minute back: there is a third left of 64 seconds already.
        wait_until(lambda: len(renewed) > 0)
        assert web.current.serial != first.serial
        assert shown(server, caller)[0] == web.current.chain[0]


def test_nothing_happens_before_it_is_time(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        first = web.current
        assert web.turn() == 60
        assert web.current is first
        assert web.renews_at - ca.now > timedelta(hours=14)


def test_after_a_sleep_of_the_machine_it_is_renewed_at_the_next_look(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        first = web.current
        ca.travel(timedelta(hours=20))
        assert web.turn() == 60
        assert web.current.serial != first.serial
        assert web.current.not_after - ca.now > timedelta(hours=23)


def test_an_expired_one_is_replaced_with_the_key_of_the_provisioner(ca: CA, client: Client) -> None:
    with client.keep(["web.test", "10.0.0.1"], ca.provisioner_key) as web:
        first = web.current
        ca.travel(timedelta(days=2))
        web.turn()
        assert web.error is None
        assert web.current.names == first.names
        assert web.current.not_after > ca.now


def test_without_it_an_expired_one_stays_and_is_asked_for_again(ca: CA, client: Client) -> None:
    with client.keep(client.issue("web.test", ca.provisioner_key)) as web:
        ca.travel(timedelta(days=2))
        assert 1 < web.turn() <= 60
        assert isinstance(web.error, Unauthorized)


def test_a_revoked_one_is_not_replaced_by_the_back_door(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        client.revoke(web.current)
        with pytest.raises(Unauthorized):
            web.renew_now()
        ca.travel(timedelta(hours=20))
        web.turn()
        assert isinstance(web.error, Unauthorized)


def test_while_the_ca_is_away_the_old_one_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "provisor.live")
    errors: list[Exception] = []
    with (
        CA(listen=True) as ca,
        Client.bootstrap(ca.url, ca.fingerprint) as client,
        client.keep(client.issue("web.test", ca.provisioner_key), on_error=errors.append) as web,
    ):
        server, caller, first = web.server_context(), web.client_context(), web.current
        ca.stop_listening()
        with pytest.raises(Unreachable):
            web.renew_now()
        assert errors == []  # who asked was told
        web._timetable._due = ca.now  # it is time
        assert 40 < web.turn() <= 60
        assert [type(error) for error in errors] == [Unreachable]
        assert web.error is errors[0]
        assert "renewal failed, next try in" in caplog.text
        assert shown(server, caller)[0] == first.chain[0]
        ca.listen()
        web.renew_now()
        assert web.error is None
        assert shown(server, caller)[0] == web.current.chain[0] != first.chain[0]


def test_a_listener_of_the_users_that_fails_stops_nothing(
    ca: CA, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(what: object) -> None:
        raise ZeroDivisionError("mine")

    with client.keep("web.test", ca.provisioner_key, on_renew=fail, on_error=fail) as web:
        first = web.current
        ca.travel(timedelta(hours=20))
        web.turn()
        assert web.current.serial != first.serial
        assert "on_renew or on_error failed" in caplog.text
        client.revoke(web.current)
        ca.travel(timedelta(hours=20))
        web._timetable._not_before = 0.0  # rested
        web.turn()
        assert isinstance(web.error, Unauthorized)


def test_a_fault_of_ours_does_not_end_the_thread(ca: CA, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        monkeypatch.setattr(web._source, "next", {}.__getitem__)
        ca.travel(timedelta(hours=20))
        assert web.turn() > 1
        assert isinstance(web.error, KeyError)


# -- files ------------------------------------------------------------------------------------------


def test_each_certificate_is_written(ca: CA, client: Client, tmp_path: Path) -> None:
    crt, key = tmp_path / "web.crt", tmp_path / "web.key"
    with client.keep("web.test", ca.provisioner_key, cert_file=crt, key_file=key, rekey=True) as web:
        for _ in range(2):
            assert Certificate.load(crt, key) == web.current
            web.renew_now()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.crt", "web.key"]


def test_one_that_is_there_is_taken_up(ca: CA, client: Client, tmp_path: Path) -> None:
    both = tmp_path / "web.pem"
    with client.keep("web.test", ca.provisioner_key, cert_file=both) as web:
        first = web.current
    with client.keep("web.test", cert_file=both) as web:
        assert web.current == first
        assert web.current.has_key


@pytest.mark.parametrize("spoil", ["names", "junk", "expired", "foreign", "key"])
def test_one_that_cannot_be_used_is_replaced(ca: CA, client: Client, tmp_path: Path, spoil: str) -> None:
    crt, key = tmp_path / "web.crt", tmp_path / "web.key"
    with CA() as other:
        found = {
            "names": lambda: ca.issue("other.test"),
            "expired": lambda: ca.issue("web.test", age=2 * DAY),
            "foreign": lambda: other.issue("web.test"),
        }.get(spoil, lambda: ca.issue("web.test"))()
    found.save(crt, key)
    if spoil == "junk":
        crt.write_text("junk")
    if spoil == "key":
        ca.issue("web.test").save(tmp_path / "other.crt", key)
    with client.keep("web.test", ca.provisioner_key, cert_file=crt, key_file=key) as web:
        assert web.current.serial != found.serial
        assert Certificate.load(crt, key) == web.current


def test_an_expired_one_in_the_files_is_renewed_where_that_is_allowed(tmp_path: Path) -> None:
    with CA(claims={"allowRenewalAfterExpiry": True}) as ca:
        ca.issue("web.test", age=2 * DAY).save(tmp_path / "web.pem", tmp_path / "web.pem")
        with ca.client().keep("web.test", cert_file=tmp_path / "web.pem") as web:
            assert web.current.not_after > ca.now


def test_files_that_cannot_be_written_cost_no_second_certificate(ca: CA, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    renewed: list[Certificate] = []
    ca.travel(timedelta(hours=-20))
    with client.keep("web.test", ca.provisioner_key, cert_file=folder / "web.pem", on_renew=renewed.append) as web:
        server, caller, first = web.server_context(), web.client_context(), web.current
        folder.rename(tmp_path / "away")
        ca.travel(timedelta(hours=20))
        assert 1 < web.turn() <= 60
        assert isinstance(web.error, FileNotFoundError)
        second = web.current
        assert shown(server, caller)[0] == second.chain[0] != first.chain[0]
        (tmp_path / "away").rename(folder)
        web._timetable._not_before = 0.0  # rested
        web.turn()
        assert web.error is None
        assert web.current == second == Certificate.load(folder / "web.pem", folder / "web.pem")
        assert renewed == [second]


def test_what_is_missing_is_said_at_once(ca: CA, client: Client, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a provisioner key or a token is needed"):
        client.keep("web.test")
    with pytest.raises(ValueError, match="key_file is given and cert_file is not"):
        client.keep("web.test", ca.provisioner_key, key_file=tmp_path / "key")
    with pytest.raises(BadKey):
        client.keep(Certificate.parse(ca.issue("web.test").pem))
    with pytest.raises(CAError):
        client.keep("web.test", "no.token.atall")


def test_one_token_is_enough_to_begin(ca: CA, client: Client) -> None:
    with client.keep("web.test", client.token("web.test", ca.provisioner_key)) as web:
        first = web.current
        assert web.renew_now().serial != first.serial


# -- its end ----------------------------------------------------------------------------------------


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "provisor-live"]


def test_the_thread_ends_with_close(ca: CA, client: Client) -> None:
    web = client.keep("web.test", ca.provisioner_key)
    assert threads() == ["provisor-live"]
    web.close()
    assert threads() == []
    web.close()
    web.start()
    assert threads() == []


def test_the_thread_ends_when_nobody_uses_it(ca: CA, client: Client) -> None:
    context = client.keep("web.test", ca.provisioner_key).server_context()
    gc.collect()
    assert threads() == ["provisor-live"]  # the context does
    del context
    wait_until(lambda: threads() == [])


def test_a_context_nobody_uses_is_forgotten(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        gone = weakref.ref(web.server_context())
        assert gone() is None
        web.renew_now()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_renews_by_itself(ca: CA) -> None:
    ca.listen()
    with Client(ca.url, ca.root_pem) as client, client.keep("web.test", ca.provisioner_key) as web:
        server, caller, first = web.server_context(), web.client_context(), web.current
        assert client.health() == "ok"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                alive = threads()
                shown(server, caller)
                client.health()
                fresh = web.renew_now()
                found = fresh.serial != first.serial and shown(server, caller)[0] == fresh.chain[0]
                os.write(writing, repr((alive, threads(), found)).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with open(reading, "rb") as file:
            assert file.read().decode() == "([], ['provisor-live'], True)"
        assert client.health() == "ok"
        assert web.current is first


def test_a_certificate_that_is_kept_is_a_live_one(ca: CA, client: Client) -> None:
    with client.keep("web.test", ca.provisioner_key) as web:
        assert isinstance(web, LiveCertificate)
        assert parse_certificates(web.current.pem.encode())[0] == web.current.chain[0]
