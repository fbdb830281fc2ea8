import re

from training.report import palette


def test_every_colour_has_a_dark_counterpart():
    assert palette.LIGHT.keys() == palette.DARK.keys()
    assert {*palette.CATEGORIES} <= palette.LIGHT.keys()


def test_colours_of_a_chart_become_variables():
    assert palette.with_variables('<text fill="#1c2530">#1c2530</text>') == '<text fill="var(--ink)">#1c2530</text>'


def contrast(one: str, other: str) -> float:
    """The ratio of the luminances of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable_on_light_and_dark_screens():
    for colours in (palette.LIGHT, palette.DARK):
        for name in ("ink", "muted", "blue", "good", "bad", "unclear"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, name
        for name in ("good", "bad", "unclear"):
            assert contrast(colours["ink"], colours[f"{name}-soft"]) >= 4.5
            assert contrast(colours[name], colours[f"{name}-soft"]) >= 4.5


def test_the_stylesheet_follows_the_readers_preference():
    light, dark = palette.stylesheet().split("@media (prefers-color-scheme: dark)")
    assert re.search(r"--ink: #1c2530;", light)
    assert re.search(r"--ink: #e4e8ec;", dark)
