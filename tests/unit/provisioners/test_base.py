"""The renewal rule that all kinds of provisioners share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from msgspec.structs import replace

from provisor.core.claims import BUILT_IN
from provisor.core.identity import ProvisionerRef
from provisor.errors import CertificateExpired, ProvisionerDisabled, Unauthenticated
from provisor.provisioners.base import check_renewal
from provisor.provisioners.registry import Disabled, Noop, check_renewable

REF: Final = ProvisionerRef("ci:x", "ci", "JWK")
START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
END: Final = START + timedelta(hours=24)
SECOND: Final = timedelta(seconds=1)
TICK: Final = timedelta(microseconds=1)


@pytest.mark.parametrize("now", [START, START + TICK, END, END + SECOND - TICK])
def test_a_certificate_in_its_window_is_renewed(now: datetime) -> None:
    check_renewal(REF, BUILT_IN, START, END, now)


@pytest.mark.parametrize("now", [END + SECOND, END + timedelta(days=365)])
def test_an_expired_certificate_is_renewed_only_where_that_is_allowed(now: datetime) -> None:
    check_renewal(REF, replace(BUILT_IN, allow_renewal_after_expiry=True), START, END, now)
    with pytest.raises(CertificateExpired) as refusal:
        check_renewal(REF, BUILT_IN, START, END, now)
    assert refusal.value.public == "certificate expired on 2026-06-02 12:00:00 +0000 UTC"


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_certificate_that_has_not_begun_is_not_renewed(tolerant: bool) -> None:
    with pytest.raises(Unauthenticated, match="not yet valid"):
        check_renewal(REF, replace(BUILT_IN, allow_renewal_after_expiry=tolerant), START, END, START - TICK)


def test_nothing_is_renewed_where_renewal_is_disabled() -> None:
    claims = replace(BUILT_IN, disable_renewal=True, allow_renewal_after_expiry=True)
    for now in (START, END + SECOND, START - SECOND):
        with pytest.raises(Unauthenticated, match="renew is disabled for provisioner 'ci'"):
            check_renewal(REF, claims, START, END, now)


def test_a_provisioner_whose_claims_are_not_understood_renews_nothing() -> None:
    check_renewable(Disabled(REF, BUILT_IN, {}, "later version", renews=True), START, END, START)
    with pytest.raises(ProvisionerDisabled):
        check_renewable(Disabled(REF, BUILT_IN, {}, "claims", renews=False), START, END, START)


def test_a_certificate_of_nobody_follows_the_built_in_rule() -> None:
    check_renewable(Noop(), START, END, START)
    with pytest.raises(CertificateExpired):
        check_renewable(Noop(), START, END, END + SECOND)
