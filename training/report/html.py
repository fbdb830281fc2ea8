"""The report's HTML: escaped text, tables, figures, and the page around them. Nothing is loaded from anywhere."""

import html
from collections.abc import Mapping, Sequence

from recsys.metrics import Interval

from .charts import COLOURS, INK, label

STYLE = """
:root { --ink: #1c2530; --muted: #5b6673; --line: #dfe3e8; --soft: #f5f7f9; --blue: #1d5fae; --good: #1a7f4b }
* { box-sizing: border-box }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
main, header { max-width: 980px; margin: 0 auto; padding: 0 24px }
header { padding-top: 40px }
h1 { font-size: 34px; line-height: 1.15; margin: 0; letter-spacing: -.02em }
h2 { font-size: 23px; margin: 0 0 14px; letter-spacing: -.01em }
h3 { font-size: 15px; margin: 22px 0 6px }
.id { color: var(--muted); margin: 6px 0 22px } code, pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace }
.verdict { border-left: 8px solid; border-radius: 6px; padding: 16px 20px;
  font-size: 19px; line-height: 1.45; max-width: none }
.verdict b { font-size: 23px }
.good { background: #e6f4ec; border-color: #1a7f4b } .good b { color: #13653a }
.unclear { background: #fdf3dd; border-color: #c78a10 } .unclear b { color: #855a00 }
.bad { background: #fbe8e5; border-color: #c0392b } .bad b { color: #9c2b1f }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 18px 0 }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px }
.card b, .card span, .card small { display: block } .card b { font-size: 25px; letter-spacing: -.01em }
.mark { display: inline-block; width: 24px; height: 24px; border-radius: 50%; margin-right: 9px; text-align: center;
  font-weight: 700; font-size: 14px; line-height: 24px }
.mark.good { color: #13653a } .mark.unclear { color: #855a00 } .mark.bad { color: #9c2b1f }
.card.good, .card.unclear, .card.bad { background: none; border-color: var(--line) }
small, .note, figcaption { color: var(--muted); font-size: 13px }
nav { font-size: 14px; margin: 18px 0 0 } nav a { margin-right: 16px; white-space: nowrap } a { color: var(--blue) }
section { border-top: 1px solid var(--line); margin-top: 34px; padding-top: 26px }
p { margin: 10px 0; max-width: 76ch } ul { margin: 6px 0; padding-left: 20px }
figure { margin: 8px 0 14px } svg { max-width: 100%; height: auto; display: block; overflow: visible }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; font-variant-numeric: tabular-nums }
th, td { padding: 7px 10px; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line) }
th { color: var(--muted); font-weight: 600; font-size: 13px; vertical-align: bottom }
th.word, td.word { text-align: left } td.figure { white-space: nowrap }
td.figure small { display: block; font-size: 12px } .narrow { max-width: 460px }
.method { white-space: nowrap }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 7px }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 18px }
.three h3 { margin-top: 0 }
.users { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 16px }
.user { border: 1px solid var(--line); border-radius: 6px; padding: 14px 18px; break-inside: avoid }
.user h3 { margin: 0 0 8px } .user .columns { display: grid; grid-template-columns: 1fr 1fr; gap: 18px }
.user ol, .user ul { margin: 4px 0; padding-left: 20px; font-size: 14px; line-height: 1.4 } .user li { margin: 3px 0 }
.user .hit { color: var(--good); font-weight: 600 } .user p { font-size: 14px; margin: 8px 0 0 }
pre { background: var(--soft); border-radius: 6px; padding: 14px 16px; overflow-x: auto;
  margin: 8px 0; columns: 2 380px }
footer { color: var(--muted); font-size: 13px; margin: 34px auto; max-width: 980px; padding: 0 24px }
@media (max-width: 560px) { h1 { font-size: 27px } .verdict { font-size: 17px } main, header { padding: 0 14px }
  header { padding-top: 24px } .wide { overflow-x: auto } .wide svg { min-width: 600px }
  .users { grid-template-columns: 1fr } .user .columns { grid-template-columns: 1fr } }
@media print { nav { display: none } section, figure, table { break-inside: avoid } body { font-size: 13px } }
"""


def page(title: str, subtitle: str, verdict: str, cards: str, sections: Mapping[str, str], *, footer: str) -> str:
    """The whole document. title and footer are text, the rest is HTML; sections by heading."""
    anchors = {heading: f"section-{number}" for number, heading in enumerate(sections, 1)}
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for heading, anchor in anchors.items())
    body = "\n".join(
        f'<section id="{anchors[heading]}"><h2>{escape(heading)}</h2>\n{content}</section>'
        for heading, content in sections.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body>
<header><h1>{escape(title)}</h1><p class="id">{subtitle}</p>
{verdict}
<div class="cards">{cards}</div>
<nav>{links}</nav></header>
<main>
{body}
</main>
<footer>{escape(footer)}</footer>
</body></html>
"""


def escape(text: object) -> str:
    """Text as HTML."""
    return html.escape(str(text))


def card(figure: str, name: str, detail: str, tone: str = "") -> str:
    """One large number, in the colour of its ``tone``."""
    words = f"<b>{escape(figure)}</b><span>{escape(name)}</span><small>{escape(detail)}</small>"
    return f'<div class="card {tone}">{words}</div>'


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,), narrow: bool = False
) -> str:
    """headings are text, cells HTML; the columns in ``words`` are aligned left."""
    width = "wide narrow" if narrow else "wide"
    kinds = [' class="word"' if place in words else ' class="figure"' for place in range(len(headings))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, headings, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="{width}"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def figure(svg: str, caption: str = "") -> str:
    """A chart, which scrolls sideways on a phone."""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="wide">{svg}</div>{words}</figure>'


def paragraph(*sentences: str) -> str:
    """Plain sentences."""
    return f"<p>{escape(' '.join(sentences))}</p>"


def note(text: str) -> str:
    """Small print."""
    return f'<p class="note">{escape(text)}</p>'


def with_interval(value: Interval, best: bool) -> str:
    """A mean over its interval; the best of a column is bold."""
    mean = f"<b>{value.mean:.4f}</b>" if best else f"{value.mean:.4f}"
    return f"{mean}<small>{value.low:.4f}–{value.high:.4f}</small>"


def swatch(method: str) -> str:
    """A method's name behind its colour."""
    name = label(method)
    dot = f'<span class="dot" style="background:{COLOURS.get(name, INK)}"></span>'
    return f'<span class="method">{dot}{escape(name)}</span>'
