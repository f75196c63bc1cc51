"""The real `step` asks the real step-ca and Provisor for certificates under the same rules: field by field the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from msgspec import Struct

from support.comparison import certificate_differences
from support.peers import free_port, require_peer
from support.provisor_process import provisor_ca, serve_init_folder, step_ca
from support.step_lab import Workplace, configure
from support.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.peer

CUSTOM: Final = """{
  "subject": {"commonName": {{ toJson .Subject.CommonName }}, "organization": {{ toJson .Insecure.User.org }},
              "organizationalUnit": {{ toJson .unit }}},
  "sans": {{ toJson .SANs }},
{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["keyEncipherment", "digitalSignature"],
{{- else }}
  "keyUsage": ["digitalSignature"],
{{- end }}
  "extKeyUsage": ["clientAuth"],
  "extensions": [{"id": "1.2.3.4", "value": {{ asn1Enc (toString .Insecure.User.n) | toJson }}}]
}"""
FROM_WEBHOOK: Final = """{"subject": {"commonName": {{ toJson .Subject.CommonName }},
  "organizationalUnit": {{ toJson .Webhooks.people.unit }}}, "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"], "extKeyUsage": ["serverAuth"]}"""
POLICY: Final = {
    "x509": {
        "allow": {"dns": ["*.corp.test", "localhost"], "ip": ["10.0.0.0/8"], "email": ["@corp.test"]},
        "deny": {"dns": ["forbidden.corp.test"]},
    }
}


class Labs(Struct, frozen=True):
    """One PKI, two CAs: in each workplace `step` is bound to one of them."""

    reference: Workplace
    ours: Workplace
    receiver: WebhookReceiver


def _provisioners(admin: Mapping[str, Any], hooks: WebhookReceiver, template_file: Path) -> list[dict[str, Any]]:
    def jwk(name: str, **options: object) -> dict[str, Any]:
        return {**admin, "name": name, "options": options}

    def hook(name: str, path: str, kind: str) -> dict[str, object]:
        return {"id": f"id-{name}", "name": name, "url": hooks.url(path), "kind": kind}

    people = hook("people", "/enrich", "ENRICHING")
    return [
        dict(admin),
        jwk("custom", x509={"template": CUSTOM, "templateData": {"unit": "Works"}}) | {"provisor": {"explain": True}},
        jwk("file", x509={"templateFile": str(template_file)}),
        jwk("fails", x509={"template": '{{ fail "only on Tuesdays" }}'}),
        jwk("broken", x509={"template": "{{ nofunc }}"}),
        jwk("authority", x509={"template": '{"subject": {{ toJson .Subject }}, "basicConstraints": {"isCA": true}}'}),
        jwk("asks", x509={"template": FROM_WEBHOOK}, webhooks=[people, hook("gate", "/allow", "AUTHORIZING")]),
        jwk("vetoed", webhooks=[hook("gate", "/denied-because", "AUTHORIZING")]),
        jwk("refused", webhooks=[hook("people", "/denied-because", "ENRICHING")]),
        jwk("nonsense", webhooks=[hook("people", "/not-json", "ENRICHING")]),
        jwk("failing", webhooks=[hook("people", "/error", "ENRICHING")]),
        jwk("by-url", webhooks=[hook("people", "/allow?cn={{ .Subject.CommonName | urlquery }}", "ENRICHING")]),
    ]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    require_peer("step")
    base = tmp_path_factory.mktemp("rules")
    first = Workplace(base / "first", base / "reference")
    (first.cwd / "pw").write_text("a password\n")
    first.do(
        "step ca init --deployment-type standalone --name Rules --dns localhost"
        f" --address 127.0.0.1:{free_port()} --provisioner admin --password-file pw"
    )
    secrets, certs = first.step_path / "secrets", first.step_path / "certs"
    first.do(
        f"step certificate create localhost hook.crt hook.key --profile leaf --ca {certs}/intermediate_ca.crt"
        f" --ca-key {secrets}/intermediate_ca_key --ca-password-file pw --no-password --insecure"
        " --san localhost --bundle"
    )
    receiver = WebhookReceiver(first.cwd / "hook.crt", first.cwd / "hook.key", certs / "root_ca.crt")
    config = json.loads((first.step_path / "config" / "ca.json").read_text())
    (admin,) = config["authority"]["provisioners"]
    leaf = first.step_path / "templates" / "leaf.tpl"
    config["authority"] |= {"provisioners": _provisioners(admin, receiver, leaf), "policy": POLICY}
    leaf.parent.mkdir(exist_ok=True)
    leaf.write_text('{"subject": "file.corp.test", "sans": {{ toJson .SANs }}}')
    text = json.dumps(config)
    shutil.copytree(first.step_path, base / "ours")
    with ExitStack() as running:
        running.enter_context(receiver)
        workplaces: list[Workplace] = []
        for name, program in (("reference", step_ca()), ("ours", provisor_ca())):
            folder, port = base / name, free_port()
            own = json.loads(text.replace(str(first.step_path), str(folder))) | {"address": f"127.0.0.1:{port}"}
            if name == "ours":
                own["provisor"] = {"network": {"allowedAddresses": [f"127.0.0.1:{receiver.port}"]}}
            (folder / "config" / "ca.json").write_text(json.dumps(own))
            running.enter_context(serve_init_folder(program, folder, first.cwd / "pw"))
            workplace = Workplace(base / f"work-{name}", base / f"client-{name}")
            shutil.copy(first.cwd / "pw", workplace.cwd / "pw")
            (workplace.cwd / "set.json").write_text('{"org": "From File", "n": 7}')
            root = folder / "certs" / "root_ca.crt"
            mark = workplace.do(f"step certificate fingerprint {root}").strip()
            configure(workplace.step_path, f"https://localhost:{port}", mark, root)
            workplaces.append(workplace)
        yield Labs(workplaces[0], workplaces[1], receiver)


def ask(workplace: Workplace, words: str) -> tuple[int, str, x509.Certificate | None]:
    crt = workplace.cwd / "a.crt"
    crt.unlink(missing_ok=True)
    subject, _, flags = words.partition(" ")
    done = workplace.run(f"step ca certificate {subject} a.crt a.key {flags} --provisioner-password-file pw --force")
    ends = [line for line in done.stderr.splitlines() if not line.startswith("✔")]
    certificate = x509.load_pem_x509_certificate(crt.read_bytes()) if crt.exists() else None
    return done.status, "\n".join(ends), certificate


ISSUED: Final = (
    "a.corp.test --provisioner admin",
    "a.corp.test --provisioner admin --set org=ignored",
    "a.corp.test --provisioner custom --set org=ACME --set n=5",
    "a.corp.test --provisioner custom --set-file set.json",
    "a.corp.test --provisioner custom --set-file set.json --set org=Over",
    "a.corp.test --provisioner custom --set org=ACME --set n=5 --kty RSA --size 2048",
    "a.corp.test --provisioner file",
    "a.corp.test --provisioner authority",
    "a.corp.test --provisioner admin --san a.corp.test --san 10.1.2.3 --san x@corp.test",
    "a.corp.test --provisioner asks",
    "a.corp.test --provisioner by-url",
)
REFUSED: Final = (
    "a.corp.test --provisioner custom",
    "a.corp.test --provisioner fails",
    "a.corp.test --provisioner broken",
    "a.corp.test --provisioner admin --san a.other.test",
    "a.corp.test --provisioner admin --san 11.1.2.3",
    "a.corp.test --provisioner admin --san x@other.test",
    "a.corp.test --provisioner admin --san https://corp.test/x",
    "forbidden.corp.test --provisioner admin",
    "'*.corp.test' --provisioner admin",
    "a_b.corp.test --provisioner admin",
    "a.corp.test --provisioner vetoed",
    "a.corp.test --provisioner refused",
    "a.corp.test --provisioner nonsense",
    "a.corp.test --provisioner failing",
)


@pytest.mark.parametrize("words", [*ISSUED, *REFUSED])
def test_both_authorities_decide_the_same(labs: Labs, words: str) -> None:
    found, sent = [], []
    for workplace in (labs.reference, labs.ours):
        labs.receiver.received.clear()
        found.append(ask(workplace, words))
        sent.append([(each.path, each.client, _shape(each.json)) for each in labs.receiver.received])
    (status, text, reference), (our_status, our_text, ours) = found
    assert (reference is not None) == (status == 0) == (words in ISSUED), text
    assert (our_status, our_text) == (status, text)
    if reference is not None:
        assert ours is not None
        assert not list(certificate_differences(reference, ours, moment=datetime.now(UTC), times=False, own_key=False))
    assert sent[0] == sent[1]


def _shape(value: Any) -> Any:
    """Names and kinds of a body's members; the keys and times of two requests differ."""
    if isinstance(value, dict):
        return [(name, _shape(member)) for name, member in value.items()]
    return [_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_an_edited_template_acts_at_once(labs: Labs) -> None:
    for workplace in (labs.reference, labs.ours):
        folder = Path(str(workplace.step_path).replace("client-", ""))
        template = folder / "templates" / "leaf.tpl"
        before = template.read_text()
        template.write_text('{"subject": "edited.corp.test", "sans": {{ toJson .SANs }}}')
        _, text, certificate = ask(workplace, "a.corp.test --provisioner file")
        template.write_text(before)
        assert certificate is not None, text
        assert certificate.subject.rfc4514_string() == "CN=edited.corp.test"


def test_both_ways_to_an_explanation(labs: Labs) -> None:
    ours = labs.ours
    ours.do("step certificate create a.corp.test e.csr e.key --csr --no-password --insecure --force")
    config = Path(str(ours.step_path).replace("client-", "")) / "config" / "ca.json"

    def token(provisioner: str) -> str:
        return ours.do(f"step ca token a.corp.test --provisioner {provisioner} --provisioner-password-file pw").strip()

    mine = token("custom")
    explained = json.loads(ours.do(f"provisor ca explain --token {mine} --csr e.csr --set org=A --set n=1 --json"))
    assert (explained["allowed"], explained["status"], explained["step"]) == (True, 201, 0)
    assert '"organization": "A"' in explained["steps"][4]["facts"]["rendered"]
    refused = ours.run(f"provisor ca explain --token {mine} --csr e.csr")
    assert refused.status == 2
    assert "5 build: refused" in refused.stdout
    assert "refused: 500" in refused.stdout
    ours.do(f"step ca sign e.csr e.crt --token {mine} --set org=A --set n=1 --force")
    closed = token("fails")
    assert ours.run(f"provisor ca explain --token {closed} --csr e.csr").status == 1
    local = ours.run(f"provisor ca explain --token {closed} --csr e.csr --local --ca-config {config}")
    assert local.status == 2
    assert "only on Tuesdays" in local.stdout
