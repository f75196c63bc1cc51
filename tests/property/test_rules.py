"""Laws of templates and policies."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from conformance.templates.tables import RealWorld
from provisor.core.names import Name, NameKind
from provisor.core.policy import read_policies
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.x509.defaults import LEAF
from provisor.core.x509.request import parse_csr_pem
from provisor.core.x509.schema import read_certificate
from provisor.core.x509.template_data import RequestData, Subject, TemplateData, sans_of
from provisor.core.x509.templated import structured_names
from support.credentials import make_csr, make_key
from support.fuzzing import fuzz

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
REQUEST = parse_csr_pem(make_csr(make_key(), "asked.test", ["asked.test", "more.test"]))


@fuzz(150)
@given(st.text(max_size=40), st.lists(DOMAIN, max_size=5, unique=True))
def test_the_default_template_adds_no_name(subject: str, names: list[str]) -> None:
    granted = [Name(NameKind.DNS, name) for name in names]
    data = TemplateData(
        {
            "Subject": Subject(subject),
            "SANs": sans_of(granted),
            "Insecure": TemplateData({"CR": RequestData(REQUEST)}),
        }
    )
    shape = read_certificate(Template(LEAF, X509_FUNCTIONS).render(data, RealWorld()))
    assert list(structured_names(shape)) == granted
    assert shape.subject.common_name == subject


@fuzz(150)
@given(st.lists(DOMAIN, min_size=1, max_size=8), st.data())
def test_deny_beats_allow(names: list[str], data: st.DataObject) -> None:
    denied = data.draw(st.sampled_from(names))
    policy = read_policies({"x509": {"allow": {"dns": names}, "deny": {"dns": [denied]}}}).x509
    assert policy is not None
    for name in names:
        refusal = policy.check_names([Name(NameKind.DNS, name)])
        assert (refusal is None) == (name != denied)


@fuzz(150)
@given(DOMAIN, st.lists(LABEL, max_size=3))
def test_a_wildcard_matches_exactly_one_label(domain: str, labels: list[str]) -> None:
    policy = read_policies({"x509": {"allow": {"dns": [f"*.{domain}"]}}}).x509
    assert policy is not None
    refusal = policy.check_names([Name(NameKind.DNS, ".".join([*labels, domain]))])
    assert (refusal is None) == (len(labels) == 1)


@fuzz(150)
@given(st.lists(DOMAIN, min_size=1, max_size=6), DOMAIN)
def test_rules_that_allow_say_no_to_everything_else(rules: list[str], name: str) -> None:
    policy = read_policies({"x509": {"allow": {"dns": rules}}}).x509
    assert policy is not None
    assert (policy.check_names([Name(NameKind.DNS, name)]) is None) == (name in rules)
    assert policy.check_names([Name(NameKind.EMAIL, f"a@{name}")]) is not None


@fuzz(150)
@given(st.recursive(st.none() | st.booleans() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_to_json_and_back_is_the_same(value: object) -> None:
    template = Template("{{ toJson . }}", X509_FUNCTIONS)
    once = template.render(value, RealWorld())
    assert template.render(json.loads(once), RealWorld()) == once


@fuzz(150)
@given(st.text(alphabet="{}.$|()\"`'= abcx019-\n/*%", max_size=60))
def test_rendering_twice_gives_the_same(text: str) -> None:
    found = []
    for _ in range(2):
        try:
            found.append(Template(text, X509_FUNCTIONS).render({"a": "b"}, RealWorld()))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the same twice
            found.append(f"{type(error).__name__}: {error}")
    assert found[0] == found[1]
