import re

import pytest

from features.starter_config.roles import NamedColumns, find_log, find_metadata

NONE = NamedColumns()
ROWS = [(f"u{n % 30}", f"i{n % 17}", f"2020-01-{n % 28 + 1:02}") for n in range(300)]
ITEMS = [(f"i{n}", f"thing number {n}") for n in range(17)]


def columns_of(log):
    return log.user_id, log.item_id, log.time


@pytest.mark.parametrize(
    "header",
    [
        "user_id,item_id,timestamp",
        "CustomerID,StockCode,InvoiceDate",
        "visitorid,itemid,date",
        "Kundennr,Artikelnr,Datum",
    ],
)
def test_columns_are_found_by_name(look, header):
    assert columns_of(find_log([look("log.csv", header, ROWS)], NONE)) == tuple(header.split(","))


def test_the_log_is_the_file_of_users_and_items_in_whatever_order(look):
    log, items = look("a.csv", "user,sku,day", ROWS), look("b.csv", "sku,title", ITEMS)
    for files in ([log, items], [items, log]):
        assert find_log(files, NONE).file is log


def test_columns_are_found_by_the_values_that_another_file_describes(look):
    log = look("a.csv", "p1,p2,when", ROWS)
    found = find_log([log, look("products.csv", "p2,title", ITEMS)], NONE)
    assert columns_of(found) == ("p1", "p2", "when")
    assert found.reasons == {"user_id": "by its values", "item_id": "by its values"}


def test_the_last_column_that_repeats_is_taken(look):
    assert columns_of(find_log([look("a.csv", "who,sku,day", ROWS)], NONE)) == ("who", "sku", "day")


def test_columns_are_named_where_they_are_not_found(look):
    log = look("a.csv", "a,b,c", ROWS)
    with pytest.raises(
        ValueError, match=r"users or items, whose ids repeat; found a \(30 values\), b .* --user-id and"
    ):
        find_log([log], NONE)
    assert columns_of(find_log([log], NamedColumns("a", "b"))) == ("a", "b", "c")
    assert columns_of(find_log([log], NamedColumns("b", "a", "c"))) == ("b", "a", "c")
    with pytest.raises(ValueError, match="no column 'z'; found a, b, c: correct --item-id"):
        find_log([log], NamedColumns("a", "z"))
    with pytest.raises(ValueError, match="users and items are both 'a'"):
        find_log([log], NamedColumns("a", "a"))


def test_metadata_share_a_column_with_the_log(look):
    log = find_log([look("a.csv", "user,sku,day", ROWS)], NONE)
    items = look("b.csv", "sku,title", [*ITEMS, ("i99", "new")])
    users = look("c.csv", "user,age", [(f"u{n}", n) for n in range(20)])
    found, unused = find_metadata(log, [log.file, users, items])
    assert [(table.role, table.id_column, table.known, table.ids) for table in found] == [
        ("users", "user", 20, 30), ("items", "sku", 17, 17),
    ]  # fmt: skip
    assert unused == []


@pytest.mark.parametrize(
    ("header", "rows", "reason"),
    [
        ("nr,title", ITEMS, "its column nr has the items of the log, where they are called sku.*: rename nr to sku"),
        ("sku,title", [("x1", "a"), ("x2", "b")], "it has none of the 17 values that sku has in the log"),
        ("sku,tag", ITEMS * 2, "it has 34 rows for 17 items; expected one row for each"),
        ("user,sku,day,shop", [(*row, 1) for row in ROWS[:9]], "it has the columns of the log; if it is a part of it"),
        ("user,sku,tag", ROWS, "it has users and items, as the log has"),
        ("a,b", [(1, 2)], "no column of it is called sku or user"),
    ],
)  # fmt: skip
def test_other_files_are_not_used_and_it_is_said_why(look, header, rows, reason):
    log = find_log([look("a.csv", "user,sku,day", ROWS)], NONE)
    found, (unused,) = find_metadata(log, [log.file, look("b.csv", header, rows)])
    assert found == []
    assert unused.startswith("b.csv is not used: ")
    assert re.search(reason, unused)


def test_of_two_files_that_describe_items_the_fuller_is_used(look):
    log = find_log([look("a.csv", "user,sku,day", ROWS)], NONE)
    few, all_of_them = look("b.csv", "sku,title", ITEMS[:5]), look("c.csv", "sku,title", ITEMS)
    for files in ([few, all_of_them], [all_of_them, few]):
        found, unused = find_metadata(log, files)
        assert ([table.file for table in found], unused) == (
            [all_of_them], ["b.csv is not used: c.csv describes more of the items; join the two"],
        )  # fmt: skip


def test_parts_of_one_log_are_not_taken_for_one(look):
    first, second = look("a.csv", "user,sku,day", ROWS[:100]), look("b.csv", "user,sku,day", ROWS[100:])
    with pytest.raises(ValueError, match=r"a\.csv and .*b\.csv have the same columns; expected one log"):
        find_log([first, look("c.csv", "sku,title", ITEMS), second], NONE)
