import numpy as np
import pytest

from recsys.errors import InputError
from recsys.rankers import TextSearch
from recsys.retriever import Retriever
from recsys.text_evaluation.text_model import aligned_vectors, encoders_of, unit_vectors


def lengths(texts):
    return [[len(text), 1.0] for text in texts]


def test_vectors_have_length_one_and_zeros_stay():
    vectors = unit_vectors(lambda texts: [[3, 4], [0, 0]], ["some", ""])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda texts: np.ones((1, 3)), r"float64 of shape \(1, 3\) for 2 texts; expected a vector"),
        (lambda texts: np.ones(2), r"of shape \(2,\)"),
        (lambda texts: [["a"], ["b"]], r"<U1 of shape \(2, 1\)"),
        (lambda texts: [[1.0], [np.nan]], "nan or inf"),
    ],
)
def test_an_encoder_that_returns_something_else_is_refused(encode, message):
    with pytest.raises(InputError, match=message):
        unit_vectors(encode, ["one", "two"])


@pytest.mark.parametrize("texts", ["one text", ["one", None]])
def test_what_is_no_list_of_texts_is_refused(texts):
    with pytest.raises(InputError, match="expected a list of strings"):
        unit_vectors(lengths, texts)


def test_lists_that_belong_together_have_one_length_and_one_width():
    with pytest.raises(InputError, match="found 2 anchors, 1 positives; expected as many"):
        aligned_vectors(lengths, None, anchors=["a", "b"], positives=["c"])
    with pytest.raises(InputError, match="found 0 anchors, 0 positives"):
        aligned_vectors(lengths, None, anchors=[], positives=[])
    with pytest.raises(InputError, match="vectors of 1 and of 2 numbers"):
        aligned_vectors(lambda texts: np.ones((1, len(texts[0]))), None, anchors=["a"], positives=["ab"])


def test_the_vectors_of_a_retriever_are_those_of_its_search(retriever):
    titles = retriever.bundle.items["title"].to_list()
    encode_query, encode = encoders_of(retriever, None)
    by_text, _ = TextSearch(retriever.bundle).opinions(titles[:3])
    np.testing.assert_allclose(encode_query(titles[:3]) @ encode(titles).T, by_text[:, 1:], atol=1e-6)


def test_a_baseline_has_no_vectors(baseline_bundles):
    with pytest.raises(InputError, match="serves a baseline, EASE; expected a model that reads texts"):
        encoders_of(Retriever.load(baseline_bundles["ease"]), None)


def test_only_a_retriever_knows_users():
    with pytest.raises(InputError, match="user_column is 'text', but an encoder knows no users"):
        encoders_of(lengths, "text")
