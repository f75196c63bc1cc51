"""Numbers and quoted text as Go writes them (package strconv)."""

from __future__ import annotations

import math
import re
from typing import Final

from provisor.core.template.values import octets


def format_float(value: float, form: str = "g", precision: int = -1) -> str:
    """As `strconv.FormatFloat`: `form` is one of `e E f g G b x X`, precision -1 as few digits as tell it apart."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if form in "xX":
        return _hexadecimal(value, form, precision)
    if form == "b":
        return _binary(value)
    if precision >= 0:
        return _fixed(value, form, precision)
    sign, digits, point = _shortest(value)
    exponent = point - 1
    if form in "gG" and -4 <= exponent < 21 and (exponent < 6 or exponent < 0):
        form = "f"
    if form == "f":
        return sign + _plain(digits, point)
    mark = "E" if form in "EG" else "e"
    if digits == "0":
        exponent = 0
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}{mark}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def json_float(value: float) -> str:
    """As `encoding/json` writes a float64: plain from 1e-6 to 1e21, else with an exponent without padding."""
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    sign, digits, point = _shortest(value)
    if 1e-6 <= abs(value) < 1e21:
        return sign + _plain(digits, point)
    exponent = point - 1
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


def _shortest(value: float) -> tuple[str, str, int]:
    """Sign, digits, and how many of them stand before the decimal point."""
    text = repr(value)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or "0")
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    return (sign, digits, point) if digits else (sign, "0", 1)


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if len(digits) <= point:
        return digits.ljust(point, "0")
    return f"{digits[:point]}.{digits[point:]}"


def _fixed(value: float, form: str, precision: int) -> str:
    if form in "gG":
        return f"{value:.{max(precision, 1)}{form}}"
    return f"{value:.{precision}{form}}"


def _binary(value: float) -> str:
    """Mantissa and exponent, both decimal: `4503599627370496p-52`."""
    mantissa, exponent = math.frexp(abs(value))
    whole = int(mantissa * 2**53)
    exponent -= 53
    if exponent < -1074 or whole == 0:
        whole = int(math.ldexp(abs(value), 1074))
        exponent = -1074
    sign = "-" if math.copysign(1, value) < 0 else ""
    return f"{sign}{whole}p{exponent:+d}"


def _hexadecimal(value: float, form: str, precision: int) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    mantissa, exponent = math.frexp(abs(value))
    if mantissa == 0:
        digits, exponent = 1 << 60, 0
        digits = 0
    else:
        digits = int(mantissa * 2**53) << 8  # one digit before the point, 15 hexadecimal ones behind it
        exponent -= 1
    if 0 <= precision < 15:
        shift = 4 * (15 - precision)
        rest = digits & ((1 << shift) - 1)
        digits >>= shift
        half = 1 << (shift - 1)
        if rest > half or (rest == half and digits & 1):
            digits += 1
        digits <<= shift
        if digits >> 61:
            digits >>= 1
            exponent += 1
    whole = digits >> 60
    fraction = f"{digits & ((1 << 60) - 1):015x}"
    fraction = fraction.rstrip("0") if precision < 0 else fraction[:precision].ljust(precision, "0")
    text = f"{sign}0x{whole}{'.' + fraction if fraction else ''}p{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return text.upper() if form == "X" else text


_ESCAPES: Final = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 92: "\\\\"}
_SIMPLE: Final = re.compile(r"[ !#-\[\]-~]*")


def quoted(text: str, *, ascii_only: bool = False, mark: str = '"') -> str:
    """As `strconv.Quote`: an octet that is not UTF-8 is written `\\x..`."""
    if mark == '"' and _SIMPLE.fullmatch(text):
        return f'"{text}"'
    return mark + "".join(_quoted_character(character, ascii_only, mark) for character in text) + mark


def _quoted_character(character: str, ascii_only: bool, mark: str) -> str:
    code = ord(character)
    if character == mark:
        return f"\\{mark}"
    if code in _ESCAPES:
        return _ESCAPES[code]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x7F and code >= 0x20:
        return character
    if code >= 0x80 and not ascii_only and is_printable(character):
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def is_printable(character: str) -> bool:
    """As `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space."""
    return character == " " or (character.isprintable() and not character.isspace())


def quoted_rune(code: int, *, ascii_only: bool = False) -> str:
    """As `strconv.QuoteRune`; what is no code point counts as U+FFFD."""
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        code = 0xFFFD
    return quoted(chr(code), ascii_only=ascii_only, mark="'")


_NOT_RAW: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f`\ufeff\ud800-\udfff]")


def can_backquote(text: str) -> bool:
    """Whether text may stand between backquotes: no control character but the tab, no backquote, no BOM."""
    return all(
        character == "\t"
        or (character >= " " and character not in "\x7f`\ufeff" and not "\ud800" <= character <= "\udfff")
        for character in text
    )


def unquoted(text: str) -> str:
    """The value of a Go string literal, in its quotes. Raises `ValueError`."""
    if text[:1] == "`":
        if len(text) < 2 or text[-1] != "`" or "`" in text[1:-1]:
            raise ValueError("invalid syntax")
        return text[1:-1].replace("\r", "")
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise ValueError("invalid syntax")
    parts: list[bytes] = []
    rest = text[1:-1]
    while rest:
        piece, rest = _unescaped(rest, '"')
        parts.append(piece)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def unquoted_rune(text: str) -> tuple[int, str]:
    """The code point of a character literal whose opening quote is the first character, and what follows it."""
    if len(text) < 2 or text[1] == "'":
        raise ValueError("invalid syntax")
    piece, rest = _unescaped(text[1:], "'")
    if text[1] == "\\" and text[2] in "x01234567":
        return piece[0], rest
    return ord(piece.decode("utf-8", "replace")[0]), rest


_LITERAL_ESCAPES: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}


def _unescaped(text: str, mark: str) -> tuple[bytes, str]:
    """The octets of the first character of a literal, and what follows it."""
    if text[0] in (mark, "\n"):
        raise ValueError("invalid syntax")
    if text[0] != "\\":
        return octets(text[0]), text[1:]
    letter = text[1:2]
    if not letter:
        raise ValueError("invalid syntax")
    if letter in _LITERAL_ESCAPES:
        return bytes((_LITERAL_ESCAPES[letter],)), text[2:]
    if letter == mark:
        return mark.encode(), text[2:]
    length = {"x": 2, "u": 4, "U": 8}.get(letter)
    if length:
        digits = text[2 : 2 + length]
        if len(digits) != length or not re.fullmatch("[0-9a-fA-F]+", digits):
            raise ValueError("invalid syntax")
        code = int(digits, 16)
        if letter == "x":
            return bytes((code,)), text[2 + length :]
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ValueError("invalid syntax")
        return chr(code).encode(), text[2 + length :]
    if letter in "01234567":
        digits = text[1:4]
        if not re.fullmatch("[0-7]{3}", digits) or int(digits, 8) > 255:
            raise ValueError("invalid syntax")
        return bytes((int(digits, 8),)), text[4:]
    raise ValueError("invalid syntax")
