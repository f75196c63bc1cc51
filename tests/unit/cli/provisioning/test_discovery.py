"""What is asked of identity providers before a provisioner is stored. Texts as step prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisor.cli.exits import CommandError
from provisor.cli.provisioning import discovery
from support.identity_providers import WELL_KNOWN, fake_cloud, identity_provider
from support.peers import free_port

PAGES = {
    f"/noissuer{WELL_KNOWN}": b'{"jwks_uri": "x"}',
    f"/nokeys{WELL_KNOWN}": b'{"issuer": "x"}',
    f"/junk{WELL_KNOWN}": b"{junk",
    f"/array{WELL_KNOWN}": b"[]",
    f"/empty{WELL_KNOWN}": b"",
    f"/relative{WELL_KNOWN}": b'{"issuer": "x", "jwks_uri": "keys"}',
    f"/file{WELL_KNOWN}": b'{"issuer": "x", "jwks_uri": "file:///etc/passwd"}',
    f"/huge{WELL_KNOWN}": b" " * (2 << 20),
    f"/after{WELL_KNOWN}": b' {"issuer": "x", "jwks_uri": "JWKS"} junk',
}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with identity_provider(PAGES) as address:
        yield address


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        ("https://a", "https://a/.well-known/openid-configuration"),
        ("https://a/", "https://a/.well-known/openid-configuration"),
        ("HTTP://a/x", "http://a/x/.well-known/openid-configuration"),
        ("https://a/x?y=1", "https://a/x/.well-known/openid-configuration?y=1"),
        ("https://a/.well-known/openid-configuration", "https://a/.well-known/openid-configuration"),
        ("https://a/.well-known/openid-configuration/", "https://a/.well-known/openid-configuration/"),
        ("https://a:1/t/.well-known/openid-configuration", "https://a:1/t/.well-known/openid-configuration"),
        ("http:", "http:///.well-known/openid-configuration"),
    ],
)
def test_a_provider_describes_itself_at_the_known_place(endpoint: str, asked: str) -> None:
    assert discovery.openid_configuration(endpoint) == asked


@pytest.mark.parametrize("path", ["", "/", "/any/path", WELL_KNOWN])
def test_a_provider_that_makes_sense_is_enough(provider: str, path: str) -> None:
    discovery.check_oidc(provider + path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/noissuer", "error parsing {provider}/noissuer: issuer cannot be empty"),
        ("/nokeys", "error parsing {provider}/nokeys: jwks_uri cannot be empty"),
        (
            "/junk",
            "error reading {provider}/junk{known}: invalid character 'j' looking for beginning of object key string",
        ),
        (
            "/array",
            "error reading {provider}/array{known}: json: cannot unmarshal array into Go value of type "
            "provisioner.openIDConfiguration",
        ),
        ("/empty", "error reading {provider}/empty{known}: EOF"),
        ("/relative", 'failed to connect to jwks: Get "keys": unsupported protocol scheme ""'),
        ("/file", 'failed to connect to jwks: Get "file:///etc/passwd": unsupported protocol scheme "file"'),
        (
            "/huge",
            'failed to connect to {provider}/huge{known}: Get "{provider}/huge{known}": '
            "the answer is larger than 1048576 bytes",
        ),
        ("/after", 'failed to connect to jwks: Get "JWKS": unsupported protocol scheme ""'),
    ],
)
def test_a_provider_that_makes_no_sense_is_refused(provider: str, path: str, text: str) -> None:
    with pytest.raises(CommandError) as raised:
        discovery.check_oidc(provider + path)
    assert raised.value.message == text.format(provider=provider, known=WELL_KNOWN)


def test_a_provider_that_is_away_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CommandError) as raised:
        discovery.check_oidc(url)
    address = url.removeprefix("http://")
    assert raised.value.message == (
        f'failed to connect to {url}{WELL_KNOWN}: Get "{url}{WELL_KNOWN}": '
        f"dial tcp {address}: connect: connection refused"
    )


def test_a_provider_without_tls_is_named(provider: str) -> None:
    with pytest.raises(CommandError, match=r'failed to connect to https://.*: Get "https://.*": tls: '):
        discovery.check_oidc(provider.replace("http:", "https:"))


def test_a_public_key_may_come_from_a_url_that_is_away() -> None:
    with pytest.raises(CommandError) as raised:
        discovery.fetch(f"https://127.0.0.1:{free_port()}/key")
    assert raised.value.message == "connect failed: connection refused"


def test_google_and_azure_are_asked_through_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cloud(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        discovery.check_azure("bc9043e2")
        discovery.check_google("")
    with pytest.raises(CommandError, match=r"proxyconnect tcp: dial tcp 127\.0\.0\.1:\d+: connect: connection refused"):
        discovery.check_google("")


def test_an_organization_needs_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    with fake_cloud(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(CommandError, match=r"^credentials: could not find default credentials\."):
            discovery.check_google("123")
        named = tmp_path / "credentials.json"
        named.write_text(json.dumps({"type": "service_account"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(named))
        discovery.check_google("123")
