"""Merging claims. The recorded tables are in tests/conformance/config."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.claims import BUILT_IN, ClaimsError, ClaimSettings, merge
from provisor.core.durations import HOUR, MINUTE, Duration

positive = st.integers(1, 10**18).map(Duration)
settings = st.builds(
    ClaimSettings,
    min_tls=st.none() | positive,
    max_tls=st.none() | positive,
    default_tls=st.none() | positive,
    enable_ssh_ca=st.none() | st.booleans(),
)


def test_a_level_without_claims_inherits() -> None:
    assert merge(BUILT_IN, None) == BUILT_IN
    assert merge(BUILT_IN, ClaimSettings()) == BUILT_IN


def test_each_level_sets_only_its_own_members() -> None:
    authority = merge(BUILT_IN, ClaimSettings(max_tls=Duration(48 * HOUR), disable_renewal=True))
    provisioner = merge(authority, ClaimSettings(min_tls=MINUTE, disable_renewal=False))
    assert (provisioner.min_tls, provisioner.max_tls) == (MINUTE, 48 * HOUR)
    assert provisioner.disable_renewal is False


def test_a_default_alone_moves_the_inherited_bounds() -> None:
    assert merge(BUILT_IN, ClaimSettings(default_tls=Duration(2160 * HOUR))).max_tls == 2160 * HOUR
    assert merge(BUILT_IN, ClaimSettings(default_user_ssh=MINUTE)).min_user_ssh == MINUTE


@given(settings)
def test_merged_limits_are_in_order(level: ClaimSettings) -> None:
    try:
        claims = merge(BUILT_IN, level)
    except ClaimsError:
        return
    assert 0 < claims.min_tls <= claims.default_tls <= claims.max_tls


@given(settings)
def test_settings_survive_being_written(level: ClaimSettings) -> None:
    assert ClaimSettings.from_members(level.to_members()) == level


def test_the_error_names_the_member_and_its_place() -> None:
    with pytest.raises(ClaimsError) as raised:
        ClaimSettings.from_members({"ENABLEsshCA": 1}, path="authority.claims")
    assert raised.value.member == "enableSSHCA"
    text = "json: cannot unmarshal number into Go struct field Claims.authority.claims.enableSSHCA of type bool"
    assert str(raised.value) == text
