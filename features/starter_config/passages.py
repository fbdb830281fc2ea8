"""Cuts a text into passages: at most about 200 words under one heading, with the lines that they come from.

A passage ends where a section ends and, within one, between paragraphs. Only what is too long by itself is cut further:
a paragraph, a table or a block of code between lines, and a line between sentences, or else between words.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

MAX_WORDS = 200
LEAST_WORDS = 25  # a rest of a section with fewer words stays with what comes before it
CHARACTERS = 8  # make a word where nothing is written between words, as in Chinese, or in addresses
SEPARATOR = " > "  # between a heading and those that are inside it

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)$")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_MARKUP = ((r"!?\[([^\]]*)\]\([^)]*\)", r"\1"), (r"\s*\{#[^}]*\}\s*$", ""), (r"[`*]+", ""), (r"\s+", " "))


@dataclass(frozen=True)
class Passage:
    """A piece of a text.

    heading: the headings that it stands under, the outermost first. text: without them. first_line, last_line: from 1.
    """

    heading: tuple[str, ...]
    text: str
    first_line: int
    last_line: int

    @property
    def title(self) -> str:
        """The headings in one line."""
        return SEPARATOR.join(self.heading)


@dataclass(frozen=True)
class _Block:
    """Lines that belong together. number: of the first line, from 1. is_code: whether they are a block of code."""

    lines: tuple[str, ...]
    number: int
    is_code: bool = False

    @property
    def last(self) -> int:
        return self.number + len(self.lines) - 1

    @property
    def num_words(self) -> int:
        return _num_words("\n".join(self.lines))


@dataclass(frozen=True)
class _Heading:
    """level: from 1. text: without markup. last: its last line."""

    level: int
    text: str
    last: int


def cut(text: str, name: str, *, is_markdown: bool = True) -> list[Passage]:
    """The passages of a text, in its order.

    Args:
        text: Plain text, or Markdown, whose headings and blocks of code are read. A head of metadata between two lines
            of "---" is left out.
        name: The outermost heading where the text has none of level 1, such as the name of its file.
        is_markdown: Whether the text is Markdown.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    parts = list(_markdown(lines)) if is_markdown else list(_paragraphs(lines, 1))
    has_title = any(isinstance(part, _Heading) and part.level == 1 for part in parts)
    path: list[tuple[int, str]] = [] if has_title else [(0, name)]
    passages: list[Passage] = []
    section: list[_Block] = []
    for part in parts:
        if isinstance(part, _Block):
            section.append(part)
            continue
        passages += _passages(section, _texts(path, name), lines)
        path = [(level, heading) for level, heading in path if level < part.level] + [(part.level, part.text)]
        section = []
    return passages + _passages(section, _texts(path, name), lines)


def _texts(path: Sequence[tuple[int, str]], name: str) -> tuple[str, ...]:
    return tuple(heading for _, heading in path if heading) or (name,)


def _markdown(lines: Sequence[str]) -> Iterator[_Block | _Heading]:
    """The blocks and headings of a Markdown text."""
    start = _end_of_metadata(lines)
    row = start
    while row < len(lines):
        heading, fence = _HEADING.match(lines[row]), _FENCE.match(lines[row])
        is_underlined = row > start and lines[row - 1].strip() and _UNDERLINE.match(lines[row])
        if not heading and not fence and not is_underlined:
            row += 1
            continue
        above = list(_paragraphs(lines[start:row], start + 1))
        if heading:
            yield from above
            yield _Heading(len(heading[1]), _plain(heading[2] or ""), row + 1)
            row += 1
        elif fence:
            yield from above
            end = _end_of_code(lines, row, fence[1])
            yield _Block(tuple(lines[row:end]), row + 1, is_code=True)
            row = end
        elif above and len(above[-1].lines) == 1 and not lines[row - 1].lstrip().startswith(("|", ">", "-", "*", "+")):
            yield from above[:-1]
            yield _Heading(1 if "=" in lines[row] else 2, _plain(above[-1].lines[0]), row + 1)
            row += 1
        else:
            row += 1
            continue
        start = row
    yield from _paragraphs(lines[start:], start + 1)


