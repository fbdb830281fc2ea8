"""The learning curve: the figures of every epoch, and which epoch was the best so far."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class EpochResult:
    """The figures of one epoch.

    loss: mean training loss of its steps. score: validation NDCG@10, None where nothing is validated (a refit).
    seconds: of training, without validation. tokens: predicted by all processes together. best: whether no epoch
    before scored as much.
    """

    epoch: int
    loss: float
    score: float | None
    seconds: float
    tokens: int
    best: bool


@dataclass(frozen=True)
class Progress:
    """How far a training has come: the optimizer steps so far, and the result of every finished epoch."""

    steps: int = 0
    epochs: tuple[EpochResult, ...] = ()

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.epochs)

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept, from 1; 0 before the first."""
        return max((result.epoch for result in self.epochs if result.best), default=0)

    @property
    def best_score(self) -> float:
        """The best validation NDCG@10 so far; -1 before the first epoch, 0 where nothing is validated."""
        return (self.epochs[self.best_epoch - 1].score or 0.0) if self.best_epoch else -1.0

    def after(self, *, loss: float, score: float | None, seconds: float, tokens: int) -> "Progress":
        """This progress with one more epoch. Without a score, the latest epoch is the best."""
        best = score is None or score > self.best_score
        result = EpochResult(self.epoch + 1, loss, score, seconds, tokens, best)
        return replace(self, epochs=(*self.epochs, result))

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        return {"steps": self.steps, "history": [asdict(result) for result in self.epochs]}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Progress":
        """Read what this version or an earlier one stored, in which epochs had no ``best`` and could lack ``score``."""
        progress = Progress(values["steps"])
        for row in values["history"]:
            progress = progress.after(
                loss=row["loss"], score=row.get("score"), seconds=row["seconds"], tokens=row["tokens"]
            )
        return progress
