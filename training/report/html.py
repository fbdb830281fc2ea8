"""The report's HTML: escaped text, tables, figures and the page around them. The page loads nothing from elsewhere."""

import html
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from recsys.errors import InputError
from recsys.metrics import Interval
from recsys.plain_text import plain_text

from .charts import DESKTOP, PHONE, colour, label
from .palette import stylesheet

LONGEST = 500  # characters of a title or another text from the data
STYLE = stylesheet() + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
logger = logging.getLogger(__name__)


def page(
    title: str,
    facts: Mapping[str, str],
    banner: str,
    cards: Sequence[str],
    sections: Mapping[str, str],
    *,
    footer: str,
) -> str:
    """Write the whole document.

    Args:
        title: The heading, as text.
        facts: Short facts under the heading: name as text, value as HTML.
        banner: HTML before everything else: the verdict.
        cards: Each from ``card``; four of them fill a row on a desktop and two rows on a phone.
        sections: HTML by heading.
        footer: The last line, as text.
    """
    anchors = {heading: f"section-{number}" for number, heading in enumerate(sections, 1)}
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for heading, anchor in anchors.items())
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    body = "\n".join(
        f'<section id="{anchors[heading]}"><h2>{escape(heading)}</h2>\n{content}</section>'
        for heading, content in sections.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body>
<header><h1>{escape(title)}</h1><dl class="facts">{listed}</dl>
{banner}
<div class="cards">{"".join(cards)}</div>
<nav>{links}</nav></header>
<main>
{body}
</main>
<footer>{escape(footer)}</footer>
</body></html>
"""


def escape(text: object) -> str:
    """Text as HTML, cut if it is longer than anything that a person reads."""
    return html.escape(plain_text(text, LONGEST))


def preformatted(text: str) -> str:
    """Text in lines, whole."""
    return f"<pre>{html.escape(plain_text(text))}</pre>"


def with_code(text: str) -> str:
    """Text as HTML, where `backquotes` enclose what can be typed."""
    parts = html.escape(plain_text(text)).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def card(figure: str, name: str, detail: str, tone: str = "") -> str:
    """One large number, in the colour of its ``tone``."""
    lines = f"<b>{escape(figure)}</b><span>{escape(name)}</span><small>{escape(detail)}</small>"
    return f'<div class="card {tone}">{lines}</div>'


def verdict_banner(tone: str, headline: str, sentence: str) -> str:
    """The verdict, in the colour of its ``tone``."""
    return f'<p class="verdict {tone}"><b>{escape(headline)}:</b> {escape(sentence)}</p>'


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,), narrow: bool = False
) -> str:
    """A table that scrolls sideways where it does not fit.

    Args:
        headings: One text for each column.
        rows: Cells as HTML.
        words: The columns that hold words and are aligned left.
        narrow: Whether the table is less wide than the page.
    """
    classes = [' class="word"' if column in words else ' class="figure"' for column in range(len(headings))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(classes, headings, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    outer = "scroll narrow" if narrow else "scroll"
    return f'<div class="{outer}"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def figure(draw: Callable[[int], str], caption: str = "") -> str:
    """A chart in two drawings, of which the page shows the one that fits the screen.

    Args:
        draw: Draws the chart at a width in pixels.
        caption: Text below it.
    """
    drawings = "".join(
        f'<div class="{screen}">{drawn(partial(draw, width))}</div>'
        for screen, width in (("desktop", DESKTOP), ("phone", PHONE))
    )
    return f"<figure>{drawings}{_caption(caption)}</figure>"


def picture(draw: Callable[[], str], caption: str, kind: str) -> str:
    """A chart that reads at every size; ``kind`` is its CSS class."""
    return f'<figure class="{kind}">{drawn(draw)}{_caption(caption)}</figure>'


def drawn(draw: Callable[[], str], what: str = "This chart") -> str:
    """A part of the page, or in its place the reason why it is left out."""
    try:
        return draw()
    except InputError as error:
        logger.warning("%s is left out of the page: %s", what, error)
        return note(f"{what} is left out: {error}.")


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def legend(colours: Mapping[str, str]) -> str:
    """Names behind their colours, which are names in the palette."""
    return '<div class="legend">' + "".join(_dot(shade, name) for name, shade in colours.items()) + "</div>"


def paragraph(*sentences: str) -> str:
    """Plain sentences, where `backquotes` enclose what can be typed."""
    return f"<p>{with_code(' '.join(sentences))}</p>"


def note(text: str) -> str:
    """Small print."""
    return f'<p class="note">{escape(text)}</p>'


def details(summary: str, content: str) -> str:
    """HTML that is hidden until the reader opens it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def with_interval(value: Interval, best: bool) -> str:
    """A mean over its interval; the best of a column is bold."""
    mean = f"<b>{value.mean:.4f}</b>" if best else f"{value.mean:.4f}"
    return f"{mean}<small>{value.low:.4f}–{value.high:.4f}</small>"


def swatch(method: str) -> str:
    """A method's name behind its colour."""
    return _dot(colour(method), label(method))


def _dot(shade: str, name: str) -> str:
    dot = f'<span class="dot" style="background:var(--{shade})"></span>'
    return f'<span class="method">{dot}{escape(name)}</span>'
