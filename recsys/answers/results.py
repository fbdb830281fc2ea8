"""What a Retriever returns.

Shape suffixes: Q users, K answers.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Ids, Int32, Int64, id_series, require_known_kind
from ..plain_text import plain_text
from ..search import require_threads
from .fallback import FALLBACK, POPULAR

SHOWN_ROWS, SHOWN_REASONS = 20, 3  # in the text of a notebook or a prompt


@dataclass(frozen=True, repr=False)
class Recommendations:
    """A batch of answers, best first.

    Attributes:
        item_ids: List column of raw item ids, a row per query.
        scores: List column of float32, likewise.
        reasons: Why a row is short or a fallback; null where it is neither.
        bundle_id: The bundle that answered.
        metadata_digest: The metadata that it answered with, where that is newer than the bundle's.
        titles: item_id and title of the catalogue; None where the bundle has no column of titles.
        baseline: The baseline that answered, such as "EASE"; None where a model did.
        mask_version: The version of the mask that was kept (recsys/answers/mask.py); None without one.
    """

    item_ids: pl.Series
    scores: pl.Series
    reasons: pl.Series
    bundle_id: str
    metadata_digest: str | None = None
    titles: pl.DataFrame | None = None
    baseline: str | None = None
    mask_version: int | None = None

    def __len__(self) -> int:
        return len(self.item_ids)

    def to_frame(self) -> pl.DataFrame:
        """One row per recommended item: query (0-based), rank (from 1), item_id, title if there are titles, score."""
        require_threads()
        lengths = self.item_ids.list.len()
        frame = pl.DataFrame([
            pl.Series("query", np.repeat(np.arange(len(self)), lengths), dtype=pl.Int64),
            pl.Series("rank", [rank for length in lengths for rank in range(1, length + 1)], dtype=pl.Int32),
            self.item_ids.explode(empty_as_null=False).alias("item_id"),
            self.scores.explode(empty_as_null=False).alias("score"),
        ])  # fmt: skip
        if self.titles is None:
            return frame
        titled = frame.join(self.titles, on="item_id", how="left", maintain_order="left")
        return titled.select("query", "rank", "item_id", "title", "score")

    def __repr__(self) -> str:
        shown = self.to_frame().head(SHOWN_ROWS)
        with pl.Config(tbl_rows=SHOWN_ROWS, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            return plain_text("\n".join([self._summary(), str(shown), *self._notes()]))

    def _repr_html_(self) -> str:
        """The same as a table for a notebook; ids, titles and reasons are escaped."""
        frame = self.to_frame().head(SHOWN_ROWS)
        head = "".join(f"<th>{name}</th>" for name in frame.columns)
        rows = (
            "".join(f"<td>{html.escape('' if value is None else str(value))}</td>" for value in row)
            for row in frame.iter_rows()
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<p>{html.escape(self._summary())}</p><table><tr>{head}</tr>{body}</table>{notes}"

    def _summary(self) -> str:
        count = int(self.item_ids.list.len().sum())
        queries = f"{len(self):,} {'query' if len(self) == 1 else 'queries'}"
        baseline = "" if self.baseline is None else f" of the baseline {self.baseline}"
        return f"{count:,} recommendations for {queries}, by bundle {self.bundle_id[:12]}{baseline}"

    def _notes(self) -> list[str]:
        hidden = int(self.item_ids.list.len().sum()) - SHOWN_ROWS
        notes = [f"... and {hidden:,} more rows in to_frame()"] if hidden > 0 else []
        degraded = [(query, reason) for query, reason in enumerate(self.reasons) if reason is not None]
        notes += [f"query {query}: {reason}" for query, reason in degraded[:SHOWN_REASONS]]
        more = len(degraded) - SHOWN_REASONS
        return [*notes, f"... and {more:,} more in reasons"] if more > 0 else notes


def item_titles(items: pl.DataFrame, column: str = "title") -> pl.DataFrame | None:
    """item_id and title of a catalogue's metadata; None where it has no such column that reads as text."""
    dtype = items.schema.get(column)
    if dtype is None or dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return None
    return items.select("item_id", title=pl.col(column).cast(pl.String))


