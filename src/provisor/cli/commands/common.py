"""Flags that several commands share."""

from __future__ import annotations

from typing import Final

from provisor.cli.grammar import Flag, FlagKind, switch, text, texts, unbuilt

CA_URL: Final = text("ca-url", metavar="URI", help="address of the CA")
ROOT: Final = text("root", metavar="file", help="root certificate that the CA is trusted by")
CONTEXT: Final = text("context", metavar="name", help="use this context for one command")
FORCE: Final = switch("f", "force", help="replace files without asking")
CA_CONFIG: Final = text("ca-config", metavar="file", help="the CA's ca.json")
OFFLINE: Final = switch("offline", help="do without a running CA")

PROVISIONER: Final = text("provisioner", "issuer", metavar="name", help="name of the provisioner")
PROVISIONER_PASSWORD: Final = text(
    "provisioner-password-file", metavar="file", help="file with the password of the provisioner's key"
)
PASSWORD: Final = text("password-file", metavar="file", help="file with the password of a key")
TOKEN: Final = text("token", metavar="token", help="one-time token; without it a provisioner's key makes one")
NOT_BEFORE: Final = text("not-before", metavar="time|duration", help="start of the validity")
NOT_AFTER: Final = text("not-after", metavar="time|duration", help="end of the validity")
SET: Final = texts("set", metavar="key=value", help="a value for the CA's template")
SET_FILE: Final = text("set-file", metavar="file", help="JSON file with values for the CA's template")

KTY: Final = text("kty", metavar="type", help="type of the new key: EC, OKP or RSA")
CURVE: Final = text("crv", "curve", metavar="curve", help="curve of the new key: P-256, P-384, P-521 or Ed25519")
SIZE: Final = Flag(names=("size",), kind=FlagKind.INT, metavar="bits", help="size of the new RSA key")

KMS: Final = unbuilt("kms")
X5C: Final = (unbuilt("x5c-cert"), unbuilt("x5c-key"))
NEBULA: Final = (unbuilt("nebula-cert"), unbuilt("nebula-key"))
K8SSA: Final = unbuilt("k8ssa-token-path")
CONSOLE: Final = switch("console", help="matters to OIDC provisioners only", hidden=True)
ACME: Final = (
    unbuilt("acme"),
    unbuilt("standalone", kind=FlagKind.BOOL),
    unbuilt("webroot"),
    unbuilt("contact"),
    unbuilt("http-listen"),
)
ATTESTATION: Final = (
    unbuilt("attestation-uri"),
    unbuilt("attestation-ca-url"),
    unbuilt("attestation-ca-root"),
    unbuilt("attestation-ca-insecure", kind=FlagKind.BOOL),
    unbuilt("tpm-storage-directory"),
)

EXPIRES_IN: Final = text("expires-in", metavar="duration", help="act only when no more than this is left")
AFTERWARDS: Final = (
    Flag(names=("pid",), kind=FlagKind.INT, metavar="number", help="signal this process afterwards"),
    text("pid-file", metavar="file", help="signal the process whose number is in this file afterwards"),
    Flag(names=("signal",), kind=FlagKind.INT, metavar="number", default="1", help="which signal (default: SIGHUP)"),
    text("exec", metavar="command", help="run this afterwards"),
)
DAEMON: Final = switch("daemon", help="keep running, and act again and again in time")
