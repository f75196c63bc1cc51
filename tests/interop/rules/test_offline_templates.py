"""`certificate create --template` by the real `step` and by Provisor: field by field the same certificate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509

from support.comparison import certificate_differences
from support.step_lab import Workplace

pytestmark = pytest.mark.peer

TEMPLATES: Final = {
    "root": """{"subject": {"commonName": {{ toJson .Subject.CommonName }},
"organization": {{ toJson .Insecure.User.org }}}, "keyUsage": ["certSign","crlSign"],
"basicConstraints": {"isCA": true, "maxPathLen": 2},
"nameConstraints": {"critical": true, "permittedDNSDomains": "example.com"}}""",
    "leaf": """{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"],
"extKeyUsage": ["clientAuth"], "ocspServer": "http://o", "notAfter": "2036-01-01T00:00:00Z"}""",
    "request": "{{ toJson .Insecure.CR }}",
    "fails": '{{ fail "not like this" }}',
    "broken": "{{ nofunc }}",
    "nothing": '{"subject": {{ .Subject.Nope }}}',
    "number": '{"subject": 5}',
}
PLAIN: Final = "--no-password --insecure --force"
SIGNED: Final = "--ca root.crt --ca-key root.key"
LINES: Final = (
    f"Root x.crt x.key {PLAIN} --template root.tpl --set org=ACME",
    f"Root x.crt x.key {PLAIN} --template root.tpl --set-file set.json --not-after 8760h",
    f"a.example.com x.crt x.key {PLAIN} --template leaf.tpl {SIGNED}",
    f"a.example.com x.crt x.key {PLAIN} --template leaf.tpl {SIGNED} --san b.example.com --san 10.0.0.1 --bundle",
    f"a.example.com x.crt x.key {PLAIN} --template request.tpl {SIGNED} --kty RSA --size 2048",
    f"a x.crt x.key {PLAIN} --template fails.tpl",
    f"a x.crt x.key {PLAIN} --template broken.tpl",
    f"a x.crt x.key {PLAIN} --template nothing.tpl",
    f"a x.crt x.key {PLAIN} --template number.tpl",
    f"a x.crt x.key {PLAIN} --template none.tpl",
    f"a x.crt x.key {PLAIN} --template leaf.tpl --profile root-ca",
    f"a x.crt x.key {PLAIN} --template leaf.tpl --ca root.crt",
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    base: Path = tmp_path_factory.mktemp("templates")
    desk = Workplace(base / "work", base / "step")
    for name, text in TEMPLATES.items():
        (desk.cwd / f"{name}.tpl").write_text(text)
    (desk.cwd / "set.json").write_text(json.dumps({"org": "From File"}))
    desk.do(f"step certificate create Root root.crt root.key {PLAIN} --template root.tpl --set org=ACME")
    return desk


@pytest.mark.parametrize("line", LINES)
def test_both_make_the_same(desk: Workplace, line: str) -> None:
    crt = desk.cwd / "x.crt"
    found, texts = [], []
    for program in ("step", "provisor"):
        crt.unlink(missing_ok=True)
        done = desk.run(f"{program} certificate create {line}")
        texts.append((done.status, done.stdout, done.stderr))
        found.append(x509.load_pem_x509_certificates(crt.read_bytes()) if crt.exists() else [])
    assert texts[1] == texts[0]
    theirs, ours = found
    assert len(ours) == len(theirs)
    assert bool(ours) == (texts[0][0] == 0)
    if ours:
        now = datetime.now(UTC)
        self_signed = theirs[0].issuer == theirs[0].subject
        assert not list(certificate_differences(theirs[0], ours[0], moment=now, own_key=False, times=False))
        if not self_signed:
            ours[0].verify_directly_issued_by(x509.load_pem_x509_certificate((desk.cwd / "root.crt").read_bytes()))
