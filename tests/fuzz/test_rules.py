"""Templates, what they render, and policies: whatever it is, an answer or an error of theirs, and soon."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from conformance.templates.tables import RealWorld, cases
from provisor.core.keys import spki_der
from provisor.core.policy import PolicyError, read_policies
from provisor.core.ssh.schema import read_ssh_certificate
from provisor.core.template.errors import TemplateError
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.x509.name import Subject
from provisor.core.x509.schema import OutputError, read_certificate
from provisor.core.x509.templated import build_parts
from provisor.errors import Unencodable
from support.credentials import make_key
from support.fuzzing import fuzz

TEMPLATES: list[str] = [case["template"] for case in cases("template-language") if len(case["template"]) < 200]
RENDERED: list[str] = [case.get("rendered") or case["template"] for case in cases("x509-certificates")]
POLICIES = [case["policy"] for case in cases("policy-verdicts")]
NAMES = sorted(X509_FUNCTIONS)
SPKI = spki_der(make_key().public_key())
PIECE = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", "(", ")", "|", ":=", "$x", ".", ".a", "if", "end", "range", "else", '"', "`"]
)


@st.composite
def changed(draw: st.DrawFn, corpus: list[str]) -> str:
    text = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(PIECE | st.text(max_size=4)) + text[at + draw(st.integers(0, 3)) :]
    return text


@fuzz(150)
@given(changed(TEMPLATES))
def test_a_template_renders_or_says_why_not(text: str) -> None:
    with suppress(TemplateError):
        Template(text, X509_FUNCTIONS).render({"a": [1.0, "x", None], "n": {"b": True}}, RealWorld())


@fuzz(150)
@given(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(['"a"', "1", "-1", "nil", ".a", ".n", "1.5", '"%d"', "true"]), max_size=4),
)
def test_a_function_takes_whatever_it_is_given(name: str, words: list[str]) -> None:
    if name.startswith(("gen", "bcrypt", "htpasswd", "derive", "build")):
        words = words[:1]
    with suppress(TemplateError):
        Template(f"{{{{ {name} {' '.join(words)} }}}}", X509_FUNCTIONS).render({"a": ["x"], "n": {}}, RealWorld())


@fuzz(150)
@given(changed(RENDERED))
def test_what_was_rendered_is_a_certificate_or_an_error(text: str) -> None:
    with suppress(OutputError):
        read_ssh_certificate(text)
    with suppress(OutputError, Unencodable):
        build_parts(read_certificate(text), SPKI, b"", Subject())


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.text(max_size=12)
    | st.sampled_from(["*.a.b", "*", "@a", "10.0.0.0/8"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["x509", "allow", "deny", "dns", "ip", "ssh", "user", "email"]), inner, max_size=4
        )
    ),
)


@fuzz(150)
@given(VALUE | st.sampled_from(POLICIES))
def test_a_policy_is_read_or_refused(value: object) -> None:
    with suppress(PolicyError):
        policies = read_policies(value)
        policies.check_ssh(["a", "a@b", "10.0.0.1"], host=True)
