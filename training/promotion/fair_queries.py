"""Which held-out queries may judge two versions: those whose answer neither of them was trained on, or chosen by."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from recsys import files
from recsys.config import Config
from recsys.errors import InputError
from recsys.registry import Registry, Version

from ..evaluation import EvaluationRecord


@dataclass(frozen=True)
class Records:
    """What a version's publication left about its training.

    queries: user_id, history, targets and, of ordered data, since (the time of the first target). per_query: user_id
    and NDCG@10 of every method. trained: as ``Dataset.trained`` has it.
    """

    version: Version
    config: Config
    evaluation: EvaluationRecord
    queries: pl.DataFrame
    per_query: pl.DataFrame
    trained: pl.DataFrame

    @staticmethod
    def read(registry: Registry, version: Version) -> "Records":
        """Fetch them from the registry; raises InputError where they are not of one another."""
        folder = registry.records(version)
        queries, per_query, trained = (
            pl.read_parquet(folder / f"{name}.parquet") for name in ("queries_test", "per_query", "trained")
        )
        if not per_query.get_column("user_id").equals(queries.get_column("user_id")):
            raise InputError(
                f"{version.name} version {version.number}: its records are of other queries; publish again"
            )
        if "until" in trained.columns and "read" not in trained.columns:
            raise InputError(
                f"{version.name} version {version.number}: its records are of an older release; publish again"
            )
        config = Config.model_validate(files.read_json(folder / "config.json"))
        return Records(version, config, EvaluationRecord.read(folder), queries, per_query, trained)

    def trained_users(self) -> pl.Series:
        """The ids of everybody trained on."""
        ordered = "until" in self.trained.columns
        return (self.trained.drop_nulls("until") if ordered else self.trained).get_column("user_id")

    def knows_nothing_of(self, source: "Records", by: Literal["until", "read"]) -> pl.Series:
        """[Q] bool: the model was certainly not trained on the targets of another version's test queries (by "until"),
        nor did validation choose it by them ("read").

        With a clock for all (a temporal split) the targets must come after the last such event of all, with a clock of
        the user's own after the user's last one. Without a clock the logs must be the same.
        """
        queries = source.queries
        if self.evaluation.log == source.evaluation.log:
            return pl.repeat(True, queries.height, eager=True)
        if "since" not in queries.columns or by not in self.trained.columns:
            return pl.repeat(False, queries.height, eager=True)
        for name, column, other in (("user_id", "user_id", "user_id"), ("time", by, "since")):
            ours, theirs = self.trained.schema[column], queries.schema[other]
            if ours != theirs:
                raise InputError(
                    f"{self.version.name} version {self.version.number} was trained on a {name} of type {ours}, the "
                    f"queries have {theirs}; expected logs with the same columns: publish a version of the same kind "
                    "of log"
                )
        if self.config.split.kind == "temporal":
            return queries.get_column("since") > self.trained.get_column(by).max()
        known = self.trained.select("user_id", known=by)
        both = queries.select("user_id", "since").join(known, on="user_id", how="left", maintain_order="left")
        return (both.get_column("since") > both.get_column("known")).fill_null(True)


@dataclass(frozen=True)
class FairQueries:
    """queries, and per_query of the version whose test they come from: the baselines' scores on the same queries.

    champions: where they come from the challenger's test, those of the champion's that the challenger was not trained
    on: a challenger that was made from a broken log should not be alone in setting its exam. Elsewhere none.
    """

    source: Records
    queries: pl.DataFrame
    per_query: pl.DataFrame
    champions: pl.DataFrame


def fair_queries(challenger: Records, champion: Records | None) -> FairQueries:
    """The champion's test queries or, where more of them are left, the challenger's, without what either has seen."""
    judged = [challenger] if champion is None else [champion, challenger]
    found = []
    for source in judged:
        fair = pl.Series([True] * source.queries.height, dtype=pl.Boolean)
        for model in judged:
            fair &= model.knows_nothing_of(source, "read")
        others = source.queries.clear()
        if champion is not None and source is challenger:
            others = champion.queries.filter(challenger.knows_nothing_of(champion, "until"))
        found.append(FairQueries(source, source.queries.filter(fair), source.per_query.filter(fair), others))
    return max(found, key=lambda each: each.queries.height)
