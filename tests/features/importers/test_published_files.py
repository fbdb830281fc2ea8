import gzip

import polars as pl
import pytest

from features.importers.layout import Column, Layout
from features.importers.published_files import PublishedTables, read_published, split_off_items

COLUMNS = (
    Column("user_id", "id", ("user",), required=True), Column("item_id", "id", ("item",), required=True),
    Column("timestamp", "time", ("time",), required=True),
)  # fmt: skip
EVENTS = Layout("events", "log*.csv", COLUMNS, separator=",")
BARE = Layout("events", "bare.tsv", COLUMNS, separator="\t", header=("user", "item", "time"))
ITEM = (Column("item_id", "id", ("item",), required=True), Column("title", "text", ("title",)))
ITEMS = Layout("items", "items.csv", ITEM, separator=",")
LAYOUTS = (EVENTS, BARE, ITEMS)


@pytest.fixture
def read(tmp_path):
    """A function: texts by file name to the tables that they hold."""

    def make(**files):
        folder = tmp_path / "download"
        folder.mkdir()
        (tmp_path / "scratch").mkdir()
        for name, text in files.items():
            path = folder / name.replace("_", ".", 1)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_published("Mine", LAYOUTS, [folder], tmp_path / "scratch")

    return make


def events_of(tables):
    return tables.by_name["events"].collect().rows()


def test_columns_are_taken_by_name_in_any_order(read):
    tables = read(log_csv="time,extra,item,user\n1400000000,x,i,u\n")
    assert events_of(tables) == [("u", "i", 1400000000)]
    assert tables.notes == ["log.csv: not read: extra"]
    assert tables.sources == {"events": [EVENTS]}


def test_a_byte_order_mark_and_gzip_change_nothing(read):
    assert events_of(read(log_csv="\ufeffuser,item,time\nu,i,1400000000\n", **{})) == [("u", "i", 1400000000)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,product,time\nu,i,1400000000\n", "has user, product, time; expected events with user, item, time"),
        ("user,item,time\nu,i,yesterday\n", "timestamp cannot be read in 1 of 1 rows, such as 'yesterday'; "),
        ("user,item,time\nu,i,5\n", "the last timestamp is 5; expected seconds or milliseconds since 1970"),
        ("user,item,time\nu,i,1400000000000000\n", r"the last timestamp is 1\.4e\+15; expected seconds or milli"),
        ("user,item,time\nu,i,1400000000,3\n", "cannot read the download at .*: found more fields"),
        ("user,item,item,time\nu,i,j,1400000000\n", "two columns are called 'item'"),
        ("user,item,time\n\u00e4,i,1400000000\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("user,item,time\nu,i,1400000000\n".encode("utf-16"), "it is UTF-16"),
        ('user,item,time\n"u,i,1400000000\n', "cannot read the download at .*log.csv: "),
        (b"\x1f\x8b broken", "cannot read the download at .*log.csv: "),
        ("", r"the download at .*log\.csv is empty"),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_refused_by_name(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(log_csv=content)


def test_blank_lines_are_nothing(read):
    tables = read(log_csv="\nuser,item,time\nu,i,1400000000\n\n\n", bare_tsv="u\ti\t1400000001\n\n")
    assert events_of(tables) == [("u", "i", 1400000001), ("u", "i", 1400000000)]
    assert tables.notes == []


def test_a_bare_file_that_was_cut_off_is_one_error(tmp_path):
    rows = "".join(f"u{number}\ti\t{1400000000 + number}\n" for number in range(5000))
    (tmp_path / "bare.tsv.gz").write_bytes(gzip.compress(rows.encode())[:5000])
    with pytest.raises(ValueError, match=r"cannot read the download at .*bare\.tsv\.gz: .*; download it again"):
        read_published("Mine", [BARE], [tmp_path / "bare.tsv.gz"], tmp_path)


def test_a_file_that_was_cut_off_is_one_error(read):
    rows = "".join(f"u{number},i,{1400000000 + number}\n" for number in range(5000))
    with pytest.raises(ValueError, match=r"cannot read the download at .*log\.csv\.gz: it is truncated or damaged"):
        read(**{"log_csv.gz": gzip.compress(f"user,item,time\n{rows}".encode())[:5000]})


def test_files_without_a_header_are_known_by_name_number_and_type(read, tmp_path):
    assert events_of(read(bare_tsv='u"1\ti\t1400000000\n')) == [('u"1', "i", 1400000000)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("u\ti\n", "expected events with 3 fields: user, item, time"),
        (
            "who\twhat\twhen\nu\ti\t1400000000\n",
            r"begins with \('who', 'what', 'when'\); expected .* without a header",
        ),
        ("1400000000\tu\ti\n", r"begins with \('1400000000', 'u', 'i'\)"),
    ],
)
def test_files_without_a_header_of_another_form_are_refused(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(bare_tsv=content)


def test_seconds_and_milliseconds_become_one_unit(read):
    tables = read(
        log1_csv="user,item,time\nu,i,1400000000\nu,i,1400000001.5\n", log2_csv="user,item,time\nu,j,1400000002000\n"
    )
    assert events_of(tables) == [("u", "i", 1400000000000), ("u", "i", 1400000001500), ("u", "j", 1400000002000)]
    assert tables.notes == ["events: times in seconds, made milliseconds as the others are: 2"]


def test_a_fraction_of_a_second_is_kept_and_an_early_time_is_said(read):
    tables = read(log_csv="user,item,time\nu,i,1400000000.5\nu,i,1.5\nu,i,\n")
    assert events_of(tables) == [("u", "i", 1400000000.5), ("u", "i", 1.5), ("u", "i", None)]
    assert tables.notes == ["events: times before 1973: 1"]


def test_a_header_that_was_added_to_a_bare_file_is_taken_by_name(read):
    assert events_of(read(bare_tsv="item\ttime\tuser\ni\t1400000000\tu\n")) == [("u", "i", 1400000000)]


def test_wrong_paths_say_what_was_looked_for(tmp_path, read):
    for path, message in (
        (tmp_path / "nowhere", "no file at .*nowhere"),
        (tmp_path / "a.zip", "is an archive; .*: unpack it first"),
        (tmp_path, r"no Mine download at .*; expected a folder with log\*\.csv, bare\.tsv, items\.csv"),
    ):
        with pytest.raises(ValueError, match=message):
            read_published("Mine", LAYOUTS, [path], tmp_path)
    with pytest.raises(ValueError, match="no path; expected files of Mine"):
        read_published("Mine", LAYOUTS, [], tmp_path)
    with pytest.raises(ValueError, match="no file holds events; expected events with user, item, time"):
        read(items_csv="item,title\ni,t\n")


def test_events_name_items_where_no_file_does():
    events = pl.LazyFrame({"item_id": ["a", "a"], "title": ["A", "B"]})
    left, items = split_off_items(PublishedTables({"events": events}))
    assert (left.collect().columns, items.collect().rows()) == (["item_id"], [("a", "A")])
    of_file = pl.LazyFrame({"item_id": ["b"]})
    assert split_off_items(PublishedTables({"events": events, "items": of_file}))[1] is of_file
    assert split_off_items(PublishedTables({"events": events.drop("title")}))[1] is None
