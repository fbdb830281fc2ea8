from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from recsys.data.times import TextTime, read_times, require_clock


def times(values: list[str | None], form: str | None = None, *, decimal: str = ".", numbers: bool = False) -> pl.Series:
    frame = pl.LazyFrame({"time": values}, schema={"time": pl.String})
    read = read_times(frame, TextTime("time", "events: when", form, decimal, numbers))
    return read.collect().get_column("time")


def refusal(values: list[str | None], form: str | None = None, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r"events: when .*; expected") as caught:
        times(values, form, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_iso_text_in_all_its_spellings() -> None:
    spellings = ["2011-01-14", "2011-01-14T09:05", "2011-01-14 09:05:07", " 2011-01-14t09:05:07.25 ", None, ""]
    assert times(spellings).to_list() == [
        datetime(2011, 1, 14), datetime(2011, 1, 14, 9, 5), datetime(2011, 1, 14, 9, 5, 7),
        datetime(2011, 1, 14, 9, 5, 7, 250_000), None, None,
    ]  # fmt: skip


def test_zones_become_utc() -> None:
    read = times(
        ["2011-01-14T09:05:00Z", "2011-01-14 09:05:00+02:00", "2011-01-14T09:05-0530", "2011-01-14T09:05:00.5+01"]
    )
    assert read.dtype == pl.Datetime("us", "UTC")
    assert read.to_list() == [
        datetime(2011, 1, 14, 9, 5, tzinfo=UTC), datetime(2011, 1, 14, 7, 5, tzinfo=UTC),
        datetime(2011, 1, 14, 14, 35, tzinfo=UTC), datetime(2011, 1, 14, 8, 5, 0, 500_000, tzinfo=UTC),
    ]  # fmt: skip


def test_nanoseconds_are_kept_where_there_are_some() -> None:
    read = times(["2011-01-14T09:05:00.000000002", "2011-01-14T09:05:00.000000001"])
    assert read.dtype == pl.Datetime("ns")
    assert read.arg_sort().to_list() == [1, 0]
    assert times(["2011-01-14T09:05:00.123456000"]).dtype == pl.Datetime("us")
    assert "years 2011 to 2300" in refusal(["2011-01-14T09:05:00.000000002", "2300-01-14T09:05:00.000000001"])


def test_a_single_zone_beside_none_is_refused_however_rare() -> None:
    message = refusal(["2011-01-14T09:05:00"] * 500 + ["2011-01-14T09:05:00Z"])
    assert "has a zone in '2011-01-14T09:05:00Z' and none in '2011-01-14T09:05:00'" in message
    assert "has a zone" in refusal(["2011-01-14", "2011-01-15T00:00+00:00"])


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (["1/14/2011 9:05", "12/31/2010 23:59"], '"%m/%d/%Y %H:%M" reads all of them'),
        (["14.1.2011", "2.12.2010"], '"%d.%m.%Y" reads all of them'),
        (["1/2/2011", "3/4/2011"], '"%d/%m/%Y" or "%m/%d/%Y", whichever is meant'),
        (["1/1/2011", "3/3/2011"], '"%d/%m/%Y" or "%m/%d/%Y", whichever is meant'),
        (["1/14/11 9:05 PM", "1/15/11 9:05 AM"], '"%m/%d/%y %I:%M %p" reads all of them'),
        (["14 Jan 2011", "2 Feb 2011"], '"%d %b %Y" reads all of them'),
        (["20110114T090500Z", "20110114T090501Z"], '"%Y%m%dT%H%M%SZ" reads all of them'),
        (["25092023", "03102023"], '"%d%m%Y" reads all of them'),
        (["09252023", "10032023"], '"%m%d%Y" reads all of them'),
        (["yesterday", "today"], "how it is written"),
        (["1294995900", "99"], 'numbers as text: "number" reads them as numbers, "%s" as seconds since 1970'),
    ],
)
def test_other_text_is_refused_with_the_format_that_fits(values: list[str], hint: str) -> None:
    message = refusal(values)
    assert message.endswith(hint)
    assert repr(values[0]) in message
    assert "data.time_format" in message


