import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from recsys.data import events

COLUMNS = {"user_id": "u", "item_id": "i", "time": "t"}


def log_of(users: list[Any], items: list[Any], times: list[Any] | None = None) -> pl.LazyFrame:
    columns = {"user_id": users, "item_id": items} | ({} if times is None else {"time": times})
    return pl.LazyFrame(columns).with_row_index("row")


def test_columns_take_our_names_and_rows_are_numbered(tmp_path: Path) -> None:
    pl.DataFrame({"row": [9, 9], "t": [3, 1], "i": ["a", "b"], "u": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    frame = events.scan_events(str(tmp_path / "x.parquet"), COLUMNS).collect()
    assert frame.to_dict(as_series=False) == {"row": [0, 1], "user_id": [1, 2], "item_id": ["a", "b"], "time": [3, 1]}
    unordered = events.scan_events(str(tmp_path / "x.parquet"), COLUMNS | {"time": None}).collect()
    assert unordered.columns == ["row", "user_id", "item_id"]
    renamed = events.scan_events(str(tmp_path / "x.parquet"), {"user_id": "row", "item_id": "u", "time": None})
    assert renamed.collect().to_dict(as_series=False) == {"row": [0, 1], "user_id": [9, 9], "item_id": [1, 2]}


def test_rows_count_on_from_file_to_file(tmp_path: Path) -> None:
    for name, users in (("b", [3]), ("a", [1, 2])):
        pl.DataFrame({"u": users, "i": users, "t": users}).write_parquet(tmp_path / f"{name}.parquet")
    frame = events.scan_events(str(tmp_path), COLUMNS).collect()
    assert frame.select("row", "user_id").rows() == [(0, 1), (1, 2), (2, 3)]


def test_dictionary_ids_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": ["b", "a"], "i": ["x", "y"], "t": [1, 2]}, schema_overrides={"u": pl.Categorical})
    frame.write_parquet(tmp_path / "x.parquet")
    assert events.scan_events(str(tmp_path / "x.parquet"), COLUMNS).collect()["user_id"].to_list() == ["b", "a"]


def test_a_missing_column_is_fatal(tmp_path: Path) -> None:
    pl.DataFrame({"u": [1], "i": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"test at .* has no column 't'; found u, i"):
        events.scan_events(str(tmp_path / "x.parquet"), COLUMNS, "test")


def test_a_folder_of_two_schemas_is_fatal(tmp_path: Path) -> None:
    pl.DataFrame({"u": [1], "i": [1], "t": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": ["1"], "i": [1], "t": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"u is Int64 in a.parquet, String in b.parquet") as caught:
        events.clean_events(events.scan_events(str(tmp_path), COLUMNS))
    assert "\n" not in str(caught.value)


def test_every_rejected_row_is_kept_with_its_reason() -> None:
    cleaned = events.clean_events(
        log_of(
            [1, None, 1, 1, 1, 1, None],
            ["a", "a", None, "a", "a", "b", None],
            [1.0, 1.0, 1.0, None, 1.0, math.nan, None],
        )
    )
    assert cleaned.log.select("row", "user_id", "item_id", "time").rows() == [(0, 0, 0, 1.0)]
    assert (cleaned.user_ids.to_list(), cleaned.item_ids.to_list()) == ([1], ["a"])
    assert cleaned.quarantine.select("row", "reason").rows() == [
        (1, "no user_id"), (2, "no item_id"), (3, "no time"), (4, "duplicate"), (5, "no time"), (6, "no user_id"),
    ]  # fmt: skip
    reasons = {"no user_id": 2, "no item_id": 1, "no time": 2, "duplicate": 1}
    assert cleaned.counts == events.LogCounts(rows=7, events=1, quarantined=reasons)


def test_a_nan_time_alone_is_quarantined() -> None:
    cleaned = events.clean_events(log_of([1, 2], [1, 2], [math.nan, 1.0]))
    assert cleaned.user_ids.to_list() == [2]
    assert cleaned.counts == events.LogCounts(rows=2, events=1, quarantined={"no time": 1})


def test_a_clean_log_passes_whole() -> None:
    cleaned = events.clean_events(log_of([1, 1, 2], [5, 6, 5]))
    assert cleaned.log.height == 3
    assert cleaned.quarantine.height == 0
    assert cleaned.quarantine.columns == ["row", "user_id", "item_id", "reason"]
    assert cleaned.counts == events.LogCounts(rows=3, events=3)


def test_same_items_at_other_times_are_no_duplicates() -> None:
    assert events.clean_events(log_of([1, 1, 1], [5, 5, 5], [1, 2, 1])).log["row"].to_list() == [0, 1]
    assert events.clean_events(log_of([1, 1, 2], [5, 5, 5])).log["row"].to_list() == [0, 2]
    assert events.clean_events(log_of([1, 1], [5, 5], [0.0, -0.0])).log["row"].to_list() == [0]


@pytest.mark.parametrize("rows", [[], [None], [None, None]])
def test_nothing_left_is_fatal(rows: list[None]) -> None:
    with pytest.raises(ValueError, match=f"no event is left of {len(rows)} after cleaning"):
        events.clean_events(log_of(rows, rows))


VALUES = st.one_of(st.none(), st.integers(0, 2))
TIMES = [None, 1, 2], [None, "a", "b"], [None, date(2020, 1, 1)], [None, datetime(2020, 1, 1)], [None, math.nan, 0.5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, st.integers(0, 2)), min_size=1, max_size=12), st.sampled_from(TIMES))
def test_clean_against_a_loop(rows: list[tuple[int | None, int | None, int]], times: list[Any]) -> None:
    picked = [(user, item, times[time % len(times)]) for user, item, time in rows]
    seen, kept = set(), []
    for row, event in enumerate(picked):
        if None not in event and event[2] == event[2] and event not in seen:
            kept.append(row)
        seen.add(event)
    log = pl.LazyFrame(
        picked, schema={"user_id": pl.Int64, "item_id": pl.Int64, "time": pl.Series(times).dtype}, orient="row"
    ).with_row_index("row")
    if not kept:
        with pytest.raises(ValueError, match="no event is left"):
            events.clean_events(log)
        return
    cleaned = events.clean_events(log)
    in_order = sorted(kept, key=lambda row: (picked[row][0], picked[row][2], row))
    assert cleaned.log["row"].to_list() == in_order
    assert cleaned.user_ids.gather(cleaned.log["user_id"]).to_list() == [picked[row][0] for row in in_order]
    assert cleaned.item_ids.gather(cleaned.log["item_id"]).to_list() == [picked[row][1] for row in in_order]
    assert sorted(cleaned.quarantine["row"]) == sorted(set(range(len(rows))) - set(kept))
    assert cleaned.counts.rows == cleaned.counts.events + cleaned.quarantine.height
