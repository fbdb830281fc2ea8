import gzip
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.data import sources, tables


def write(path: Path, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)
    return path


def read(location: Path | str, required: tuple[str, ...] = ("x",), others: tuple[str, ...] | None = ()) -> pl.DataFrame:
    return tables.scan_table(str(location), "events", required, others=others).frame.collect()


def test_a_file_a_glob_and_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", x=[3])
    write(tmp_path / "a.parquet", x=[1, 2])
    write(tmp_path / "c.other", x=[9])
    assert read(tmp_path / "b.parquet")["x"].to_list() == [3]
    assert read(tmp_path / "*.parquet")["x"].to_list() == [1, 2, 3]
    assert read(tmp_path)["x"].to_list() == [1, 2, 3]
    assert sources.source_files(str(tmp_path / "?.parquet")) == [tmp_path / "a.parquet", tmp_path / "b.parquet"]


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
    before = sources.source_digest(str(tmp_path / "log"))
    (tmp_path / "log" / "day=2").rename(tmp_path / "log" / "day=3")
    assert sources.source_digest(str(tmp_path / "log")) != before


def test_the_digest_depends_on_the_bytes_and_not_on_the_path(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a" / "x.parquet", x=[1]), write(tmp_path / "b" / "y.parquet", x=[1])
    assert sources.source_digest(str(first)) == sources.source_digest(str(second))
    assert sources.source_digest(str(first)) != sources.source_digest(str(write(tmp_path / "c.parquet", x=[2])))


def test_names_with_glob_characters_and_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "run [1]*"
    write(folder / "a.parquet", x=[1])
    (folder / ".a.parquet").write_text("what macOS leaves")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "b.parquet").write_text("what Spark leaves")
    (folder / "_SUCCESS").touch()
    assert read(folder)["x"].to_list() == [1]
    assert read(folder / "a.parquet")["x"].to_list() == [1]


@pytest.mark.parametrize("name", ["none.parquet", "none/*.parquet", "empty", "none"])
def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for function in (sources.source_files, sources.source_digest):
        with pytest.raises(ValueError, match=r"items: no table at .*; expected") as caught:
            function(str(tmp_path / name), "items")
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_parquet_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("user_id,item_id\n1,2\n")
    (tmp_path / "zero.parquet").touch()
    (tmp_path / "cut.parquet").write_bytes(write(tmp_path / "whole.parquet", x=[1]).read_bytes()[:-20])
    for name, problem in (("x", "holds something else"), ("zero", "is empty"), ("cut", "is truncated")):
        with pytest.raises(
            ValueError, match=rf"cannot read items at .*{name}.parquet: it {problem}.*; expected"
        ) as error:
            tables.scan_table(str(tmp_path / f"{name}.parquet"), "items", ["x"])
        assert "\n" not in str(error.value)


def test_missing_columns_name_what_is_there(tmp_path: Path) -> None:
    location = str(write(tmp_path / "x.parquet", user=[1], item=[2]))
    tables.scan_table(location, "events", ["user", "item"])
    for required, others in ((["user", "user_id"], None), (["user"], ["user_id"])):
        with pytest.raises(ValueError, match="has no column 'user_id'; found user, item: name the right"):
            tables.scan_table(location, "events", required, others=others)


