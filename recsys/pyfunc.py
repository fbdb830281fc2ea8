"""The model that MLflow serves: a record per user in, ids and scores out. Registered versions name this module."""

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

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        """Recommend to each record.

        Args:
            model_input: A row per query: ``history`` (list of item ids) and, optionally, ``k`` and, where the model
                knows users, ``user_id``; users who are missing or new are served by their history alone.
            params: Ignored; MLflow passes it.

        Returns:
            item_ids, scores, reason and bundle_id, a row per record.

        Raises:
            InputError: Bad records.
        """
        if "history" not in model_input:
            present = ", ".join(map(str, model_input))
            raise InputError(f"records have {present}; expected history and, optionally, k and user_id")
        histories = list(model_input["history"])
        k_of_row = np.full(len(histories), DEFAULT_K)
        if "k" in model_input:
            k_of_row = model_input["k"].fillna(DEFAULT_K).to_numpy().astype(np.int64)
        user_ids = [None] * len(histories)
        if "user_id" in model_input:  # pandas turns integers into floats if one is missing; convert_dtypes undoes it
            user_ids = model_input["user_id"].convert_dtypes().to_numpy(object, na_value=None).tolist()
        records: list[Any] = [None] * len(histories)
        for k in np.unique(k_of_row).tolist():
            rows = np.flatnonzero(k_of_row == k).tolist()
            answers = self._retriever.recommend(
                [histories[row] for row in rows], user_ids=[user_ids[row] for row in rows], k=k
            )
            lists = (answers.item_ids.to_list(), answers.scores.to_list(), answers.reasons.to_list())
            for row, item_ids, scores, reason in zip(rows, *lists, strict=True):
                records[row] = (item_ids, scores, reason, answers.bundle_id)
        return pd.DataFrame(records, columns=["item_ids", "scores", "reason", "bundle_id"], dtype=object)


def _load_pyfunc(path: str) -> Served:
    """Load the bundle at ``path``; MLflow calls this."""
    return Served(Retriever.load(path))
