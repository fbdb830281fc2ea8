"""The model that MLflow serves: a record per user in, ids and scores out. Registered versions name this module."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .bundle import load_bundle
from .errors import InputError
from .registry import DEFAULT_K, bad_requests, logged_bundle_id
from .retriever import Query, QueryError, Retriever

EXACT = 2**53  # whole numbers below it survive as floats, which is what pandas makes of integers beside a gap


class Served:
    """A Retriever as MLflow's pyfunc flavour calls it."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, object] | None = None) -> pd.DataFrame:
        """Recommend to each record.

        Args:
            model_input: A row per query: ``history`` (list of item ids) and, where the model knows users, ``user_id``
                or ``user``, an object of the user's columns such as {"age": 34}; optionally ``k``. What is missing in a
                row, or null, is as if it were not asked for: of whom nothing is known gets the most popular items.
            params: ``k``, for the rows that have none of their own, and ``exclude_seen``.

        Returns:
            item_ids, scores, reason and bundle_id, a row per record.

        Raises:
            MlflowException: Bad records or parameters; MLflow's server answers 400 with our line.
        """
        with bad_requests():
            return self.answer(model_input, {} if params is None else params)

    def answer(self, records: pd.DataFrame, params: Mapping[str, object]) -> pd.DataFrame:
        """``predict`` that raises InputError."""
        if not isinstance(records, pd.DataFrame):
            raise InputError(
                f"the input is a {type(records).__name__}; expected records, as dataframe_records has them"
            )
        if not {"history", "user"} & set(map(str, records)) and len(records):
            present = ", ".join(map(str, records))
            raise InputError(f"records have {present}; expected history or user and, optionally, k and user_id")
        histories = [_history(value, row) for row, value in enumerate(_column(records, "history"))]
        default, exclude_seen = params.get("k"), params.get("exclude_seen")
        if exclude_seen not in (None, True, False):
            raise InputError(f"exclude_seen is {exclude_seen!r}; expected true or false")
        fallback = DEFAULT_K if default is None else _num_wanted(default)
        k_of_row = [fallback if value is None else _num_wanted(value) for value in _column(records, "k")]
        user_ids = [_whole(value, "user_id") for value in _column(records, "user_id")]
        users = [_columns_of(value, row) for row, value in enumerate(_column(records, "user"))]
        queries = [
            Query(history=history, user_id=user_id, user=user, k=k, exclude_seen=exclude_seen is not False)
            for history, user_id, user, k in zip(histories, user_ids, users, k_of_row, strict=True)
        ]
        try:
            answers = self._retriever.answer(queries)
        except QueryError as error:
            raise error.reason from error
        lists = (answers.item_ids.to_list(), answers.scores.to_list(), answers.reasons.to_list())
        answered = [(*answer, answers.bundle_id) for answer in zip(*lists, strict=True)]
        return pd.DataFrame(answered, columns=["item_ids", "scores", "reason", "bundle_id"], dtype=object)


def _column(records: pd.DataFrame, name: str) -> list[object]:
    """A column's values, with None for what is missing."""
    if name not in records:
        return [None] * len(records)
    values = records[name]
    if isinstance(values, pd.DataFrame):
        raise InputError(f"records have {name} twice; expected one column of each name")
    return [None if _is_missing(value) else value for value in values.tolist()]


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _history(value: object, row: int) -> list[object]:
    """A record's history as a list; items that are missing are left out."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise InputError(f"history of record {row} is {value!r}; expected a list of item ids")
    return [_whole(item, "history") for item in value if not _is_missing(item)]


def _columns_of(value: object, row: int) -> dict[str, object] | None:
    """A record's columns of the user; those that are missing are left out."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f'user of record {row} is {value!r}; expected columns and values, such as {{"age": 34}}')
    return {str(name): cell for name, cell in value.items() if not _is_missing(cell)}


def _num_wanted(value: object) -> int:
    """k as a record or the parameters have it."""
    k = _whole(value, "k")
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}; expected a whole number, at least 1")
    return k


def _whole(value: object, name: str) -> object:
    """A whole number that pandas or JSON made a float, as the integer that it was; anything else as it is."""
    if not isinstance(value, float) or not value.is_integer():
        return value
    if abs(value) >= EXACT:
        raise InputError(
            f"{name} has {value!r}, an integer that became a float because another record has none, and lost its last "
            "digits; send such records apart"
        )
    return int(value)


def _load_pyfunc(path: str, model_config: Mapping[str, str] | None = None) -> Served:
    """Load the bundle at ``path``, which must be the one that was logged; MLflow calls this.

    model_config: MLflow's. Its ``device`` is that of ``Retriever.load``.
    """
    bundle = Path(path)
    description = bundle.parents[1] / "MLmodel"
    expected_id = logged_bundle_id(description) if description.is_file() else None
    device = (model_config or {}).get("device", "cpu")
    loaded, bundle_id = load_bundle(bundle, expected_id=expected_id, device=device)
    loaded.encoder.require_same_encoders()
    return Served(Retriever(loaded, bundle_id))
