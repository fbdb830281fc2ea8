"""Retrieval against figures worked by hand and by brute force."""

import math

import numpy as np
import pytest

from recsys.errors import InputError
from recsys.text_evaluation import evaluate_rankings, evaluate_retrieval

VECTORS = {  # texts on a circle, by their angle
    text: [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    for text, angle in {"east": 0, "north": 90, "west": 180, "easterly": 10, "northerly": 80, "south": 270}.items()
}
DOCUMENTS = {"e": "easterly", "n": "northerly", "w": "west", "s": "south"}
QUERIES = {"q0": "east", "q1": "north", "unasked": "south"}


def encode(texts):
    return [VECTORS[text] for text in texts]


def test_figures_worked_by_hand():
    """East finds easterly first. North finds northerly first, easterly second, and then west."""
    found = evaluate_retrieval(encode, QUERIES, {"q0": ["e"], "q1": {"e", "w"}}, DOCUMENTS, k=2)
    assert (found.k, found.num_queries) == (2, 2)
    assert found.ndcg == pytest.approx((1 + (1 / math.log2(3)) / (1 + 1 / math.log2(3))) / 2)
    assert (found.recall, found.mrr) == (0.75, 0.75)
    assert (found.accuracy_at_1, found.accuracy_at_k) == (0.5, 1.0)


def test_all_documents_are_ranked_by_cosine():
    rng = np.random.default_rng(0)
    table = {f"t{row}": rng.normal(size=5) * rng.uniform(0.1, 9) for row in range(90)}

    def encode(texts):
        return [table[text] for text in texts]

    queries, documents = ({f"t{row}": f"t{row}" for row in rows} for rows in (range(30), range(30, 90)))
    relevant = {query: rng.choice(list(documents), 3, replace=False).tolist() for query in queries}

    def cosine(query, document):
        x, y = table[query], table[document]
        return x @ y / math.sqrt(x @ x) / math.sqrt(y @ y)

    ranked = {query: sorted(documents, key=lambda one, of=query: -cosine(of, one)) for query in queries}
    found = evaluate_retrieval(encode, queries, relevant, documents, k=7)
    assert found == evaluate_rankings(ranked, relevant, k=7)
    first = [min(ranked[query].index(one) for one in right) for query, right in relevant.items()]
    assert found.mrr == pytest.approx(np.mean([1 / (rank + 1) if rank < 7 else 0 for rank in first]))
    assert evaluate_retrieval(encode, queries, relevant, documents, k=99).recall == 1


def test_documents_may_have_an_encoder_of_their_own():
    marked = {f"passage: {text}": text for text in DOCUMENTS.values()}
    found = evaluate_retrieval(
        encode, QUERIES, {"q0": ["e"]}, {name: f"passage: {text}" for name, text in DOCUMENTS.items()},
        encode_documents=lambda texts: encode([marked[text] for text in texts]),
    )  # fmt: skip
    assert found.accuracy_at_1 == 1


def test_a_collapsed_encoder_finds_nothing_but_what_comes_first():
    texts = {row: f"text {row}" for row in range(50)}
    found = evaluate_retrieval(lambda some: np.ones((len(some), 4)), texts, {row: [row] for row in texts}, texts, k=1)
    assert found.ndcg == 1 / 50


def test_a_ranking_may_be_short_or_absent_and_hold_other_ids():
    found = evaluate_rankings({1: ["other", "right"], 2: []}, {1: ["right"], 2: ["right"], 3: ["right"]}, k=3)
    assert found.mrr == pytest.approx(0.5 / 3)
    assert found.accuracy_at_k == pytest.approx(1 / 3)


def test_a_retriever_answers_from_its_own_items(retriever):
    items = retriever.bundle.items
    titles = dict(items.select("item_id", "title").rows())
    of_title = dict(items.group_by("title").agg("item_id").rows())
    found = evaluate_retrieval(retriever, titles, {item: of_title[title] for item, title in titles.items()})
    assert found.num_queries == items.height
    assert found.accuracy_at_1 == 1
    swapped = dict(zip(titles, reversed(titles.values()), strict=True))
    assert evaluate_retrieval(retriever, swapped, {item: [item] for item in titles}).accuracy_at_1 < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relevant": {"q9": ["e"]}}, "1 of 1 queries have no text, such as 'q9'"),
        ({"relevant": {}}, "found 0 queries and k=10"),
        ({"k": 0}, "found 1 queries and k=0"),
        ({"relevant": {"q0": []}}, r"query 'q0' has the relevant documents \[\]"),
        ({"relevant": {"q0": "e"}}, "query 'q0' has the relevant documents 'e'; expected a list"),
        ({"relevant": {"q0": ["x"]}}, "1 relevant documents are not among the documents, such as 'x' of query 'q0'"),
        ({"documents": None}, "there are no documents, and an encoder knows none"),
        ({"user_column": "text"}, "an encoder knows no users"),
        ({"encode_documents": lambda texts: np.ones((len(texts), 3))}, "vectors of 2 and of 3 numbers"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate_retrieval(encode, QUERIES, **{"relevant": {"q0": ["e"]}, "documents": DOCUMENTS, "k": 10} | arguments)


def test_a_document_is_ranked_once():
    with pytest.raises(InputError, match="a document is ranked twice for query 1"):
        evaluate_rankings({1: ["a", "a"]}, {1: ["a"]})


def test_a_retriever_takes_no_documents_and_knows_its_items(retriever):
    with pytest.raises(InputError, match="searches its own items; leave them out"):
        evaluate_retrieval(retriever, QUERIES, {"q0": ["e"]}, DOCUMENTS)
    with pytest.raises(InputError, match="not among the items of the retriever, such as 'e'"):
        evaluate_retrieval(retriever, QUERIES, {"q0": ["e"]})