def _end_of_metadata(lines: Sequence[str]) -> int:
    """The row after a head of metadata; 0 without one."""
    if lines[0].rstrip() != "---":
        return 0
    return next((row + 1 for row in range(1, len(lines)) if lines[row].rstrip() in ("---", "...")), 0)


def _end_of_code(lines: Sequence[str], start: int, fence: str) -> int:
    """The row after a block of code; the end of the text if nothing closes it."""
    closing = re.compile(rf"\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
    return next((row + 1 for row in range(start + 1, len(lines)) if closing.match(lines[row])), len(lines))


def _paragraphs(lines: Sequence[str], number: int) -> Iterator[_Block]:
    """Lines between empty ones. number: of the first line."""
    start = None
    for row, line in enumerate([*lines, ""]):
        if line.strip() and start is None:
            start = row
        elif not line.strip() and start is not None:
            yield _Block(tuple(lines[start:row]), number + start)
            start = None


def _plain(heading: str) -> str:
    for pattern, replacement in _MARKUP:
        heading = re.sub(pattern, replacement, heading)
    return heading.strip()


def _num_words(text: str) -> int:
    return max(len(text.split()), len(text) // CHARACTERS)


def _passages(section: Sequence[_Block], heading: tuple[str, ...], lines: Sequence[str]) -> list[Passage]:
    """The passages of one section: as many of its blocks together as fit."""
    groups: list[list[_Block]] = []
    for block in chain.from_iterable(map(_pieces, section)):
        words = sum(other.num_words for other in groups[-1]) if groups else MAX_WORDS
        if words + block.num_words <= MAX_WORDS and block.number > groups[-1][-1].last:
            groups[-1].append(block)
        else:
            groups.append([block])
    is_short = len(groups) > 1 and sum(block.num_words for block in groups[-1]) < LEAST_WORDS
    if is_short and groups[-1][0].number > groups[-2][-1].last:
        groups[-2:] = [groups[-2] + groups[-1]]
    return [
        Passage(heading, _text(group, lines), group[0].number, group[-1].last)
        for group in groups
        if any(re.search(r"\w", line) for block in group for line in block.lines)
    ]


def _text(group: Sequence[_Block], lines: Sequence[str]) -> str:
    """The text of blocks that follow each other; one that is a part of a line stands alone."""
    (first, *others) = group
    if not others:
        return "\n".join(first.lines).strip("\n").rstrip()
    return "\n".join(lines[first.number - 1 : group[-1].last]).rstrip()


def _pieces(block: _Block) -> Iterator[_Block]:
    """A block that is too long, cut between lines; a line that is too long, cut between sentences or words."""
    if block.num_words <= MAX_WORDS:
        yield block
        return
    if len(block.lines) == 1:
        yield from (_Block((piece,), block.number, block.is_code) for piece in _joined(_sentences(block.lines[0])))
        return
    rows: list[str] = []
    for row, line in enumerate(block.lines):
        if rows and _num_words("\n".join([*rows, line])) > MAX_WORDS:
            yield from _pieces(_Block(tuple(rows), block.number + row - len(rows), block.is_code))
            rows = []
        rows.append(line)
    yield from _pieces(_Block(tuple(rows), block.last + 1 - len(rows), block.is_code))


def _sentences(line: str) -> Iterator[str]:
    """The sentences of a line; the words of one that is too long, and parts of a word that is."""
    for sentence in _SENTENCE.split(line):
        if _num_words(sentence) <= MAX_WORDS:
            yield sentence
            continue
        longest = MAX_WORDS * CHARACTERS
        for word in sentence.split():
            yield from (word[start : start + longest] for start in range(0, len(word), longest))


def _joined(parts: Iterator[str]) -> Iterator[str]:
    """Parts of a line together, as many as fit."""
    text = ""
    for part in parts:
        longer = f"{text} {part}".strip()
        if text and _num_words(longer) > MAX_WORDS:
            yield text
            longer = part
        text = longer
    if text:
        yield text
