"""A model of texts, as the evaluators ask it: an encoder, or the vectors of a retriever.

Shapes: P texts, D dimensions.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from ..bundle import Bundle
from ..errors import InputError
from ..rankers import TextSearch, TwoTowerRanker
from ..retriever import Retriever, UserReader
from ..search import unit_rows
from ..text_encoders import EncodeTexts

TextModel = EncodeTexts | Retriever  # EncodeTexts: any function from a list of P texts to [P, D] numbers
Float32 = npt.NDArray[np.float32]


def unit_vectors(encode: EncodeTexts, texts: Sequence[str]) -> Float32:
    """[P, D] float32 vectors of length 1; a row of zeros stays zero.

    Raises:
        InputError: These are not texts, or the encoder returns something else than a vector for each.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"texts are {texts!r:.60}; expected a list of strings")
    vectors_PD = np.asarray(encode(list(texts)))
    if vectors_PD.ndim != 2 or len(vectors_PD) != len(texts) or vectors_PD.dtype.kind not in "fiu":
        raise InputError(
            f"the encoder returned {vectors_PD.dtype} of shape {vectors_PD.shape} for {len(texts)} texts; expected a "
            f"vector of numbers for each, in the shape ({len(texts)}, dimensions)"
        )
    if not np.isfinite(vectors_PD).all():
        raise InputError("the encoder returned nan or inf; expected finite numbers")
    return np.ascontiguousarray(unit_rows(vectors_PD.astype(np.float64)), np.float32)


def aligned_vectors(model: TextModel, user_column: str | None, **texts: Sequence[str]) -> list[Float32]:
    """The unit vectors of several lists of texts, whose rows belong together.

    Args:
        model: An encoder or a retriever.
        user_column: The column of users as which a retriever reads the first list; None: it reads all lists alike.
        texts: The lists by name.

    Raises:
        InputError: The lists differ in length or are empty, or as for ``unit_vectors``.
    """
    counts = {name: len(one) for name, one in texts.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(f"found {listed}; expected as many of one as of the other, one or more")
    encode_first, encode = encoders_of(model, user_column)
    vectors = [unit_vectors(encode if row else encode_first, one) for row, one in enumerate(texts.values())]
    for other_PD in vectors[1:]:
        require_same_width(vectors[0], other_PD)
    return vectors


def encoders_of(model: TextModel, user_column: str | None) -> tuple[EncodeTexts, EncodeTexts]:
    """The encoder of queries and that of what they look for.

    Of a retriever, the latter is what its ``search_text`` compares. Queries are read alike, or as a column of users.

    Raises:
        InputError: A retriever reads no texts, or ``user_column`` is given with an encoder.
    """
    if not isinstance(model, Retriever):
        if user_column is not None:
            raise InputError(f"user_column is {user_column!r}, but an encoder knows no users; leave it out")
        return model, model
    bundle = model.bundle
    if not isinstance(bundle, Bundle):
        raise InputError(f"this bundle serves a baseline, {model.baseline}; expected a model that reads texts")
    search = TextSearch(bundle)
    if user_column is None:
        return search.encode, search.encode
    reader, ranker = UserReader(bundle, None), TwoTowerRanker(bundle)

    def as_users(texts: list[str]) -> Float32:
        users = reader.read(None, users=pl.DataFrame({user_column: texts}, schema={user_column: pl.String}))
        vectors = torch.from_numpy(ranker.encode(users.history, users.rows, users.updates))
        lifted: Float32 = bundle.model.lift(vectors).numpy()  # those of texts are whole where a bundle's are cut
        return lifted

    return as_users, search.encode


def require_same_width(vectors_PD: Float32, others_PD: Float32) -> None:
    """Raise InputError where vectors cannot be compared."""
    if vectors_PD.shape[1] != others_PD.shape[1]:
        raise InputError(
            f"the encoder returned vectors of {vectors_PD.shape[1]} and of {others_PD.shape[1]} numbers; expected as "
            "many for all texts"
        )
