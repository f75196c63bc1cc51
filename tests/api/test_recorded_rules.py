"""Certificates by templates and under policies, asked for as `step` did: the recorded answers, field by field."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from provisor.authority import webhooks
from provisor.errors import CallFailed
from provisor.ports import CallReply
from support.authority import Answer, Clock, MemoryCA, make_config
from support.comparison import certificate_differences

FOLDER: Final = Path(__file__).parent / "rules"
LEAF: Final = (
    '{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"], '
    '"extKeyUsage": ["clientAuth"], "ocspServer": "http://from.file"}\n'
)
EDITED: Final = '{"subject": "edited", "sans": {{ toJson .SANs }}}\n'
HIDDEN: Final = 'dns name "evil.other'
KNOWN: Final[Mapping[str, tuple[int, str]]] = {
    "policy-extended-san": (403, HIDDEN),
    "policy-raw-san": (500, "error creating certificate"),
    "policy-raw-subject": (403, HIDDEN),
}
"""Names that a template hides from the reference's policy are checked here (docs/compatibility.md). One of them is no
name at all, which no policy can judge."""

Row = dict[str, Any]


@cache
def rows(group: str) -> tuple[Row, ...]:
    lines = (FOLDER / f"{group}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def _authority(name: str, folder: Path) -> Row:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8").replace("$LAB", str(folder))
    found: Row = json.loads(text)
    first = found["provisioners"][0]
    for entry in found["provisioners"]:
        if entry.get("key") == "as in the first provisioner":
            entry |= {member: first[member] for member in ("key", "encryptedKey")}
    return found


def issued_at(token: str) -> datetime:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return datetime.fromtimestamp(claims["iat"], UTC)


def _ask(ca: MemoryCA, clock: Clock, row: Row) -> Answer:
    clock.now = issued_at(row["body"]["ott"])
    return ca.call("POST", "/sign", json.dumps(row["body"]))


def _differences(row: Row, answer: Answer, now: datetime) -> Iterator[str]:
    if answer.status != row["status"]:
        yield f"status {answer.status}, recorded {row['status']}: {answer.body!r}"
    elif answer.status == 201:
        recorded = x509.load_pem_x509_certificate(row["answer"]["crt"].encode())
        ours = x509.load_der_x509_certificate(answer.certificate.der)
        yield from certificate_differences(recorded, ours, moment=now, same_issuer=False)
    elif answer.json != row["answer"]:
        yield f"body {answer.json}, recorded {row['answer']}"


def document(name: str, folder: Path, **more: object) -> dict[str, object]:
    return make_config(authority=_authority(name, folder), dnsNames=["localhost", "127.0.0.1"], **more)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "templates" / "templates").mkdir(parents=True)
    (folder / "templates" / "templates" / "leaf.tpl").write_text(LEAF)
    return folder


def test_what_templates_make_is_what_was_recorded(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPPATH", str(lab / "templates"))
    clock = Clock(issued_at(rows("templates")[0]["body"]["ott"]))
    ca = MemoryCA(document("templates", lab), clock=clock)
    found = []
    for row in rows("templates"):
        if row["name"] == "x509-file-edited":
            (lab / "templates" / "templates" / "leaf.tpl").write_text(EDITED)
        answer = _ask(ca, clock, row)
        found += [f"{row['name']}: {each}" for each in _differences(row, answer, clock.now)]
    ca.close()
    assert not found, "\n".join(found)


def test_what_policies_allow_is_what_was_recorded(lab: Path) -> None:
    clock = Clock(issued_at(rows("policy")[0]["body"]["ott"]))
    ca = MemoryCA(document("policy", lab), clock=clock)
    found = []
    for row in rows("policy"):
        if row["name"] == "policy-deny-only-ok":
            ca.reconfigure(document("policy-ssh-user-only", lab))
        answer = _ask(ca, clock, row)
        if row["name"] in KNOWN:
            status, text = KNOWN[row["name"]]
            assert (answer.status, text in answer.message) == (status, True), (row["name"], answer.body)
        else:
            found += [f"{row['name']}: {each}" for each in _differences(row, answer, clock.now)]
    ca.close()
    assert not found, "\n".join(found)


# -- webhooks --------------------------------------------------------------------------------------

LATER: Final[Mapping[str, tuple[int, str]]] = {
    "wh-en-r302": (403, "Webhook server responded with 302."),
    "wh-en-r307": (403, "Webhook server responded with 307."),
    "wh-en-r308deny": (403, "Webhook server responded with 308."),
    "wh-url-template-space": (403, "contains a blank or control character."),
}
"""What is answered otherwise: no redirect is followed, no request line is sent that is none."""


class Receiver:
    """Answers as the recorded receiver did, call by call, and keeps what it is sent."""

    def __init__(self, calls: Sequence[Row], failures: Mapping[str, CallFailed]) -> None:
        self._calls, self._failures = calls, failures
        self.label = ""
        self.received: list[tuple[str, dict[str, str], bytes, bool]] = []

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, with_certificate: bool
    ) -> CallReply:
        here = [call for call in self._calls if call["label"] == self.label]
        if len(here) == len(self.received):
            raise self._failures.get(self.label, CallFailed("nobody was asked so often", final=True))
        call = here[len(self.received)]
        self.received.append((url, dict(headers), body, with_certificate))
        if isinstance(call["reply"], str):
            raise self._failures.get(self.label, CallFailed("EOF"))
        return CallReply(call["reply"]["status"], call["reply"]["body"].encode())


def _failures(group: Sequence[Row]) -> dict[str, CallFailed]:
    """What the connection of a call that got no answer ended with, in the words of the recorded answer."""
    prefix = "The request was forbidden by the certificate authority: "
    found = {}
    for row in group:
        text = row["answer"].get("message", "").removeprefix(prefix).removesuffix(".")
        if text.startswith('Post "'):
            found[row["name"]] = CallFailed(text, final="Client.Timeout" in text)
    return found


_MOMENT: Final = re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"')


def _call_differences(call: Row, received: tuple[str, dict[str, str], bytes, bool]) -> Iterator[str]:
    url, headers, body, with_certificate = received
    recorded = {name: value for name, value in call["headers"] if name.startswith("X-Smallstep")}
    ours = {name: value for name, value in headers.items() if name.lower().startswith("x-smallstep")}
    signature = hmac.new(b"", body, hashlib.sha256).hexdigest()
    if ours != recorded | {"X-Smallstep-Signature": signature}:
        yield f"headers {ours}, recorded {recorded}"
    if url != f"https://localhost:9262{call['path']}":
        yield f"url {url}, recorded {call['path']}"
    mine, theirs = (_MOMENT.sub(b"TIME", text) for text in (body, call["bodyText"].encode()))
    if mine != theirs:
        yield f"body {mine.decode()}\nrecorded {theirs.decode()}"
    if not with_certificate:
        yield "without a certificate"


def test_webhooks_are_sent_and_heard_as_was_recorded(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "RETRY_AFTER", 0)
    group = rows("webhooks")
    calls = [
        call
        for call in rows("webhook-calls")
        if not call["label"].startswith(("wh-en-r3",)) or call["path"] != "/allow"
    ]
    receiver = Receiver(calls, _failures(group))
    clock = Clock(issued_at(group[0]["body"]["ott"]))
    ca = MemoryCA(document("webhooks", lab), clock=clock, caller=receiver)
    found = []
    for row in group:
        receiver.label, receiver.received = row["name"], []
        answer = _ask(ca, clock, row)
        if row["name"] in LATER:
            status, text = LATER[row["name"]]
            assert (answer.status, text in answer.message) == (status, True), (row["name"], answer.body)
            continue
        found += [f"{row['name']}: {each}" for each in _differences(row, answer, clock.now)]
        sent = [call for call in calls if call["label"] == row["name"]]
        if len(sent) != len(receiver.received):
            found.append(f"{row['name']}: {len(receiver.received)} calls, recorded {len(sent)}")
        for call, received in zip(sent, receiver.received, strict=False):
            found += [f"{row['name']}: {each}" for each in _call_differences(call, received)]
    ca.close()
    assert not found, "\n".join(found)


def test_names_hidden_by_a_template_pass_as_in_the_reference_where_that_is_wanted(lab: Path) -> None:
    clock = Clock(issued_at(rows("policy")[0]["body"]["ott"]))
    ca = MemoryCA(document("policy", lab, provisor={"switches": {"allowHiddenNames": True}}), clock=clock)
    for row in rows("policy"):
        if row["name"] in KNOWN:
            answer = _ask(ca, clock, row)
            assert not list(_differences(row, answer, clock.now)), row["name"]
    ca.close()


def test_a_template_sees_what_the_reference_shows_it() -> None:
    """Of a JWK provisioner, printed by the template itself."""
    recorded: Row = json.loads((FOLDER / "context-jwk.json").read_text(encoding="utf-8"))
    entry = recorded["entry"]
    x509_options = {**entry["options"]["x509"], "template": "{{ fail (toJson .) }}"}
    x509_options.pop("templateFile", None)
    document_of_one = make_config({**entry, "options": {"x509": x509_options}}, dnsNames=["localhost", "127.0.0.1"])
    ca = MemoryCA(document_of_one, clock=Clock(datetime.fromisoformat(recorded["at"])))
    answer = ca.call("POST", "/1.0/sign", json.dumps(recorded["request"]))
    ca.close()
    assert answer.status == 400, answer.body
    shown = answer.message.removeprefix("The request could not be completed: ").removesuffix(".")
    assert json.loads(shown) == recorded["context"]
