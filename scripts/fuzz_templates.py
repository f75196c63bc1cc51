"""Templates nobody wrote, rendered here and by the Go packages that step-ca is built from: the same text and errors.

    python scripts/fuzz_templates.py [--count 20000] [--seed 1] [--show 20]

Half of them are recorded templates with something changed, half are made from the grammar. What depends on chance, on
time or on the machine is not called. Needs Go, and PyPI's packages of the development group.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import random
import re
import resource
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from provisor.core.template.errors import ExecutionError, ParseError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.values import from_plain
from provisor.core.x509.template_data import TemplateData

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "tests" / "conformance" / "templates" / "data"
ORACLE = ROOT / "tests" / "interop" / "rules" / "oracle"
BATCH = 200
LARGEST = 6 << 30
"""Octets that the reference's process may have."""
UNSTEADY = re.compile(
    r"rand|shuffle|uuid|now|date|ago|gen[A-Z]|bcrypt|htpasswd|derivePassword|encryptAES|decryptAES|getHostByName|sign"
    r"|buildCustomCert|env|keys|values|toTime|Time|pick|omit|\bos[A-Z]|%p|%v.*func|\$?printf.*%!|duration"
)
"""Chance, the clock, the resolver; and the order of maps where Go leaves it open."""
ROOT_SHOWN = re.compile(r"[\s(|{](?:\.|\$)(?=[\s)}|-])")
"""At the root the reference has the request too, whose address is another on every run: such differences are none."""
FIELD_OF_FUNCTION = re.compile(r"can't evaluate field \w+ in type interface \{\}")
"""Go names the type that a function declares, and not that of what it returned (docs/compatibility.md)."""
LIMITS = (
    "takes more than",
    "uses more than",
    "more than 4 times",
    "nested too deeply",
    "longer than",
    "exceeds",
    "too large",
)


class World:
    now = datetime.now(UTC)

    def random(self, count: int) -> bytes:
        return os.urandom(count)

    def zone(self, name: str) -> tzinfo | None:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            return None

    def make_key(self, kind: str) -> object:
        raise AssertionError(kind)


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress((TABLES / f"{name}.json.gz").read_bytes()))
    return document


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        tables = [recorded(f"template-{name}") for name in ("language", "sprig", "step")]
        self.data: dict[str, Any] = tables[0]["data"]["base"]
        self.corpus = [case["template"] for table in tables for case in table["cases"] if len(case["template"]) < 400]
        self.functions = [name for name in sorted(X509_FUNCTIONS) if not UNSTEADY.search(name) and name != "call"]
        self.pieces = [
            *(
                "{{",
                "}}",
                "{{-",
                "-}}",
                "(",
                ")",
                "|",
                ":=",
                "=",
                "$x",
                "$",
                ".",
                ".s",
                ".l",
                ".m",
                ".nil",
                "if",
                "else",
                "end",
            ),
            *(
                "range",
                "with",
                "define",
                "block",
                "template",
                "break",
                "continue",
                "nil",
                "true",
                "0",
                "-1",
                "1.5",
                '"a"',
                "`b`",
            ),
            *(
                "'c'",
                '"\\n"',
                "1e3",
                "0x1f",
                ",",
                "/*",
                "*/",
                " ",
                "\n",
                "\t",
                "\u00e9",
                '"',
                "%",
                "!",
                "$y",
                ".nested.a.b.c",
            ),
        ]

    def case(self) -> str:
        while True:
            text = self.mutated() if self.random.random() < 0.5 else self.grown()
            if not UNSTEADY.search(text):
                return text

    def mutated(self) -> str:
        text: str = self.random.choice(self.corpus)
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randint(0, len(text))
            match self.random.randrange(5):
                case 0:
                    text = text[:at] + self.random.choice(self.pieces) + text[at:]
                case 1:
                    text = text[:at] + text[at + self.random.randint(1, 4) :]
                case 2:
                    other = self.random.choice(self.corpus)
                    text = text[:at] + other[self.random.randint(0, len(other)) :]
                case 3:
                    text = re.sub(r"[a-z]\w+", lambda _: self.random.choice(self.functions), text, count=1)
                case _:
                    text = re.sub(r'"[^"]*"|\d+', lambda _: self.literal(), text, count=1)
        return text

    def literal(self) -> str:
        words = (
            '""',
            '"a b"',
            '"str"',
            '"1"',
            '"-2.5"',
            '"\u00e9\u65e5"',
            '"a,b"',
            '"%d"',
            '"%s %v"',
            '"%5.2f"',
            '"a.*"',
            '"{}"',
        )
        numbers = ("0", "1", "-1", "2", "7", "1.5", "1e3", "0x10", "'a'", "9007199254740993", "3i")
        return self.random.choice((*words, *numbers, "true", "false", "nil"))

    def field(self) -> str:
        names = [f".{name}" for name in self.data if name.isidentifier()]
        return self.random.choice([*names, ".nested.a.b", ".m.k2", ".none", ".m.none", "$", "."])

    def operand(self, depth: int) -> str:
        kind = self.random.random()
        if depth <= 0 or kind < 0.35:
            return self.literal()
        if kind < 0.65:
            return self.field()
        return f"({self.call(depth - 1)})"

    def call(self, depth: int) -> str:
        count = self.random.choice((0, 1, 1, 1, 2, 2, 3))
        words = [self.random.choice(self.functions), *(self.operand(depth) for _ in range(count))]
        text = " ".join(words)
        return f"{self.operand(depth)} | {text}" if self.random.random() < 0.25 else text

    def grown(self, depth: int = 3) -> str:
        parts = [self.node(depth) for _ in range(self.random.randint(1, 3))]
        return "".join(parts)

    def node(self, depth: int) -> str:
        left, right = self.random.choice((("{{", "}}"), ("{{", "}}"), ("{{- ", "}}"), ("{{", " -}}")))
        kind = self.random.random()
        if depth <= 0 or kind < 0.55:
            return f"{left} {self.call(2)} {right}"
        if kind < 0.65:
            return self.random.choice((" x ", "\n", "a\tb", "\u00e9", ""))
        body, other = self.grown(depth - 2), self.grown(depth - 2)
        word = self.random.choice(("if", "with", "range", "range $i, $e :=", "with $v :=", "range $e :="))
        middle = self.random.choice(("", f"{{{{ else }}}}{other}", f"{{{{ else if {self.operand(1)} }}}}{other}"))
        if middle.startswith("{{ else if") and not word.startswith("if"):
            middle = ""
        return f"{left} {word} {self.operand(1)} {right}{body}{middle}{{{{ end }}}}"


