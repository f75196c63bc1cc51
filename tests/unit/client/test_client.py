"""`provisor.Client` against a real CA in this process, and by HTTPS where the network is what counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provisor import (
    BadAnswer,
    BadKey,
    CAError,
    Certificate,
    Client,
    Denied,
    NotFound,
    ProvisionerKey,
    Unauthorized,
    Unreachable,
    WrongPassword,
)
from provisor.client.csr import csr_pem, make_csr
from provisor.client.transport import Answer
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.names import Name, classify_sans
from provisor.core.pem import parse_certificates
from provisor.errors import BadCSR, BadRequest, Malformed
from provisor.testing import CA

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA(listen=True) as running:
        yield running


@pytest.fixture
def client(ca: CA) -> Iterator[Client]:
    with Client.bootstrap(ca.url, ca.fingerprint) as found:
        yield found


# -- trust ------------------------------------------------------------------------------------------


def test_a_fingerprint_is_enough_to_begin(ca: CA, client: Client) -> None:
    assert client.root_pem == ca.root_pem
    assert client.fingerprint == ca.fingerprint
    assert client.url == ca.url
    assert repr(client) == f"Client('{ca.url}')"


def test_the_fingerprint_may_be_written_in_capitals(ca: CA) -> None:
    with Client.bootstrap(ca.url, ca.fingerprint.upper()) as client:
        assert client.health() == "ok"


def test_another_fingerprint_finds_nothing(ca: CA) -> None:
    with pytest.raises(NotFound):
        Client.bootstrap(ca.url, hashlib.sha256(b"other").hexdigest())


def test_who_has_another_root_trusts_not(ca: CA) -> None:
    with (
        CA() as other,
        Client(ca.url, other.root_pem) as client,
        pytest.raises(Unreachable, match="unknown authority"),
    ):
        client.health()


def test_roots_may_be_a_path(ca: CA, tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_text(ca.root_pem)
    with Client(ca.url, tmp_path / "root.crt") as client:
        assert client.health() == "ok"
    with pytest.raises(FileNotFoundError):
        Client(ca.url, tmp_path / "absent.crt")


def test_roots_that_are_none_are_refused_at_once(ca: CA) -> None:
    with pytest.raises(Malformed):
        Client(ca.url, "no certificate")
    with pytest.raises(BadRequest, match="must have https scheme"):
        Client("http://localhost", ca.root_pem)


def test_what_the_ca_tells_everybody(ca: CA, client: Client) -> None:
    assert client.health() == "ok"
    assert client.version()
    assert client.roots() == client.federation() == (ca.root_pem,)
    assert [(each["type"], each["name"]) for each in client.provisioners()] == [("JWK", "test")]


def test_the_list_of_the_revoked_is_der() -> None:
    with CA(settings={"crl": {"enabled": True}}) as ca:
        assert ca.client().crl().startswith(b"\x30")


# -- tokens -----------------------------------------------------------------------------------------


def test_the_key_that_the_ca_keeps_is_opened(ca: CA, client: Client) -> None:
    key = client.provisioner_key("test", ca.password)
    assert key.key_id == ca.provisioner_key.key_id
    with pytest.raises(WrongPassword):
        client.provisioner_key("test", "other")
    with pytest.raises(NotFound, match="no JWK provisioner that is called absent"):
        client.provisioner_key("absent", ca.password)


def test_a_token_works_once(ca: CA, client: Client) -> None:
    token = client.token("a.test", ca.provisioner_key)
    assert client.issue("a.test", token).names == ("a.test",)
    with pytest.raises(Unauthorized):
        client.issue("a.test", token)


def test_a_token_is_for_its_names(ca: CA, client: Client) -> None:
    with pytest.raises(Denied):
        client.issue("b.test", client.token("a.test", ca.provisioner_key))


def test_a_token_may_be_for_one_request(ca: CA, client: Client) -> None:
    mine, other = (csr_pem(make_csr(ec.generate_private_key(ec.SECP256R1()), "a.test", names())) for _ in range(2))
    with pytest.raises(CAError):
        client.sign(other, client.token("a.test", ca.provisioner_key, csr=mine))
    assert client.sign(mine, client.token("a.test", ca.provisioner_key, csr=mine)).names == ("a.test",)


def names(*texts: str) -> tuple[Name, ...]:
    return classify_sans(texts or ("a.test",))


def test_a_foreign_key_is_not_accepted(client: Client) -> None:
    with pytest.raises(Unauthorized) as caught:
        client.issue("a.test", ProvisionerKey("test", ec.generate_private_key(ec.SECP256R1())))
    assert caught.value.status == 401
    assert caught.value.message.startswith("The request lacked necessary authorization")


# -- certificates -----------------------------------------------------------------------------------


def test_a_certificate_has_the_names_and_the_time_asked_for(ca: CA, client: Client) -> None:
    asked = ["web.internal", "10.0.0.1", "::1"]
    end = datetime.now(UTC).replace(microsecond=0) + 3 * HOUR
    certificate = client.issue(asked, ca.provisioner_key, not_after=end)
    assert certificate.common_name == "web.internal"
    assert certificate.names == tuple(asked)
    assert certificate.not_after == end
    begin = end - HOUR
    later = client.issue("a.test", ca.provisioner_key, not_before=begin, not_after=timedelta(hours=4))
    assert later.not_before == begin
    assert later.not_after - end > timedelta(minutes=50)


@pytest.mark.parametrize("wrong", ["", [], ["a.test", ""]])
def test_a_certificate_needs_names(ca: CA, client: Client, wrong: str | list[str]) -> None:
    with pytest.raises(BadRequest):
        client.issue(wrong, ca.provisioner_key)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "RSA", "Ed25519"],
)
def test_a_key_of_ones_own_is_used_and_rekeyed_in_kind(ca: CA, client: Client, key: PrivateKey) -> None:
    certificate = client.issue("a.test", ca.provisioner_key, private_key=key)
    assert certificate.leaf.spki == spki_der(key.public_key())
    fresh = client.rekey(certificate)
    assert fresh.leaf.spki != certificate.leaf.spki
    assert fresh.leaf.key == certificate.leaf.key


def test_a_request_is_signed_whose_key_is_elsewhere(ca: CA, client: Client) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = client.sign(csr_pem(make_csr(key, "a.test", names("a.test", "b.test"))).encode(), ca.provisioner_key)
    assert not certificate.has_key
    assert certificate.names == ("a.test", "b.test")
    assert client.sign(csr_pem(make_csr(key, "", names())), ca.provisioner_key).names == ("a.test",)
    assert client.sign(csr_pem(make_csr(key, "a.test")), ca.provisioner_key).names == ("a.test",)
    with pytest.raises(BadCSR):
        client.sign("no request", ca.provisioner_key)
    with pytest.raises(BadRequest):
        client.sign(csr_pem(make_csr(key, "")), ca.provisioner_key)


def test_renewing_keeps_key_and_names(ca: CA, client: Client) -> None:
    certificate = client.issue(["a.test", "b.test"], ca.provisioner_key)
    fresh = client.renew(certificate)
    assert fresh.serial != certificate.serial
    assert fresh.names == certificate.names
    assert fresh.key_pem == certificate.key_pem
    with pytest.raises(BadKey):
        client.renew(Certificate.parse(certificate.pem))
    with pytest.raises(BadKey):
        client.rekey(Certificate.parse(certificate.pem))


def test_an_expired_one_is_renewed_where_that_is_allowed() -> None:
    with CA(claims={"allowRenewalAfterExpiry": True}, listen=True) as kind, CA(listen=True) as strict:
        for client in (kind.client(), Client.bootstrap(kind.url, kind.fingerprint)):
            with client:
                assert client.renew(kind.issue("a.test", age=timedelta(days=2))).not_after > kind.now
        with pytest.raises(Unauthorized):
            strict.client().renew(strict.issue("a.test", age=timedelta(days=2)))


def test_one_that_is_over_by_the_clock_of_the_ca_only_is_renewed_by_token() -> None:
    """Our clock is late: the certificate is shown first, and refused in the handshake."""
    lateness = timedelta(days=1, hours=12)
    with CA(claims={"allowRenewalAfterExpiry": True}, listen=True) as ca:
        old = ca.issue("a.test", age=timedelta(days=2))
        with (
            Client(ca.url, ca.root_pem, clock=lambda: datetime.now(UTC) - lateness) as late,
            pytest.raises(Unauthorized),  # for a token of another day
        ):
            late.renew(old)


def test_who_revokes_cannot_renew(ca: CA, client: Client) -> None:
    by_itself, by_serial, by_token = (client.issue("a.test", ca.provisioner_key) for _ in range(3))
    client.revoke(by_itself, reason="test", reason_code=1)
    client.revoke(by_serial.serial, ca.provisioner_key)
    client.revoke(by_token, ca.provisioner_key)
    for certificate in (by_itself, by_serial, by_token):
        with pytest.raises(Unauthorized):
            client.renew(certificate)
    with pytest.raises(TypeError, match="a serial number does not revoke itself"):
        client.revoke(by_serial.serial)
    with pytest.raises(CAError):
        client.revoke(by_itself.serial, ca.provisioner_key)


class Liar:
    """A CA that answers every request to sign or renew with one certificate."""

    def __init__(self, certificate: Certificate) -> None:
        self.body = b'{"crt": %b, "certChain": []}' % repr(certificate.pem).replace("'", '"').encode()

    def open(self, certificate: Certificate | None) -> Liar:
        return self

    def send(self, *words: object, **more: object) -> Answer:
        return Answer(201, "application/json", self.body)

    def close(self) -> None:
        """Nothing is held."""


def test_an_answer_for_another_key_is_not_taken(ca: CA) -> None:
    liar = Client(ca.url, ca.root_pem, way=Liar(ca.issue("a.test")))
    with pytest.raises(BadAnswer, match="for another key"):
        liar.issue("a.test", ca.provisioner_key)
    with pytest.raises(BadAnswer, match="for another key"):
        liar.renew(ca.issue("a.test"))


def test_an_answer_that_is_no_certificate_is_said_so(ca: CA) -> None:
    way = Liar(ca.issue("a.test"))
    way.body = b'{"crt": "junk"}'
    with pytest.raises(BadAnswer, match="no certificate"):
        Client(ca.url, ca.root_pem, way=way).issue("a.test", ca.provisioner_key)


# -- threads and ends -------------------------------------------------------------------------------


def test_many_threads_share_one_client(ca: CA, client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: client.issue(f"h{n}.test", ca.provisioner_key), range(40)))
    assert [each.common_name for each in found] == [f"h{n}.test" for n in range(40)]
    assert len({each.serial for each in found}) == 40


def test_a_client_that_was_closed_can_be_used_again(ca: CA) -> None:
    client = Client.bootstrap(ca.url, ca.fingerprint)
    client.close()
    assert client.health() == "ok"
    client.close()
    client.close()


def test_nobody_there_is_unreachable() -> None:
    with CA(listen=True) as ca, Client.bootstrap(ca.url, ca.fingerprint) as client:
        ca.stop_listening()
        with pytest.raises(Unreachable, match=f"client GET {ca.url}/health failed"):
            client.health()
        ca.listen()
        assert client.health() == "ok"


def test_the_context_trusts_this_ca_and_nobody_else(ca: CA, client: Client) -> None:
    context = client.client_context()
    assert [bytes(der) for der in context.get_ca_certs(binary_form=True)] == list(
        parse_certificates(ca.root_pem.encode())
    )
