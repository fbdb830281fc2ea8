"""The colours of the pages, for a light and for a dark screen.

Charts are drawn with the light colours. In the page every colour is a CSS variable, which follows the reader's
preference, so that one drawing reads well on both.
"""

LIGHT = {
    "paper": "#ffffff", "soft": "#f5f7f9", "ink": "#1c2530", "muted": "#5b6673",
    "line": "#dfe3e8", "grid": "#e6e9ed", "axis": "#b6bec7", "other": "#c3c9d0",
    "blue": "#1d5fae", "violet": "#7a5ea8", "orange": "#d9822b", "grey": "#8a94a0", "teal": "#2a9d8f",
    "red": "#c8442f", "yellow": "#b8a000", "pink": "#d36ba6", "brown": "#7b5338", "sky": "#4aa3c7", "olive": "#5f7d2b",
    "good": "#177245", "good-soft": "#e6f4ec", "unclear": "#8a5d00", "unclear-soft": "#fdf3dd",
    "bad": "#b03325", "bad-soft": "#fbe8e5",
}  # fmt: skip
DARK = {
    "paper": "#14181d", "soft": "#1d232a", "ink": "#e4e8ec", "muted": "#9ba6b2",
    "line": "#323a43", "grid": "#2a3139", "axis": "#55606b", "other": "#5f6a76",
    "blue": "#5fa3ee", "violet": "#a98fdb", "orange": "#eda051", "grey": "#8f9aa6", "teal": "#45bfb0",
    "red": "#e8725e", "yellow": "#d3bb2e", "pink": "#e38dbf", "brown": "#b98d6c", "sky": "#6fbfe0", "olive": "#93b54f",
    "good": "#56c78a", "good-soft": "#163325", "unclear": "#e3b04b", "unclear-soft": "#362a10",
    "bad": "#f08a7b", "bad-soft": "#3c1d19",
}  # fmt: skip
CATEGORIES = ("blue", "orange", "teal", "red", "violet", "yellow", "pink", "brown", "sky", "olive")

_NAMES = {f'"{colour}"': f'"var(--{name})"' for name, colour in LIGHT.items()}


def stylesheet() -> str:
    """CSS that defines a variable for every colour, and its value on a dark screen."""
    light, dark = (" ".join(f"--{name}: {colour};" for name, colour in colours.items()) for colours in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light dark; {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def with_variables(svg: str) -> str:
    """Replace every colour of ``LIGHT`` that stands as an attribute's value by its CSS variable."""
    for colour, variable in _NAMES.items():
        svg = svg.replace(colour, variable)
    return svg
