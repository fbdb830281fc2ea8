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


def test_blank_ids_are_quarantined_like_missing_ones() -> None:
    log = log_of(["a", "", "a", None, "\u00a0 "], ["x", "x", " ", "x", "y"])
    cleaned = events.clean_events(log)
    assert cleaned.counts.quarantined == {"no user_id": 3, "no item_id": 1}
    assert (cleaned.user_ids.to_list(), cleaned.item_ids.to_list()) == (["a"], ["x"])
    assert events.without_blank_ids(log).collect()["user_id"].to_list() == ["a", None, "a", None, None]
    integers = log_of([1], [2])
    assert events.without_blank_ids(integers).collect().equals(integers.collect())


def text_log(path: Path, *rows: str) -> str:
    path.write_text("\n".join(["u,i,t", *rows]) + "\n")
    return str(path)


def test_ids_of_text_stay_text_unless_declared_or_known(tmp_path: Path) -> None:
    log = text_log(tmp_path / "x.csv", "0042,7,1", "42,8,2")
    assert events.scan_events(log, COLUMNS).collect().rows() == [(0, "0042", "7", 1), (1, "42", "8", 2)]
    types = {"user_id": pl.String(), "item_id": pl.Int16()}
    assert events.scan_events(log, COLUMNS, id_types=types).collect().rows() == [(0, "0042", 7, 1), (1, "42", 8, 2)]
    with pytest.raises(ValueError, match=r"events at .*: u holds '0042'; expected Int64 ids"):
        events.scan_events(log, COLUMNS, id_types={"user_id": pl.Int64()})
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"u": 42, "i": "0042", "t": 1}\n')
    assert events.scan_events(str(lines), COLUMNS).collect().rows() == [(0, "42", "0042", 1)]
    assert events.scan_events(str(lines), COLUMNS, id_types={"user_id": pl.Int64()}).collect()["user_id"].to_list() == [
        42
    ]
    lines.write_text('{"u": 4.5, "i": "0042", "t": 1}\n')
    with pytest.raises(ValueError, match="u is Float64; ids are integers"):
        events.scan_events(str(lines), COLUMNS)


def test_times_of_text_are_read_by_the_form_that_the_columns_carry(tmp_path: Path) -> None:
    log = text_log(tmp_path / "x.csv", "a,x,1/14/2011 9:05", "a,y,12/31/2010 8:00", "a,z,N/A", "b,x,1/1/2011 0:00")
    with pytest.raises(
        ValueError, match=r'events at .*x.csv: t is text such as .*: "%m/%d/%Y %H:%M" reads all|how it is'
    ):
        events.scan_events(log, COLUMNS)
    cleaned = events.clean_events(events.scan_events(log, COLUMNS | {"time_format": "%m/%d/%Y %H:%M"}))
    assert cleaned.log["row"].to_list() == [1, 0, 3]
    assert cleaned.counts.quarantined == {"no time": 1}
    comma = text_log(tmp_path / "y.csv", 'a,x,"10,5"', "a,y,9")
    assert events.scan_events(comma, COLUMNS | {"decimal": ","}).collect()["time"].to_list() == [10.5, 9.0]


def test_numbers_that_are_no_clock_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"u": ["a", "a"], "i": ["x", "y"], "t": [25092023, 3102023]}).write_parquet(path)
    with pytest.raises(ValueError, match="whose order is not that of time"):
        events.clean_events(events.scan_events(str(path), COLUMNS))
    with pytest.raises(ValueError, match=r't is Int64, but data.time_format is "%d%m%Y"; expected text'):
        events.scan_events(str(path), COLUMNS | {"time_format": "%d%m%Y"})


def test_a_dictionary_of_times_is_text_and_infinity_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    times = pl.Series(["2011-01-02", "2010-12-31"], dtype=pl.Categorical)
    pl.DataFrame({"u": ["a", "a"], "i": ["x", "y"], "t": times}).write_parquet(path)
    assert events.scan_events(str(path), COLUMNS).collect()["time"].to_list() == [
        datetime(2011, 1, 2), datetime(2010, 12, 31),
    ]  # fmt: skip
    pl.DataFrame({"u": ["a", "a"], "i": ["x", "y"], "t": [1.5, math.inf]}).write_parquet(path)
    assert events.clean_events(events.scan_events(str(path), COLUMNS)).counts.quarantined == {"no time": 1}


def test_names_that_look_like_patterns_are_names(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"u": ["b"], "^u.*$": ["a"], "*": ["x"], "t": [9], "^t.*$": [1]}).write_parquet(path)
    columns = {"user_id": "^u.*$", "item_id": "*", "time": "^t.*$"}
    assert events.scan_events(str(path), columns).collect().rows() == [(0, "a", "x", 1)]
