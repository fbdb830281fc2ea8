"""Which held-out queries may judge two versions: those whose targets neither was trained on, or selected by."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from recsys import files
from recsys.config import Config
from recsys.errors import InputError
from recsys.registry import Registry, Version

from ..evaluation import FIGURES, EvaluationRecord


@dataclass(frozen=True)
class Records:
    """What a publication recorded about a version's training.

    queries: user_id, history, targets and, for ordered data, since (the time of the first target). per_query: user_id
    and NDCG@10 of every method. trained: user_id and, for ordered data, the times of the last event that the user was
    trained on ("until") and that validation read ("read"); see ``Dataset.trained``.
    """

    version: Version
    config: Config
    evaluation: EvaluationRecord
    queries: pl.DataFrame
    per_query: pl.DataFrame
    trained: pl.DataFrame

    @staticmethod
    def read(registry: Registry, version: Version) -> "Records":
        """Fetch the records of a version.

        Raises:
            InputError: the files do not belong together, an older release wrote them, or what the gate judges by was
                left out of them.
        """
        folder = registry.records(version)
        evaluation = EvaluationRecord.read(folder)
        if evaluation.bundle_id != version.bundle_id:
            raise InputError(
                f"{version} has the records of bundle {evaluation.bundle_id[:12]}; expected those of "
                f"{version.bundle_id[:12] or 'a bundle that it names'}: restore its files, or publish again"
            )
        if FIGURES in evaluation.left_out:
            raise InputError(
                f"{version.name} version {version.number} has no figures to judge it by: {FIGURES} was left out "
                f"({evaluation.left_out[FIGURES]}); publish it again, or train again with other data"
            )
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
        with files.input_error_if_damaged(folder / "config.json"):
            config = Config.model_validate(files.read_json(folder / "config.json"))
        return Records(version, config, evaluation, queries, per_query, trained)

    def trained_users(self) -> pl.Series:
        """The ids of the users that the version was trained on."""
        ordered = "until" in self.trained.columns
        return (self.trained.drop_nulls("until") if ordered else self.trained).get_column("user_id")

    def unseen(self, source: "Records", by: Literal["until", "read"]) -> pl.Series:
        """Which of another version's test queries have targets that this version has certainly not seen.

        With a global clock (a temporal split) the targets must come after the last event of all that this version has
        seen; with a clock per user, after the user's last one. Without a clock, only equal logs are certain.

        Args:
            source: the records whose queries are asked about.
            by: "until" if the version must not be trained on the targets, "read" if validation must not have selected
                it by them either.

        Returns:
            [Q] bool.
        """
        queries = source.queries
        if self.evaluation.log == source.evaluation.log:
            return pl.repeat(True, queries.height, eager=True)
        if "since" not in queries.columns or by not in self.trained.columns:
            return pl.repeat(False, queries.height, eager=True)
        self._require_same_types(queries, by)
        if self.config.split.kind == "temporal":
            return queries.get_column("since") > self.trained.get_column(by).max()
        last_seen = self.trained.select("user_id", last_seen=by)
        joined = queries.select("user_id", "since").join(last_seen, on="user_id", how="left", maintain_order="left")
        return (joined.get_column("since") > joined.get_column("last_seen")).fill_null(True)

    def _require_same_types(self, queries: pl.DataFrame, by: str) -> None:
        """Raise InputError unless ids and times of the training can be compared with those of the queries."""
        for name, column, compared in (("user_id", "user_id", "user_id"), ("time", by, "since")):
            trained, asked = self.trained.schema[column], queries.schema[compared]
            if trained != asked:
                raise InputError(
                    f"{self.version.name} version {self.version.number} was trained on a {name} of type {trained}, the "
                    f"queries have {asked}; expected logs with the same columns: publish a version of the same kind "
                    "of log"
                )


@dataclass(frozen=True)
class FairQueries:
    """The queries that judge, and the baselines' scores on them.

    source: the version whose test queries they are. own_test: if they are the challenger's, the champion's test queries
    that the challenger was not trained on, else none. A challenger made from a broken log must not be the only one to
    set its exam.
    """

    source: Records
    queries: pl.DataFrame
    per_query: pl.DataFrame
    own_test: pl.DataFrame


def fair_queries(challenger: Records, champion: Records | None) -> FairQueries:
    """The test queries of the champion or of the challenger, whichever leaves more that neither model has seen."""
    models = [challenger] if champion is None else [champion, challenger]
    choices = []
    for source in models:
        fair = pl.Series([True] * source.queries.height, dtype=pl.Boolean)
        for model in models:
            fair &= model.unseen(source, "read")
        own_test = source.queries.clear()
        if champion is not None and source is challenger:
            own_test = champion.queries.filter(challenger.unseen(champion, "until"))
        choices.append(FairQueries(source, source.queries.filter(fair), source.per_query.filter(fair), own_test))
    return max(choices, key=lambda choice: choice.queries.height)
