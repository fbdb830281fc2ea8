import pytest

from features.starter_config.passages import LEAST_WORDS, MAX_WORDS, Passage, cut

PAGE = """\
---
author: me
---
Before any heading.

# Serving *fast* with [code](x.md) {#anchor}

One `service`.

```python
# no heading

## nor this
```

## Filters ##
Only books.

Setext
------
Text below.
* a list
---
after a rule

# Next
#hashtag
"""


def words(count, word="word"):
    return " ".join([word] * count)


def titles(text, **options):
    return [(passage.title, passage.first_line, passage.last_line) for passage in cut(text, "name", **options)]


def test_a_page_is_cut_at_its_headings():
    assert titles(PAGE) == [
        ("name", 4, 4), ("Serving fast with code", 8, 14), ("Serving fast with code > Filters", 17, 17),
        ("Serving fast with code > Setext", 21, 24), ("Next", 27, 27),
    ]  # fmt: skip
    fenced = cut(PAGE, "name")[1]
    assert fenced.text == "\n".join(PAGE.split("\n")[7:14])


def test_headings_of_no_first_level_stand_under_the_name():
    assert titles("## B\ntext\n#### D\ntext\n### C\ntext\n") == [
        ("name > B", 2, 2), ("name > B > D", 4, 4), ("name > B > C", 6, 6),
    ]  # fmt: skip


def test_plain_text_has_no_headings():
    assert titles("# not a heading\n```\n\nend", is_markdown=False) == [("name", 1, 4)]


def test_paragraphs_stay_whole_and_share_a_passage_while_they_fit():
    text = "\n\n".join(words(count) for count in (90, 100, 50, 60))
    assert titles(text) == [("name", 1, 3), ("name", 5, 7)]
    assert titles(f"{words(MAX_WORDS)}\n\n{words(LEAST_WORDS - 1)}") == [("name", 1, 3)]
    assert titles(f"{words(MAX_WORDS)}\n\n{words(LEAST_WORDS)}") == [("name", 1, 1), ("name", 3, 3)]


def test_a_block_of_code_that_fits_is_never_cut():
    code = "\n".join(["```", *[words(10), ""] * 10, "```"])
    assert titles(f"{words(120)}\n\n{code}\n") == [("name", 1, 1), ("name", 3, 24)]
    long = "\n".join(["~~~~", *[words(10)] * 50, "```", "~~~~", "# Heading", "text"])
    assert titles(long) == [("name", 1, 20), ("name", 21, 40), ("name", 41, 53), ("Heading", 55, 55)]


def test_lines_that_are_too_long_are_cut_between_sentences_and_words():
    sentence = f"{words(79)} end."
    pieces = cut(" ".join([sentence] * 5), "name")
    assert [(piece.text.count("end."), piece.first_line, piece.last_line) for piece in pieces] == [
        (2, 1, 1), (2, 1, 1), (1, 1, 1),
    ]  # fmt: skip
    assert [len(piece.text.split()) for piece in cut(words(450, "ab"), "name")] == [200, 200, 50]
    assert [len(piece.text) for piece in cut("x" * 3500, "name")] == [1600, 1600, 300]


def test_what_has_no_spaces_is_cut_by_its_length_and_nothing_is_lost():
    text = "夏の庭は静かだった。" * 400
    pieces = cut(f"# 題\n{text}", "name")
    assert len(pieces) > 2
    assert max(len(piece.text) for piece in pieces) <= 8 * MAX_WORDS + 8
    assert "".join(piece.text.replace(" ", "") for piece in pieces) == text
    assert {piece.title for piece in pieces} == {"題"}


@pytest.mark.parametrize("text", ["", "\n\n", "# Only\n\n## Headings", "---\n\n***", "\ufeff"])
def test_no_text_is_no_passage(text):
    assert cut(text, "name") == []


def test_marks_and_line_ends_of_windows_are_read():
    assert cut("\ufeff# A\r\n\r\none\r\ntwo\r\n", "name") == [Passage(("A",), "one\ntwo", 3, 4)]


def test_an_open_block_of_code_ends_with_the_text():
    assert titles("# A\n```\n# B\n") == [("A", 2, 4)]
