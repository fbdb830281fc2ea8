"""Answers: candidates for users, similar items, search by text, and why. Batch first, original ids in and out.

Shape suffixes: Q users, K answers, N catalogue positions, D embedding_dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from . import registry
from .batch import FeatureTable
from .bundle import Bundle, load_bundle
from .dataset import encode_lists
from .events import clean, scan_events
from .history import Int32, Int64, Jagged, as_lists, group_events, rows_of
from .index import ItemIndex
from .vectors import encode_histories

Ids = Sequence[Any] | pl.Series
Where = Sequence[tuple[str, str, Any]]

FALLBACK = "fallback: no known item in the history, the most popular items"
OPERATORS = {
    "==": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "in": lambda column, value: column.is_in(value),
    "contains": lambda column, value: column.list.contains(value),
}


@dataclass(frozen=True)
class Recommendations:
    """One batch of answers, best first.

    item_ids, scores: List columns, a row per query. reasons: why a row is short or degraded, null where it is neither.
    """

    item_ids: pl.Series
    scores: pl.Series
    reasons: pl.Series
    bundle_id: str

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class Explanation:
    """Why an item: its score and its rank in the whole catalogue, and what each item of the history contributes.

    contributions: item_id, contribution (score lost when the item is left out), the largest first.
    """

    score: float
    rank: int
    contributions: pl.DataFrame
    bundle_id: str


@dataclass(frozen=True)
class Ranking:
    """The same in catalogue positions. positions: [Q, K] int32, 0 pads. scores: [Q, K] float32. fallback: [Q] bool."""

    positions: Int32
    scores: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.bool_]

    @property
    def counts(self) -> Int64:
        """[Q] int64: how many answers each query has."""
        return np.asarray(np.count_nonzero(self.positions, axis=1), np.int64)


@dataclass(frozen=True)
class KnownUsers:
    """Users of a log, sorted by id, with their histories in catalogue positions."""

    user_ids: pl.Series
    history: Jagged


class Retriever:
    """A loaded bundle that answers. Safe to share between threads: nothing changes after loading."""

    def __init__(self, bundle: Bundle, bundle_id: str, users: KnownUsers | None = None) -> None:
        self.bundle = bundle
        self.bundle_id = bundle_id
        self._users = users
        # float64, so that an answer does not depend on who else is in the batch: float32 sums differ with the batch's
        # shape in the last digit, which is enough to swap near ties
        self._tower = bundle.model.double()
        self._vectors = torch.from_numpy(bundle.item_vectors.astype(np.float64))
        self._user_features = bundle.user_features()

    @staticmethod
    def load(
        source: str | Path, *, events: str | Path | None = None, device: str = "cpu", registry_uri: str | None = None
    ) -> "Retriever":
        """Load a bundle folder or ``models:/NAME@alias``. With ``events`` users are known by id too."""
        bundle, bundle_id = load_bundle(registry.resolve(str(source), registry_uri), device=device)
        users = read_histories(bundle, str(events)) if events is not None else None
        return Retriever(bundle, bundle_id, users)

    def recommend(
        self,
        histories: Sequence[Ids] | pl.Series | None = None,
        *,
        user_ids: Ids | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Ids | None = None,
        where: Where = (),
    ) -> Recommendations:
        """The ``k`` best items of each user: exactly k eligible ones, or fewer with the reason.

        histories: lists of raw item ids, oldest first; or user_ids of the log given to ``load``; both: the metadata of
        ``user_ids`` with these histories. exclude: item ids that nobody gets. where: (column, operator, value) on item
        columns, all of which must hold. Raises ValueError on bad arguments.
        """
        if k < 1:
            raise ValueError(f"k is {k}; expected at least 1")
        lists, user_rows = self._queries(histories, user_ids)
        ranking = self.rank(
            lists, user_rows, k=k, exclude_seen=exclude_seen, exclude=self._known(exclude), allowed=self.allowed(where)
        )
        return self._answer(ranking, k)

    def rank(
        self,
        history: Jagged,
        user_rows: Int64 | None = None,
        *,
        k: int,
        exclude_seen: bool = True,
        exclude: Int32 | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> Ranking:
        """``recommend`` in catalogue positions. user_rows: [Q] rows of the users' metadata, 0 unknown."""
        if user_rows is None:
            user_rows = np.zeros(len(history), np.int64)
        if exclude is not None and len(exclude):
            allowed = np.ones(len(self._vectors), bool) if allowed is None else allowed.copy()
            allowed[exclude] = False
        fallback = np.add.reduceat(np.append(history.values > 0, False), history.offsets[:-1]) == 0
        fallback |= history.lengths == 0
        positions = np.zeros((len(history), k), np.int32)
        scores = np.full((len(history), k), -np.inf, np.float32)
        served = np.flatnonzero(~fallback)
        if len(served):
            known = history.take(served)
            positions[served], scores[served] = self.bundle.index.search(
                self.encode(known, user_rows[served]), k, excluded=known if exclude_seen else None, allowed=allowed
            )
        if fallback.any():
            positions[fallback], scores[fallback] = self._most_popular(k, allowed)
        return Ranking(positions, scores, fallback)

    def encode(self, history: Jagged, user_rows: Int64) -> npt.NDArray[np.float32]:
        """[Q, D] float32 user vectors of histories in catalogue positions; zero where no item is known."""
        users = encode_histories(self._tower, self._vectors, history, self._user_features, user_rows)
        return users.float().numpy()

    def allowed(self, where: Where) -> npt.NDArray[np.bool_] | None:
        """[N] bool by catalogue position: which items pass all conditions; None without conditions."""
        if not where:
            return None
        items, mask = self.bundle.items, pl.lit(True)
        for column, operator, value in where:
            if column not in items.columns or operator not in OPERATORS:
                raise ValueError(
                    f"where=({column!r}, {operator!r}, ...): columns are {', '.join(items.columns)}; "
                    f"operators are {', '.join(OPERATORS)}"
                )
            mask = mask & OPERATORS[operator](pl.col(column), value).fill_null(False)
        try:
            passed = items.select(mask.alias("passed")).to_series().to_numpy()
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"where={list(where)} does not fit the columns' types: {error}") from error
        return np.concatenate(([False], np.broadcast_to(passed, items.height)))

    def similar_items(self, item_ids: Ids, *, k: int = 10, where: Where = ()) -> Recommendations:
        """The ``k`` items with the highest cosine similarity to each of ``item_ids``, the item itself left out."""
        positions = self.bundle.encoder.positions(pl.Series(item_ids))
        if not positions.all():
            missing = [item for item, position in zip(item_ids, positions, strict=True) if not position]
            raise ValueError(f"item {missing[0]!r} is not in the catalogue; expected ids of its items")
        itself = Jagged.from_lengths(positions, np.ones(len(positions), np.int64))
        found, scores = self._unit_index.search(
            self._unit_vectors[positions], k, excluded=itself, allowed=self.allowed(where)
        )
        return self._answer(Ranking(found, scores, np.zeros(len(found), bool)), k)

    def search_text(self, texts: Sequence[str], *, k: int = 10, where: Where = ()) -> Recommendations:
        """The ``k`` items closest (cosine) to where the item tower puts an item of which only this text is known.

        Raises ValueError where the model has no text feature.
        """
        transforms = self.bundle.encoder.item_transforms
        if not any(transform.kind == "text" for transform in transforms):
            raise ValueError("this model has no item feature of kind 'text'; train one with it to search by text")
        nothing: dict[str, Any] = {"text": pl.String, "categorical": pl.String, "multi_categorical": pl.List(pl.String),
                   "numeric": pl.Float64, "vector": pl.List(pl.Float32)}  # fmt: skip
        columns = [
            transform.encode(
                pl.Series(transform.name, list(texts) if transform.kind == "text" else [None] * len(texts),
                          dtype=nothing[transform.kind])
            )
            for transform in transforms
        ]  # fmt: skip
        features = FeatureTable.from_frame(transforms, pl.DataFrame(columns)).take(np.arange(1, len(texts) + 1))
        with torch.no_grad():
            vectors = self._tower.encode_items(torch.zeros(len(texts), dtype=torch.int64), features)
        unit = torch.nn.functional.normalize(vectors, dim=1).float().numpy()
        found, scores = self._unit_index.search(unit, k, allowed=self.allowed(where))
        return self._answer(Ranking(found, scores, np.zeros(len(found), bool)), k)

    def explain(self, history: Ids | None = None, item_id: Any = None, *, user_id: Any = None) -> Explanation:
        """Why ``item_id`` for this user: what its score loses when one item of the history is left out.

        Give ``history`` (raw ids) or ``user_id`` (of the log given to ``load``). Raises ValueError where the item or
        the whole history is unknown.
        """
        lists, rows = self._queries(None if history is None else [history], None if user_id is None else [user_id])
        known = lists.keep(lists.values > 0).tail(self.bundle.model.spec.max_history)
        position = self.bundle.encoder.positions(pl.Series([item_id]))[0]
        if not position or not len(known.values):
            missing = f"item {item_id!r} is not in the catalogue" if not position else "no item of the history is known"
            raise ValueError(f"nothing to explain: {missing}")
        without = [np.delete(known.values, place) for place in range(len(known.values))]
        variants = Jagged.from_rows([known.values, *without])
        users = self.encode(variants, np.repeat(rows, len(variants))).astype(np.float64)
        scores = users @ self.bundle.item_vectors[position].astype(np.float64)
        ranked = users[0] @ self.bundle.item_vectors[1:].T.astype(np.float64)
        contributions = pl.DataFrame([
            self.bundle.encoder.ids(known.values).alias("item_id"),
            pl.Series("contribution", scores[0] - scores[1:] if len(without) > 1 else scores[:1]),
        ]).sort("contribution", descending=True, maintain_order=True)  # fmt: skip
        rank = int((ranked > ranked[position - 1]).sum()) + 1
        return Explanation(float(scores[0]), rank, contributions, self.bundle_id)

    @cached_property
    def _unit_vectors(self) -> npt.NDArray[np.float32]:
        return torch.nn.functional.normalize(self._vectors, dim=1).float().numpy()

    @cached_property
    def _unit_index(self) -> ItemIndex:
        return ItemIndex.build(self._unit_vectors, kind="exact")

    def _queries(self, histories: Sequence[Ids] | pl.Series | None, user_ids: Ids | None) -> tuple[Jagged, Int64]:
        encoder = self.bundle.encoder
        rows = self.user_rows(pl.Series(user_ids)) if user_ids is not None else None
        if histories is not None:
            lists = histories if isinstance(histories, pl.Series) else _as_lists(histories, encoder.item_ids.dtype)
            if rows is not None and len(rows) != len(lists):
                raise ValueError(f"{len(rows)} user_ids but {len(lists)} histories; expected one history a user")
            return encode_lists(encoder, lists), np.zeros(len(lists), np.int64) if rows is None else rows
        if user_ids is None or rows is None:
            raise ValueError("nobody to recommend to; give histories= or user_ids=")
        if self._users is None:
            raise ValueError("users are known by id only after Retriever.load(bundle, events=LOG); or give histories=")
        known = self._users
        place = rows_of(_cast_like(pl.Series(user_ids), known.user_ids, "user"), known.user_ids, offset=1)
        with_unknown = Jagged(known.history.values, np.concatenate(([0], known.history.offsets)))
        return with_unknown.take(place), rows

    def user_rows(self, user_ids: pl.Series) -> Int64:
        """[n] int64 rows of the users' metadata, 0 where there is none."""
        known = self.bundle.users.get_column("user_id")
        return rows_of(_cast_like(user_ids, known, "user"), known, offset=1).astype(np.int64)

    def _known(self, item_ids: Ids | None) -> Int32 | None:
        if item_ids is None or not len(item_ids):
            return None
        return self.bundle.encoder.positions(pl.Series(item_ids))

    def _most_popular(self, k: int, allowed: npt.NDArray[np.bool_] | None) -> tuple[Int32, npt.NDArray[np.float32]]:
        """[k] positions and scores, which are shares of the training events."""
        counts = self.bundle.item_counts
        order = np.argsort(-counts[1:], kind="stable") + 1
        best = order[allowed[order]][:k] if allowed is not None else order[:k]
        pad = (0, k - len(best))
        share = counts[best] / max(1, counts.sum())
        return np.pad(best, pad).astype(np.int32), np.pad(share, pad, constant_values=-np.inf).astype(np.float32)

    def _answer(self, ranking: Ranking, k: int) -> Recommendations:
        present = ranking.positions > 0
        counts = ranking.counts
        offsets = np.concatenate(([0], np.cumsum(counts)))
        short = pl.Series([f"short: only {count} eligible items" if count < k else None for count in counts.tolist()])
        fallback = pl.Series([FALLBACK if fell else None for fell in ranking.fallback.tolist()], dtype=pl.String)
        return Recommendations(
            item_ids=as_lists(self.bundle.encoder.ids(ranking.positions[present]), offsets, "item_ids"),
            scores=as_lists(pl.Series(ranking.scores[present]), offsets, "scores"),
            reasons=pl.select(pl.concat_str(fallback, short.cast(pl.String), separator="; ", ignore_nulls=True))
            .to_series().replace("", None).alias("reasons"),
            bundle_id=self.bundle_id,
        )  # fmt: skip


