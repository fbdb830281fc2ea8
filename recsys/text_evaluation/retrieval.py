"""How well queries find the documents that answer them, among all documents.

Shapes: Q queries, N documents, K ranks, D dimensions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import metrics
from ..data import Jagged
from ..errors import InputError
from ..retriever import Query, Retriever
from ..search import ItemIndex
from ..text_encoders import EncodeTexts
from .text_model import TextModel, encoders_of, require_same_width, unit_vectors


@dataclass(frozen=True)
class RetrievalFigures:
    """Means over the queries, of the best ``k`` documents for each; recsys/metrics.py defines them.

    accuracy_at_1: how often the first document is right. accuracy_at_k: how often any of the ``k`` is.
    """

    k: int
    num_queries: int
    ndcg: float
    recall: float
    mrr: float
    accuracy_at_1: float
    accuracy_at_k: float


def evaluate_retrieval(
    model: TextModel,
    queries: Mapping[Any, str],
    relevant: Mapping[Any, Collection[Any]],
    documents: Mapping[Any, str] | None = None,
    *,
    k: int = 10,
    encode_documents: EncodeTexts | None = None,
    user_column: str | None = None,
) -> RetrievalFigures:
    """Measure how well queries find the documents that answer them.

    An encoder ranks all documents by cosine. A retriever answers as it serves: from its own items, words included.

    Args:
        model: An encoder or a retriever.
        queries: Texts by query. Only those in ``relevant`` are asked.
        relevant: The documents that answer a query, by query.
        documents: Texts by document, for an encoder.
        k: How many documents count.
        encode_documents: The encoder of documents, if it is another one than that of queries.
        user_column: The column of users in which a retriever reads a query, as for ``Query(user={"text": "..."})``;
            None: it is asked by ``search_text``.

    Raises:
        InputError: A query or a document is missing, or the encoder returns something else than vectors.
    """
    unknown = [query for query in relevant if query not in queries]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(relevant)} queries have no text, such as {unknown[0]!r}; expected one for each: "
            "add them to queries, or leave them out of relevant"
        )
    if not relevant or k < 1:
        raise InputError(f"found {len(relevant)} queries and k={k}; expected one or more of both")
    texts = [queries[query] for query in relevant]
    if isinstance(model, Retriever):
        if documents is not None or encode_documents is not None:
            raise InputError("documents are given to a retriever, which searches its own items; leave them out")
        _require_present(relevant, set(model.bundle.encoder.item_ids.to_list()), "items of the retriever")
        ranked = _served(model, texts, k, user_column)
    else:
        if not documents:
            raise InputError("there are no documents, and an encoder knows none; expected their texts by id")
        _require_present(relevant, set(documents), "documents")
        encode, _ = encoders_of(model, user_column)
        ranked = _by_cosine(encode, encode_documents or encode, texts, documents, k)
    return evaluate_rankings(dict(zip(relevant, ranked, strict=True)), relevant, k=k)


def evaluate_rankings(
    ranked: Mapping[Any, Sequence[Any]], relevant: Mapping[Any, Collection[Any]], *, k: int = 10
) -> RetrievalFigures:
    """The same figures of documents that any method has ranked.

    Args:
        ranked: Documents by query, best first. A query without any finds nothing.
        relevant: The documents that answer a query, by query.
        k: How many documents count.

    Raises:
        InputError: There is no query, a query has no relevant document, or a document is ranked twice.
    """
    if not relevant or k < 1:
        raise InputError(f"found {len(relevant)} queries and k={k}; expected one or more of both")
    ranked_QK, targets = np.zeros((len(relevant), k), np.int32), []
    for row, (query, right) in enumerate(relevant.items()):
        if isinstance(right, str) or not len(right):
            raise InputError(f"query {query!r} has the relevant documents {right!r}; expected a list of one or more")
        position_of = {document: position for position, document in enumerate(dict.fromkeys(right), 1)}
        best = list(ranked.get(query, ()))[:k]
        if len(set(best)) < len(best):
            raise InputError(f"a document is ranked twice for query {query!r}; expected each document once")
        ranked_QK[row, : len(best)] = [position_of.get(document, 0) for document in best]  # 0: wrong, whichever it is
        targets.append(np.array(list(position_of.values()), np.int32))
    wanted = Jagged.from_rows(targets)
    hits_QK, counts_Q = metrics.hits(ranked_QK, wanted), metrics.count_targets(wanted)
    return RetrievalFigures(
        k=k,
        num_queries=len(relevant),
        ndcg=float(metrics.ndcg(hits_QK, counts_Q, k).mean()),
        recall=float(metrics.recall(hits_QK, counts_Q, k).mean()),
        mrr=float(metrics.mrr(hits_QK, k).mean()),
        accuracy_at_1=float(metrics.hit_rate(hits_QK, 1).mean()),
        accuracy_at_k=float(metrics.hit_rate(hits_QK, k).mean()),
    )


def _served(retriever: Retriever, texts: Sequence[str], k: int, user_column: str | None) -> list[list[Any]]:
    """The items that a retriever answers each text with."""
    if user_column is None:
        answers = retriever.search_text(texts, k=k)
    else:
        answers = retriever.answer([Query(user={user_column: text}, k=k) for text in texts])
    listed: list[list[Any]] = answers.item_ids.to_list()
    return listed


def _by_cosine(
    encode: EncodeTexts, encode_documents: EncodeTexts, texts: Sequence[str], documents: Mapping[Any, str], k: int
) -> list[list[Any]]:
    """The documents with the highest cosines; of equal ones, those that come first."""
    query_QD, document_ND = unit_vectors(encode, texts), unit_vectors(encode_documents, list(documents.values()))
    require_same_width(query_QD, document_ND)
    index = ItemIndex.build(np.concatenate([np.zeros_like(document_ND[:1]), document_ND]), kind="exact")
    positions_QK, _ = index.search(query_QD, min(k, len(documents)))
    ids = list(documents)
    return [[ids[position - 1] for position in row if position] for row in positions_QK.tolist()]


def _require_present(relevant: Mapping[Any, Collection[Any]], known: set[Any], what: str) -> None:
    absent = [(query, document) for query, right in relevant.items() for document in right if document not in known]
    if absent:
        query, document = absent[0]
        raise InputError(
            f"{len(absent)} relevant documents are not among the {what}, such as {document!r} of query {query!r}; "
            "expected all: add them, or leave them out of relevant"
        )
