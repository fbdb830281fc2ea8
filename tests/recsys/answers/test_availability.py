"""Items are there from one moment until another, however these are stored."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from recsys.answers import Availability
from recsys.errors import InputError

DAY = 86_400.0
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
SECONDS = FIRST.timestamp()


def there(availability, *moments):
    return [availability.at(moment)[1:].tolist() for moment in moments]


@pytest.mark.parametrize(
    "until",
    [
        [date(2026, 3, 1), None], [datetime(2026, 3, 2), None], [FIRST.replace(day=2), None], [SECONDS + DAY, None],
        [int(SECONDS + DAY), None], [SECONDS + DAY, float("nan")],
    ],
)  # fmt: skip
def test_an_item_is_there_until_just_before_the_moment_and_a_date_counts_to_its_end(until):
    availability = Availability(pl.DataFrame({"available_until": until}, strict=False))
    assert there(availability, SECONDS, SECONDS + DAY - 1, SECONDS + DAY, SECONDS) == [
        [True, True], [True, True], [False, True], [True, True],
    ]  # fmt: skip


def test_an_item_is_there_from_the_moment_on():
    items = pl.DataFrame(
        {"available_from": [date(2026, 3, 1), date(2026, 3, 2)], "available_until": [None, date(2026, 3, 2)]}
    )
    assert there(Availability(items), SECONDS - 1, SECONDS, SECONDS + DAY, SECONDS + 2 * DAY) == [
        [False, False], [True, False], [True, True], [True, False],
    ]  # fmt: skip
    assert Availability.limits(items)
    assert not Availability.limits(pl.DataFrame({"until": [1]}))


def test_position_0_is_never_there_and_text_is_refused():
    assert not Availability(pl.DataFrame({"available_from": [None]}, schema={"available_from": pl.Date})).at(0.0)[0]
    with pytest.raises(InputError, match="available_from is String"):
        Availability(pl.DataFrame({"available_from": ["tomorrow"]}))


def test_what_a_refresh_removed_is_never_there():
    items = pl.DataFrame({"removed_from_catalogue": [False, True, None]})
    assert Availability.offered(items).tolist() == [False, True, False, True]
    assert Availability.offered(items.select(other=1)) is None