def test_a_declared_format_reads_and_is_held_to() -> None:
    us, european = ["1/2/2011 9:05", "12/31/2010 23:59"], ["1/2/2011", "31/12/2010"]
    assert times(us, "%m/%d/%Y %H:%M").to_list() == [datetime(2011, 1, 2, 9, 5), datetime(2010, 12, 31, 23, 59)]
    assert times(european, "%d/%m/%Y").to_list() == [datetime(2011, 2, 1), datetime(2010, 12, 31)]
    zoned = times(["02/01/2011 09:05 +0200"], "%d/%m/%Y %H:%M %z")
    assert zoned.to_list() == [datetime(2011, 1, 2, 7, 5, tzinfo=UTC)]
    assert times(["1294995900", "99"], "%s").to_list() == [datetime(2011, 1, 14, 9, 5), datetime(1970, 1, 1, 0, 1, 39)]
    assert '"%m/%d/%Y" reads all of them' in refusal(["1/14/2011", "12/31/2010"], "%d/%m/%Y")
    assert "would be in the year 11" in refusal(["1/14/11", "1/15/11"], "%m/%d/%Y")
    assert "would be in the year 1;" in refusal(["10:05", "11:05"], "%H:%M")
    assert "in 2 of 2 rows" in refusal(us, "%nonsense")


@pytest.mark.parametrize("form", [None, "%Y-%m-%d"])
def test_few_values_that_are_no_times_are_missing_and_many_are_refused(form: str | None) -> None:
    good = [f"2011-01-{day:02d}" for day in range(1, 20)]
    assert times([*good, "N/A"], form).null_count() == 1
    assert times([*good[:2], "N/A"], form).null_count() == 1
    assert times([*good * 5, "N/A", "2011-02-30", "soon"], form).null_count() == 3
    assert "'N/A'" in refusal([*good, "N/A", "N/A"], form)
    assert "'N/A'" in refusal([good[0], "N/A"], form)


def test_numbers_as_text() -> None:
    assert times(["10", "9", None], numbers=True).to_list() == [10, 9, None]
    assert times(["10", "9"], "number").dtype == pl.Int64
    assert times(["10.5", "9", "1e3"], numbers=True).to_list() == [10.5, 9.0, 1000.0]
    assert times(["10,5", "9"], decimal=",", numbers=True).to_list() == [10.5, 9.0]
    assert times([*["10"] * 30, "N/A"], "number").null_count() == 1
    assert "expected numbers" in refusal(["a", "b"], "number")
    assert times(["2011-01-14"], numbers=True).to_list() == [datetime(2011, 1, 14)]
    assert "how it is written" in refusal(["0142011", "1152011", "0012"], numbers=True)
    assert times([None, ""]).null_count() == 2


def test_a_number_beyond_floats_is_no_time() -> None:
    read = times(["1e400", "1.5e9", "-1e999", *map(str, range(60))], "number")
    assert read.to_list()[:3] == [None, 1.5e9, None]


@pytest.mark.parametrize("form", ["%m/%d/%Y %I:%M", "%H:%M %p"])
def test_a_format_that_reads_no_time_is_named(form: str) -> None:
    with pytest.raises(ValueError, match=f'data.time_format is "{form}", which reads no time .*; expected one as'):
        times(["1/2/2011 9:05"], form)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([25092023, 3102023, 31121999], "25092023 and the like: days, months and years"),
        ([9252023, 12312023], "9252023 and the like"),
        ([2509202323, 31121999], None),
        ([250920232359, 31122023_0000], "250920232359 and the like"),
        ([25092023235959.0, 1012024_000000.0], "and the like"),
        ([20230925, 20231231], None),
        ([20230925235959, 20231231000000], None),
        ([1011900, 31122199, 5], None),
        ([1695887345, 1695887345123], "1695887345 (seconds) and 1695887345123 (milliseconds) since 1970"),
        ([1695887345123456, 1695887345], "(seconds) and 1695887345123456 (microseconds)"),
        ([1.5e9, 1.5e18], "(nanoseconds)"),
        ([0, 1695887345123], None),
        ([1, 700_000_000], None),
        ([1695887345, 1795887345], None),
        ([-5, 10**19], None),
    ],
)
def test_numbers_whose_order_is_not_that_of_time(values: list[float], found: str | None) -> None:
    series = pl.Series(values, dtype=pl.UInt64 if max(values) > 2**63 and min(values) >= 0 else None, strict=False)
    if found is None:
        require_clock(series.to_frame("time").with_row_index("row").lazy())
        return
    with pytest.raises(ValueError, match="expected") as refused:
        require_clock(series.to_frame("time").with_row_index("row").lazy())
    assert found in str(refused.value)
