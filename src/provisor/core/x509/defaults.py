"""The built-in templates, by what they do (templates 2.5)."""

from __future__ import annotations

from typing import Final

_USAGE: Final = (
    '{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}["keyEncipherment", "digitalSignature"]'
    '{{- else }}["digitalSignature"]{{ end }}'
)
_FROM_REQUEST: Final = """"dnsNames": {{ toJson .Insecure.CR.DNSNames }},
  "emailAddresses": {{ toJson .Insecure.CR.EmailAddresses }},
  "ipAddresses": {{ toJson .Insecure.CR.IPAddresses }},
  "uris": {{ toJson .Insecure.CR.URIs }}"""

LEAF: Final = f"""{{
  "subject": {{{{ toJson .Subject }}}},
  "sans": {{{{ toJson .SANs }}}},
  "keyUsage": {_USAGE},
  "extKeyUsage": ["serverAuth", "clientAuth"]
}}"""
ATTESTED: Final = LEAF.replace('["serverAuth", "clientAuth"]', '["clientAuth"]')
MACHINE: Final = f"""{{
  "subject": {{"commonName": {{{{ toJson .Insecure.CR.Subject.CommonName }}}}}},
  {{{{- if .SANs }}}}
  "sans": {{{{ toJson .SANs }}}},
  {{{{- else }}}}
  {_FROM_REQUEST},
  {{{{- end }}}}
  "keyUsage": {_USAGE},
  "extKeyUsage": ["serverAuth", "clientAuth"]
}}"""
"""For machines of a cloud, whose names the request may say where nothing else says them."""
ADMIN: Final = f"""{{
  "subject": {{{{ toJson .Insecure.CR.Subject }}}},
  {_FROM_REQUEST},
  "keyUsage": {_USAGE},
  "extKeyUsage": ["serverAuth", "clientAuth"]
}}"""
REQUEST: Final = "{{ toJson .Insecure.CR }}"
"""Whatever the request asks for."""
INTERMEDIATE: Final = """{
  "subject": {{ toJson .Subject }},
  "keyUsage": ["certSign", "crlSign"],
  "basicConstraints": {"isCA": true, "maxPathLen": 0}
}"""
ROOT: Final = """{
  "subject": {{ toJson .Subject }},
  "issuer": {{ toJson .Subject }},
  "keyUsage": ["certSign", "crlSign"],
  "basicConstraints": {"isCA": true, "maxPathLen": 1}
}"""
DEFAULTS: Final = {
    "leaf": LEAF,
    "attested": ATTESTED,
    "iid": MACHINE,
    "admin": ADMIN,
    "cr": REQUEST,
    "intermediate": INTERMEDIATE,
    "root": ROOT,
}
