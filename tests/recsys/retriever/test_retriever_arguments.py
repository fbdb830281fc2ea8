"""Arguments of every kind: tables in memory, ids as people hold them, and nonsense, which is refused in one line."""

import copy
import datetime
import math
import random

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recsys.errors import InputError
from recsys.retriever import Retriever

FORMS = {
    "polars": lambda path: pl.read_parquet(path),
    "lazy": lambda path: pl.scan_parquet(path),
    "pandas": lambda path: pl.read_parquet(path).to_pandas(),
    "pandas_by_row_number": lambda path: pl.read_parquet(path).to_pandas().rename(index=lambda row: row + 7),
    "pyarrow": lambda path: pl.read_parquet(path).to_arrow(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_memory_is_as_good_as_its_file(small_run, histories, form):
    folder, users = small_run.folder, histories["user_id"][:20]
    paths = {role: folder / f"{role}.parquet" for role in ("events", "items", "users")}
    tables = {role: FORMS[form](path) for role, path in paths.items()}
    before = copy.deepcopy(tables)
    by_path = Retriever.load(small_run.run / "bundle", **paths)
    by_table = Retriever.load(small_run.run / "bundle", **tables)
    expected, answers = by_path.recommend(user_ids=users), by_table.recommend(user_ids=users)
    assert answers.item_ids.equals(expected.item_ids)
    assert answers.scores.equals(expected.scores)
    again = Retriever.load(small_run.run / "bundle", items=FORMS["polars"](paths["items"]), users=tables["users"])
    assert len(answers.metadata_digest) == 64
    assert again.metadata_digest == answers.metadata_digest != by_path.metadata_digest
    for role, table in tables.items():
        assert _as_polars(table).equals(_as_polars(before[role]))


def test_the_digest_of_a_table_in_memory_follows_its_values(small_run):
    items = small_run.items
    halves = pl.concat([items[:100], items[100:]], rechunk=False)
    digests = [
        Retriever.load(small_run.run / "bundle", items=table).metadata_digest for table in (items, halves, items[1:])
    ]
    assert digests[0] == digests[1] != digests[2]


def _as_polars(table):
    return table.collect() if isinstance(table, pl.LazyFrame) else pl.DataFrame(table)


@pytest.mark.parametrize("table", [
    5, [{"user_id": "u"}], {"user_id": ["u"]}, b"events", np.ones((2, 2)), pl.Series(["u"]), pd.Series(["u"]),
    pl.DataFrame({"user": ["u"]}), pl.DataFrame(), pd.DataFrame({"user_id": [1.5], "item_id": ["i"], "timestamp": [1]}),
    pd.DataFrame({"user_id": ["u", 5], "item_id": ["i", "j"], "timestamp": [1, 2]}),
    pd.DataFrame([["u", "i", 1]], columns=["user_id", "item_id", "item_id"]),
    pl.LazyFrame({"user_id": ["u"]}).select(pl.col("user_id").str.to_integer()), pa.table({"user_id": [None]}),
], ids=range(14))  # fmt: skip
@pytest.mark.parametrize("role", ["events", "items", "users"])
def test_what_is_no_such_table_is_one_line(small_run, role, table):
    if role == "users" and isinstance(table, pl.DataFrame | pd.DataFrame) and "segment" in table:
        pytest.skip("has what users need")
    with pytest.raises(InputError) as refused:
        Retriever.load(small_run.run / "bundle", **{role: table})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_histories_can_be_any_iterables(retriever):
    ids = retriever.bundle.items["item_id"].to_list()[:4]
    expected = retriever.recommend([ids]).item_ids
    forms = [
        tuple(ids), iter(ids), (item for item in ids), np.array(ids), np.array(ids, object), pd.Series(ids,
        index=[9] * 4), pl.Series(ids), pl.Series(ids, dtype=pl.Categorical), [*ids, None], [pd.NA, *ids, math.nan],
        map(str, ids), [np.str_(item) for item in ids], pd.Series([*ids, pd.NA], dtype="string"),
        pa.array(ids).to_pylist(),
    ]  # fmt: skip
    for form in forms:
        assert retriever.recommend([form]).item_ids.equals(expected), type(form)
    for outer in ((ids,), iter([ids]), (row for row in [ids]), pl.Series([ids]), np.array([ids]), pd.Series([ids])):
        assert retriever.recommend(outer).item_ids.equals(expected), type(outer)
    for users in (iter(["u0"]), np.array(["u0"]), pd.Series(["u0"]), pl.Series(["u0"]), ("u0",)):
        assert len(retriever.recommend(user_ids=users)) == 1


def test_a_huge_k_gets_the_whole_catalogue_with_the_reason(retriever):
    answers = retriever.recommend([["x"]], k=10**30)
    assert len(answers.item_ids[0]) == retriever.bundle.encoder.num_items
    assert "short: only" in answers.reasons[0]


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), np.int32(3)])
def test_k_can_be_an_integer_of_numpy(retriever, k):
    assert len(retriever.recommend([["x"]], k=k).item_ids[0]) == 3