def ours(text: str, data: Any) -> tuple[str, str]:
    try:
        template = Template(text, X509_FUNCTIONS)
        output = template.render(TemplateData(from_plain(data)), World())
        return "output", output.encode("utf-8", "surrogateescape").decode("latin-1")
    except ParseError as error:
        return "error", f"error parsing template: {error}"
    except TemplateFailed as error:
        return "error", str(error)
    except ExecutionError as error:
        return "error", f"error executing template: {error}"


def ask_go(program: Path, texts: list[str], data: Any) -> Iterator[tuple[str, str]]:
    """In batches: a template that is too much for the reference takes its process with it."""
    at = 0
    while at < len(texts):
        found = list(_ask(program, texts[at : at + BATCH], data))
        yield from found
        at += len(found)
        if len(found) < min(BATCH, len(texts) - at + len(found)):
            yield "error", "panic: the process ended"
            at += 1


def _ask(program: Path, texts: list[str], data: Any) -> Iterator[tuple[str, str]]:
    lines = (
        json.dumps({"template": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode(), "data": data})
        for text in texts
    )
    limit = (LARGEST, LARGEST)
    done = subprocess.run(
        [program],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    for line in done.stdout.splitlines():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            return
        if "error" in found:
            yield "error", found["error"]
        else:
            yield "output", base64.b64decode(found.get("output", "")).decode("latin-1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="how many differences to print")
    given = parser.parse_args()
    program = ROOT / "build" / "oracle"
    program.parent.mkdir(exist_ok=True)
    for words in (["go", "mod", "tidy"], ["go", "build", "-o", str(program), "."]):
        subprocess.run(words, cwd=ORACLE, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    maker = Maker(given.seed)
    texts = [maker.case() for _ in range(given.count)]
    different = known = skipped = errors = 0
    for text, theirs in zip(texts, ask_go(program, texts, maker.data), strict=True):
        mine = ours(text, maker.data)
        if (
            theirs[1].startswith(("panic:", "timeout"))
            or "Insecure" in theirs[1]
            or any(limit in mine[1] for limit in LIMITS)
        ):
            skipped += 1
        elif mine != theirs and (ROOT_SHOWN.search(text) or FIELD_OF_FUNCTION.search(theirs[1])):
            known += 1
        elif mine != theirs:
            different += 1
            if different <= given.show:
                print(f"{text!r}\n   Go   {theirs}\n   ours {mine}")
        errors += theirs[0] == "error"
    print(
        f"{given.count} templates, {errors} of them refused, {skipped} beyond a limit or a crash, "
        f"{known} with the request at the root or another name of a type: {different} differ"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
