from __future__ import annotations

import ssl

import pytest

from provisor.config.ca_json import TLSOptions
from provisor.config.defaults import CIPHER_SUITES, KNOWN_CIPHER_SUITES
from provisor.errors import ConfigError
from provisor.server.tls import build_context, openssl_suites
from support.tls_world import world


def build(**options: object) -> ssl.SSLContext:
    return build_context(TLSOptions(**options), world().leaf(), world().authorities)  # type: ignore[arg-type]  # a table


def suites(context: ssl.SSLContext) -> list[str]:
    return [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]


def test_the_default_is_tls_1_2_and_1_3_with_two_suites() -> None:
    context = build()
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert suites(context) == ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


@pytest.mark.parametrize("name", sorted(KNOWN_CIPHER_SUITES))
def test_every_known_name_is_a_suite_of_openssl_or_of_tls_1_3(name: str) -> None:
    assert bool(openssl_suites([name])) or name in (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    )


def test_names_that_nobody_knows_are_passed_over() -> None:
    assert suites(build(cipher_suites=("TLS_NOPE", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"))) == [
        "ECDHE-ECDSA-AES256-GCM-SHA384"
    ]


@pytest.mark.parametrize("name", ["TLS_NOPE", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"])
def test_a_list_that_leaves_nothing_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="none of the cipher suites can be used") as caught:
        build(cipher_suites=(name,))
    assert caught.value.where == "ca.json: $.tls.cipherSuites"


def test_the_list_does_not_matter_when_tls_1_3_is_the_lowest() -> None:
    assert build(min_version=1.3, cipher_suites=("TLS_NOPE",)).minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(("low", "high"), [(1.3, 1.2), (1.7, 1.3), (1.2, 1.7), (-1.0, 1.3)])
def test_versions_that_make_no_range_are_an_error(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="tls minVersion cannot exceed tls maxVersion"):
        build(min_version=low, max_version=high)


def test_an_unset_version_is_the_default() -> None:
    assert build(min_version=0, max_version=0).maximum_version is ssl.TLSVersion.TLSv1_3


def test_an_empty_list_is_the_default() -> None:
    assert suites(build(cipher_suites=())) == list(openssl_suites(CIPHER_SUITES))


def test_a_leaf_does_not_show_its_key() -> None:
    assert repr(world().leaf()) == "ServerLeaf(2 certificates)"
