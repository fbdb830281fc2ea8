"""The commands that answer: ``recommend`` looks at one answer with its reasons, ``score`` answers everybody, as files.

Their flags are declared in recsys/cli.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import polars as pl
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..answers import FALLBACK, Mask, Recommendations
from ..data import require_outside
from ..errors import InputError
from ..plain_text import one_line
from ..progress import stage, track
from ..retriever import Retriever, RetrieverSource, logged_histories
from ..text_encoders import import_functions
from .engine import LOCAL, Engine
from .outcome import Outcome, in_words, next_command
from .outputs import output

if TYPE_CHECKING:
    from serving.batch_scoring import RunPartitions

NUM_REASONS = 2
NUM_RECENT = 5  # items of the history that are shown to a person
SHOWN_FROM = 0.01  # the smallest contribution that is
FILE_WIDTH = 110  # columns of the table where it does not go to a terminal
CLAIM = "state.json"  # what a folder of scores holds the scores of; see serving/batch_scoring.py
Id = int | str


class Item(BaseModel, frozen=True):
    """An item. title: None where the bundle has no column ``title``."""

    item_id: Id
    title: str | None

    def __str__(self) -> str:
        return one_line(self.title or self.item_id)


class Contribution(Item, frozen=True):
    """An item of the history. contribution: what the score would lose without it."""

    contribution: float


class RecommendedItem(Item, frozen=True):
    """A recommended item. why: the items of the history that add most to its score, the largest first."""

    rank: int
    score: float
    why: list[Contribution]


class Recommended(Outcome, frozen=True):
    """One answer.

    baseline: the one that answered, such as EASE; None where a model did. history: known to the bundle or not, oldest
    first. reason: why the answer is short, filled up or a fallback.
    """

    bundle: str
    bundle_id: str
    baseline: str | None
    user: Id | None
    history: list[Item]
    reason: str | None
    recommendations: list[RecommendedItem]

    def lines(self) -> list[str]:
        """The end of the history, then a table of the answer."""
        who = "a history" if self.user is None else f"user {one_line(self.user)}"
        recent = ", ".join(str(item) for item in self.history[-NUM_RECENT:])
        lines = [f"{who} of {len(self.history):,} items; last: {recent or 'nothing'}", ""]
        table = Table("#", "item", "score", "because of", box=None, pad_edge=False)
        table.columns[0].justify = table.columns[2].justify = "right"
        for item in self.recommendations:
            label = Text(str(item)).append("" if item.title is None else f"  {one_line(item.item_id)}", style="dim")
            because = ", ".join(
                f"{why} ({why.contribution:+.2f})" for why in item.why if why.contribution >= SHOWN_FROM
            )
            table.add_row(str(item.rank), label, f"{item.score:.3f}", Text(because))
        console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
        with console.capture() as captured:
            console.print(table)
        lines += [line.rstrip() for line in captured.get().splitlines()]
        lines += [] if self.baseline is None else [f"answered by the {self.baseline} baseline"]
        return lines if self.reason is None else [*lines, self.reason]


def recommend(
    bundle: str,
    user: str | None,
    history: list[str] | None,
    events: str | None,
    k: int,
    device: str,
    registry: str | None,
    allow_encoder: list[str] | None = None,
) -> Outcome:
    """Recommend to a user of a log, or to a history."""
    if (user is None) == (not history):
        raise InputError("give either --user ID with --events LOG, or --history ID ID ...")
    if user is not None and events is None:
        raise InputError("--user needs --events: the log that has the user's history")
    with stage("load the bundle"):
        encoders = import_functions(allow_encoder or ())
        retriever = Retriever.load(bundle, device=device, registry_uri=registry, encoders=encoders)
    user_id: Id | None = None
    with stage("read the history"):
        if user is not None:
            user_id, items = _history_of(user, retriever, str(events))
        else:
            items = _as_ids(history or [], retriever.bundle.encoder.item_ids.dtype, "--history")
    with stage("recommend and explain"):
        answers = retriever.recommend([items], user_ids=None if user_id is None else [user_id], k=k)
        recommended = _explained(retriever, answers, items, user_id)
    return Recommended(
        bundle=bundle, bundle_id=answers.bundle_id, baseline=answers.baseline, user=user_id, reason=answers.reasons[0],
        history=_with_titles(retriever, items), recommendations=recommended,
        next=next_command("score", bundle=bundle, events=events or "EVENTS", out="recs", registry=registry),
    )  # fmt: skip


def _history_of(user: str, retriever: Retriever, events: str) -> tuple[Id, pl.Series]:
    """A user's id in the type of the log, and the user's history."""
    logged = logged_histories(retriever.bundle, events)
    ids = _as_ids([user], logged.schema["user_id"], "--user")
    rows = logged.filter(pl.col("user_id") == ids[0])
    if not rows.height:
        raise InputError(f"no user {user} in the log at {events}; expected one of its {logged.height:,} users")
    return ids[0], rows.get_column("history")[0]


def _as_ids(values: list[str], dtype: pl.DataType, flag: str) -> pl.Series:
    """Ids from the command line in the type that the bundle knows."""
    ids = pl.Series(values).cast(dtype, strict=False)
    if ids.null_count():
        wrong = values[ids.is_null().arg_max() or 0]
        raise InputError(f"{flag} has {wrong!r}; expected ids of type {dtype}, as the model was trained with")
    return ids


def _with_titles(retriever: Retriever, ids: pl.Series) -> list[Item]:
    titles = retriever.titles_of(ids)
    return [Item(item_id=item_id, title=title) for item_id, title in zip(ids, titles, strict=True)]


def _explained(
    retriever: Retriever, answers: Recommendations, history: pl.Series, user_id: Id | None
) -> list[RecommendedItem]:
    """The answer's items with their reasons; a fallback has none."""
    items = []
    known = answers.reasons[0] is None or not answers.reasons[0].startswith(FALLBACK)
    answered = zip(_with_titles(retriever, answers.item_ids[0]), answers.scores[0], strict=True)
    for rank, (item, score) in enumerate(track(list(answered), "items explained"), start=1):
        why: list[Contribution] = []
        if known:
            explanation = retriever.explain(history, item.item_id, user_id=user_id).contributions
            positive = explanation.filter(pl.col("contribution") > 0).head(NUM_REASONS)
            reasons = _with_titles(retriever, positive.get_column("item_id"))
            shares = positive.get_column("contribution")
            why = [
                Contribution(item_id=reason.item_id, title=reason.title, contribution=share)
                for reason, share in zip(reasons, shares, strict=True)
            ]
        items.append(RecommendedItem(item_id=item.item_id, title=item.title, rank=rank, score=score, why=why))
    return items


