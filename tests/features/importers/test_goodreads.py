import datetime

import pytest

from tests.features.importers.conftest import lines

CSV = "user_id,book_id,is_read,rating,is_reviewed\n0,948,1,5,0\n0,947,0,0,0\n"
MAP = "book_id_csv,book_id\n948,111\n"
BOOKS = lines({
    "book_id": "111", "title": "T", "authors": [{"author_id": "5", "role": ""}], "publisher": "P",
    "language_code": "eng",
    "popular_shelves": [{"count": "3", "name": "to-read"}], "publication_year": "1999", "num_pages": "",
})  # fmt: skip


def test_interactions_with_times_and_books(import_files):
    row = {
        "user_id": "8842",
        "book_id": "111",
        "is_read": True,
        "rating": 5,
        "date_added": "Fri Aug 25 13:55:02 -0700 2017",
    }
    files = {"goodreads_interactions_poetry.json.gz": lines(row), "goodreads_books_poetry.json.gz": BOOKS}
    goodreads = import_files("goodreads", files, as_folder=True)
    assert goodreads.events.rows() == [("8842", "111", 5.0, "True", datetime.datetime(2017, 8, 25, 20, 55, 2))]
    assert goodreads.items.rows() == [("111", "T", ["5"], "P", "eng", ["to-read"], 1999.0, None)]
    assert goodreads.features == {"title", "authors", "publisher", "language", "shelves", "year", "pages"}


def test_the_csv_has_numbers_of_its_own(import_files):
    files = {"goodreads_interactions.csv": CSV, "goodreads_books.json": BOOKS}
    with pytest.raises(ValueError, match=r"other numbers .*; expected book_id_map\.csv"):
        import_files("goodreads", files)
    goodreads = import_files("goodreads", files | {"book_id_map.csv": MAP})
    assert goodreads.events.rows() == [("0", "111", 5.0, "1")]
    assert "events: rows left out without item_id: 1" in goodreads.notes
    assert goodreads.config.data.time is None


def test_the_csv_alone_keeps_its_numbers(import_files):
    assert import_files("goodreads", {"goodreads_interactions.csv": CSV}).events["item_id"].to_list() == ["948", "947"]
