"""What would be answered, and why: by the same path as the answer, with nothing spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from api.test_recorded_rules import Receiver, Row, document, issued_at, rows
from support.authority import Answer, Clock, MemoryCA, make_config
from support.credentials import make_csr, make_key, make_signer

GENERIC = (
    "The request lacked necessary authorization to be completed. "
    "Please see the certificate authority logs for more info."
)


def allowing(config: dict[str, Any]) -> dict[str, Any]:
    """Every provisioner of it may be asked to explain."""
    for entry in config["authority"]["provisioners"]:
        entry["provisor"] = {**entry.get("provisor", {}), "explain": True}
    return config


def ask(ca: MemoryCA, path: str, body: object) -> Answer:
    return ca.call("POST", path, json.dumps(body))


@pytest.mark.parametrize("group", ["templates", "policy"])
def test_an_explanation_agrees_with_the_decision(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "templates"))
    (tmp_path / "templates" / "templates").mkdir(parents=True)
    (tmp_path / "templates" / "templates" / "leaf.tpl").write_text('{"subject": {{ toJson .Subject }}}')
    clock = Clock(issued_at(rows(group)[0]["body"]["ott"]))
    ca = MemoryCA(allowing(document(group, tmp_path)), clock=clock)
    for row in rows(group):
        if row["name"].startswith("policy-deny-only"):
            continue
        clock.now = issued_at(row["body"]["ott"])
        before = ca.books()
        explained = ask(ca, "/1.0/explain", row["body"])
        assert ca.books() == before, "something was written"
        real = ask(ca, "/sign", row["body"])
        assert explained.status == 200, explained.body
        found = explained.json
        assert (found["status"], found["allowed"]) == (real.status, real.status == 201), (row["name"], found)
        assert found["message"] == ("" if real.status == 201 else real.message)
        verdicts = [step["verdict"] for step in found["steps"]]
        if found["step"]:
            assert verdicts[found["step"] - 1] == "refused"
            assert set(verdicts[: found["step"] - 1]) <= {"passed"}
            assert found["steps"][found["step"] - 1]["facts"]["reason"]
        else:
            assert verdicts == ["passed"] * 7 + ["not tried"] * 2
    ca.close()


@pytest.fixture
def ca() -> Iterable[MemoryCA]:
    quiet, open_ = make_signer("quiet"), make_signer("open")
    template = """{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": {{ if eq .Subject.CommonName "b.test" }}{{ .Subject.Nothing }}{{ else }}["digitalSignature"]{{ end }}}"""
    entry = {
        **open_.entry(),
        "options": {"x509": {"template": template}},
        "provisor": {"explain": True, "policy": {"x509": {"allow": {"dns": ["*.test"]}, "deny": {"dns": ["c.test"]}}}},
    }
    made = MemoryCA(make_config(quiet.entry(), entry), signers=(quiet, open_))
    yield made
    made.close()


Body = Callable[..., dict[str, Any]]


@pytest.fixture
def body(ca: MemoryCA) -> Body:
    def make(name: str, signer: str = "open", **more: object) -> dict[str, Any]:
        token = ca.token(ca.signers[signer], sub=name, sans=[name])
        return {"csr": make_csr(make_key(), name, [name]), "ott": token, **more}

    return make


def test_a_yes_has_its_facts(ca: MemoryCA, body: Body) -> None:
    found = ask(ca, "/explain", body("a.test")).json
    facts = {step["name"]: step["facts"] for step in found["steps"]}
    assert facts["authenticate"]["provisioner"]["name"] == "open"
    assert facts["authenticate"]["claims"]["sub"] == "a.test"
    assert facts["authorize"]["grant"] == {"subject": "a.test", "names": ["a.test"]}
    assert '"commonName":"a.test"' in facts["build"]["rendered"]
    assert facts["build"]["draft"]["names"] == ["dns:a.test"]
    assert {"level": "provisioner", "type": "dns", "name": "a.test", "verdict": "allowed", "rule": "*.test"} in facts[
        "check"
    ]["policy"]


def test_a_no_says_which_rule_and_where(ca: MemoryCA, body: Body) -> None:
    denied = ask(ca, "/explain", body("c.test")).json
    assert (denied["allowed"], denied["status"], denied["step"]) == (False, 403, 6)
    assert denied["steps"][5]["facts"]["policy"][-1]["rule"] == "c.test"
    broken = ask(ca, "/explain", body("b.test")).json
    assert (broken["status"], broken["step"]) == (500, 5)
    where = broken["steps"][4]["facts"]["template"]
    assert (where["line"], where["expression"]) == (2, ".Subject.Nothing")


def test_nobody_is_told_anything_before_he_is_proven_or_where_it_is_not_allowed(ca: MemoryCA, body: Body) -> None:
    stranger = body("a.test")
    stranger["ott"] = stranger["ott"][:-4] + "AAAA"
    spent = body("a.test")
    assert ask(ca, "/sign", spent).status == 201
    for request in (stranger, spent, body("a.test", "quiet")):
        answer = ask(ca, "/1.0/explain", request)
        assert (answer.status, answer.message) == (401, GENERIC)
    assert ask(ca, "/sign", body("a.test", "quiet")).status == 201


def test_a_token_serves_after_it_was_explained(ca: MemoryCA, body: Body) -> None:
    request = body("a.test")
    assert ask(ca, "/explain", request).json["allowed"]
    assert ask(ca, "/explain", request).json["allowed"]
    assert ask(ca, "/sign", request).status == 201


def test_secrets_are_masked(ca: MemoryCA) -> None:
    claims: dict[str, Any] = {
        "password": "hunter2",
        "apiKey": "k",
        "step": {"bearerToken": "t"},
        "note": "-----BEGIN PRIVATE KEY-----x",
    }
    signer = ca.signers["open"]
    request = {"csr": make_csr(make_key(), "a.test", ["a.test"]), "ott": ca.token(signer, **claims)}
    text = ask(ca, "/explain", request).body.decode()
    assert "hunter2" not in text
    assert "BEGIN PRIVATE" not in text
    assert '"bearerToken":"***"' in text


def test_webhooks_are_asked_only_for_a_rehearsal_and_never_for_consent(tmp_path: Path) -> None:
    calls = [call for call in rows("webhook-calls") if call["label"] == "wh-several"]
    row = next(row for row in rows("webhooks") if row["name"] == "wh-several")
    receiver = Receiver(calls, {})
    receiver.label = "wh-several"
    clock = Clock(issued_at(row["body"]["ott"]))
    ca = MemoryCA(allowing(document("webhooks", tmp_path)), clock=clock, caller=receiver)
    quiet = ask(ca, "/explain", row["body"]).json
    assert not receiver.received
    assert {"name": "late", "kind": "AUTHORIZING", "verdict": "would ask"} in _webhooks(quiet) or not quiet["allowed"]
    told = ask(ca, "/explain?enrich=true", row["body"]).json
    assert told["allowed"], told
    assert [headers["X-Provisor-Rehearsal"] for _, headers, _, _ in receiver.received] == ["true"] * 4
    assert {"name": "late", "kind": "AUTHORIZING", "verdict": "would ask"} in _webhooks(told)
    ca.close()


def _webhooks(found: Row) -> list[Row]:
    return [fact for step in found["steps"] for fact in step["facts"].get("webhook", [])]
