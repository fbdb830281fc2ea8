"""Recommend to everybody, as files."""

from pathlib import Path

import polars as pl

from ..progress import stage
from ..retriever import Retriever
from .outcome import Outcome, in_words, next_command


class Scored(Outcome, frozen=True):
    """A folder of recommendations. totals: users, recommendations, and what happened to the rows of the log."""

    out: Path
    bundle: str
    bundle_id: str
    totals: dict[str, int]

    def lines(self) -> list[str]:
        """The totals."""
        return [f"{self.out}: {in_words(self.totals)}; bundle {self.bundle_id[:12]}"]


def score(
    bundle: str,
    out: Path,
    *,
    events: str | None,
    queries: str | None,
    items: str | None,
    users: str | None,
    k: int,
    exclude_seen: bool,
    registry: str | None,
) -> Outcome:
    """Write recommendations for every user of a log or of a queries file."""
    from serving.score import score as score_users

    with stage("load the bundle"):
        retriever = Retriever.load(bundle, items=items, users=users, registry_uri=registry)
    totals = score_users(retriever, out, events=events, queries=queries, k=k, exclude_seen=exclude_seen)
    following = None
    if events is not None:
        user = pl.scan_parquet(out / "part-*.parquet").select("user_id").head(1).collect().to_series()
        if len(user):
            following = next_command("recommend", bundle=bundle, user=user[0], events=events, registry=registry)
    return Scored(out=out, bundle=bundle, bundle_id=retriever.bundle_id, totals=totals.to_json(), next=following)
