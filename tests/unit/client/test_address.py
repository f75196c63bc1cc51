from __future__ import annotations

import pytest

from provisor.client.address import parse_ca_url
from provisor.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("https://ca.internal", "ca.internal", 443, "https://ca.internal"),
        ("ca.internal", "ca.internal", 443, "https://ca.internal"),
        ("ca.internal:8443", "ca.internal", 8443, "https://ca.internal:8443"),
        ("HTTPS://ca.internal:443", "ca.internal", 443, "https://ca.internal:443"),
        ("https://ca.internal:9000/some/path?x=1#y", "ca.internal", 9000, "https://ca.internal:9000"),
        ("https://[::1]:8443", "::1", 8443, "https://[::1]:8443"),
        ("::1", "::1", 443, "https://[::1]"),
        ("fe80::1:2", "fe80::1:2", 443, "https://[fe80::1:2]"),
        ("127.0.0.1:8443", "127.0.0.1", 8443, "https://127.0.0.1:8443"),
    ],
)
def test_an_address_has_one_form(text: str, host: str, port: int, url: str) -> None:
    address = parse_ca_url(text)
    assert (address.host, address.port, address.url) == (host, port, url)
    assert parse_ca_url(address.url) == address


@pytest.mark.parametrize("text", ["http://ca.internal", "ftp://x", "file:///etc/passwd"])
def test_another_scheme_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="must have https scheme"):
        parse_ca_url(text)


@pytest.mark.parametrize(
    "text",
    ["", "https://", "https:///x", "a b", "ca.internal:x", "ca.internal:99999", "ca:0", "user:pw@ca.internal", "[::1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_ca_url(text)
