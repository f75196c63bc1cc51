"""An answer beside the recorded one: what differs, in words."""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.authority import Answer
from support.recorded import Exchange, load

_OF_THE_HTTP_LAYER: Final = frozenset({"date", "content-length", "transfer-encoding", "connection"})
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def differences(exchange: Exchange, answer: Answer) -> list[str]:
    """What is not as recorded, in words."""
    found = []
    if answer.status != exchange.status:
        found.append(f"status {answer.status}, recorded {exchange.status}")
    found += _header_differences(exchange, answer)
    if not found:
        found += _body_differences(exchange, answer)
    return found


def _header_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    recorded = [pair for pair in exchange.answer_headers if pair[0] not in _OF_THE_HTTP_LAYER]
    ours = [pair for pair in answer.headers if pair[0] not in _OWN]
    sent = exchange.header("x-request-id") or exchange.header("x-smallstep-id")
    if not sent and _UUID4.fullmatch(answer.header("x-request-id")):
        ours = [(name, "(new)" if name == "x-request-id" else value) for name, value in ours]
        recorded = [(name, "(new)" if name == "x-request-id" else value) for name, value in recorded]
    if exchange.is_crl:
        recorded = [pair for pair in recorded if pair[0] != "expires"]
        ours = [pair for pair in ours if pair[0] != "expires"]
    if sorted(ours) != sorted(recorded):
        yield f"headers {ours}, recorded {recorded}"


_OWN: Final = frozenset({"etag", "last-modified"})
"""Headers that the reference does not have."""


def _body_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    if exchange.method == "HEAD":
        return
    if exchange.is_issuance:
        yield from _issuance_differences(exchange, answer)
    elif exchange.shortened:
        yield from _list_differences(exchange, answer)
    elif exchange.is_crl:
        yield from _crl_differences(exchange, answer)
    elif exchange.status == 201 and exchange.target.endswith("/federation"):  # its order changed between starts
        if sorted(answer.json["crts"]) != sorted(json.loads(exchange.answer)["crts"]):
            yield f"body {answer.body!r}"
    elif answer.body != exchange.answer:
        yield f"body {answer.body!r}, recorded {exchange.answer!r}"


def _list_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    """A list of provisioners of which type and name were kept."""
    ours, recorded = answer.json, json.loads(exchange.answer)
    for page in (ours, recorded):
        names = [{"type": entry["type"], "name": entry["name"]} for entry in page["provisioners"] or ()]
        page["provisioners"] = names if page["provisioners"] is not None else None
    if ours != recorded:
        yield f"body {ours}, recorded {recorded}"


def _issuance_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    first = next(e for e in load(exchange.recording) if e.is_issuance and not e.shortened)
    recorded, ours = (
        text.replace(json.dumps(json.loads(text)["crt"]), '"(leaf)"')
        for text in (first.answer.decode(), answer.body.decode())
    )
    if ours != recorded:
        yield f"body {ours}, recorded {recorded}"
    yield from certificate_differences(
        exchange.leaf, x509.load_der_x509_certificate(answer.certificate.der), moment=exchange.at
    )


def certificate_differences(
    recorded: x509.Certificate,
    ours: x509.Certificate,
    *,
    moment: datetime,
    same_issuer: bool = True,
    own_key: bool = True,
    times: bool = True,
) -> Iterator[str]:
    """Everything but serial, signature and the second that the recorded server was late.

    `own_key` False: the two are for different keys; `times` False: they were asked for one after the other.
    """
    mine, theirs = _certificate_shape(ours), _certificate_shape(recorded)
    loose = {"issuer"} if not same_issuer else set()
    loose |= {"public key"} if not own_key else set()
    if not same_issuer or not own_key:
        without = [AUTHORITY_KEY_ID] * (not same_issuer) + [SUBJECT_KEY_ID] * (not own_key)
        mine["extensions"], theirs["extensions"] = (_blanked(shape["extensions"], without) for shape in (mine, theirs))
    for name, value in theirs.items():
        if name not in loose and mine[name] != value:
            yield f"{name} {mine[name]!r}, recorded {value!r}"
    for end in ("not_valid_before_utc", "not_valid_after_utc") if times else ():
        late = (getattr(recorded, end) - getattr(ours, end)).total_seconds()
        if late not in (0, 1):
            yield f"{end} {getattr(ours, end)}, recorded {getattr(recorded, end)} at {moment}"
    length, reference = (c.not_valid_after_utc - c.not_valid_before_utc for c in (ours, recorded))
    if length != reference:
        yield f"valid for {length}, recorded {reference}"


AUTHORITY_KEY_ID: Final = "2.5.29.35"
SUBJECT_KEY_ID: Final = "2.5.29.14"


def _blanked(extensions: Any, without: Sequence[str]) -> list[tuple[str, bool, bytes]]:
    return [(oid, critical, b"" if oid in without else value) for oid, critical, value in extensions]


def _certificate_shape(certificate: x509.Certificate) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # common names longer than 64 characters
        subject, issuer = certificate.subject.public_bytes(), certificate.issuer.public_bytes()
    return {
        "version": certificate.version,
        "issuer": issuer,
        "subject": subject,
        "signature algorithm": certificate.signature_algorithm_oid,
        "public key": _spki(certificate),
        "extensions": [(e.oid.dotted_string, e.critical, e.value.public_bytes()) for e in certificate.extensions],
    }


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# -- lists of revoked certificates ------------------------------------------------------------------

_CRL_NUMBER: Final = bytes.fromhex("0603551d14")


def _crl_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    """Not times and number: ours may be made a second later, and several revocations share a list."""
    ours, recorded = (_crl_shape(_crl_der(body)) for body in (answer.body, exchange.answer))
    for name, value in recorded.items():
        if name != "next update" and ours[name] != value:
            yield f"{name} of the list {ours[name]!r}, recorded {value!r}"
    for shape, header in ((ours, answer.header("expires")), (recorded, dict(exchange.answer_headers)["expires"])):
        if header != f"{shape['next update']:%a, %d %b %Y %H:%M:%S UTC}":
            yield f"expires {header}"


def _crl_der(body: bytes) -> bytes:
    """DER of the answer. By hand: the library refuses reason code 7, which the reference keeps."""
    return base64.b64decode(b"".join(body.splitlines()[1:-1])) if body.startswith(b"-----") else body


def _crl_shape(der: bytes) -> dict[str, object]:
    ((_, certificate_list),) = _elements(der)
    (_, tbs), (_, algorithm), _ = _elements(certificate_list)
    version, inner, issuer, this_update, next_update, *rest = _elements(tbs)
    entries = [_elements(body) for tag, content in rest if tag == 0x30 for _, body in _elements(content)]
    (extensions,) = [content for tag, content in rest if tag == 0xA0]
    return {
        "version": version,
        "algorithm": (inner[1], algorithm),
        "issuer": issuer,
        "length": _utc_time(next_update) - _utc_time(this_update),
        "next update": _utc_time(next_update),
        "entries": [(serial, extensions) for serial, _, *extensions in entries],
        "extensions": [body for _, body in _elements(_elements(extensions)[0][1]) if not body.startswith(_CRL_NUMBER)],
    }


def _utc_time(element: tuple[int, bytes]) -> datetime:
    assert element[0] == 0x17
    return datetime.strptime(element[1].decode(), "%y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of every element, one level deep."""
    found = []
    while der:
        tag, length, start = der[0], der[1], 2
        if length >= 0x80:
            start += length - 0x80
            length = int.from_bytes(der[2:start], "big")
        found.append((tag, der[start : start + length]))
        der = der[start + length :]
    return found
