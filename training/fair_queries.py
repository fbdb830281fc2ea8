"""Which held-out queries may judge two versions: those whose answer neither of them was trained on."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from recsys import files
from recsys.config import Config
from recsys.registry import Registry, Version


@dataclass(frozen=True)
class Records:
    """What a version's publication left about its training.

    queries: user_id, history, targets and, of ordered data, since (the time of the first target). per_query: user_id
    and NDCG@10 of every method. trained: user_id and, of ordered data, until (the last event trained on).
    """

    version: Version
    config: Config
    evaluation: dict[str, Any]
    queries: pl.DataFrame
    per_query: pl.DataFrame
    trained: pl.DataFrame

    @staticmethod
    def read(registry: Registry, version: Version) -> "Records":
        """Fetch them from the registry; raises ValueError where they are not of one another."""
        folder = registry.records(version)
        queries, per_query, trained = (
            pl.read_parquet(folder / f"{name}.parquet") for name in ("queries_test", "per_query", "trained")
        )
        if not per_query.get_column("user_id").equals(queries.get_column("user_id")):
            raise ValueError(
                f"{version.name} version {version.number}: its records are of other queries; publish again"
            )
        config = Config.model_validate(files.read_json(folder / "config.json"))
        return Records(version, config, files.read_json(folder / "evaluation.json"), queries, per_query, trained)

    def knows_nothing_of(self, queries: pl.DataFrame, log: str) -> pl.Series:
        """[Q] bool: the model was certainly not trained on the targets. log: the fingerprint of the queries' log.

        With a clock for all (a temporal split) the targets must come after the last event of the whole training, with a
        clock of the user's own after the user's last one. Without a clock the logs must be the same.
        """
        if self.evaluation["log"] == log:
            return pl.repeat(True, queries.height, eager=True)
        if "since" not in queries.columns or "until" not in self.trained.columns:
            return pl.repeat(False, queries.height, eager=True)
        for name in ("user_id", "until"):
            other = queries.schema["since" if name == "until" else name]
            if self.trained.schema[name] != other:
                raise ValueError(
                    f"{self.version.name} version {self.version.number} was trained on a {name} of type "
                    f"{self.trained.schema[name]}, the queries have {other}; expected logs with the same columns: "
                    "publish a version of the same kind of log"
                )
        if self.config.split.kind == "temporal":
            return queries.get_column("since") > self.trained.get_column("until").max()
        trained = self.trained.select("user_id", trained="until")
        both = queries.select("user_id", "since").join(trained, on="user_id", how="left", maintain_order="left")
        return (both.get_column("since") > both.get_column("trained")).fill_null(True)


@dataclass(frozen=True)
class FairQueries:
    """queries, and per_query of the version whose test they come from: the baselines' scores on the same queries."""

    source: Records
    queries: pl.DataFrame
    per_query: pl.DataFrame


def fair_queries(challenger: Records, champion: Records | None) -> FairQueries:
    """The champion's test queries or, where more of them are left, the challenger's, without what either has seen.

    The champion's come first: a challenger that was made from a broken log should not set its own exam.
    """
    judged = [challenger] if champion is None else [champion, challenger]
    found = []
    for source in judged:
        fair = pl.Series([True] * source.queries.height, dtype=pl.Boolean)
        for model in judged:
            fair &= model.knows_nothing_of(source.queries, source.evaluation["log"])
        found.append(FairQueries(source, source.queries.filter(fair), source.per_query.filter(fair)))
    return max(found, key=lambda each: each.queries.height)
