"""Printing as Go's package fmt does: `Sprint`, `Sprintln`, `Sprintf`, for every value of `values`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.limits import DEPTH, Budget
from provisor.core.template.numerals import can_backquote, format_float, is_printable, quoted, quoted_rune
from provisor.core.template.values import (
    INTERFACE,
    NO_VALUE,
    Bytes,
    NilPointer,
    Number,
    Struct,
    Value,
    element_type,
    go_string,
    is_nil,
    items_of,
    kind_name,
    octets,
    type_name,
)

LONGEST_WIDTH: Final = 1_000_000
"""A larger width or precision is none, as in Go."""


def as_string(value: Value, budget: Budget) -> str:
    """What `toString` and its like make of a value: as the verb %v, but octets as the text they are."""
    if isinstance(value, Bytes) and value.go == Bytes.go:
        return go_string(value.octets)
    return to_text(value, budget)


def to_text(value: Value, budget: Budget) -> str:
    """As the verb %v."""
    if type(value) is str:
        return value
    printer = Printer(budget)
    printer.argument(value, "v")
    return printer.done()


def sprint(values: Sequence[Value], budget: Budget) -> str:
    """Values one after the other, a blank between two of which neither is a string."""
    printer = Printer(budget)
    before = True
    for number, value in enumerate(values):
        is_string = type(value) is str
        if number and not is_string and not before:
            printer.write(" ")
        printer.argument(value, "v")
        before = is_string
    return printer.done()


def sprintln(values: Sequence[Value], budget: Budget) -> str:
    printer = Printer(budget)
    for number, value in enumerate(values):
        if number:
            printer.write(" ")
        printer.argument(value, "v")
    printer.write("\n")
    return printer.done()


def sprintf(form: str, values: Sequence[Value], budget: Budget) -> str:
    printer = Printer(budget)
    _Format(printer, form, values).run()
    return printer.done()


class Printer:
    """The flags of one verb, and what has been written."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._parts: list[str] = []
        self.clear()
        self._erroneous = False

    def clear(self) -> None:
        self.width: int | None = None
        self.precision: int | None = None
        self.minus = self.plus = self.sharp = self.space = self.zero = False
        self.plus_v = self.sharp_v = False

    def write(self, text: str) -> None:
        self._budget.allocate(len(text))
        self._parts.append(text)

    def done(self) -> str:
        return "".join(self._parts)

    # -- one argument ----------------------------------------------------------------------------

    def argument(self, value: Value, verb: str) -> None:
        if value is None or value is NO_VALUE:
            if verb in "Tv":
                self._pad("<nil>")
            else:
                self._wrong_verb(value, verb)
            return
        if verb == "T":
            self._string(type_name(value), "s")
            return
        if verb == "p":
            self._pointer(value, verb)
            return
        self._value(value, verb, 0)

    def _value(self, value: Value, verb: str, depth: int) -> None:
        self._budget.step()
        if depth > DEPTH:
            raise FunctionError("a value is nested too deeply to be printed")
        kind = type(value)
        if value is None or value is NO_VALUE:
            self.write("<nil>")
        elif kind is str:
            self._string(value, verb)
        elif kind is bool:
            self._bool(value, verb)
        elif kind is float:
            self._float(value, verb)
        elif kind is int:
            self._integer(value, verb)
        elif kind is complex:
            self._complex(value, verb)
        elif self._by_method(value, verb):
            return
        elif isinstance(value, Number):
            self._integer(value, verb)
        elif isinstance(value, NilPointer):
            self._nil_pointer(value, verb)
        elif isinstance(value, dict):
            self._map(value, verb, depth)
        elif isinstance(value, Bytes):
            self._bytes(value, verb)
        elif isinstance(value, list):
            self._list(value, verb, depth)
        else:
            self._struct(value, verb, depth)

    def _by_method(self, value: Value, verb: str) -> bool:
        """Whether String or Error was there to say it."""
        if self._erroneous or self.sharp_v or verb not in "vsxXq":
            return False
        if not isinstance(value, Number | Struct | Bytes | NilPointer):
            return False
        text = value.text()
        if text is None:
            return False
        self._string(text, verb)
        return True

    def _map(self, value: dict[str, Value], verb: str, depth: int) -> None:
        if self.sharp_v:
            self.write(type_name(value))
            if is_nil(value):
                self.write("(nil)")
                return
            self.write("{")
        else:
            self.write("map[")
        for number, key in enumerate(sorted(value, key=octets)):
            if number:
                self.write(", " if self.sharp_v else " ")
            self._value(key, verb, depth + 1)
            self.write(":")
            self._element(value[key], verb, depth + 1, element_type(value))
        self.write("}" if self.sharp_v else "]")

    def _list(self, value: list[Value], verb: str, depth: int) -> None:
        if self.sharp_v:
            self.write(type_name(value))
            if is_nil(value):
                self.write("(nil)")
                return
            self.write("{")
        else:
            self.write("[")
        static = element_type(value)
        for number, item in enumerate(value):
            if number:
                self.write(", " if self.sharp_v else " ")
            self._element(item, verb, depth + 1, static)
        self.write("}" if self.sharp_v else "]")

    def _element(self, value: Value, verb: str, depth: int, static: str) -> None:
        if self.sharp_v and static == INTERFACE and value is None:
            self.write(f"{INTERFACE}(nil)")
            return
        self._value(value, verb, depth)

    def _struct(self, value: Struct, verb: str, depth: int) -> None:
        if value.pointer:
            if depth:
                self.write("0xc000000000")
                return
            self.write("&")
        if self.sharp_v:
            self.write(value.go)
        self.write("{")
        for number, member in enumerate(value.members):
            if number:
                self.write(", " if self.sharp_v else " ")
            if self.plus_v or self.sharp_v:
                self.write(f"{member.name}:")
            item = value.values[member.name]
            if member.name in value.hidden:
                self._hidden(item, verb)
            else:
                self._element(item, verb, depth + 1, member.static)
        self.write("}")

    def _hidden(self, value: Value, verb: str) -> None:
        """A member that has no methods to be called."""
        if isinstance(value, Number):
            self._integer(value, verb)
        else:
            self._value(value, verb, 1)

    def _bytes(self, value: Bytes, verb: str) -> None:
        if verb in "vd":
            if self.sharp_v:
                name = "[]byte" if value.go == "[]uint8" else value.go
                self.write(name + ("(nil)" if value.nil else "{" + ", ".join(f"0x{o:x}" for o in value.octets) + "}"))
                return
            self.write("[")
            for number, octet in enumerate(value.octets):
                if number:
                    self.write(" ")
                self._number(octet, 10, "v")
            self.write("]")
        elif verb == "s":
            self._string(value.octets.decode("utf-8", "surrogateescape"), "s")
        elif verb in "xX":
            self._hexadecimal(value.octets, verb)
        elif verb == "q":
            self._string(value.octets.decode("utf-8", "surrogateescape"), "q")
        else:
            self._list(list(items_of(value)), verb, 0)

    def _nil_pointer(self, value: NilPointer, verb: str) -> None:
        if verb == "v":
            if self.sharp_v:
                self.write(f"({value.go})(nil)")
            else:
                self._pad("<nil>")
        elif verb in "bdoxXp":
            self._number(0, {"b": 2, "o": 8, "d": 10}.get(verb, 16), verb)
        else:
            self._wrong_verb(value, verb)

    def _pointer(self, value: Value, verb: str) -> None:
        if kind_name(value) in ("map", "slice", "ptr") and not is_nil(value):
            self._pad("0xc000000000")
        elif isinstance(value, NilPointer) or is_nil(value):
            self._pad("0x0")
        else:
            self._wrong_verb(value, verb)

    def _wrong_verb(self, value: Value, verb: str) -> None:
        self._erroneous = True
        self.write(f"%!{verb}(")
        if value is None or value is NO_VALUE:
            self.write("<nil>")
        else:
            self.write(type_name(value))
            self.write("=")
            self._value(value, "v", 0)
        self.write(")")
        self._erroneous = False

    # -- scalars ---------------------------------------------------------------------------------

    def _pad(self, text: str) -> None:
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            self.write(text)
        elif self.minus:
            self.write(text + " " * missing)
        else:
            self.write(("0" if self.zero else " ") * missing + text)

    def _bool(self, value: bool, verb: str) -> None:
        if verb in "tv":
            self._pad("true" if value else "false")
        else:
            self._wrong_verb(value, verb)

    def _string(self, value: str, verb: str) -> None:
        if verb == "v" and self.sharp_v:
            self._quoted(value)
        elif verb in "vs":
            self._pad(self._cut(value))
        elif verb in "xX":
            self._hexadecimal(octets(value), verb)
        elif verb == "q":
            self._quoted(value)
        else:
            self._wrong_verb(value, verb)

    def _cut(self, value: str) -> str:
        return value if self.precision is None else value[: self.precision]

    def _quoted(self, value: str) -> None:
        value = self._cut(value)
        if self.sharp and can_backquote(value):
            self._pad(f"`{value}`")
        else:
            self._pad(quoted(value, ascii_only=self.plus))

    def _hexadecimal(self, data: bytes, verb: str) -> None:
        if self.precision is not None:
            data = data[: self.precision]
        pairs = [f"{octet:02x}" for octet in data]
        prefix = "0x" if self.sharp else ""
        text = " ".join(prefix + pair for pair in pairs) if self.space else prefix + "".join(pairs) if pairs else ""
        zero, self.zero = self.zero, False
        self._pad(text.upper() if verb == "X" else text)
        self.zero = zero

    def _integer(self, value: int, verb: str) -> None:
        if verb == "v" and self.sharp_v and isinstance(value, Number) and not value.signed:
            sharp, self.sharp = self.sharp, True
            self._number(value, 16, "v")
            self.sharp = sharp
        elif verb in "vd":
            self._number(value, 10, verb)
        elif verb in "boOxX":
            self._number(value, {"b": 2, "o": 8, "O": 8}.get(verb, 16), verb)
        elif verb == "c":
            self._pad(chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value <= 0xDFFF else "\ufffd")
        elif verb == "q":
            self._pad(quoted_rune(value, ascii_only=self.plus))
        elif verb == "U":
            self._code_point(value % (1 << 64))
        else:
            self._wrong_verb(value, verb)

    def _code_point(self, value: int) -> None:
        digits = max(self.precision or 0, 4)
        text = f"U+{value:0{digits}X}"
        if self.sharp and value <= 0x10FFFF and is_printable(chr(value)):
            text += f" '{chr(value)}'"
        zero, self.zero = self.zero, False
        self._pad(text)
        self.zero = zero

    def _number(self, value: int, base: int, verb: str) -> None:
        """An integer in a base, with sign, prefix and padding."""
        negative = value < 0
        digits = format(abs(int(value)), {2: "b", 8: "o", 10: "d", 16: "x"}[base])
        least = 0
        if self.precision is not None:
            least = self.precision
            if least == 0 and value == 0:
                zero, self.zero = self.zero, False
                self._pad("" if self.width is None else " " * self.width)
                self.zero = zero
                return
        elif self.zero and not self.minus and self.width is not None:
            least = self.width - (1 if negative or self.plus or self.space else 0)
        digits = digits.rjust(least, "0")
        if self.sharp:
            if base == 2:
                digits = "0b" + digits
            elif base == 8 and not digits.startswith("0"):
                digits = "0" + digits
            elif base == 16:
                digits = "0x" + digits
        if verb == "O":
            digits = "0o" + digits
        if verb == "X":
            digits = digits.upper()
        sign = "-" if negative else "+" if self.plus else " " if self.space else ""
        zero, self.zero = self.zero, False
        self._pad(sign + digits)
        self.zero = zero

    def _float(self, value: float, verb: str) -> None:
        if verb == "v":
            self._real(value, "g", -1)
        elif verb in "bgGxX":
            self._real(value, verb, -1)
        elif verb in "feEF":
            self._real(value, "f" if verb == "F" else verb, 6)
        else:
            self._wrong_verb(value, verb)

    def _real(self, value: float, form: str, precision: int) -> None:
        if self.precision is not None:
            precision = self.precision
        text = format_float(value, form, precision)
        sign, text = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
        if self.space and sign == "+" and not self.plus:
            sign = " "
        if math.isinf(value) or math.isnan(value):
            zero, self.zero = self.zero, False
            if math.isnan(value) and not self.space and not self.plus:
                sign = ""
            self._pad((sign if sign != "+" or self.plus or math.isinf(value) else "") + text)
            self.zero = zero
            return
        if self.sharp and form != "b":
            text = _with_point(text, form, precision)
        if self.plus or sign != "+":
            if self.zero and not self.minus and self.width is not None and self.width > len(text) + 1:
                self.write(sign + "0" * (self.width - len(text) - 1) + text)
                return
            self._pad(sign + text)
            return
        self._pad(text)

    def _complex(self, value: complex, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self._wrong_verb(value, verb)
            return
        plus = self.plus
        self.write("(")
        self._float(value.real, verb)
        self.plus = True
        self._float(value.imag, verb)
        self.write("i)")
        self.plus = plus


def _with_point(text: str, form: str, precision: int) -> str:
    """What the flag # does to a float: a decimal point always, zeros kept at the end of %g."""
    digits = 0
    if form in "gGx":
        digits = 6 if precision == -1 else precision
    tail = ""
    marks = "pP" if form in "xX" else "eE"
    for position, character in enumerate(text):
        if character in marks and position:
            text, tail = text[:position], text[position:]
            break
    seen = False
    for character in text:
        if character == ".":
            continue
        seen = seen or character != "0"
        digits -= seen
    if "." not in text:
        if text == "0":
            digits -= 1
        text += "."
    return text + "0" * max(digits, 0) + tail


class _Format:
    """One run through a format: which argument is next, and whether indexes were used."""

    def __init__(self, printer: Printer, form: str, values: Sequence[Value]) -> None:
        self._printer = printer
        self._form = form
        self._values = values
        self._next = 0
        self._reordered = False
        self._good_index = True
        self._after_index = False

    def run(self) -> None:
        printer, form, at = self._printer, self._form, 0
        while at < len(form):
            percent = form.find("%", at)
            if percent < 0:
                printer.write(form[at:])
                break
            printer.write(form[at:percent])
            printer.clear()
            at = self._verb(percent + 1)
        if not self._reordered and self._next < len(self._values):
            self._surplus()

    def _surplus(self) -> None:
        printer = self._printer
        printer.clear()
        printer.write("%!(EXTRA ")
        for number, value in enumerate(self._values[self._next :]):
            if number:
                printer.write(", ")
            if value is None or value is NO_VALUE:
                printer.write("<nil>")
            else:
                printer.write(f"{type_name(value)}=")
                printer.argument(value, "v")
        printer.write(")")

    def _verb(self, at: int) -> int:
        """One verb, whose flags begin at `at`; the position behind it."""
        printer, form = self._printer, self._form
        while at < len(form) and form[at] in "#0+- ":
            flag = form[at]
            if flag == "#":
                printer.sharp = True
            elif flag == "0":
                printer.zero = True
            elif flag == "+":
                printer.plus = True
            elif flag == "-":
                printer.minus = True
            else:
                printer.space = True
            at += 1
        self._good_index = True
        self._after_index = False
        at = self._index(at)
        at = self._width(at)
        at = self._precision(at)
        if not self._after_index:
            at = self._index(at)
        if at >= len(form):
            printer.write("%!(NOVERB)")
            return at
        verb = form[at]
        self._print(verb)
        return at + 1

    def _print(self, verb: str) -> None:
        printer = self._printer
        if printer.minus:
            printer.zero = False
        if verb == "%":
            printer.write("%")
        elif not self._good_index:
            printer.write(f"%!{verb}(BADINDEX)")
        elif self._next >= len(self._values):
            printer.write(f"%!{verb}(MISSING)")
        else:
            if verb == "v":
                printer.sharp_v, printer.sharp = printer.sharp, False
                printer.plus_v, printer.plus = printer.plus, False
            value = self._values[self._next]
            self._next += 1
            printer.argument(value, verb)

    def _number(self, at: int) -> tuple[int | None, int]:
        """A decimal at `at`, None without one or for one beyond reason; the position behind it."""
        end = at
        while end < len(self._form) and self._form[end] in "0123456789":
            end += 1
        if end == at:
            return None, at
        number = int(self._form[at:end]) if end - at < 10 else LONGEST_WIDTH + 1
        if number > LONGEST_WIDTH:
            return None, len(self._form)
        return number, end

    def _index(self, at: int) -> int:
        """An explicit argument index such as `[2]`."""
        form = self._form
        if at >= len(form) or form[at] != "[":
            return at
        self._reordered = True
        self._after_index = True
        close = form.find("]", at)
        if close < 0:
            self._good_index = False
            return at + 1
        digits = form[at + 1 : close]
        if digits.isascii() and digits.isdigit() and 1 <= int(digits[:9]) <= len(self._values):
            self._next = int(digits) - 1
        else:
            self._good_index = False
        return close + 1

    def _star(self) -> int | None:
        """The argument that says a width or precision, None when it is no fit number."""
        if self._next >= len(self._values):
            return None
        value = self._values[self._next]
        self._next += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LONGEST_WIDTH:
            return None
        return int(value)

    def _width(self, at: int) -> int:
        printer = self._printer
        if self._form[at : at + 1] == "*":
            number = self._star()
            if number is None:
                printer.write("%!(BADWIDTH)")
            elif number < 0:
                printer.width, printer.minus, printer.zero = -number, True, False
            else:
                printer.width = number
            self._after_index = False
            return at + 1
        number, end = self._number(at)
        if number is not None:
            if self._after_index:  # as in "%[3]2d"
                self._good_index = False
            printer.width = number
        return end

    def _precision(self, at: int) -> int:
        printer = self._printer
        if self._form[at : at + 1] != ".":
            return at
        at += 1
        if self._after_index:  # as in "%[3].2d"
            self._good_index = False
        at = self._index(at)
        if self._form[at : at + 1] == "*":
            number = self._star()
            if number is None or number < 0:
                if number is None:
                    printer.write("%!(BADPREC)")
            else:
                printer.precision = number
            self._after_index = False
            return at + 1
        number, end = self._number(at)
        printer.precision = number if number is not None else (0 if end == at else None)
        return end