def read_histories(bundle: Bundle, location: str) -> KnownUsers:
    """A log's users and their histories, encoded with the bundle's own encoder: the whole log, no minimum count."""
    grouped = group_events(clean(scan_events(location, bundle.encoder.columns)).log)
    items = grouped.log.get_column("item_id").gather(grouped.events.values)
    return KnownUsers(grouped.user_ids, Jagged(bundle.encoder.positions(items), grouped.events.offsets))


def _cast_like(ids: pl.Series, known: pl.Series, role: str) -> pl.Series:
    if ids.dtype.is_integer() != known.dtype.is_integer() and len(ids):
        raise ValueError(f"{role} ids are {ids.dtype}, expected {known.dtype} as in the log: cast them")
    return ids.cast(known.dtype, strict=False)


def _as_lists(histories: Sequence[Ids], dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series([list(history) for history in histories], dtype=pl.List(dtype), strict=True)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"histories must be lists of {dtype} item ids: {error}") from error


class _Pyfunc:
    """What MLflow calls: records with ``history`` and, optionally, ``k``; one answer a record."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A pandas frame with item_ids, scores, reason and bundle_id."""
        ks = model_input["k"].fillna(10).astype(int) if "k" in model_input else [10] * len(model_input)
        answers = self._retriever.recommend([list(history) for history in model_input["history"]], k=max(ks))
        columns = [[row[:k] for row, k in zip(lists.to_list(), ks, strict=True)]
                   for lists in (answers.item_ids, answers.scores)]  # fmt: skip
        return model_input.assign(
            item_ids=columns[0], scores=columns[1], reason=answers.reasons.to_list(), bundle_id=answers.bundle_id
        )[["item_ids", "scores", "reason", "bundle_id"]]


def _load_pyfunc(path: str) -> _Pyfunc:
    """MLflow's loader hook."""
    return _Pyfunc(Retriever.load(path))
