"""Text from anywhere as text that every page, chart and database accepts."""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ILLEGAL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u202a-\u202e\u2066-\u2069"  # they change the direction of the text that follows, beyond their own
    "\ud800-\udfff"  # halves of surrogate pairs, which no encoding can write
    "\ufdd0-\ufdef\ufffe\uffff" + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in
                                            range(0x10000, 0x110000, 0x10000)) +  # XML has no such characters
    "]"
)  # fmt: skip


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 query", "1,200 queries". plural: where it is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def plain_text(text: object, longest: int | None = None) -> str:
    """Text without the characters that XML, UTF-8 or a database refuses; each is replaced by U+FFFD.

    Args:
        text: Anything; what is no string is written as ``str`` does.
        longest: The most characters to keep; a longer text ends in an ellipsis.
    """
    words = str(text).replace("\r\n", "\n")
    if longest is not None and len(words) > longest:
        words = words[: longest - 1] + "…"
    return _ILLEGAL.sub(REPLACEMENT, words)


def one_line(text: object) -> str:
    """Text from anywhere on one line of a terminal, which control characters cannot move, colour or break."""
    return " ".join(plain_text(text).split())