def test_files_that_differ_in_what_is_not_needed(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", x=[1], unused=[1])
    write(tmp_path / "b.parquet", x=[2], unused=["1.5"])
    assert read(tmp_path, others=None)["x"].to_list() == [1, 2]
    with pytest.raises(ValueError, match=r"unused is Int64 in a.parquet, String in b.parquet; expected types of"):
        read(tmp_path)


def test_folders_with_the_name_of_a_file_and_globs_of_all_depths(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"day{day}.parquet").mkdir()
        write(tmp_path / f"day{day}.parquet" / "part-0.parquet", x=[day])
        (tmp_path / f"day{day}.parquet" / "_SUCCESS").touch()
    for location in (tmp_path, f"{tmp_path}/*.parquet", f"{tmp_path}/**"):
        assert read(location)["x"].to_list() == [1, 2]


# Harmless differences


@pytest.mark.parametrize("reverse", [False, True])
def test_files_of_one_log_are_widened_in_whatever_order_they_come(tmp_path: Path, reverse: bool) -> None:
    moment = datetime(2024, 1, 1, 2, 3)
    frames = [
        pl.DataFrame({"x": [1], "t": [moment], "y": [1.5], "z": ["a"]}),
        pl.DataFrame({"x": [], "t": [], "y": []}),  # an empty night, without types
        pl.DataFrame({"x": [2], "t": [moment], "y": [2]}, schema_overrides={"x": pl.Int32, "t": pl.Datetime("ns")}),
        pl.DataFrame(
            {"x": [3], "t": [moment], "z": ["b"]}, schema_overrides={"t": pl.Datetime("ms"), "z": pl.Categorical}
        ),
        pl.DataFrame({"x": [4], "t": [None], "y": [None]}),
    ]
    for number, frame in enumerate(frames[::-1] if reverse else frames):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    table = read(tmp_path, ("x", "t"), ("y", "z")).sort("x")
    assert table.select("x", "t", "y", "z").rows() == [
        (1, moment, 1.5, "a"), (2, moment, 2.0, None), (3, moment, None, "b"), (4, None, None, None),
    ]  # fmt: skip
    assert table.schema["x"] == pl.Int64
    assert table.schema["t"] == pl.Datetime("ns")
    with pytest.raises(ValueError, match=r"\d.parquet has no column 'z'; found x, t(, y)?:"):
        read(tmp_path, ("x", "z"))


def test_what_could_lose_something_is_refused_and_names_both_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.parquet", x=[0.5])
    for value, message in (
        ([(1 << 53) + 1], r"x is 9007199254740993 in b.parquet, which the floats of other files cannot hold"),
        (["1"], r"x is Float64 in a.parquet, String in b.parquet"),
        ([datetime(2024, 1, 1)], r"x is Float64 in a.parquet, Datetime.* in b.parquet"),
    ):
        write(tmp_path / "b.parquet", x=value)
        with pytest.raises(ValueError, match=message):
            read(tmp_path)
    write(tmp_path / "b.parquet", x=[1 << 53])
    assert read(tmp_path)["x"].to_list() == [0.5, float(1 << 53)]
    pl.read_parquet(first).select(pl.lit(datetime(2024, 1, 1)).alias("x")).write_parquet(first)
    zoned = pl.Series("x", [datetime(2024, 1, 1)]).dt.replace_time_zone("UTC")
    zoned.to_frame().write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"a.parquet, Datetime\(time_unit='us', time_zone='UTC'\) in b.parquet"):
        read(tmp_path)


# Forms

ROWS = [("0042", "a"), ("7", "é"), ("é", "b")]


@pytest.mark.parametrize(
    "name", ["x.csv", "x.tsv", "x.CSV", "x.csv.gz", "x.jsonl", "x.ndjson.gz", "x.feather", "x.arrow", "x.ipc"]
)
def test_every_form_by_its_ending(tmp_path: Path, name: str) -> None:
    table, path = pl.DataFrame(ROWS, schema=["u", "i"], orient="row"), tmp_path / name
    kind = name.lower().removesuffix(".gz")
    if kind.endswith("sv"):
        content = table.write_csv(separator="\t" if kind.endswith("tsv") else ",").encode()
    elif kind.endswith("json") or kind.endswith("jsonl"):
        content = table.write_ndjson().encode()
    else:
        table.write_ipc(path)
        content = path.read_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for location in (path, tmp_path, f"{tmp_path}/*"):
        assert tables.scan_table(str(location), "events", ["u", "i"]).frame.collect().rows() == ROWS
    assert tables.scan_table(str(path), "events", ["u"]).is_text == (kind.endswith(("sv", "json", "jsonl")))


def test_a_folder_of_two_forms_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", x=[1])
    (tmp_path / "b.csv").write_text("x\n1\n")
    with pytest.raises(
        ValueError, match=r"a.parquet and b.csv are of different forms; expected one form: give a pattern"
    ):
        read(tmp_path)
    assert read(tmp_path / "*.parquet")["x"].to_list() == [1]


def test_nights_of_csv_and_empty_ones(tmp_path: Path) -> None:
    for name, text in (("0", ""), ("1", "x,y\n1,2\n"), ("2", "x,y\n"), ("3", "y;x;z\n5;4;6\n\n"), ("4", "\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    assert read(tmp_path, ("x", "y")).rows() == [("1", "2", None), ("4", "5", "6")]
    for night in (0, 4):
        with pytest.raises(ValueError, match=r"events at .* is empty; expected a table with a header"):
            read(tmp_path / f"{night}.csv")
    assert read(tmp_path / "2.csv").height == 0


def test_json_lines_of_several_types_become_what_holds_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 1, "y": [1]}\n' * 3)
    (tmp_path / "b.jsonl").write_text('\ufeff{"x": 2.5}\r\n\r\n')
    (tmp_path / "c.jsonl").write_text("")
    assert read(tmp_path).rows() == [(1.0, [1])] * 3 + [(2.5, None)]


def test_ids_of_json_lines_are_text_beside_integers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 7}\n')
    (tmp_path / "b.jsonl").write_text('{"x": "0042"}\n')
    assert read(tmp_path, others=None)["x"].to_list() == ["7", "0042"]
    with pytest.raises(ValueError, match=r"x is String in b.jsonl|x is Int64 in a.jsonl"):
        tables.scan_table(str(tmp_path), "items", [], others=["x"])
