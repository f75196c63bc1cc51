"""What rules cost: templates beside no template, policies of more and more rules, webhooks beside step-ca's."""

from __future__ import annotations

import http.server
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from bench.lab import Lab, Measured, Row
from bench.measurements.paired import checks_of
from bench.model import PROVISOR, SIDES, STEP_CA, Bar, Check
from bench.pki import PKI, PROVISIONER, make_leaf
from bench.servers import Server
from bench.stats import alone
from provisor.core.names import Name, NameKind
from provisor.core.policy import read_policies
from provisor.core.x509.defaults import LEAF

CUSTOM: Final = """{
  {{- $cn := .Subject.CommonName }}
  {{- $parts := splitList "." $cn }}
  "subject": {
    "commonName": {{ toJson $cn }},
    "organization": "Example",
    {{- if gt (len $parts) 2 }}
    "organizationalUnit": {{ toJson (index $parts 1 | title) }},
    {{- else }}
    "organizationalUnit": "None",
    {{- end }}
    "country": "DE"
  },
  {{- if not (regexMatch "^[a-z0-9.-]+$" $cn) }}
  {{- fail "names are of small letters" }}
  {{- end }}
  "sans": {{ toJson .SANs }},
  {{- with .Token }}
  {{- if hasKey . "email" }}
  "emailAddresses": {{ toJson .email }},
  {{- end }}
  {{- end }}
  {{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["keyEncipherment", "digitalSignature"],
  {{- else }}
  "keyUsage": ["digitalSignature"],
  {{- end }}
  {{- $purposes := list "serverAuth" }}
  {{- range $san := .SANs }}
  {{- if eq $san.Type "email" }}
  {{- $purposes = append $purposes "emailProtection" }}
  {{- end }}
  {{- end }}
  {{- if hasPrefix "web" $cn }}
  {{- $purposes = append $purposes "clientAuth" }}
  {{- end }}
  "extKeyUsage": {{ toJson $purposes }},
  {{- define "policy" }}{{ printf "1.3.6.1.4.1.99999.%d.%d" .major .minor }}{{ end }}
  "policyIdentifiers": ["{{ template "policy" (dict "major" 1 "minor" (len $parts)) }}"],
  "crlDistributionPoints": [
    {{- range $i, $host := list "a" "b" }}
    {{- if $i }},{{ end }}
    "http://{{ $host }}.crl.example.com/issuing.crl"
    {{- end }}
  ],
  "issuingCertificateURL": "http://aia.example.com/issuing.crt",
  "ocspServer": ["http://ocsp.example.com"],
  {{- $serial := sha256sum $cn | trunc 16 }}
  "extensions": [
    {"id": "1.3.6.1.4.1.99999.2", "value": {{ asn1Enc (printf "utf8:%s" $serial) | toJson }}},
    {"id": "1.3.6.1.4.1.99999.3", "critical": false, "value": {{ asn1Seq (asn1Enc "int:7") (asn1Enc $cn) | toJson }}}
  ]
  {{- /* what stands here says nothing */}}
}
"""
"""Sixty lines and more of what people write."""
RULES: Final = (10, 1_000, 10_000)


def _with_options(pki: PKI, **options: object) -> dict[str, object]:
    entry = {"type": "JWK", "name": PROVISIONER, "key": pki.jwk, "options": options}
    return {"authority": {"provisioners": [entry]}}


def templates(lab: Lab) -> Measured:
    """The same requests to three Provisors in turn: without a template, with the default one written out, with ours."""
    texts: Mapping[str, str] = {"plain": "", "default": LEAF, "custom": CUSTOM}
    rates: dict[str, list[float]] = {name: [] for name in texts}
    runs = []
    with ExitStack() as stack:
        servers = {}
        for name, text in texts.items():
            settings = _with_options(lab.pki(), x509={"template": text}) if text else {}
            servers[name] = stack.enter_context(lab.server(settings=settings))
        for _ in range(lab.settings.rounds):
            for name, server in servers.items():
                (run,) = lab.rounds([server], lab.load("sign"), rounds=1)
                rates[name].append(run.answers.rate)
                runs.append(run)
    checks = [alone("rate without a template", rates["plain"], "/s")]
    for name, what, bar in (("default", "the default leaf written out", 0.8), ("custom", "60 lines", 0.55)):
        shares = [mine / plain for mine, plain in zip(rates[name], rates["plain"], strict=True)]
        checks.append(alone(f"rate with {what}, of that without", shares, "×", Bar(bar)))
    return Measured(tuple(checks), tuple(runs))


