import polars as pl

from recsys.synthetic.titles import GENRES
from recsys.synthetic.world import make_world


def test_titles_of_different_voices_of_a_genre_share_no_word() -> None:
    items = make_world(seed=0, num_users=1).items
    assert items["title"].is_unique().all()
    for genre, voices in GENRES.items():
        titles = [title.lower().split() for title in items.filter(pl.col("genre") == genre)["title"]]
        # "The _ _", "_ at _", "A _ _": the voice shows in the word that is not from the lists.
        words = [set().union(*(t for t in titles if mark in t)) for mark in ("the", "at", "a")]
        assert all(words)
        assert len(set().union(*words)) == sum(map(len, words)), f"two voices of {genre} share a word"
        assert sum(len(w) for w in words) >= 12 * len(voices)


def test_more_items_than_titles_come_as_volumes() -> None:
    titles = make_world(seed=0, num_users=1, num_items=2_500).items["title"]
    assert titles.is_unique().all()
    assert titles.str.ends_with(", Vol. 2").any()
