import datetime

import pytest

REVIEWS = """\
{u'username': u'Ann', u'hours': 0.1, u'product_id': u'725280', u'date': u'2017-12-17', u'text': u'It\\'s',u'user_id': 7}
{u'username': u'Bob', u'hours': 12, u'product_id': u'328100', u'date': u'2017-08-02', u'early_access': False}
"""
GAMES = """\
{u'app_name': u'Kitty', u'id': u'725280', u'price': 4.99, u'genres': [u'Action'], u'tags': ['Indie'], u'publisher': 'K'}
{u'title': u'Free', u'id': u'328100', u'price': u'Free To Play', u'developer': u'D', u'specs': [u'Single-player']}
"""
OWNED = """\
{'user_id': '76', 'items_count': 2, 'items': [{'item_id': '10', 'item_name': 'CS', 'playtime_forever': 6}, \
{'item_id': '20', 'item_name': 'TF', 'playtime_forever': 0}]}
{'user_id': '77', 'items_count': 0, 'items': []}
"""


def test_reviews_and_games(import_files):
    steam = import_files("steam", {"steam_reviews.json.gz": REVIEWS, "steam_games.json.gz": GAMES}, as_folder=True)
    days = [datetime.datetime(2017, 12, 17), datetime.datetime(2017, 8, 2)]
    assert steam.events.rows() == [("Ann", "725280", 0.1, days[0]), ("Bob", "328100", 12.0, days[1])]
    assert steam.items.select("item_id", "title", "price").rows() == [
        ("725280", "Kitty", 4.99),
        ("328100", "Free", None),
    ]
    assert steam.features == {"genres", "tags", "specs", "developer", "publisher", "title", "price"}
    assert "steam_games.json.gz: price cannot be read in 1 of 2 rows, such as 'Free To Play'" in steam.notes


def test_owned_games_name_the_items_and_have_no_time(import_files):
    steam = import_files("steam", {"australian_users_items.json": OWNED})
    assert steam.events.rows() == [("76", "10", 6.0), ("76", "20", 0.0)]
    assert steam.items.rows() == [("10", "CS"), ("20", "TF")]
    assert steam.config.data.time is None


def test_the_collection_on_kaggle(import_files):
    files = {
        "recommendations.csv": "app_id,helpful,date,hours,user_id\n975370,0,2022-12-12,36.3,51580\n",
        "games.csv": "app_id,title,price_final\n975370,\"Dwarf, the\",29.99\n",
    }  # fmt: skip
    steam = import_files("steam", files)
    assert steam.events.rows() == [("51580", "975370", 36.3, datetime.datetime(2022, 12, 12))]
    assert steam.items.rows() == [("975370", "Dwarf, the", 29.99)]


def test_events_with_and_without_times_are_not_mixed(import_files):
    with pytest.raises(ValueError, match="the events of these files have different times"):
        import_files("steam", {"steam_reviews.json": REVIEWS, "australian_users_items.json": OWNED})
