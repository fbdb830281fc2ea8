from pathlib import Path

import polars as pl
import pytest

from recsys.data import parquet


def write(path: Path, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)
    return path


def read(location: Path | str) -> pl.DataFrame:
    return parquet.scan_parquet(str(location), "events").collect()


def test_a_file_a_glob_and_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", x=[3])
    write(tmp_path / "a.parquet", x=[1, 2])
    write(tmp_path / "c.other", x=[9])
    assert read(tmp_path / "b.parquet")["x"].to_list() == [3]
    assert read(tmp_path / "*.parquet")["x"].to_list() == [1, 2, 3]
    assert read(tmp_path)["x"].to_list() == [1, 2, 3]
    assert parquet.source_files(str(tmp_path / "?.parquet")) == [tmp_path / "a.parquet", tmp_path / "b.parquet"]


def test_relative_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "d" / "a.parquet", x=[1])
    for location in ("d/a.parquet", "d/*.parquet", "d", ".", "*", "./d"):
        assert read(location)["x"].to_list() == [1]


def test_hive_folders_give_a_column_and_belong_to_the_digest(tmp_path: Path) -> None:
    for day in (1, 2):
        write(tmp_path / "log" / f"day={day}" / "part.parquet", x=[day * 10])
    for location in (tmp_path / "log", tmp_path / "log" / "*" / "*.parquet", tmp_path / "log" / "day=*"):
        assert read(location).to_dict(as_series=False) == {"x": [10, 20], "day": [1, 2]}
    before = parquet.source_digest(str(tmp_path / "log"))
    (tmp_path / "log" / "day=2").rename(tmp_path / "log" / "day=3")
    assert parquet.source_digest(str(tmp_path / "log")) != before


def test_the_digest_depends_on_the_bytes_and_not_on_the_path(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a" / "x.parquet", x=[1]), write(tmp_path / "b" / "y.parquet", x=[1])
    assert parquet.source_digest(str(first)) == parquet.source_digest(str(second))
    assert parquet.source_digest(str(first)) != parquet.source_digest(str(write(tmp_path / "c.parquet", x=[2])))


def test_names_with_glob_characters_and_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "run [1]*"
    write(folder / "a.parquet", x=[1])
    (folder / ".a.parquet").write_text("what macOS leaves")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "b.parquet").write_text("what Spark leaves")
    (folder / "_SUCCESS").touch()
    assert read(folder)["x"].to_list() == [1]
    assert read(folder / "a.parquet")["x"].to_list() == [1]


def test_later_files_may_have_more_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", x=[1])
    write(tmp_path / "b.parquet", x=[2], y=[3])
    assert read(tmp_path).to_dict(as_series=False) == {"x": [1, 2]}


@pytest.mark.parametrize("name", ["none.parquet", "none/*.parquet", "empty", "none"])
def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for function in (parquet.scan_parquet, parquet.source_digest):
        with pytest.raises(ValueError, match=r"items: no Parquet file at .*; expected") as caught:
            function(str(tmp_path / name), "items")
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_parquet_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("user_id,item_id\n1,2\n")
    (tmp_path / "zero.parquet").touch()
    for name in ("x.parquet", "zero.parquet"):
        with pytest.raises(ValueError, match=rf"cannot read items at .*{name}: .*; expected Parquet") as caught:
            parquet.scan_parquet(str(tmp_path / name), "items")
        assert "\n" not in str(caught.value)


def test_missing_columns_name_what_is_there(tmp_path: Path) -> None:
    location = str(write(tmp_path / "x.parquet", user=[1], item=[2]))
    frame = parquet.scan_parquet(location, "events")
    parquet.require_columns(frame, ["user", "item"], "events", location)
    with pytest.raises(ValueError, match="has no column 'user_id'; found user, item: name the right"):
        parquet.require_columns(frame, ["user", "user_id"], "events", location)


def test_files_of_two_schemas_are_named_before_they_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", x=[1], unused=[1])
    write(tmp_path / "b.parquet", x=["1"], unused=[1.5])
    frame = parquet.scan_parquet(str(tmp_path), "events")
    parquet.require_columns(frame.with_columns(y=1), ["y"], "events", str(tmp_path))
    with pytest.raises(ValueError, match=r"events at .*: x is Int64 in a.parquet, String in b.parquet; expected files"):
        parquet.require_columns(frame, ["x"], "events", str(tmp_path))


def test_folders_with_the_name_of_a_file_and_globs_of_all_depths(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"day{day}.parquet").mkdir()
        write(tmp_path / f"day{day}.parquet" / "part-0.parquet", x=[day])
        (tmp_path / f"day{day}.parquet" / "_SUCCESS").touch()
    for location in (tmp_path, f"{tmp_path}/*.parquet", f"{tmp_path}/**"):
        assert read(location)["x"].to_list() == [1, 2]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int32, pl.UInt64, pl.Int64, pl.String])
def test_ids_keep_their_type(dtype: pl.DataType) -> None:
    frame = pl.LazyFrame({"x": []}, schema={"x": dtype})
    assert parquet.id_type(frame, "x", "events") == dtype
    assert parquet.time_type(frame, "x", "events") == dtype


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["a"])])
def test_dictionaries_are_text(dtype: pl.DataType) -> None:
    frame = pl.LazyFrame({"x": []}, schema={"x": dtype})
    assert parquet.id_type(frame, "x", "events") == pl.String
    assert parquet.time_type(frame, "x", "events") == pl.String


def test_types_that_are_no_id_or_time() -> None:
    for dtype in (pl.Float64(), pl.Boolean(), pl.Date(), pl.List(pl.Int64), pl.Int128(), pl.Binary(), pl.Null()):
        with pytest.raises(ValueError, match=r"events: x is .*; ids are integers"):
            parquet.id_type(pl.LazyFrame({"x": []}, schema={"x": dtype}), "x", "events")
    for dtype in (pl.Boolean(), pl.List(pl.Int64), pl.Binary(), pl.Null()):
        with pytest.raises(ValueError, match=r"events: x is .*; a time is"):
            parquet.time_type(pl.LazyFrame({"x": []}, schema={"x": dtype}), "x", "events")


def test_ids_and_times_of_different_kinds_are_refused() -> None:
    for first, second in [(pl.Int32(), pl.UInt64()), (pl.Int8(), pl.Float64()), (pl.Date(), pl.Datetime("ms"))]:
        parquet.require_same_kind(first, second, "x", "events", "test")
    for first, second in [
        (pl.Int32(), pl.String()),
        (pl.Int32(), pl.Date()),
        (pl.Datetime(), pl.Datetime("us", "UTC")),
    ]:
        with pytest.raises(ValueError, match=r"x is .* in events but .* in test; expected one kind"):
            parquet.require_same_kind(first, second, "x", "events", "test")


def test_ids_are_cast_without_loss() -> None:
    ids = pl.Series("item_id", [1, None, 200], dtype=pl.Int64)
    assert parquet.cast_ids(ids, pl.UInt8(), "items").to_list() == [1, None, 200]
    with pytest.raises(ValueError, match=r"items: item_id 200 does not fit Int8, its type in the events; .* to Int64"):
        parquet.cast_ids(ids, pl.Int8(), "items")
