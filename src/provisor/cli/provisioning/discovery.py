"""What `step` asks identity providers before it stores a provisioner: whether they can be reached, and make sense.

Through the proxy of the environment, trusting the roots of the system.
"""

from __future__ import annotations

import os
import posixpath
import socket
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from provisor.cli.exits import CommandError
from provisor.core.claims import json_kind
from provisor.core.json_text import find_syntax_error
from provisor.errors import BadRequest
from provisor.wire.gojson import decode_value

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_GOOGLE_KEYS: Final = "https://www.googleapis.com/oauth2/v3/certs"
_AZURE: Final = "https://login.microsoftonline.com/{tenant}/.well-known/openid-configuration"
_SECONDS: Final = 15.0
_MAX_BYTES: Final = 1 << 20
_NO_CREDENTIALS: Final = (
    "credentials: could not find default credentials. "
    "See https://cloud.google.com/docs/authentication/external/set-up-adc for more information"
)


def check_oidc(endpoint: str) -> None:
    """The provider describes itself and has keys. Raises `CommandError`."""
    described = _fetch_object(openid_configuration(endpoint), "provisioner.openIDConfiguration")
    if not described.get("issuer"):
        raise CommandError(f"error parsing {endpoint}: issuer cannot be empty")
    keys = described.get("jwks_uri")
    if not keys:
        raise CommandError(f"error parsing {endpoint}: jwks_uri cannot be empty")
    _fetch_object(str(keys), "jose.JSONWebKeySet")


def openid_configuration(endpoint: str) -> str:
    """The URL that a provider describes itself at. Raises `CommandError`."""
    parts = urlsplit(endpoint)
    path = parts.path
    if _WELL_KNOWN not in path:
        path = posixpath.normpath(f"/{path}/{_WELL_KNOWN}").replace("//", "/")
    return f"{parts.scheme.lower()}://{parts.netloc}{path}{'?' + parts.query if parts.query else ''}"


def check_azure(tenant: str) -> None:
    """The tenant exists. Raises `CommandError`."""
    described = _fetch_object(_AZURE.format(tenant=tenant), "provisioner.azureOIDCConfig")
    _fetch_object(str(described.get("jwks_uri") or ""), "jose.JSONWebKeySet")


def check_google(organization: str) -> None:
    """Google's keys are there, and for an organization credentials to ask about it. Raises `CommandError`."""
    _fetch_object(_GOOGLE_KEYS, "jose.JSONWebKeySet")
    if organization and not _has_google_credentials():
        raise CommandError(_NO_CREDENTIALS)


def _has_google_credentials() -> bool:
    """A file of them, or this machine is one of Google's."""
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return os.access(named, os.R_OK)
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    if os.access(os.path.join(folder, "application_default_credentials.json"), os.R_OK):
        return True
    if os.environ.get("GCE_METADATA_HOST"):
        return True
    try:
        return Path("/sys/class/dmi/id/product_name").read_text().strip() in ("Google", "Google Compute Engine")
    except OSError:
        return False


def fetch(url: str) -> bytes:
    """The content of a URL, for a flag that takes one instead of a file. Raises `CommandError`."""
    try:
        return _get(url)
    except (OSError, HTTPException, ValueError) as error:
        reason = _reason(error, url).rpartition("connect: ")[2]
        raise CommandError(f"connect failed: {reason}") from error


def _fetch_object(url: str, type_name: str) -> dict[str, object]:
    """A JSON object, whatever the status of the answer. Raises `CommandError`."""
    try:
        content = _get(url)
    except (OSError, HTTPException, ValueError) as error:
        reason = f'Get "{quote(url, safe=_SAFE)}": {_reason(error, url)}'
        what = url if url.startswith(("http://", "https://")) else "jwks"
        raise CommandError(f"failed to connect to {what}: {reason}") from error
    try:
        value = decode_value(content)
    except BadRequest as error:
        problem = find_syntax_error(content) or error.detail
        raise CommandError(f"error reading {url}: {problem}") from error
    if isinstance(value, dict):
        return value
    problem = f"json: cannot unmarshal {json_kind(value)} into Go value of type {type_name}"
    raise CommandError(f"error reading {url}: {problem}")


_SAFE: Final = "%:/?#[]@!$&'()*+,;=~"


def _get(url: str) -> bytes:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f'unsupported protocol scheme "{urlsplit(url).scheme}"')
    if not urlsplit(url).hostname:
        raise ValueError("http: no Host in request URL")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(quote(url, safe=_SAFE), headers={"User-Agent": "provisor"})
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read(_MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            content = error.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"the answer is larger than {_MAX_BYTES} bytes")
    return content


def _reason(error: Exception, url: str) -> str:
    """Why there was no answer, in the words of the reference where it has some."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    is_proxied = proxy is not None and not urllib.request.proxy_bypass(parts.netloc)
    if is_proxied:
        parts = urlsplit(proxy or "")
    prefix = "proxyconnect tcp: " if is_proxied else ""
    host = parts.hostname or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:g} seconds"
    if isinstance(error, socket.gaierror):
        return f"{prefix}dial tcp: lookup {host}: no such host"
    if isinstance(error, ConnectionRefusedError):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return f"{prefix}dial tcp {_address(host, port)}: connect: connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def _address(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        return f"{found[0][4][0]}:{port}"
    except OSError:
        return f"{host}:{port}"
