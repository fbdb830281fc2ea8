import html
from xml.etree import ElementTree

import pytest

from recsys.actions.answers import Item
from recsys.plain_text import REPLACEMENT, one_line, plain_text
from training.drift.figures import ItemInList

BAD = ["\x00", "\x08", "\x1b", "\r", "\x7f", "\x85", "\ud800", "\udfff", "\u202e", "\u2066", "\ufdd0", "\ufffe",
       "\uffff", "\U0001fffe", "\U0010ffff"]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{ord(bad):x}")
def test_what_no_page_accepts_is_replaced(bad):
    clean = plain_text(f"a{bad}b")
    assert clean == f"a{REPLACEMENT}b"
    ElementTree.fromstring(f"<a>{html.escape(clean)}</a>".encode())


@pytest.mark.parametrize("good", ["", "naïve é", "a\tb\nc", "👩‍👩‍👧 🏳️‍🌈", "שלום‏ 123", "</script>", '"\\', "\u200d"])
def test_other_text_stays_as_it_is(good):
    assert plain_text(good) == good


def test_long_text_is_cut_and_values_are_written_out():
    assert plain_text("x" * 50, 10) == "x" * 9 + "…"
    assert plain_text("x" * 10, 10) == "x" * 10
    assert plain_text("a\r\nb") == "a\nb"
    assert plain_text(None) == "None"
    assert plain_text(7) == "7"


def test_one_line_of_a_terminal_holds_no_controls():
    assert one_line("a\x1b[2Jb\r\nc\td\x07") == "a\ufffd[2Jb c d\ufffd"
    assert one_line(5) == "5"


def test_lists_of_people_are_printed_without_controls():
    assert str(Item(item_id="i\x1b", title="T\x1b]0;x\x07\n")) == "T\ufffd]0;x\ufffd"
    assert str(ItemInList(item_id="i\x1b", title="T\x9b")) == "“T\ufffd” (i\ufffd)"
