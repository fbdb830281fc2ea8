"""The one encoder that ships as an extra. Its load takes a second, once for the session."""

import numpy as np
import polars as pl

from recsys.config import USEM3
from recsys.text_encoders import encoder_functions, fit_encoding


def test_vectors_compare_meanings_across_languages_and_do_not_depend_on_the_batch():
    encoding = fit_encoding(USEM3, "title", encoder_functions())
    texts = ["a cat sleeps on the sofa", "eine Katze schläft auf dem Sofa", "quarterly tax report"]
    vectors = encoding.encode(pl.Series(texts), 512)
    cosine = vectors @ vectors.T
    assert cosine[0, 1] > 0.6 > 0.3 > cosine[0, 2]
    for row, text in enumerate(texts):
        assert np.array_equal(encoding.encode(pl.Series([text]), 512)[0], vectors[row])
    assert encoding.version == "0.2.1"
    encoding.require_same()
