"""The bodies look on the wire as recorded."""

from __future__ import annotations

import pytest
from msgspec import Struct

from provisor.wire import api
from provisor.wire.gojson import decode_json, encode_json

LEAF, ISSUER = "-----BEGIN CERTIFICATE-----\nA\n", "-----BEGIN CERTIFICATE-----\nB\n"


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (api.HealthResponse(), b'{"status":"ok"}\n'),
        (api.VersionResponse("0.30.2"), b'{"version":"0.30.2"}\n'),
        (api.VersionResponse("1", True), b'{"version":"1","requireClientAuthentication":true}\n'),
        (api.RootResponse("pem"), b'{"ca":"pem"}\n'),
        (api.RootsResponse(["a", "b"]), b'{"crts":["a","b"]}\n'),
        (api.ProvisionersResponse(), b'{"provisioners":null,"nextCursor":""}\n'),
        (api.ProvisionerKeyResponse("e.y"), b'{"key":"e.y"}\n'),
        (api.RevokeResponse(), b'{"status":"ok"}\n'),
        (api.ErrorResponse(400, "no <b>"), b'{"status":400,"message":"no \\u003cb\\u003e"}\n'),
        (api.SignResponse("l"), b'{"crt":"l","ca":null,"certChain":null}\n'),
        (
            api.SignResponse("l", "i", ("l", "i"), api.TLSOptionsResponse(("S",), 1.2, 1.3)),
            b'{"crt":"l","ca":"i","certChain":["l","i"],'
            b'"tlsOptions":{"cipherSuites":["S"],"minVersion":1.2,"maxVersion":1.3,"renegotiation":false}}\n',
        ),
        (
            api.RevokeRequest("1", "t", 4, "lost", True),
            b'{"serial":"1","ott":"t","reasonCode":4,"reason":"lost","passive":true}\n',
        ),
        (api.RekeyRequest("pem"), b'{"csr":"pem"}\n'),
    ],
)
def test_members_are_written_in_the_recorded_order(body: Struct, written: bytes) -> None:
    assert encode_json(body) == written


def test_a_client_reads_what_a_newer_server_adds() -> None:
    body = b'{"crt":"l","ca":"i","certChain":["l","i"],"tlsOptions":{"minVersion":1.2,"new":1},"more":{}}'
    response = decode_json(body, api.SignResponse)
    assert response == api.SignResponse("l", "i", ["l", "i"], api.TLSOptionsResponse(min_version=1.2))


def test_provisioners_are_read_as_they_are() -> None:
    page = decode_json(b'{"provisioners":[{"type":"JWK","Key":{"a":[1]}}],"nextCursor":"x"}', api.ProvisionersResponse)
    assert page == api.ProvisionersResponse([{"type": "JWK", "Key": {"a": [1]}}], "x")