def policies(lab: Lab) -> Measured:
    """In this process: one certificate of three names against policies of more and more rules."""
    names = [Name(NameKind.DNS, f"h{number}.x9.example.com") for number in range(3)]
    medians: dict[int, list[float]] = {}
    for count in RULES:
        allowed = [f"*.x{number}.example.com" for number in range(count)]
        denied = [f"bad{number}.example.com" for number in range(count)]
        policy = read_policies({"x509": {"allow": {"dns": allowed}, "deny": {"dns": denied}}}).x509
        assert policy is not None
        laps = []
        for _ in range(lab.settings.rounds):
            began, turns = time.perf_counter(), 20_000
            for _ in range(turns):
                policy.check_certificate(names, "h0.x9.example.com")
            laps.append((time.perf_counter() - began) / turns * 1e6)
        medians[count] = laps
    checks = [alone(f"a policy of {2 * count:,} rules", laps, "µs") for count, laps in medians.items()]
    least, most = medians[RULES[0]], medians[RULES[-1]]
    grows = [large / small for large, small in zip(most, least, strict=True)]
    return Measured((*checks, alone(f"{RULES[-1]:,} beside {RULES[0]} rules", grows, "×", Bar(1.5, most=True))))


class _Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'{"allow":true,"data":{"unit":"bench"}}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_words: object) -> None:
        """Quiet."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    server_address: tuple[str, int]

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A server under test that ends takes its connections along."""


@contextmanager
def receiver(pki: PKI, folder: Path) -> Iterator[int]:
    """A webhook of the bench's PKI; its port."""
    folder.mkdir(parents=True, exist_ok=True)
    issuer_key = load_pem_private_key(pki.issuer_key_file.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    crt, key_file = folder / "hook.crt", folder / "hook.key"
    leaf = make_leaf("localhost", key, issuer_key)
    crt.write_bytes(leaf.public_bytes(Encoding.PEM) + pki.issuer_file.read_bytes())
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key_file)
    server = _Server(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def webhooks(lab: Lab) -> Measured:
    """Every certificate is enriched by a webhook of this machine, whose own work counts for neither."""
    subject = '{"commonName": {{ toJson .Subject.CommonName }}, "organizationalUnit": {{ toJson .Webhooks.w.unit }}}'
    template = f'{{"subject": {subject}, "sans": {{{{ toJson .SANs }}}}}}'
    pki = lab.pki()
    with receiver(pki, lab.folder / "receiver") as port, ExitStack() as stack:
        hook = {"id": "w", "name": "w", "url": f"https://localhost:{port}/", "kind": "ENRICHING"}
        settings = _with_options(pki, x509={"template": template}, webhooks=[hook])
        own = {"provisor": {"network": {"allowedAddresses": [f"127.0.0.1:{port}"]}}}
        more: Mapping[str, Mapping[str, object]] = {STEP_CA: {}, PROVISOR: own}
        servers: Sequence[Server] = [
            stack.enter_context(lab.server(side, settings={**settings, **more[side]})) for side in SIDES
        ]
        runs = lab.rounds(servers, lab.load("sign"))
    checks: list[Check] = checks_of(runs, {"cpu": Bar(3)})
    return Measured(tuple(checks), tuple(runs))


ROWS: Final = (
    Row("templates", "JWK sign with templates", templates),
    Row("policies", "a policy's verdict on a certificate", policies),
    Row("webhooks", "JWK sign, enriched by a webhook", webhooks),
)
