import datetime

import pytest

from tests.features.importers.conftest import lines

REVIEW = {
    "review_id": "r",
    "user_id": "u",
    "business_id": "b",
    "stars": 3.0,
    "date": "2018-07-07 22:09:11",
    "text": "x",
}
BUSINESS = {
    "business_id": "b",
    "name": "N",
    "categories": "Restaurants, Food",
    "city": "C",
    "latitude": 1.5,
    "stars": 4.0,
}


@pytest.mark.parametrize("categories", ["Restaurants, Food", ["Restaurants", "Food"]], ids=["text", "list"])
def test_reviews_and_businesses_of_all_editions(import_files, categories):
    files = {
        "yelp_academic_dataset_review.json": lines(REVIEW, REVIEW | {"date": "2018-07-08"}),
        "yelp_academic_dataset_business.json": lines(BUSINESS | {"categories": categories}, BUSINESS),
    }
    yelp = import_files("yelp", files, as_folder=True)
    times = [datetime.datetime(2018, 7, 7, 22, 9, 11), datetime.datetime(2018, 7, 8)]
    assert yelp.events.rows() == [("u", "b", 3.0, time) for time in times]
    assert yelp.items.rows() == [("b", "N", ["Restaurants", "Food"], "C", 1.5)]
    assert "items: rows left out that repeat an id: 1" in yelp.notes
    assert yelp.features == {"title", "categories", "city", "latitude"}


def test_a_business_is_no_review(import_files):
    with pytest.raises(ValueError, match="no file holds events; expected events with user_id, business_id"):
        import_files("yelp", {"business.json": lines(BUSINESS)})