class Scored(Outcome, frozen=True):
    """A folder of recommendations. totals: users, recommendations, and what happened to the rows of the log.

    baseline: the one that answered, such as EASE; None where a model did. repaired: what was missing or damaged in the
    folder, and is there again.
    """

    out: str
    bundle: str
    bundle_id: str
    baseline: str | None
    totals: dict[str, int]
    repaired: list[str]

    def lines(self) -> list[str]:
        """What was repaired, then the totals."""
        repaired = [f"written again: {fault}" for fault in self.repaired]
        served_by = [] if self.baseline is None else [f"answered by the {self.baseline} baseline"]
        return [*repaired, f"{self.out}: {in_words(self.totals)}; bundle {self.bundle_id[:12]}", *served_by]


def score(
    bundle: str,
    out: str | Path,
    *,
    events: str | None,
    queries: str | None,
    items: str | None,
    users: str | None,
    k: int,
    exclude_seen: bool,
    mask: Path | None,
    device: str,
    registry: str | None,
    allow_encoder: list[str] | None = None,
    engine: Engine = LOCAL,
) -> Scored:
    """Write recommendations for every user of a log, of a queries file, or of a table of users without a history."""
    from serving.batch_scoring import score as score_users

    source = engine.source(bundle, items, users, device, registry, allow_encoder)
    masked = None if mask is None else Mask.at(mask)
    with output(out) as written:
        require_outside(written.location, events=events, queries=queries, items=items, users=users)
        with stage("load the bundle"):
            retriever = source.load()
            written.restore(CLAIM)
        alone = users if events is None and queries is None else None  # else metadata of the users of another file
        scores = score_users(
            retriever, written.folder, events=events, queries=queries, users=alone, k=k, exclude_seen=exclude_seen,
            mask=masked, on_partition=written.step(CLAIM), run=_runner(engine, source, masked),
        )  # fmt: skip
        user = None if events is None else _first_user(written.folder)
        written.upload("scores")
    following = None
    if user is not None:
        following = next_command("recommend", bundle=bundle, user=user, events=events, registry=registry)
    return Scored(
        out=written.location, bundle=bundle, bundle_id=retriever.bundle_id, baseline=retriever.baseline,
        totals=scores.totals.to_json() | retriever.clipped, repaired=scores.repaired, next=following,
    )  # fmt: skip


def _runner(engine: Engine, source: RetrieverSource, mask: Mask | None) -> "RunPartitions":
    """What scores the partitions."""
    from serving.batch_scoring import in_this_process

    if not engine.is_ray:
        return in_this_process
    from serving.on_ray import on_ray

    return on_ray(source, mask, engine.address)


def _first_user(out: Path) -> Id | None:
    """A user in a folder of scores, for whom the next command looks at the answer."""
    with suppress(OSError, pl.exceptions.PolarsError):  # whoever takes the files away may be faster than this look
        for part in sorted(out.glob("part-*.parquet")):
            users = pl.read_parquet(part, columns=["user_id"], n_rows=1, glob=False).get_column("user_id").to_list()
            if users:
                return cast(Id, users[0])
    return None
