"""POST /v1/similar, /v1/search, /v1/explain and /invocations: what is looked up one at a time."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import polars as pl

from recsys import pyfunc
from recsys.answers import Recommendations
from recsys.data import id_series
from recsys.errors import InputError

from ..service import Served
from .endpoint import Endpoint
from .failures import FailedError
from .lookup_queue import LookupQueue
from .rows import item_rows
from .schema import (
    MAX_K,
    Explained,
    ExplainRequest,
    InvocationsRequest,
    Predictions,
    Recommended,
    SearchRequest,
    SimilarRequest,
)


def lookup_endpoints(lookups: LookupQueue) -> list[Endpoint]:
    """The paths that look something up."""

    async def similar(body: SimilarRequest, request_id: str) -> Recommended:
        """The items most like one item."""
        return await lookups.ask(partial(_similar, body, request_id))

    async def search(body: SearchRequest, request_id: str) -> Recommended:
        """The items that a text describes, where the model reads text."""
        return await lookups.ask(partial(_search, body, request_id))

    async def explain(body: ExplainRequest, request_id: str) -> Explained:
        """Why an item is recommended: what its score loses without each item of the history."""
        return await lookups.ask(partial(_explain, body, request_id))

    async def invocations(body: InvocationsRequest, request_id: str) -> Predictions:
        """Recommend to records, as MLflow's own server does."""
        return await lookups.ask(partial(_predict, body, request_id))

    return [
        Endpoint("POST", "/v1/similar", Recommended, similar, SimilarRequest, {"item_id": "i00007", "k": 3}),
        Endpoint("POST", "/v1/search", Recommended, search, SearchRequest, {"text": "a quiet garden", "k": 3}),
        Endpoint(
            "POST", "/v1/explain", Explained, explain, ExplainRequest,
            {"item_id": "i00007", "history": ["i00012", "i00028"]},
        ),
        Endpoint(
            "POST", "/invocations", Predictions, invocations, InvocationsRequest,
            {"dataframe_records": [{"history": ["i00007", "i00012"], "k": 3}]},
        ),
    ]  # fmt: skip


def _similar(body: SimilarRequest, request_id: str, served: Served) -> Recommended:
    ids = id_series([body.item_id], "item", served.retriever.bundle.encoder.item_ids.dtype)
    answers = served.retriever.similar_items(ids, k=body.k, where=body.where)
    return _first(answers, body.columns, request_id, served)


def _search(body: SearchRequest, request_id: str, served: Served) -> Recommended:
    columns = None if body.item is None else {name: [value] for name, value in body.item.items()}
    answers = served.retriever.search_text([body.text], columns=columns, k=body.k, where=body.where)
    return _first(answers, body.columns, request_id, served)


def _first(answers: Recommendations, columns: Sequence[str], request_id: str, served: Served) -> Recommended:
    return Recommended.model_construct(
        items=item_rows(served, answers.item_ids[0], {"score": answers.scores[0]}, columns), reason=answers.reasons[0],
        degraded=False, bundle_id=served.bundle_id, version=served.version, request_id=request_id,
        mask_version=answers.mask_version,
    )  # fmt: skip


def _explain(body: ExplainRequest, request_id: str, served: Served) -> Explained:
    explanation = served.retriever.explain(body.history, body.item_id, user_id=body.user_id)
    terms: pl.DataFrame = explanation.contributions
    figures = {"contribution": terms.get_column("contribution")}
    return Explained.model_construct(
        score=explanation.score, rank=explanation.rank,
        contributions=item_rows(served, terms.get_column("item_id"), figures, body.columns),
        bundle_id=served.bundle_id, version=served.version, request_id=request_id,
    )  # fmt: skip


def _predict(body: InvocationsRequest, request_id: str, served: Served) -> Predictions:
    """By the code that answers in MLflow's own server."""
    split, params = body.dataframe_split, body.params or {}
    if (body.dataframe_records is None) == (split is None):
        raise InputError("body: expected either dataframe_records or dataframe_split")
    if split is not None:
        if any(len(row) != len(split.columns) for row in split.data):
            raise InputError(
                "dataframe_split: a row and the columns differ in length; expected a value for each column"
            )
        records = pd.DataFrame(split.data, columns=split.columns, dtype=object)
    else:
        records = pd.DataFrame(body.dataframe_records, dtype=object)
    wanted = [params.get("k"), *(records["k"].tolist() if "k" in records else ())]
    if any(isinstance(k, int | float) and k > MAX_K for k in wanted):
        raise FailedError(422, f"k: more than {MAX_K:,}")
    predictions = pyfunc.Served(served.retriever).answer(records, params)
    return Predictions.model_construct(
        predictions=predictions.to_dict(orient="records"), bundle_id=served.bundle_id, version=served.version,
        request_id=request_id,
    )  # fmt: skip
