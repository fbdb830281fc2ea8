import re
from dataclasses import replace

import pytest

from training.report import render


@pytest.fixture(scope="module")
def page(records):
    return render.render_report(*records)


def test_the_page_holds_every_section_in_order(page):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Diagnosis", "Is it better than simple methods?", "Where is it good, and where not?", "A few users", "Training",
        "Geometry of the space", "Index", "Popularity bias", "Data", "Configuration and versions",
    ]  # fmt: skip
    charts = [section.count("<svg") for section in page.split("<section")[1:]]
    assert charts == [0, 2, 2, 0, 3, 6, 0, 2, 0, 0]
    assert page.index('class="verdict') < page.index("<section")


def test_the_head_says_what_was_trained_when_and_for_how_long(page, records, inputs):
    head = page[: page.index("<section")]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", head))
    assert facts["Date"] == "29 November 2026, 08:05 UTC"
    assert facts["Version"] == '<span id="version">books &amp; co, number assigned on registration</span>'
    assert facts["Bundle"] == f"<code>{records[2].bundle_id[:12]}</code>"
    assert re.fullmatch(r"[\d.]+ (seconds|minutes), 1 epoch", facts["Trained"])
    assert facts["Data"] == "60 users, 30 items, 360 training events"
    assert re.fullmatch(r"recsys \d+\.\d+\.\d+", facts["Written by"])


def test_a_registered_version_is_named_and_naming_it_twice_changes_nothing(page):
    once = render.with_version(page, "books & co", 3)
    assert '<span id="version">books &amp; co version 3</span>' in once
    assert "on registration" not in once
    assert len(once.splitlines()) == len(page.splitlines())
    assert render.with_version(once, "books & co", 3) == once


def test_four_cards_leave_none_alone(page):
    assert page.count('<div class="card ') == 4


def test_a_card_without_a_baseline_score_shows_the_difference(inputs):
    ease = inputs.evaluation.methods["ease"] | {"ndcg@10": replace(inputs.evaluation.headline_of("ease"), mean=0.0)}
    difference = replace(inputs.evaluation.differences["ease"], mean=-0.99, low=-0.995, high=-0.98)
    changed = inputs.evaluation.model_copy(
        update={
            "methods": inputs.evaluation.methods | {"ease": ease},
            "differences": inputs.evaluation.differences | {"ease": difference},
        }
    )
    assert "<b>−0.9900</b><span>against EASE</span>" in render.cards(changed)[1]


def test_the_page_loads_nothing(page):
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)|https?:|\ssrc=|xlink", page)


def test_ids_are_distinct(page):
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len({*ids})


def test_the_same_inputs_give_the_same_bytes(records, page):
    assert render.render_report(*records) == page


def test_texts_of_the_data_are_escaped(page):
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; Sons" in page  # a title on the map
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "<b>odd" not in page
    assert "<h1>books &amp; co</h1>" in page


def test_the_page_holds_data_and_settings(inputs, page):
    assert "485 rows were read and 480 kept as events" in page
    assert "5 are in quarantine.parquet: 2 repeats of an earlier row, 3 without an item id" in page
    assert "embedding_dim = 8" in page
    assert "# dropout = 0.5  (chosen for the data)" in page
    assert inputs.retriever.bundle_id in page
    assert inputs.dataset.digest in page
