import datetime

import polars as pl
import pytest

from features.starter_config.columns import look_at


def test_text_is_summarised_by_what_all_values_are(look):
    rows = [("0042", "1", "1.5", "3,50", "n/a", "a|b", ""), ("7", "2", "2", "4", "3", "b|c", "x")]
    file = look("t.csv", "code;integer;number;comma;gaps;list;rare", rows, ";")
    columns = file.columns
    assert file.rows == 2
    assert [columns[name].integers for name in ("code", "integer", "number", "gaps")] == [1, 2, 1, 2]
    assert [columns[name].is_number for name in columns] == [False, True, True, True, True, False, False]
    assert [columns[name].has_decimal_comma for name in columns] == [False, False, False, True, False, False, False]
    assert (columns["list"].separated, columns["rare"].present, columns["rare"].is_unique) == (2, 1, True)
    assert (columns["number"].low, columns["number"].high, columns["comma"].low) == (1.5, 2.0, 3.5)


@pytest.mark.parametrize(
    ("values", "formats", "first"),
    [
        (["1/14/2011 9:05", "2/3/2011 17:40"], ("%m/%d/%Y %H:%M",), datetime.datetime(2011, 1, 14, 9, 5)),
        (["14.01.2011", "03.02.2011"], ("%d.%m.%Y",), datetime.datetime(2011, 1, 14)),
        (["2011-01-14", "2011-02-03 10:00"], (), datetime.datetime(2011, 1, 14)),
        (["2011-01-14T09:05:00Z", "2011-02-03T10:00:00Z"], (), datetime.datetime(2011, 1, 14, 9, 5)),
        (["20110114", "20110203"], ("%Y%m%d",), datetime.datetime(2011, 1, 14)),
        (["1/14/2011", "N/A", "", "2/3/2011"], ("%m/%d/%Y",), datetime.datetime(2011, 1, 14)),
        (["01/02/2011", "03/02/2011"], ("%d/%m/%Y", "%m/%d/%Y"), datetime.datetime(2011, 2, 1)),
        (["01/01/2011", "02/02/2011"], ("%d/%m/%Y", "%m/%d/%Y"), datetime.datetime(2011, 1, 1)),
    ],
)
def test_a_clock_has_every_form_that_reads_all_values(look, values, formats, first):
    clock = look("t.csv", "time", [(value,) for value in values]).columns["time"].clock
    assert (clock.formats, clock.first, clock.unit) == (formats, first, "")


@pytest.mark.parametrize(
    ("scale", "unit"), [(1, "seconds"), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
)
@pytest.mark.parametrize("stored_as_text", [True, False])
def test_numbers_since_1970_are_known_by_their_range(look, tmp_path, scale, unit, stored_as_text):
    times = [1_294_995_900 * scale, 1_296_754_800 * scale]
    if stored_as_text:
        clock = look("t.csv", "time", [(time,) for time in times]).columns["time"].clock
    else:
        pl.DataFrame({"time": times}).write_parquet(tmp_path / "t.parquet")
        clock = look_at(tmp_path / "t.parquet").columns["time"].clock
    assert (clock.unit, clock.first, clock.formats) == (unit, datetime.datetime(2011, 1, 14, 9, 5), ())
    assert clock.num_days == pytest.approx(20.36, abs=0.01)


def test_what_is_no_time_has_no_clock(look):
    rows = [(1, "soon", "2011-01-14", "2011-01-14T10:00:00Z"), (2, "later", "1/14/2011", "2011-01-14T10:00:00")]
    file = look("t.csv", "small,words,mixed,zones", rows)
    assert [column.clock for column in file.columns.values()] == [None] * 4


def test_typed_columns_are_summarised_too(tmp_path):
    frame = pl.DataFrame({
        "day": [datetime.date(2020, 1, 1), datetime.date(2020, 3, 1)], "names": [["a"], []], "flag": [True, False],
        "kind": pl.Series(["a", "b"], dtype=pl.Categorical), "number": [1.5, None], "bytes": [b"\xff", b"a"],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "t.parquet")
    columns = look_at(tmp_path / "t.parquet").columns
    assert columns["day"].clock.num_days == 60
    assert [column.present for column in columns.values()] == [2, 2, 2, 2, 1, 2]
    assert [columns[name].may_be_id for name in columns] == [False, False, False, True, False, False]


def test_a_file_without_rows_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("user,item\n")
    with pytest.raises(ValueError, match=r"t.csv has no rows; expected a file with events"):
        look_at(tmp_path / "t.csv")
