"""Chains of renewal tokens: believed and refused as the reference did."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import check_client_leaf, find_issuer, verify_chain
from provisor.core.x509.issuer import Issuer
from provisor.errors import Unauthenticated

DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "chains.json").read_text("utf-8"))


def chain_of(case: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(text) for text in case["x5cInsecure"]]


@pytest.mark.parametrize("case", [case for case in CASES if case["accepted"]], ids=lambda case: case["name"])
def test_a_chain_that_step_ca_believed_is_believed(case: dict[str, Any], root: Certificate, issuer: Issuer) -> None:
    leaf = verify_chain(chain_of(case), [root])
    assert leaf.der == chain_of(case)[0]
    assert find_issuer(leaf, [issuer]) is issuer
    check_client_leaf(leaf, issuer, leaf.not_before)


@pytest.mark.parametrize("case", [case for case in CASES if not case["accepted"]], ids=lambda case: case["name"])
def test_a_chain_that_step_ca_refused_is_refused(case: dict[str, Any], root: Certificate) -> None:
    with pytest.raises(Unauthenticated):
        verify_chain(chain_of(case), [root])


def test_a_leaf_of_an_unknown_authority_has_no_issuer(issuer: Issuer) -> None:
    foreign = parse_certificate(parse_certificates((DATA / "foreign_leaf.crt").read_bytes())[0])
    assert find_issuer(foreign, [issuer]) is None
