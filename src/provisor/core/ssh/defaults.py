"""The built-in templates for SSH certificates, by what they do (templates 3.2)."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = """{
	"type": {{ toJson .Type }},
	"keyId": {{ toJson .KeyID }},
	"principals": {{ toJson .Principals }},
	"extensions": {{ toJson .Extensions }},
	"criticalOptions": {{ toJson .CriticalOptions }}
}"""
ADMIN: Final = """{
	"type": {{ toJson .Insecure.CR.Type }},
	"keyId": {{ toJson .Insecure.CR.KeyID }},
	"principals": {{ toJson .Insecure.CR.Principals }}
{{- if eq .Insecure.CR.Type "user" }}
	, "extensions": {{ toJson .Extensions }},
	"criticalOptions": {{ toJson .CriticalOptions }}
{{- end }}
}"""
"""What the request says is what an administrator wants."""
MACHINE: Final = """{
	"type": {{ toJson .Type }},
	"keyId": {{ toJson .KeyID }},
	"principals": {{ toJson (.Insecure.CR.Principals | default .Principals) }},
	"extensions": {{ toJson .Extensions }}
}"""
"""For machines of a cloud, whose names the request may narrow."""
REQUEST: Final = """{
	"type": {{ toJson .Insecure.CR.Type }},
	"keyId": {{ toJson .Insecure.CR.KeyID }},
	"principals": {{ toJson .Insecure.CR.Principals }}
{{- if eq .Insecure.CR.Type "user" }}
	, "extensions": {
		"permit-X11-forwarding":   "",
		"permit-agent-forwarding": "",
		"permit-port-forwarding":  "",
		"permit-pty":              "",
		"permit-user-rc":          ""
	}
{{- end }}
}"""

DEFAULTS: Final = {"default": DEFAULT, "admin": ADMIN, "iid": MACHINE, "cr": REQUEST}
