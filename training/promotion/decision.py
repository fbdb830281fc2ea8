"""What the gate decided about a version, and why: read by people as lines, kept with the version as JSON."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from recsys import files
from recsys.config import GateConfig


class Check(BaseModel):
    """One demand of the gate and what a version showed.

    metric: the unit of the figure, where the name does not say it. figure: what was measured, between low and high
    where it has a 95% interval. demand: how the figure must compare with the limit. key: the setting that relaxes the
    demand, if one does. refuses: whether the version fails with the check; if not, it is a warning. form: the format of
    the numbers.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    figure: int | float
    demand: str
    limit: int | float
    low: float | None = None
    high: float | None = None
    form: str = "+.4f"
    metric: str = ""
    key: str = ""
    refuses: bool = True

    def __str__(self) -> str:
        figure, limit = (format(value, self.form) for value in (self.figure, self.limit))
        interval = "" if self.low is None else f" [{self.low:{self.form}}, {self.high:{self.form}}]"
        metric, key = self.metric and f"{self.metric} ", self.key and f" ({self.key})"
        word = "pass" if self.passed else "FAIL" if self.refuses else "warn"
        return f"{word}  {self.name}: {metric}{figure}{interval}, {self.demand} {limit}{key}"


class Decision(BaseModel):
    """The checks of a challenger.

    source: the version whose test queries were asked; of them, num_queries. baseline, champion_baseline: the label of
    the baseline that the challenger or the champion serves, None for a trained model. last_resort: whether the
    challenger is judged as last resort; see last_resort.py. refreshed: how the items of a refreshed version differ from
    those of its parent, which is the source; None for a version that was trained.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    challenger: int
    champion: int | None
    source: int
    num_queries: int
    checks: tuple[Check, ...]
    settings: GateConfig | None
    baseline: str | None = None
    champion_baseline: str | None = None
    last_resort: bool = False
    refreshed: str | None = None

    @classmethod
    def already_champion(cls, name: str, number: int, baseline: str | None = None, last_resort: bool = False) -> Self:
        """The decision about a version that serves already: there is nothing to check."""
        return cls(
            name=name, challenger=number, champion=number, source=number, num_queries=0, checks=(), settings=None,
            baseline=baseline, champion_baseline=baseline, last_resort=last_resort,
        )  # fmt: skip

    @property
    def promoted(self) -> bool:
        """Whether the version passed every check."""
        return not self._failed

    @property
    def verdict(self) -> str:
        """ "promoted", "promoted as last resort", or "refused" with the names of the failed checks."""
        if self._failed:
            return f"refused: {'; '.join(self._failed)}"
        return "promoted as last resort" if self.last_resort else "promoted"

    @property
    def _failed(self) -> list[str]:
        return [check.name for check in self.checks if check.refuses and not check.passed]

    @property
    def id(self) -> str:
        """The fingerprint of the decision."""
        return files.digest(self.model_dump(mode="json"))[:12]

    def lines(self, *, dry_run: bool = False) -> list[str]:
        """The decision as people read it: what was compared, each check, the verdict."""
        title = f"{self.name} version {self.challenger}{_in_brackets(self.baseline)}"
        if self.champion == self.challenger:
            return [f"{title} is champion already{', as last resort' if self.last_resort else ''}"]
        against = (
            "" if self.champion is None else f" against champion {self.champion}{_in_brackets(self.champion_baseline)}"
        )
        compared = (
            f"{title}{against}, on {self.num_queries:,} test queries of version {self.source} whose answers no model "
            "was trained on"
        )
        if self.refreshed is not None:
            compared = f"{title} is a refresh of version {self.source}: {self.refreshed}"
        verdict = f"dry run, nothing is changed; the verdict: {self.verdict}" if dry_run else f"{title} {self.verdict}"
        return [compared, *map(str, self.checks), verdict]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a decision that ``write`` wrote."""
        return cls.model_validate(files.read_json(path))

    def write(self, path: Path) -> None:
        """Write the decision and its verdict as JSON."""
        outcome = {"promoted": self.promoted, "verdict": self.verdict}
        files.write_json(path, self.model_dump(mode="json") | outcome)


def _in_brackets(baseline: str | None) -> str:
    return "" if baseline is None else f" ({baseline} baseline)"