@pytest.mark.parametrize("k", [True, False, 3.0, "3", 0, -1, None, [3], np.float64(3), np.bool_(True)],
                         ids=repr)  # fmt: skip
def test_no_other_k_is_accepted(retriever, k):
    ids = retriever.bundle.items["item_id"].to_list()[:1]
    for call in (retriever.recommend, retriever.similar_items):
        with pytest.raises(InputError, match=r"k is .*expected a whole number") as refused:
            call([ids] if call == retriever.recommend else ids, k=k)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ids", ["i1", b"i1", {"i1": 1}, {"i1"}, 5, None, pl.col("i1"), [["i1"]], np.array(5)], ids=str)
@pytest.mark.parametrize("name", ["user_ids", "exclude"])
def test_ids_that_are_no_list_are_one_line(retriever, name, ids):
    if ids is None:
        pytest.skip("nothing is given")
    with pytest.raises(InputError) as refused:
        retriever.recommend(**{"histories": [["x"]], name: ids})
    assert "\n" not in str(refused.value)


NONSENSE = [
    None, True, 0, 1, -1, 2**63, 2**70, 1.5, math.nan, math.inf, "", " ", "i1", "^t.*$", "*", "\x00", "\ud800",
    b"i1", [], [[]], [None], [[None]], ["i1", 5], [["i1"], [5]], [["i1"], None], {}, {"a": 1}, {1}, (), pd.NA,
    pd.NaT, np.nan, np.array(5), np.array([]), np.array([[1, 2]]), np.array(["i1", None], object),
    pl.Series([1.5]), pl.Series([["i1"]]), pl.Series([]), pl.Series([None]), pl.Series([[None]]),
    pl.Series([b"i1"]), pl.Series([{"a": 1}]), pl.col("*"), pl.lit(1), pl.DataFrame({"a": [1]}),
    pd.Series(["i1"]), pd.Series([1.5, None]), pd.DataFrame({"a": [1]}), datetime.date(2020, 1, 1), object(),
    range(3), 1 + 2j, [("year", ">=", 1950)], [("year", ">=", "x")], [("year", ">=", pl.col("year"))], [("year",
    "in", [1, None])], [("*", "==", 1)], [("^t.*$", "==", "x")], [("tags", "contains", 5)], [("title", "<", "x")],
    [("title", "in", [])], [("year", "==", 2**70)], [("year", "in", iter([1950, 1960]))], [("year", "==",
    [1950])], [("title", "==", "\ud800")],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_is_answered_or_refused_in_one_line(retriever, seed):
    rng = random.Random(seed)
    ids = retriever.bundle.items["item_id"].to_list()
    real = [ids[:3], [ids[:3]], [ids[:2], []], ids[3], "u1", ["u1"], 5, [("year", ">", 0)], ["a text"], ids[:40]]

    def value():
        return rng.choice(real if rng.random() < 0.4 else NONSENSE)

    names = {
        retriever.recommend: ["histories", "user_ids", "k", "exclude_seen", "exclude", "where"],
        retriever.similar_items: ["item_ids", "k", "where"],
        retriever.search_text: ["texts", "k", "where"],
        retriever.explain: ["history", "item_id", "user_id"],
        retriever.allowed: ["where"],
        retriever.titles_of: ["item_ids"],
        retriever.user_rows: ["user_ids"],
    }
    answered, refusals = 0, []
    for _ in range(300):
        call = rng.choice(list(names))
        needed = [] if call == retriever.recommend else names[call][:1]
        arguments = {name: value() for name in names[call] if name in needed or rng.random() < 0.5}
        try:
            call(**arguments)
            answered += 1
        except InputError as error:
            refusals.append(str(error))
        except BaseException as error:
            raise AssertionError(f"{call.__name__}({arguments})") from error
    assert answered >= 10
    assert [line for line in refusals if "\n" in line or len(line) > 500] == []
