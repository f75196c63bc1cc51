"""What a hostile template, or hostile data, can use up: little, whatever it does."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from typing import Final

import pytest

from conformance.templates.tables import RealWorld
from provisor.core.template.errors import TemplateError
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.values import from_plain

SECONDS: Final = 4.0
"""Processor time, on a machine that is slow and busy."""
MEBIBYTES: Final = 200

HOSTILE: Final[Mapping[str, str]] = {
    "a long loop": "{{ range $i := until 100000000 }}{{ $i }}{{ end }}",
    "loops in loops": "{{ range until 9999 }}{{ range until 9999 }}x{{ end }}{{ end }}",
    "a loop over a number": "{{ range 1000000000000 }}{{ end }}",
    "a step of nothing": "{{ range untilStep 0 10 0 }}x{{ end }}",
    "a long repeat": '{{ repeat 2000000000 "x" }}',
    "repeats of repeats": '{{ $x := repeat 1000 "x" }}{{ repeat 1000 $x | repeat 1000 | repeat 1000 }}',
    "a word that doubles": '{{ $x := "x" }}{{ range until 64 }}{{ $x = print $x $x }}{{ end }}{{ $x }}',
    "a list that doubles": "{{ $l := list 1 }}{{ range until 64 }}{{ $l = concat $l $l }}{{ end }}{{ len $l }}",
    "a map that holds itself": '{{ $d := dict }}{{ $_ := set $d "me" $d }}{{ $d }}',
    "a map that holds itself, as JSON": '{{ $d := dict }}{{ $_ := set $d "me" $d }}{{ toJson $d }}',
    "a map that holds itself, copied": '{{ $d := dict }}{{ $_ := set $d "me" $d }}{{ deepCopy $d }}',
    "a map that holds itself, compared": '{{ $d := dict }}{{ $_ := set $d "me" $d }}{{ deepEqual $d (dict "me" $d) }}',
    "a template without end": '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
    "two templates without end": (
        '{{ define "a" }}{{ template "b" . }}{{ end }}{{ define "b" }}{{ template "a" . }}{{ end }}{{ template "a" . }}'
    ),
    "many templates": (
        '{{ define "a" }}{{ if lt (len .) 60 }}{{ template "a" (append . 1) }}{{ template "a" (append . 1) }}'
        '{{ end }}{{ end }}{{ template "a" (list) }}'
    ),
    "keys": '{{ range until 1000 }}{{ genPrivateKey "rsa" }}{{ end }}',
    "certificates": '{{ range until 1000 }}{{ genSelfSignedCert "a" nil nil 1 }}{{ end }}',
    "password hashes": '{{ range until 1000 }}{{ bcrypt "x" }}{{ end }}',
    "derived passwords": '{{ range until 1000 }}{{ derivePassword 1 "long" "p" "u" "s" }}{{ end }}',
    "randomness": "{{ randAlphaNum 2000000000 }}",
    "random octets": "{{ randBytes 2000000000 }}",
    "a wide number": '{{ printf "%1000000000d" 1 }}',
    "a precise number": '{{ printf "%.1000000000f" 1.5 }}',
    "a width in an argument": '{{ printf "%*d" 1000000000 1 }}',
    "an indented text": '{{ indent 100000000 "a\\nb" }}',
    "a wrapped text": '{{ wrapWith 1 (repeat 10000 "y") (repeat 10000 "x ") }}',
    "a replacement": '{{ replace "" (repeat 10000 "y") (repeat 10000 "x") }}',
    "a pattern that backtracks": '{{ regexMatch "(a+)+$" (print (repeat 30000 "a") "b") }}',
    "a pattern that explodes": '{{ regexMatch "((a{1,100}){1,100}){1,100}" "aaaa" }}',
    "a pattern's replacement": '{{ regexReplaceAll "" (repeat 100000 "x") (repeat 10000 "y") }}',
    "a split text": '{{ splitList "" (repeat 1000000 "x") | join (repeat 1000 "y") }}',
    "a sequence": "{{ seq 1 1000000000 }}",
    "a great power": "{{ mul 99999999999 99999999999 | toString | repeat 100000000 }}",
    "a decimal of many digits": '{{ fromJson "1e999999999" }}',
    "a deep text of JSON": '{{ fromJson (repeat 100000 "[") }}',
    "a deep pipeline": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a deep nesting": "{{ if 1 }}" * 5000 + "{{ end }}" * 5000,
    "a long chain": "{{ .a" + ".a" * 100000 + " }}",
    "many actions": "{{ 1 }}" * 300000,
}


def rendered(text: str, data: object) -> str:
    """The output, or what the template is refused with."""
    try:
        return Template(text, X509_FUNCTIONS).render(from_plain(data), RealWorld())
    except TemplateError as error:
        return str(error)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_is_exhausted(text: str) -> None:
    started = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(rendered(text, {})) < 2_000_000
    assert time.process_time() - started < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEBIBYTES


def _deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


DATA: Final[Mapping[str, object]] = {
    "deep": _deep(190),
    "wide": {str(number): number for number in range(100_000)},
    "long": "x" * 1_000_000,
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize(
    "text", ["{{ . }}", "{{ toJson . }}", '{{ printf "%#v" . }}', "{{ deepCopy . | toString | quote }}"]
)
def test_no_data_exhausts_anything(text: str, data: object) -> None:
    started = time.process_time()
    assert rendered(text, data)
    assert time.process_time() - started < SECONDS


def test_data_that_is_too_deep_is_no_data() -> None:
    with pytest.raises(ValueError, match="deep"):
        from_plain(_deep(900))
