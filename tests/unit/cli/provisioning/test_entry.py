"""What an entry of ca.json looks like when it was written by a command."""

from __future__ import annotations

from typing import Any

import pytest

from provisor.cli.provisioning.entry import Entry
from provisor.wire.provisioners import KINDS

CLAIMS = {
    "enableSSHCA": False,
    "disableRenewal": False,
    "allowRenewalAfterExpiry": False,
    "disableSmallstepExtensions": False,
}
EMPTY = {"claims": CLAIMS, "options": {"x509": {}, "ssh": {}}}


def written(raw: dict[str, Any]) -> dict[str, Any]:
    entry = Entry.of(raw)
    assert entry is not None
    return entry.members()


@pytest.mark.parametrize(
    ("raw", "members"),
    [
        ({"type": "acme"}, {"type": "ACME"}),
        ({"type": "x5c"}, {"type": "X5C", "roots": None}),
        ({"type": "k8sSA"}, {"type": "K8SSA"}),
        (
            {"type": "oidc", "clientid": "c", "CONFIGURATIONENDPOINT": "e"},
            {"type": "OIDC", "clientID": "c", "clientSecret": "", "configurationEndpoint": "e"},
        ),
        ({"type": "scep"}, {"type": "SCEP", "minimumPublicKeyLength": 2048}),
        (
            {"type": "aws", "instanceAge": "60m", "accounts": []},
            {
                "type": "AWS",
                "accounts": [],
                "disableCustomSANs": False,
                "disableTrustOnFirstUse": False,
                "imdsVersions": ["v2", "v1"],
                "instanceAge": "1h0m0s",
            },
        ),
        (
            {"type": "gcp", "disableSSHCAUser": False},
            {
                "type": "GCP",
                "disableCustomSANs": False,
                "disableTrustOnFirstUse": False,
                "disableSSHCAUser": False,
                "disableSSHCAHost": False,
                "instanceAge": "0s",
            },
        ),
        (
            {"type": "Azure", "tenantId": "t"},
            {
                "type": "AZURE",
                "tenantID": "t",
                "resourceGroups": None,
                "subscriptionIDs": None,
                "objectIDs": None,
                "audience": "https://management.azure.com/",
                "disableCustomSANs": False,
                "disableTrustOnFirstUse": False,
            },
        ),
    ],
)
def test_what_is_understood_is_spelt_out(raw: dict[str, Any], members: dict[str, Any]) -> None:
    found = written({**raw, "name": "n"})
    assert found == {**members, "name": "n", **EMPTY}
    order = ("type", "name", *KINDS[raw["type"].lower()].members)
    assert list(found) == [member for member in order if member in found]


def test_an_sshpop_provisioner_has_no_options() -> None:
    assert written({"type": "sshpop", "name": "s"}) == {"type": "SSHPOP", "name": "s", "claims": CLAIMS}


def test_claims_and_options_are_put_in_order_and_nothing_is_lost() -> None:
    found = written(
        {
            "note": 1,
            "options": {"own": 2, "ssh": {"templateData": {"b": 1}, "template": "t"}, "wire": {}},
            "claims": {"own": 3, "DisableRenewal": True, "maxTLSCertDuration": "90m"},
            "name": "n",
            "type": "ACME",
        }
    )
    assert list(found) == ["type", "name", "claims", "options", "note"]
    assert list(found["claims"]) == ["maxTLSCertDuration", *CLAIMS, "own"]
    assert found["claims"]["disableRenewal"] is True
    assert found["claims"]["maxTLSCertDuration"] == "1h30m0s"
    assert list(found["options"]) == ["x509", "ssh", "wire", "own"]
    assert list(found["options"]["ssh"]) == ["template", "templateData"]


def test_writing_twice_is_writing_once() -> None:
    for kind in KINDS.values():
        once = written({"type": kind.name, "name": "n"})
        assert written(once) == once


def test_a_type_nobody_knows_is_no_entry() -> None:
    assert Entry.of({"type": "NEW", "name": "n"}) is None
    assert Entry.of({}) is None
