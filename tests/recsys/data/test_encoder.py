from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.config import FeatureConfig
from recsys.data.encoder import Encoder
from recsys.data.feature_kinds import Transform, fit_feature


def fitted(kind: Any, values: list[Any] | pl.Series, dtype: Any = None) -> Transform:
    column = values if isinstance(values, pl.Series) else pl.Series("x", values, dtype=dtype)
    return fit_feature(FeatureConfig(name="x", kind=kind), column)


def encoder_of(ids: list[Any], num_trained: int, **changes: Any) -> Encoder:
    values: dict[str, Any] = {
        "item_transforms": (fitted("categorical", ["a", "b"]), fitted("numeric", [1.0, 3.0])),
        "user_transforms": (fitted("text", ["one two"]),),
        "columns": {"user_id": "u", "item_id": "i", "time": None},
        "user_id_type": "Int64",
    }
    return Encoder(pl.Series("item_id", ids), num_trained, **values | changes)


def test_positions_count_from_one_in_catalogue_order() -> None:
    encoder = encoder_of(["b", "d", "a", "c"], 2)  # trained b, d; cold a, c
    ids = pl.Series(["a", "z", "b", None, "d", "b"])
    positions = encoder.positions(ids)
    assert positions.tolist() == [3, 0, 1, 0, 2, 1]
    assert positions.dtype == np.int32
    assert encoder.ids(positions[positions > 0]).to_list() == ["a", "b", "d", "b"]
    assert encoder.num_items == 4


def test_more_items_follow_the_others() -> None:
    encoder = encoder_of(["b", "d", "a"], 2)
    longer = encoder.extended(pl.Series("item_id", ["c"])).extended(pl.Series("item_id", ["e", "0"]))
    other = encoder.extended(pl.Series("item_id", ["e"]))
    ids = pl.Series(["a", "c", "e", "0", "b", "z"])
    assert longer.positions(ids).tolist() == [3, 4, 5, 6, 1, 0]
    assert longer.positions(pl.concat([ids] * 200)).tolist() == [3, 4, 5, 6, 1, 0] * 200
    assert other.positions(ids).tolist() == [3, 0, 4, 0, 1, 0]
    assert encoder.positions(ids).tolist() == [3, 0, 0, 0, 1, 0]
    assert longer.ids(np.array([6, 4])).to_list() == ["0", "c"]
    assert encoder.extended(pl.Series("item_id", [], dtype=pl.String)) is encoder


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a", "z"]), pl.String])
def test_text_ids_may_come_as_dictionaries(dtype: Any) -> None:
    assert encoder_of(["b", "a"], 1).positions(pl.Series(["a", "z"]).cast(dtype)).tolist() == [2, 0]


def test_integer_ids_of_any_width() -> None:
    encoder = replace(encoder_of([], 0), item_ids=pl.Series("item_id", [3, 5], dtype=pl.Int8))
    for dtype in (pl.Int64, pl.UInt64, pl.Int32):
        assert encoder.positions(pl.Series([5, 3, 1_000], dtype=dtype)).tolist() == [2, 1, 0]
    assert encoder.positions(pl.Series([], dtype=pl.Null)).tolist() == []
    assert encoder.positions(pl.Series([None])).tolist() == [0]


def test_ids_of_another_kind_are_refused() -> None:
    cases: list[tuple[list[Any], list[Any]]] = [
        (["1"], [1]),
        ([1], ["1"]),
        ([1], [1.0]),
        (["1"], [1.0]),
        (["1"], [[1]]),
    ]
    for known, asked in cases:
        with pytest.raises(ValueError, match=r"item ids are .*; the model was trained on .*: cast"):
            encoder_of(known, 1).positions(pl.Series(asked))


def test_an_encoder_survives_its_file(tmp_path: Path) -> None:
    encoder = encoder_of([3, 1, 2], 2, item_transforms=tuple(
        fitted(kind, values) for kind, values in (
            ("categorical", ["é", None]), ("multi_categorical", [["a"], ["b", "c"]]), ("numeric", [0.1, 0.7]),
            ("text", ["some words"]), ("vector", [[1.0, 2.0]]),
        )
    ))  # fmt: skip
    encoder.write(tmp_path / "encoder.json")
    again = Encoder.read(tmp_path / "encoder.json", encoder.item_ids)
    assert again.item_transforms == encoder.item_transforms
    assert replace(again, item_ids=None) == replace(encoder, item_ids=None)  # type: ignore[arg-type]
    assert again.content_hash() == encoder.content_hash()


def test_the_content_hash_sees_everything() -> None:
    same = encoder_of(["1", "2"], 1)
    others = [
        encoder_of(["2", "1"], 1),
        encoder_of(["1"], 1),
        encoder_of(["1", "2"], 2),
        encoder_of([1, 2], 1),
        replace(same, item_ids=pl.Series("item_id", [1, 2], dtype=pl.Int32)),
        encoder_of(["1\0002"], 1),
        encoder_of(["12", ""], 1),
        encoder_of(["1", "2"], 1, item_transforms=()),
        encoder_of(["1", "2"], 1, item_transforms=same.item_transforms[::-1]),
        encoder_of(["1", "2"], 1, user_transforms=()),
        encoder_of(["1", "2"], 1, columns={"user_id": "user", "item_id": "i", "time": None}),
        encoder_of(["1", "2"], 1, user_id_type="String"),
        *(
            encoder_of(["1", "2"], 1, item_transforms=(replace(same.item_transforms[0], **change),))
            for change in (
                {}, {"name": "y"}, {"kind": "text"}, {"size": 4}, {"vocabulary": ("a", "c")}, {"mean": 0.5},
                {"scale": 2.0},
            )
        ),
    ]  # fmt: skip
    hashes = {encoder.content_hash() for encoder in (same, *others)}
    assert len(hashes) == len(others) + 1
    assert encoder_of(["1", "2"], 1).content_hash() == same.content_hash()
