"""Fingerprints in the forms that people and programs compare."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

EMOJI = (
    *("👍", "🎱", "✈️", "👽", "⚓", "👼", "😠", "🐜", "🍎", "🎨", "👶", "🍼", "🔙", "🎍", "🍌", "💈"),
    *("🛁", "🍺", "🔔", "🚴‍♂️", "🐦", "🎂", "🌼", "🚙", "🐗", "💣", "💥", "🙇‍♂️", "👦", "💔", "💡", "🚌"),
    *("🌵", "📆", "📷", "🍬", "🐱", "🍒", "🚸", "🍫", "👏", "☁️", "♣️", "🇨🇳", "☕", "🚧", "🍪", "©️"),
    *("🌽", "🐮", "🌙", "👑", "😢", "🔮", "➰", "👯‍♀️", "💨", "🇩🇪", "♦️", "🐶", "🍩", "🐉", "📀", "👂"),
    *("🍆", "🐘", "🔚", "✉", "🇪🇸", "👀", "👊", "👨‍👩‍👦", "🎡", "😰", "🔥", "🎆", "💾", "🏈", "🍴", "🍀"),
    *("🇫🇷", "🍟", "🥜", "🖕", "🌕", "🎲", "🇪🇺", "💎", "👧", "🐐", "😬", "😁", "💂‍♂️", "🎸", "🔫", "🍔"),
    *("🔨", "🐹", "🙉", "❤️", "😻", "❣️", "✔️", "🗿", "🏮", "🚁", "🔪", "🐝", "🐴", "🏇", "⌛", "🏠"),
    *("🕵️‍♀️", "🍦", "👿", "🇮🇹", "🎃", "👺", "🇯🇵", "🔑", "💋", "😽", "🐨", "🇰🇷", "🍋", "💄", "🔒", "🍭"),
    *("👨", "🍁", "😷", "🤘", "🔬", "💰", "🐒", "🗻", "💪", "🍄", "🎹", "🎼", "💅", "🌑", "⛔", "👃"),
    *("🎛️", "🔩", "⭕", "🌊", "👌", "🔛", "📦", "🌴", "🐼", "📎", "⛅", "🛂", "🐾", "🍑", "🐧", "☎️"),
    *("🐷", "💊", "🍍", "🍕", "👈", "👉", "💩", "🍗", "🙏", "👸", "👛", "📌", "🐰", "🌈", "✋", "♻️"),
    *("🚗", "®️", "🎀", "🍚", "🚀", "🎢", "🐓", "🇷🇺", "⛵", "🎅", "🛰️", "😆", "🎷", "✂️", "🙈", "🐑"),
    *("🐚", "👞", "🎿", "💀", "😪", "😄", "😺", "😏", "🚬", "🐌", "🐍", "❄️", "⚽", "🔜", "👾", "♠️"),
    *("🙊", "⭐", "⛲", "🗽", "🚂", "🌻", "😎", "☀️", "🌅", "🏄‍♂️", "🏊‍♂️", "💉", "🎉", "🍊", "🚕", "🎾"),
    *("⛺", "💭", "™️", "🚽", "👅", "🎩", "🚜", "🚎", "🤢", "🏆", "🎺", "🐢", "🎠", "👭", "🇬🇧", "☂️"),
    *("🔓", "🇺🇸", "✌️", "📼", "🎻", "⚠️", "🍉", "👋", "〰️", "🚾", "♿", "👩", "❌", "😋", "⚡", "💤"),
)
"""One sign for each octet, as the reference shows them."""

FORMATS = ("hex", "base64", "base64-url", "base64-raw", "base64-url-raw", "emoji")


def encode_fingerprint(digest: bytes, form: str) -> str:
    """`digest` in one of `FORMATS`. Raises `ValueError` for another word."""
    match form:
        case "hex":
            return digest.hex()
        case "base64":
            return b64encode(digest).decode()
        case "base64-url":
            return urlsafe_b64encode(digest).decode()
        case "base64-raw":
            return b64encode(digest).decode().rstrip("=")
        case "base64-url-raw":
            return urlsafe_b64encode(digest).decode().rstrip("=")
        case "emoji":
            return "".join(EMOJI[octet] for octet in digest)
    raise ValueError(f"'{form}' is not a valid fingerprint format")
