"""The learning curve: the figures of every epoch, and which epoch was the best so far."""

import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class EpochResult:
    """The figures of one epoch.

    loss: the mean of its steps. score: validation NDCG@10, or None if nothing is validated, as in a refit.
    seconds: of training, without validation. tokens: how many were predicted, over all processes. best: whether the
    score is higher than that of every epoch before.
    """

    epoch: int
    loss: float
    score: float | None
    seconds: float
    tokens: int
    best: bool


@dataclass(frozen=True)
class PartialEpoch:
    """What the running epoch has come to: its steps, the sum of their losses, seconds and tokens as above."""

    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a training has come: the number of optimizer steps, and the result of every finished epoch.

    partial: the epoch that is running.
    """

    steps: int = 0
    epochs: tuple[EpochResult, ...] = ()
    partial: PartialEpoch = PartialEpoch()

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.epochs)

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch so far, from 1; 0 before the first has finished."""
        return max((result.epoch for result in self.epochs if result.best), default=0)

    @property
    def best_score(self) -> float:
        """The best validation NDCG@10 so far; -1 before the first epoch has finished, 0 if nothing is validated."""
        return (self.epochs[self.best_epoch - 1].score or 0.0) if self.best_epoch else -1.0

    def after(self, *, loss: float, score: float | None, seconds: float, tokens: int) -> "Progress":
        """This progress with one more epoch. Without a score, the latest epoch is the best."""
        best = score is None or score > self.best_score
        result = EpochResult(self.epoch + 1, loss, score, seconds, tokens, best)
        return replace(self, epochs=(*self.epochs, result), partial=PartialEpoch())

    def to_json(self) -> str:
        """What a checkpoint stores."""
        history = [asdict(result) for result in self.epochs]
        return json.dumps({"steps": self.steps, "history": history, "partial": asdict(self.partial)})

    @staticmethod
    def from_json(text: str) -> "Progress":
        """Read what a checkpoint stores; in one of an earlier version an epoch has no ``best`` and may lack a score."""
        values = json.loads(text)
        progress = Progress(values["steps"])
        for row in values["history"]:
            progress = progress.after(
                loss=row["loss"], score=row.get("score"), seconds=row["seconds"], tokens=row["tokens"]
            )
        return replace(progress, partial=PartialEpoch(**values.get("partial", {})))
