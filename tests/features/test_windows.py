from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from features.windows import TEST, TRAINING, VALIDATION, Cuts, UserClock, assign_windows, find_cuts
from recsys.config import SplitConfig


def windows_of(times: list[Any] | pl.Series, start: Any, end: Any, users: list[int] | None = None) -> list[int]:
    log = pl.DataFrame({"user_id": users or list(range(len(times))), "time": times})
    cuts = cuts_of(SplitConfig(kind="temporal", val_start=start, test_start=end), log)
    assert cuts is not None
    return assign_windows(cuts, log)["window"].to_list()


def cuts_of(split: SplitConfig, *shards: pl.DataFrame) -> Cuts | None:
    clocks = [UserClock.of(shard.sort("user_id", *shard.columns[1:])) for shard in shards]
    times = [shard["time"] for shard in shards if "time" in shard.columns]
    return find_cuts(split, lambda: times, pl.concat(times) if times else None, [clock for clock in clocks if clock])


def test_other_splits_have_no_cuts() -> None:
    assert cuts_of(SplitConfig(), pl.DataFrame({"user_id": [1, 2], "time": [1, 2]})) is None


DAYS = [date(2020, 1, day) for day in (1, 2, 3)]
TIMES = [datetime(2020, 1, day) for day in (1, 2, 3)]


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ([1, 2, 3], 2, 3),
        ([1, 2, 3], 1.5, 2.5),
        ([1.0, 2.0, 3.0], 2, 2.5),
        ([1, 2, 3], "2", "3"),
        (["2020-01-01", "2020-01-02", "2020-01-03"], "2020-01-02", "2020-01-03"),
        (DAYS, "2020-01-02", "2020-01-03"),
        (TIMES, "2020-01-02", "2020-01-02T00:00:01"),
        (TIMES, "2020-01-02 00:00", "2020-01-03T00:00:00Z"),
        (pl.Series(TIMES).dt.cast_time_unit("ns"), "2020-01-02", "2020-01-03"),
        (pl.Series(TIMES).dt.replace_time_zone("Europe/Berlin"), "2020-01-02", "2020-01-02T23:00:00+00:00"),
        *((times, "34%", "67%") for times in ([1, 2, 3], [1.0, 2.0, 3.0], ["a", "b", "c"], DAYS, TIMES)),
    ],
)
def test_cuts_of_every_clock(times: Any, start: Any, end: Any) -> None:
    assert windows_of(times, start, end) == [TRAINING, VALIDATION, TEST]
    assert windows_of(pl.Series(times).reverse(), start, end) == [TEST, VALIDATION, TRAINING]


def test_shares_are_shares_of_the_events() -> None:
    assert windows_of(list(range(10)), "70%", "85%") == [0] * 7 + [1, 2, 2]
    assert windows_of([0, 1, 2, 3, 3, 3, 3, 9, 9, 9], "50%", "70%") == [0] * 3 + [1] * 4 + [2] * 3


@pytest.mark.parametrize(
    ("times", "start", "end", "key"),
    [
        ([1, 2], None, 2, "val_start"), ([1, 2], 1, None, "test_start"), ([1, 2], "100%", 2, "val_start"),
        ([1, 2], "-1%", 2, "val_start"), ([1, 2], "x%", 2, "val_start"), ([1, 2], "nan%", 2, "val_start"),
        ([1, 2], "inf%", 2, "val_start"), ([1, 2], "soon", 2, "val_start"), ([1, 2], 1, "2020-01-01", "test_start"),
        (DAYS, 1577836800, "2020-01-02", "val_start"), (DAYS, "soon", "2020-01-02", "val_start"),
        (["a", "b"], 1, "b", "val_start"),
    ],
)  # fmt: skip
def test_cuts_that_do_not_fit_the_clock(times: Any, start: Any, end: Any, key: str) -> None:
    with pytest.raises(ValueError, match=rf"split.{key} is .*; expected a value of the time column \(.*\), or a share"):
        windows_of(times, start, end)


@pytest.mark.parametrize(("start", "end"), [(2, 2), (3, 2), ("60%", "50%"), ("50%", "55%")])
def test_cuts_in_the_wrong_order(start: Any, end: Any) -> None:
    with pytest.raises(
        ValueError, match=r"val_start is .* and split.test_start is .*; expected the first to come before"
    ):
        windows_of([1, 2, 3, 4], start, end)


def test_a_temporal_split_needs_a_clock() -> None:
    log = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "time": [0, 1, 0, 1, 7]})
    split = SplitConfig(kind="temporal", val_start=1, test_start=2)
    with pytest.raises(ValueError, match=r"needs a time column; found none: set data\.time"):
        cuts_of(split, log.drop("time"))
    for shards in ([log], [log.head(2), log.slice(2)], [log.head(4), log.tail(1), log.head(0)]):
        with pytest.raises(ValueError, match=r"2 of 3 users start at the same time: .* position within each user"):
            cuts_of(split, *shards)


def test_days_are_a_clock_even_if_many_users_start_on_the_first_day() -> None:
    start, end = "2020-01-02", "2020-01-03"
    assert windows_of([DAYS[0], DAYS[1], DAYS[0], DAYS[2]], start, end, [1, 1, 2, 2]) == [0, 1, 0, 2]
    assert windows_of([1, 1, 2, 1, 3], 2, 3, [1, 1, 1, 2, 2]) == [0, 0, 1, 0, 2]  # user 1 has two events on day 1
    assert windows_of([1, 2, 3], 2, 3, [1, 1, 1]) == [0, 1, 2]
