"""Today's metadata in a bundle: new items and users join, known ones are updated, the rest stays."""

import numpy as np
import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.retriever import ItemChanges, Retriever, with_metadata


@pytest.fixture
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


def test_the_same_metadata_changes_nothing(small_run, bundle):
    same, clipped = with_metadata(
        bundle, items=str(small_run.folder / "items.parquet"), users=str(small_run.folder / "users.parquet")
    )
    assert clipped == small_run.dataset.manifest.statistics.item_metadata.to_json("items") == {}
    assert same.items.equals(bundle.items)
    assert same.item_features.equals(bundle.item_features)
    assert same.users.sort("user_id").equals(bundle.users.sort("user_id"))
    np.testing.assert_allclose(same.item_vectors, bundle.item_vectors, atol=1e-6)
    assert same.index.spec.kind == bundle.index.spec.kind


def test_new_items_are_appended_and_placed_by_their_metadata(small_run, bundle, tmp_path):
    old = bundle.items.row(0, named=True)
    twin = {name: old[name] for name in ("title", "genre", "tags", "year")}
    rows = pl.DataFrame([
        {"item_id": "zz", **twin}, {"item_id": "new", **twin},
        {"item_id": old["item_id"], **twin, "year": 10**9},
    ]).with_columns(shelf=pl.lit("A"))  # fmt: skip
    rows.write_parquet(tmp_path / "items.parquet")
    newer, clipped = with_metadata(bundle, items=str(tmp_path / "items.parquet"))
    assert clipped == {"clipped: items year": 1}
    ids, n = newer.encoder.item_ids, bundle.encoder.num_items
    assert ids.to_list() == [*bundle.encoder.item_ids, "new", "zz"]
    assert newer.encoder.num_trained == bundle.encoder.num_trained
    assert newer.item_counts.tolist() == [*bundle.item_counts, 0, 0]
    assert newer.items["shelf"].to_list() == ["A", *[None] * (n - 1), "A", "A"]
    assert newer.items["year"][0] == 10**9
    assert newer.items[1:n].drop("shelf").equals(bundle.items[1:])
    np.testing.assert_array_equal(newer.item_vectors[n + 1], newer.item_vectors[n + 2])
    trained = slice(2, bundle.encoder.num_trained + 1)  # a cold one may be less like the first now
    np.testing.assert_allclose(newer.item_vectors[trained], bundle.item_vectors[trained], atol=1e-6)
    moved = newer.item_vectors[1] - bundle.item_vectors[1]
    fitted = bundle.encoder.item_transforms[3]
    weight = bundle.model.item_tower.metadata.dense.weight[:, 0] / bundle.model.spec.num_members**0.5
    year = weight * (fitted.high - old["year"]) / fitted.scale
    np.testing.assert_allclose(moved, year.numpy(), atol=1e-5)  # its id row stayed, its year moved to the fitted end
    answers = Retriever(newer, "id").recommend([[old["item_id"]]], k=n + 2)
    assert set(answers.item_ids[0]) == set(ids) - {old["item_id"]}


def test_new_users_join_and_known_ones_are_replaced(small_run, bundle, tmp_path):
    known = bundle.users["user_id"][0]
    pl.DataFrame({"user_id": ["new", known], "age": [1e30, None]}).write_parquet(tmp_path / "users.parquet")
    newer, clipped = with_metadata(bundle, users=str(tmp_path / "users.parquet"))
    assert clipped == {"clipped: users age": 1}
    fitted = bundle.encoder.user_transforms[0]
    oldest = np.float32((fitted.high - fitted.mean) / fitted.scale)
    assert newer.users.filter(user_id="new")["age"][0].to_list() == [oldest, 0.0]
    assert sorted(newer.users["user_id"]) == sorted([*bundle.users["user_id"], "new"])
    assert newer.users.filter(user_id=known)["age"][0].to_list() == [0.0, 1.0]
    assert newer.items is bundle.items


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items.drop("genre"), "items at .* has no column 'genre'"),
        (lambda items: items.with_columns(item_id=pl.lit(1)), "item_id is Int32 in items but String"),
        (lambda items: items.with_columns(year=pl.lit("old")), "do not fit the bundle's metadata"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(small_run, bundle, tmp_path, change, message):
    change(small_run.items).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(ValueError, match=message) as raised:
        with_metadata(bundle, items=str(tmp_path / "items.parquet"))
    assert "\n" not in str(raised.value)


def test_a_text_file_takes_the_types_of_the_bundle(bundle, tmp_path):
    old = bundle.items.row(0, named=True)
    path = tmp_path / "items.csv"
    path.write_text(f'item_id;year;genre;title;tags\n{old["item_id"]};1903;7;1984;"[""a"", ""b""]"\nnew;;8;9;\n')
    newer, _ = with_metadata(bundle, items=str(path))
    assert newer.items.schema == bundle.items.schema
    row = newer.items.row(0, named=True)
    assert (row["year"], row["genre"], row["title"], row["tags"]) == (1903, "7", "1984", ["a", "b"])
    path.write_text(f"item_id;year;genre;title;tags\n{old['item_id']};1903.5;7;1984;\n")
    with pytest.raises(
        ValueError, match="do not fit the bundle's metadata: year has fractions, where the bundle has Int64"
    ):
        with_metadata(bundle, items=str(path))


def test_a_complete_table_removes_what_it_does_not_have_until_it_comes_back(small_run, bundle):
    items = small_run.items
    gone = items["item_id"][:3]
    fewer, _ = with_metadata(bundle, items=items[3:], complete=True)
    changes = ItemChanges.between(bundle.items, fewer.items)
    absent = bundle.items.join(items[3:], on="item_id", how="anti").height
    assert (changes.added, changes.changed, changes.removed) == (0, 0, absent)
    assert str(changes) == f"0 items added, 0 changed, {absent} removed"
    retriever = Retriever(fewer, "id").limited(clock=lambda: 0.0)
    answer = retriever.recommend([gone.to_list()], k=1000)  # they still say what the user likes
    assert answer.reasons[0] is None or "popular" not in answer.reasons[0]
    assert not set(answer.item_ids[0]) & set(gone)
    same, _ = with_metadata(fewer, items=items[5:])  # which does not say that it is complete
    assert same.items.equals(fewer.items)
    back, _ = with_metadata(fewer, items=items)
    assert back.items.equals(bundle.items)
    assert ItemChanges.between(fewer.items, back.items).changed == absent
    assert not ItemChanges.between(bundle.items, with_metadata(bundle, items=items)[0].items)


def test_changes_count_new_columns_and_values(small_run, bundle):
    changed = small_run.items[:2].with_columns(year=pl.lit(1900))
    changes = ItemChanges.between(bundle.items, with_metadata(bundle, items=changed)[0].items)
    assert (changes.added, changes.changed, changes.removed) == (0, 2, 0)
    assert np.flatnonzero(~changes.is_same).tolist() == sorted(bundle.encoder.positions(changed["item_id"]) - 1)
    shelves = small_run.items[:1].with_columns(shelf=pl.lit("A"))
    assert ItemChanges.between(bundle.items, with_metadata(bundle, items=shelves)[0].items).changed == 1