def titles_of(titles: pl.DataFrame | None, item_ids: Ids) -> pl.Series:
    """[n] String: the titles of items by raw id, null where an item is unknown or has none. titles: ``item_titles``."""
    ids = id_series(item_ids, "item")
    if titles is None:
        return pl.repeat(None, len(ids), dtype=pl.String, eager=True)
    dtype = titles.schema["item_id"]
    require_known_kind(ids.dtype, dtype, "item")
    rows = ids.cast(dtype, strict=False).alias("item_id").to_frame()
    return rows.join(titles, on="item_id", how="left", maintain_order="left").get_column("title")


@dataclass(frozen=True)
class Explanation:
    """Why an item is recommended.

    Attributes:
        score: The item's score.
        rank: The item's rank in the whole catalogue, from 1, with seen items counted.
        contributions: item_id of the history and contribution (the score lost without it), the largest first.
        bundle_id: The bundle that answered.
        metadata_digest: The metadata that it answered with, where that is newer than the bundle's.
    """

    score: float
    rank: int
    contributions: pl.DataFrame
    bundle_id: str
    metadata_digest: str | None = None


@dataclass(frozen=True)
class Ranking:
    """Answers in catalogue positions.

    positions: [Q, K] int32, 0 pads. scores: [Q, K] float32. fallback: [Q] bool. num_popular: [Q] int64, how many items
    of a row are there by popularity alone, where a baseline serves; None: nowhere any. own_reasons: [Q] why a row has
    no items, None where it has; None: no row has a reason of its own.
    """

    positions: Int32
    scores: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.bool_]
    num_popular: Int64 | None = None
    own_reasons: Sequence[str | None] | None = None

    @staticmethod
    def empty(num_queries: int, k: int) -> "Ranking":
        """A ranking whose rows are still to be filled, by ``take_over``."""
        return Ranking(
            np.zeros((num_queries, k), np.int32), np.full((num_queries, k), -np.inf, np.float32),
            np.zeros(num_queries, bool), np.zeros(num_queries, np.int64),
        )  # fmt: skip

    def take_over(self, query: int, ranked: "Ranking", row: int, chosen: Int64) -> None:
        """Fill a row with items of a row of another ranking, by their ranks there, from 0."""
        assert self.num_popular is not None
        self.positions[query, : len(chosen)] = ranked.positions[row, chosen]
        self.scores[query, : len(chosen)] = ranked.scores[row, chosen]
        self.fallback[query] = ranked.fallback[row]
        if ranked.num_popular is not None:
            self.num_popular[query] = (chosen >= ranked.counts[row] - ranked.num_popular[row]).sum()

    @staticmethod
    def merged(parts: Sequence[tuple[Int64, "Ranking"]], num_queries: int) -> "Ranking":
        """The rankings of parts of a batch as one. parts: the rows of the batch, and their ranking."""
        width = max((ranking.positions.shape[1] for _, ranking in parts), default=0)
        positions, scores = np.zeros((num_queries, width), np.int32), np.full((num_queries, width), -np.inf, np.float32)
        fallback, num_popular = np.zeros(num_queries, bool), np.zeros(num_queries, np.int64)
        for rows, ranking in parts:
            own_width = ranking.positions.shape[1]
            positions[rows, :own_width], scores[rows, :own_width] = ranking.positions, ranking.scores
            fallback[rows] = ranking.fallback
            num_popular[rows] = 0 if ranking.num_popular is None else ranking.num_popular
        return Ranking(positions, scores, fallback, num_popular)

    @property
    def counts(self) -> Int64:
        """[Q] int64: how many items each query got."""
        return np.asarray(np.count_nonzero(self.positions, axis=1), np.int64)

    def reasons(self, k: int | Int64) -> pl.Series:
        """[Q] String: why a row is a fallback, filled up or has fewer than ``k`` items; null where it is none of it.

        k: one number for all, or [Q].
        """
        reasons: list[str | None] = [None] * len(self.positions)
        counts = self.counts
        filled = np.zeros_like(counts) if self.num_popular is None else np.where(self.fallback, 0, self.num_popular)
        is_short = counts < k
        for row in np.flatnonzero(self.fallback | is_short | (filled > 0)).tolist():
            if self.own_reasons is not None and self.own_reasons[row] is not None:
                reasons[row] = self.own_reasons[row]
                continue
            parts = [FALLBACK] if self.fallback[row] else []
            parts += [f"{POPULAR}: {filled[row]} of {counts[row]} items"] if filled[row] else []
            parts += [f"short: only {counts[row]} eligible items"] if is_short[row] else []
            reasons[row] = "; ".join(parts)
        return pl.Series("reason", reasons, dtype=pl.String)
