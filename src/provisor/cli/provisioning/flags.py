"""The flags of `ca provisioner add` and `update`, of every type. Those of other types are taken no notice of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from provisor.cli.commands.common import CA_CONFIG, CA_URL, CONTEXT, ROOT
from provisor.cli.grammar import Flag, FlagKind, switch, text, texts

DURATIONS: Final[Mapping[str, str]] = {
    "x509-min-dur": "minTLSCertDuration",
    "x509-max-dur": "maxTLSCertDuration",
    "x509-default-dur": "defaultTLSCertDuration",
    "ssh-user-min-dur": "minUserSSHCertDuration",
    "ssh-user-max-dur": "maxUserSSHCertDuration",
    "ssh-user-default-dur": "defaultUserSSHCertDuration",
    "ssh-host-min-dur": "minHostSSHCertDuration",
    "ssh-host-max-dur": "maxHostSSHCertDuration",
    "ssh-host-default-dur": "defaultHostSSHCertDuration",
}
"""The claim that a flag sets."""

SWITCHES: Final[Mapping[str, str]] = {
    "ssh": "enableSSHCA",
    "disable-renewal": "disableRenewal",
    "allow-renewal-after-expiry": "allowRenewalAfterExpiry",
    "disable-smallstep-extensions": "disableSmallstepExtensions",
}


def _number(name: str, help: str, metavar: str) -> Flag:
    return Flag((name,), help=help, kind=FlagKind.INT, metavar=metavar)


def _duration(name: str, help: str) -> Flag:
    return Flag((name,), help=help, kind=FlagKind.DURATION, metavar="duration")


def _limit(name: str) -> Flag:
    what = "SSH user certificate" if "user" in name else "SSH host certificate" if "host" in name else "certificate"
    which = "shortest" if "min" in name else "longest" if "max" in name else "usual"
    return _duration(name, f"the {which} validity of its {what}s")


_JWK = (
    switch("create", help="JWK: make a new key pair"),
    text("public-key", metavar="file", help="JWK: the public key (JWK or PEM); K8sSA: PEM keys or certificates"),
    text("private-key", metavar="file", help="JWK: the private key (JWK, encrypted JWK or PEM)"),
    text("password-file", metavar="file", help="JWK: file with the password that encrypts the private key"),
)
_OIDC = (
    text("client-id", metavar="id", help="OIDC: who tokens must be for"),
    text("client-secret", metavar="secret", help="OIDC: the client's secret, which is no secret to clients"),
    text("configuration-endpoint", metavar="url", help="OIDC: where the identity provider describes itself"),
    text("listen-address", metavar="address", help="OIDC: where clients wait for the answer of the browser"),
    texts("admin", metavar="email", help="OIDC: somebody who may ask for any name"),
    texts("domain", metavar="domain", help="OIDC: a domain whose addresses may ask"),
    texts("group", metavar="group", help="OIDC: a group whose members may ask"),
    text("tenant-id", metavar="id", help="OIDC: stands for {tenantid} in what the identity provider says"),
)
_ROOTS = (
    text("x5c-roots", "x5c-root", metavar="file", help="X5C: the roots that tokens' certificates lead to"),
    text("nebula-root", metavar="file", help="Nebula: the CA certificates"),
)
_ACME_AND_SCEP = (
    switch("require-eab", help="ACME: accounts need an external account binding"),
    switch("force-cn", help="ACME, SCEP: certificates always get a common name"),
    texts("challenge", metavar="challenge", help="ACME: a kind of challenge that is offered; SCEP: the shared secret"),
    texts("attestation-format", metavar="format", help="ACME: a kind of attestation that is accepted"),
    texts("attestation-roots", metavar="file", help="ACME: the roots of attestation certificates"),
    texts("capabilities", metavar="capability", help="SCEP: what the server says it can do"),
    switch("include-root", help="SCEP: send the root too"),
    switch("exclude-intermediate", help="SCEP: do not send the intermediate"),
    _number("min-public-key-length", "SCEP: how long the keys of requests must be (default: 2048)", "bits"),
    _number("encryption-algorithm-identifier", "SCEP: 0 DES-CBC, 1-2 AES-CBC, 3-4 AES-GCM (128, 256)", "id"),
    text(
        "scep-decrypter-certificate-file", metavar="file", help="SCEP: the certificate that requests are encrypted to"
    ),
    text("scep-decrypter-key-file", metavar="file", help="SCEP: its key"),
    text("scep-decrypter-key-uri", metavar="uri", help="SCEP: its key, by reference"),
    text("scep-decrypter-key-password-file", metavar="file", help="SCEP: file with the password of its key"),
)
_CLOUD = (
    texts("aws-account", metavar="id", help="AWS: an account whose instances may ask"),
    text("azure-tenant", metavar="id", help="Azure: the tenant"),
    texts("azure-resource-group", metavar="name", help="Azure: a resource group whose machines may ask"),
    text("azure-audience", metavar="name", help="Azure: who tokens must be for"),
    texts("azure-subscription-id", metavar="id", help="Azure: a subscription whose machines may ask"),
    texts("azure-object-id", metavar="id", help="Azure: an identity that may ask"),
    texts("gcp-service-account", metavar="email", help="GCP: a service account that may ask"),
    texts("gcp-project", metavar="id", help="GCP: a project whose instances may ask"),
    text("gcp-organization", metavar="id", help="GCP: the organization whose instances may ask"),
    _duration("instance-age", "AWS, GCP: how old an instance may be"),
    switch("disable-custom-sans", help="AWS, GCP, Azure: only the machine's own names"),
    switch("disable-trust-on-first-use", "disable-tofu", help="AWS, GCP, Azure: a machine may ask again"),
    switch("disable-ssh-ca-user", help="GCP: no SSH user certificates (default: true)"),
    switch("disable-ssh-ca-host", help="GCP: no SSH host certificates"),
)
_TEMPLATES = (
    text("x509-template", metavar="file", help="the template of its certificates"),
    text("x509-template-data", metavar="file", help="JSON data for it"),
    text("ssh-template", metavar="file", help="the template of its SSH certificates"),
    text("ssh-template-data", metavar="file", help="JSON data for it"),
)
_CLAIMS = (
    *(_limit(name) for name in DURATIONS),
    switch("disable-renewal", help="its certificates cannot be renewed"),
    switch("allow-renewal-after-expiry", help="its certificates can be renewed after their end"),
    switch("disable-smallstep-extensions", help="its certificates do not name it"),
    switch("ssh", help="it may issue SSH certificates (default: true)", default=True),
)

# Nobody logs in to a CA with remote management yet: these are known here, because defaults.json may set them.
_ADMIN = (
    text("admin-cert", hidden=True),
    text("admin-key", hidden=True),
    text("admin-subject", "admin-name", hidden=True),
    text("admin-provisioner", "admin-issuer", hidden=True),
)
_WHERE = (CA_URL, ROOT, CONTEXT, CA_CONFIG)

REMOVE_FLAGS: Final = (*_ADMIN, text("admin-password-file", "password-file", hidden=True), *_WHERE)
"""Of the commands that do not deal with another password."""

_ALL = (
    *_JWK,
    *_OIDC,
    *_ROOTS,
    *_ACME_AND_SCEP,
    *_CLOUD,
    *_TEMPLATES,
    *_CLAIMS,
    *_ADMIN,
    text("admin-password-file", hidden=True),
    *_WHERE,
)

ADD_FLAGS: Final = (
    text(
        "type", metavar="type", help="JWK, OIDC, X5C, Nebula, K8sSA, ACME, SSHPOP, SCEP, AWS, GCP, Azure", default="JWK"
    ),
    text("pem-keys", metavar="file", help="the same as --public-key with K8sSA", hidden=True),
    *_ALL,
)
UPDATE_FLAGS: Final = (
    text("name", metavar="name", help="its new name"),
    *(structs.replace(flag, help="it may issue SSH certificates") if flag.name == "ssh" else flag for flag in _ALL),
    texts("remove-admin", metavar="email", help="OIDC: no longer an admin"),
    texts("remove-domain", metavar="domain", help="OIDC: no longer a domain whose addresses may ask"),
    texts("scope", metavar="scope", help="OIDC: a scope that clients ask for"),
    texts("remove-scope", metavar="scope", help="OIDC: no longer a scope that clients ask for"),
    texts("auth-param", metavar="key=value", help="OIDC: a parameter that clients send"),
    texts("remove-challenge", metavar="challenge", help="ACME: a kind of challenge that is no longer offered"),
    texts("remove-attestation-format", metavar="format", help="ACME: a kind of attestation no longer accepted"),
    texts("remove-aws-account", metavar="id", help="AWS: no longer an account whose instances may ask"),
    texts("remove-azure-resource-group", metavar="name", help="Azure: no longer such a resource group"),
    texts("remove-azure-subscription-id", metavar="id", help="Azure: no longer such a subscription"),
    texts("remove-azure-object-id", metavar="id", help="Azure: no longer such an identity"),
    texts("remove-gcp-service-account", metavar="email", help="GCP: no longer such a service account"),
    texts("remove-gcp-project", metavar="id", help="GCP: no longer such a project"),
)
