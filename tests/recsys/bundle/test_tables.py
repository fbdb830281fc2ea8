"""Tables of a bundle are checked in full before anything uses them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recsys.bundle import load_bundle
from recsys.bundle.tables import check_features, check_users, read_table, require_ids
from recsys.data import write_arrow
from recsys.model import FeatureTable

TABLE = pl.DataFrame({"item_id": ["a", "b", "c"], "tags": [["x"], [], ["y", "z"]], "year": [1, None, 3]})


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


def content(table, tmp_path):
    write_arrow(table, tmp_path / "x.arrow")
    return np.fromfile(tmp_path / "x.arrow", np.uint8)


def test_what_was_written_is_read(tmp_path):
    table = TABLE.with_columns(
        kind=pl.Series(["k", "l", None], dtype=pl.Enum(["k", "l"])),
        name=pl.Series(["k", "k", "m"], dtype=pl.Categorical),
    )
    for frame in (table, table.head(0), table.select()):
        assert read_table(content(frame, tmp_path)).equals(frame)


def test_offsets_that_lead_out_of_a_column_are_refused(tmp_path):
    good = content(TABLE, tmp_path)
    place = good.tobytes().index(np.array([0, 1, 1, 3], np.int64).tobytes())
    for at, value in ((8, 2**40), (8, -1), (24, 2**31), (0, 5)):
        bad = good.copy()
        bad[place + at : place + at + 8] = np.frombuffer(np.int64(value).tobytes(), np.uint8)
        with pytest.raises(ValueError, match=r"(?i)offset|out of|negative|length|bound|invalid"):
            read_table(bad)


def test_a_type_that_is_never_written_is_refused(tmp_path):
    for column in (
        pa.array([[1]], pa.list_view(pa.int64())),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    ):
        table = pa.table({"x": column})
        with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(ValueError, match="it has a column of type"):
            read_table(np.fromfile(tmp_path / "x.arrow", np.uint8))


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        (["a", "b", "a"], "missing or repeated"),
        (["a", "b", None], "missing or repeated"),
        ([1.0, 2.0, 3.0], "expected strings or integers"),
    ],
)
def test_ids_are_distinct_and_of_a_type_for_ids(ids, fault):
    with pytest.raises(ValueError, match=fault):
        require_ids(TABLE.with_columns(pl.Series("item_id", ids)), "item_id")
    require_ids(TABLE, "item_id")
    with pytest.raises(ValueError, match="first column is not item_id"):
        require_ids(TABLE.select("tags", "item_id"), "item_id")


def test_features_fit_the_encoder(bundle):
    features, encoder = bundle.item_features, bundle.encoder
    check_features(features, encoder)
    genre = features.get_column("genre")
    for fault, changed in (
        ("rows, for", features.head(5)),
        ("it has the features", features.drop("genre")),
        ("is List\\(Int64\\), expected List\\(Int32\\)", features.with_columns(genre.cast(pl.List(pl.Int64)))),
        ("in every row", features.with_columns(genre.shift())),
        ("out of its range", features.with_columns(pl.Series("genre", [[-1]] * len(genre), dtype=genre.dtype))),
        ("out of its range", features.with_columns(pl.Series("genre", [[10**6]] * len(genre), dtype=genre.dtype))),
        (
            "out of its range",
            features.with_columns(year=pl.Series([[np.inf, 0.0]] * len(genre), dtype=pl.Array(pl.Float32, 2))),
        ),
    ):
        with pytest.raises(ValueError, match=fault):
            check_features(changed, encoder)


def test_users_fit_the_encoder(bundle):
    check_users(bundle.users, bundle.encoder)
    with pytest.raises(ValueError, match=r"in encoder\.json Int64"):
        check_users(bundle.users, replace(bundle.encoder, user_id_type="Int64"))


@pytest.mark.parametrize("pattern", ["^{}|x.*$", "*{}", "^{}$"])
def test_names_of_features_that_look_like_patterns_are_names(bundle, pattern):
    encoder, features = bundle.encoder, bundle.item_features
    renamed = tuple(replace(one, name=pattern.format(one.name)) for one in encoder.item_transforms)
    table = features.rename({one.name: pattern.format(one.name) for one in encoder.item_transforms})
    check_features(table, replace(encoder, item_transforms=renamed))
    read = FeatureTable.from_frame(renamed, table)
    expected = FeatureTable.from_frame(encoder.item_transforms, features)
    np.testing.assert_array_equal(read.dense, expected.dense)
    assert [bag.values.tolist() for bag in read.bags.values()] == [
        bag.values.tolist() for bag in expected.bags.values()
    ]
