import gzip
from pathlib import Path

import polars as pl
import pytest

from recsys.data import text_files
from recsys.data.sources import Form
from recsys.data.text_files import look_through, scan_csv, scan_json


def csv_of(path: Path, content: bytes, required: list[str] | None = None) -> pl.DataFrame:
    path.write_bytes(content)
    frame = scan_csv(look_through(path, Form("csv", path.suffix == ".gz"), "events"), required or ["u", "i"], "events")
    assert frame is not None
    return frame.collect()


@pytest.mark.parametrize(
    "content",
    [
        b"u,i\n1,2\n3,4\n", b"\xef\xbb\xbfu,i\r\n1,2\r\n3,4\r\n\r\n", b"u;i\n1;2\n3;4", b"u\ti\n1\t2\n3\t4\n\n\n",
        b'"u"|"i"\n1|2\n\n3|4\n', b"sep=;\nu;i\n1;2\n3;4\n", b"\n\nu,i\n1,2\n3,4\n",
    ],
)  # fmt: skip
def test_separators_marks_and_blank_lines_change_nothing(tmp_path: Path, content: bytes) -> None:
    assert csv_of(tmp_path / "x.csv", content).to_dict(as_series=False) == {"u": ["1", "3"], "i": ["2", "4"]}
    packed = csv_of(tmp_path / "x.csv.gz", gzip.compress(content))
    assert packed.to_dict(as_series=False) == {"u": ["1", "3"], "i": ["2", "4"]}


def test_the_separator_is_the_one_that_finds_the_columns(tmp_path: Path) -> None:
    table = csv_of(tmp_path / "x.csv", b"i;u;a,b,c,d,e\n1;2;3,50\n")
    assert table.to_dict(as_series=False) == {"i": ["1"], "u": ["2"], "a,b,c,d,e": ["3,50"]}


def test_lines_that_end_in_carriage_returns_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"carriage returns alone; expected line feeds: convert it, as by `tr"):
        csv_of(tmp_path / "x.csv", b"u,i\r1,2\r3,4\r")
    assert csv_of(tmp_path / "y.csv", b"u,i," + b"x" * (1 << 18) + b"\n1,2,3\n").height == 1  # beyond csv's own limit


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two columns are called 'u'"):
        csv_of(tmp_path / "x.csv", b"u,i,u\n1,2,3\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("u,i\n1,2\né,3\n".encode("latin-1"), "line 3 is not UTF-8; expected UTF-8 text: convert it"),
        ("u,i\n1,2\n".encode("utf-16"), "it is UTF-16 or no text; expected UTF-8 text"),
        ("u,i\n1,2\n".encode("utf-16-le"), "it is UTF-16 or no text"),
        (b"u,i\n1,\xc3", "line 2 is not UTF-8"),
    ],
)
def test_other_encodings_are_refused_with_the_remedy(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        csv_of(tmp_path / "x.csv", content)


def test_lines_nesting_and_unpacking_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": "' + b"x" * (text_files.MAX_LINE + 1) + b'"}'))
    with pytest.raises(ValueError, match="a line is longer than 16 MiB"):
        look_through(path, Form("json", True), "events")
    path.write_bytes(gzip.compress(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    with pytest.raises(ValueError, match="JSON is nested more than 100 deep"):
        look_through(path, Form("json", True), "events")
    monkeypatch.setattr(text_files, "GROWTH_FROM", 1 << 20)
    path.write_bytes(gzip.compress(b"{}\n" * 2_000_000))
    with pytest.raises(ValueError, match="it unpacks to more than 200 times its size"):
        look_through(path, Form("json", True), "events")


def test_brackets_in_strings_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "BLOCK", 1_000)
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": ":[[[", "b": [1]}\n' * 5_000)
    assert not look_through(path, Form("json"), "events").has_blank_lines
    path.write_text('{"a": 1}\n' * 500 + '{"a":' * 101 + "1" + "}" * 101)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        look_through(path, Form("json"), "events")


def test_a_cut_or_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"u,i\n" + b"".join(b"%d,%d\n" % (i * 7919 % 1000, i) for i in range(5_000)))
    for content in (whole[:-100], whole[:2000] + b"\xff\x00" * 50 + whole[2100:]):
        with pytest.raises(ValueError, match="it is truncated or damaged"):
            csv_of(tmp_path / "x.csv.gz", content)


@pytest.mark.parametrize("name", ["x.jsonl", "[x]*.jsonl", "what? %20 é.jsonl"])
def test_json_lines_have_types_that_suit_all_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jsonl").write_text('{"other": 1}\n')
    (tmp_path / name).write_text('\ufeff{"u": 1, "i": "a"}\r\n' + '{"u": 2}\n' * 20_000 + '{"u": "0042", "v": 1.5}\n\n')
    frame = scan_json(look_through(tmp_path / name, Form("json"), "events"))
    assert frame is not None
    table = frame.collect()
    assert table.schema == {"u": pl.String, "i": pl.String, "v": pl.Float64}
    assert table.row(0) == ("1", "a", None)
    assert table.row(-1) == ("0042", None, 1.5)
    (tmp_path / name).write_text('{"u": 1}\n')
    assert scan_json(look_through(tmp_path / name, Form("json"), "events")).collect().rows() == [(1,)]  # type: ignore[union-attr]
