import pytest

from features.starter_config.names import ITEM, TIME, USER, likeness, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CustomerID", ["customer", "id"]), ("customer_id", ["customer", "id"]),
        ("unixReviewTime", ["unix", "review", "time"]),
        ("Weight kg", ["weight", "kg"]), ("HTTPStatus", ["http", "status"]), ("t_dat", ["t", "dat"]), ("", []),
    ],
)  # fmt: skip
def test_a_name_has_words_however_they_are_joined(name, words):
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("name", "vocabulary", "like"),
    [
        ("user", USER, 3), ("userId", USER, 3), ("USERID", USER, 3), ("Kundennummer", USER, 3),
        ("our_user_no", USER, 2),
        ("user_agent", USER, 1), ("quantity", USER, 0), ("StockCode", ITEM, 3), ("parent_asin", ITEM, 2),
        ("Artikel-Nr", ITEM, 3),
        ("item_price", ITEM, 1), ("products", ITEM, 2), ("description", ITEM, 0), ("InvoiceDate", TIME, 2),
        ("created_at", TIME, 3),
        ("ts", TIME, 3), ("date_of_birth", TIME, 1), ("price", TIME, 0),
    ],
)  # fmt: skip
def test_names_are_like_a_vocabulary_by_degrees(name, vocabulary, like):
    assert likeness(name, vocabulary)[0] == like


def test_the_earlier_word_of_a_vocabulary_wins():
    assert likeness("user_id", USER) > likeness("session_id", USER)
