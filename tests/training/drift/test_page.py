import re

import pytest

from training.drift.compare import compare_bundles
from training.drift.figures import Sides
from training.drift.page import Verdict, lines, render, verdict


def test_a_bundle_and_itself_are_identical(model, histories):
    figures = compare_bundles(model, model, histories)
    assert verdict(figures) == Verdict("identical", "A and B are the same bundle.")
    assert lines(figures)[0] == "identical: A and B are the same bundle."
    assert "<b>Identical:</b> A and B are the same bundle." in render(figures)


def test_another_bundle_with_the_same_answers_is_identical(model, twin, histories):
    figures = compare_bundles(model, twin, histories)
    assert lines(figures)[0] == "identical: A and B give the same answers to all of the 300 users."


def changes(figures, **update):
    """The figures of two bundles whose answers differ somewhere."""
    return figures.model_copy(update={"same_lists": False} | update)


@pytest.mark.parametrize(
    ("overlap", "hubs", "level"),
    [
        (0.8, 0, "small"),
        (0.79, 0, "moderate"),
        (0.5, 0, "moderate"),
        (0.49, 0, "large"),
        (0.9, 1, "moderate"),
    ],
)
def test_the_level_follows_the_overlap_and_the_hubs(model, twin, histories, overlap, hubs, level):
    figures = compare_bundles(model, twin, histories)
    changed = changes(figures, overlap=overlap, hubs=figures.items[:hubs])
    assert verdict(changed).level == level


def test_the_sentence_says_what_stands_out(model, twin, histories):
    figures = compare_bundles(model, twin, histories)

    def sentence(a, b):
        side = figures.sides.a
        sides = Sides(a=side.model_copy(update=a), b=side.model_copy(update=b))
        return verdict(changes(figures, sides=sides)).sentence

    narrower = sentence({"coverage": 0.9}, {"coverage": 0.5})
    assert narrower.endswith("keep their first. A shows 90% of its catalogue, B 50%.")
    assert sentence({"popular": 0.2}, {"popular": 0.45}).endswith(
        "The most popular tenth of the items is 20% of what A recommends, 45% of what B does."
    )


def test_the_lines_name_both_sides_the_movers_and_a_few_lists(model, shuffled, histories):
    figures = compare_bundles(model, shuffled, histories)
    told = lines(figures, ("shop version 1 (champion)", "other/bundle"))
    assert told[1:3] == ["A: shop version 1 (champion)", "B: other/bundle"]
    gain, lose = (
        next(row for row, line in enumerate(told) if line.startswith(f"{word} most")) for word in ("gain", "lose")
    )
    assert len(figures.gains) == len(figures.losses) == lose - gain - 1 == 5
    first = figures.gains[0]
    assert told[gain + 1].split()[-2:] == [f"{first.a:.1%}", f"{first.b:.1%}"]
    user = figures.examples[0]
    shown = told.index(f"user {user.user_id} keeps {user.common} of 10")
    assert told[shown + 1].startswith(f"  A: {user.a[0].title[:29]}")
    assert told[shown + 2].startswith(f"  B: {user.b[0].title[:29]}")
    assert not any(line.startswith(("gain", "user")) for line in lines(compare_bundles(model, model, histories)))


def test_the_page_names_both_sides_the_movers_and_a_few_lists(model, crowded, histories):
    figures = compare_bundles(model, crowded[0], histories)
    page = render(figures, ("<shop> version 1", "other"))
    assert "&lt;shop&gt; version 1, <code>" in page
    assert "gains most" in page
    assert all(f"User {user.user_id} keeps {user.common} of 10." in page for user in figures.examples)


def test_the_page_loads_nothing_and_escapes(model, crowded, histories):
    figures = compare_bundles(model, crowded[0], histories)
    page = render(figures)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)|https?:|\ssrc=|xlink", page)
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; Sons" in page
    assert page.count("<svg") == 4
    assert not re.search("training report|evaluation.json", page)  # it is not that page
    assert render(figures) == page
    assert "No item became a hub" not in page
    assert "No item became a hub" in render(compare_bundles(model, model, histories))
