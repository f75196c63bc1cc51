"""What the fuzz against Go found, kept."""

from __future__ import annotations

import pytest

from conformance.templates.tables import RealWorld
from provisor.core.template.errors import TemplateError
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.values import Bytes, from_plain
from provisor.core.x509.template_data import TemplateData

CASES = [
    ('{{ b32dec "ME======*/" }}', "a"),
    ('{{ b32dec "ME======M" }}', "a"),
    ('{{ b32dec "ME=====" }}', "illegal base32 data at input byte 7"),
    ("{{ round 1.5 1e3 }}", "NaN"),
    ("{{ round 1 -400 }}", "NaN"),
    ("{{ round -0.4 0 }}", "-1"),
    ('{{ camelcase " " }}', "  "),
    ('{{ camelcase "-_" }}', "-__"),
    ('{{ mulf "x" -2 }}', "0"),
    ('{{ mustDeepCopy (semver "1.0.0") }}', "0.0.0"),
    ("{{ (deepCopy .).s }}", "str"),
    ("{{ (int64 3) 'a' }}", "can't give argument to non-function int64 3"),
    ("{{ index .nil }}", "index of untyped nil"),
    ('{{ nospace "\u00e9" }}', "\u00e9"),
    ("{{ ($xa\ntoi) }}", 'template:2: undefined variable "$xa"'),
    ("{{ toString .octets }}", "ab"),
    ("{{ quote .octets }}", '"ab"'),
    ("{{ concat .", 'illegal number syntax: "."'),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_it_is_as_go_has_it(text: str, expected: str) -> None:
    try:
        found = Template(text, X509_FUNCTIONS).render(
            TemplateData({"s": from_plain("str"), "nil": None, "octets": Bytes(b"ab")}), RealWorld()
        )
    except TemplateError as error:
        found = str(error)
        assert found.endswith(expected)
        return
    assert found == expected
