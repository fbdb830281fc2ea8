"""A text's vector is the same bits whatever else is encoded, and another encoder is noticed."""

import numpy as np
import polars as pl
import pytest

from recsys.errors import InputError
from recsys.text_encoders import KnownTexts, fit_encoding, text_encoding
from recsys.text_encoders.text_encoding import MAX_CHARACTERS, unit_vector
from tests import letter_encoder


def fitted(function=letter_encoder.encode):
    return fit_encoding(letter_encoder.NAME, "title", {letter_encoder.NAME: function})


def test_vectors_have_length_one_and_those_of_blank_texts_are_zero():
    column = pl.Series("^t.*$", ["ab", None, "  \n", "ab ", "b"])
    vectors = fitted().encode(column, 26)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1, 1], atol=1e-6)
    assert np.array_equal(vectors[0], vectors[3])  # but for the white space they are one text
    expected = letter_encoder.encode(["b"])[0]
    np.testing.assert_allclose(vectors[4], expected / np.linalg.norm(expected), atol=1e-7)
    assert fitted().encode(pl.Series([], dtype=pl.String), 26).shape == (0, 26)


def test_every_distinct_text_is_encoded_once_and_alone():
    encoding = fitted()
    letter_encoder.calls.clear()
    encoding.encode(pl.Series(["b", "a", "b", "", "a"]), 26)
    assert letter_encoder.calls == ["a", "b"]
    known = KnownTexts(pl.Series(["a", "", None, "z"]), np.arange(4 * 26, dtype=np.float32).reshape(4, 26))
    letter_encoder.calls.clear()
    vectors = encoding.encode(pl.Series(["c", "z", "a"]), 26, known)
    assert letter_encoder.calls == ["c"]
    assert vectors[1:].tolist() == known.vectors[[3, 0]].tolist()


def test_a_very_long_text_is_read_in_part():
    long = "a" * MAX_CHARACTERS
    vectors = fitted().encode(pl.Series([long, long + "b" * 9]), 26)
    assert np.array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (letter_encoder.shifted, "gives probe sentences other vectors (by up to 0."),
        (letter_encoder.narrow, "returns 5 numbers a text, not 26"),
        (lambda texts: letter_encoder.encode(texts) * 1.001 + 0.0003, None),  # within the tolerance, after scaling
    ],
)
def test_another_encoder_is_noticed(function, fault):
    encoding = fitted().running(function)
    if fault is None:
        encoding.require_same()
        return
    with pytest.raises(InputError, match=r"encoder 'tests.letter_encoder:encode' of column 'title'") as raised:
        encoding.require_same()
    assert fault in str(raised.value)
    assert "build and train again" in str(raised.value)


def test_nothing_runs_that_nobody_has_allowed():
    encoding = text_encoding.TextEncoding("theirs:encode", "title", None, None, ((1.0,),))
    with pytest.raises(InputError, match="'theirs:encode', a function that nobody has allowed to run") as raised:
        encoding.encode(pl.Series(["a"]), 1)
    assert "--allow-encoder theirs:encode" in str(raised.value)
    assert not encoding.encode(pl.Series([None, ""], dtype=pl.String), 1).any()  # nothing to encode


@pytest.mark.parametrize(
    "returned",
    [[1.0, 2.0], [[1.0], [2.0]], [[np.nan]], [["a"]], [[]], [[1.0, 2.0]], None],
    ids=str,
)
def test_what_an_encoder_returns_is_checked(returned):
    with pytest.raises(InputError, match=r"encoder 'x:y' returns .*; expected one row of 1 numbers a text"):
        unit_vector(lambda _: returned, "text", "x:y", 1)


def test_the_function_is_no_part_of_an_encoding():
    encoding = fitted()
    assert encoding == encoding.running(letter_encoder.shifted)
    assert "function" not in repr(encoding)
