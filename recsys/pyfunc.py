"""What MLflow serves: a record per user in, ids and scores out. The loader module of registered models."""

from typing import Any

import numpy as np
import pandas as pd

from .errors import InputError
from .retriever import Retriever

DEFAULT_K = 10


class Served:
    """A Retriever as MLflow's pyfunc flavour calls it."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer a pandas frame: a row per record, with ``history`` (list of item ids) and, optionally, ``k``, and
        ``user_id`` where the model knows users: missing or new ones are served by their history alone.

        Returns a frame of item_ids, scores, reason and bundle_id. Raises InputError on bad records.
        """
        if "history" not in model_input:
            found = ", ".join(map(str, model_input))
            raise InputError(f"records have {found}; expected history and, optionally, k and user_id")
        histories = list(model_input["history"])
        k_of_row = np.full(len(histories), DEFAULT_K)
        if "k" in model_input:
            k_of_row = model_input["k"].fillna(DEFAULT_K).to_numpy().astype(np.int64)
        user_ids = [None] * len(histories)
        if "user_id" in model_input:  # pandas makes floats of integers where one is missing; convert_dtypes undoes it
            user_ids = model_input["user_id"].convert_dtypes().to_numpy(object, na_value=None).tolist()
        records: list[Any] = [None] * len(histories)
        for k in np.unique(k_of_row).tolist():
            rows = np.flatnonzero(k_of_row == k).tolist()
            asked = [histories[row] for row in rows]
            answers = self._retriever.recommend(asked, user_ids=[user_ids[row] for row in rows], k=k)
            lists = (answers.item_ids.to_list(), answers.scores.to_list(), answers.reasons.to_list())
            for row, item_ids, scores, reason in zip(rows, *lists, strict=True):
                records[row] = (item_ids, scores, reason, answers.bundle_id)
        return pd.DataFrame(records, columns=["item_ids", "scores", "reason", "bundle_id"], dtype=object)


def _load_pyfunc(path: str) -> Served:
    """MLflow's loader hook; ``path`` is the bundle's folder."""
    return Served(Retriever.load(path))
