import polars as pl
import pytest

from recsys.data import column_types
from recsys.data.column_types import widen


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int32, pl.UInt64, pl.Int64, pl.String])
def test_ids_keep_their_type(dtype: pl.DataType) -> None:
    frame = pl.LazyFrame({"x": []}, schema={"x": dtype})
    assert column_types.id_type(frame, "x", "events") == dtype
    assert column_types.time_type(frame, "x", "events") == dtype


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["a"])])
def test_dictionaries_are_text(dtype: pl.DataType) -> None:
    frame = pl.LazyFrame({"x": []}, schema={"x": dtype})
    assert column_types.id_type(frame, "x", "events") == pl.String
    assert column_types.time_type(frame, "x", "events") == pl.String


def test_types_that_are_no_id_or_time() -> None:
    for dtype in (pl.Float64(), pl.Boolean(), pl.Date(), pl.List(pl.Int64), pl.Int128(), pl.Binary(), pl.Null()):
        with pytest.raises(ValueError, match=r"events: x is .*; ids are integers"):
            column_types.id_type(pl.LazyFrame({"x": []}, schema={"x": dtype}), "x", "events")
    for dtype in (pl.Boolean(), pl.List(pl.Int64), pl.Binary(), pl.Null()):
        with pytest.raises(ValueError, match=r"events: x is .*; a time is"):
            column_types.time_type(pl.LazyFrame({"x": []}, schema={"x": dtype}), "x", "events")


def test_ids_and_times_of_different_kinds_are_refused() -> None:
    for first, second in [(pl.Int32(), pl.UInt64()), (pl.Int8(), pl.Float64()), (pl.Date(), pl.Datetime("ms"))]:
        column_types.require_same_kind(first, second, "x", "events", "test")
    for first, second in [
        (pl.Int32(), pl.String()),
        (pl.Int32(), pl.Date()),
        (pl.Datetime(), pl.Datetime("us", "UTC")),
    ]:
        with pytest.raises(ValueError, match=r"x is .* in events but .* in test; expected one kind"):
            column_types.require_same_kind(first, second, "x", "events", "test")


def test_ids_are_cast_without_loss() -> None:
    ids = pl.Series("item_id", [1, None, 200], dtype=pl.Int64)
    assert column_types.cast_ids(ids, pl.UInt8(), "items").to_list() == [1, None, 200]
    with pytest.raises(ValueError, match=r"items: item_id 200 does not fit Int8, its type in the events; .* to Int64"):
        column_types.cast_ids(ids, pl.Int8(), "items")


def test_a_time_of_day_is_no_time() -> None:
    with pytest.raises(ValueError, match=r"events: x is a time of day without a date; expected both"):
        column_types.time_type(pl.LazyFrame({"x": []}, schema={"x": pl.Time}), "x", "events")


WIDER = [
    (pl.Int32(), pl.Int64(), pl.Int64()), (pl.UInt32(), pl.Int32(), pl.Int64()), (pl.Int64(), pl.UInt64(), None),
    (pl.Null(), pl.String(), pl.String()), (pl.Float32(), pl.Float64(), pl.Float64()),
    (pl.Int64(), pl.Float32(), pl.Float64()), (pl.Int64(), pl.String(), None), (pl.Boolean(), pl.Int8(), None),
    (pl.Categorical(), pl.String(), pl.String()), (pl.Enum(["a"]), pl.Enum(["b"]), pl.String()),
    (pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("ns")), (pl.Date(), pl.Datetime("us"), pl.Datetime("us")),
    (pl.Datetime("us"), pl.Datetime("us", "UTC"), None), (pl.Date(), pl.Datetime("us", "UTC"), None),
    (pl.Datetime("us", "Europe/Berlin"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "UTC")),
    (pl.Duration("ms"), pl.Duration("us"), pl.Duration("us")), (pl.Duration("ms"), pl.Datetime("ms"), None),
    (pl.List(pl.Int8), pl.List(pl.Int64), pl.List(pl.Int64)),
    (pl.Array(pl.Float32, 2), pl.List(pl.Null), pl.List(pl.Float32)),
    (pl.List(pl.String), pl.String(), None), (pl.Decimal(10, 2), pl.Float64(), None),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "wider"), WIDER)
def test_the_wider_type_holds_both_in_either_order(first: pl.DataType, second: pl.DataType, wider: object) -> None:
    assert widen(first, second) == widen(second, first) == wider
    assert widen(first, first) == first
