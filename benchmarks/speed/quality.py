"""Whole jobs: events on disk to a trained model and the top 100 of every user on disk; the clock starts before imports.

Leave-one-out: the last event of each user is test, the one before it validation. After every epoch both tell NDCG@10 on
validation, over all items but those of the history, as seconds since the start and score: the answers' ``curve``, and
curve.jsonl while it runs. Ours is the recipe of examples/, from build to score without registry and report. RecTools's
SASRec has the same width, depth and history, its full softmax, and what its guide advises: early stopping on a
validation metric, and the weights of the best epoch. Training ends after MINUTES at the latest.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.race import Answer, Contestant, enter

K, CUT = 100, 10
DIM, BLOCKS, HEADS = 64, 2, 2
USERS = 32  # a batch of RecTools; its default of 128 makes 47 steps an epoch of ml-1m, and learns in many more epochs
EPOCHS, PATIENCE, MINUTES = 100, 10, 125  # of RecTools; ours has its recipe's


def contestants(members: int, epochs: int) -> tuple[Contestant, ...]:
    """members, epochs: of ours, as many as reach the validation score of RecTools's best."""
    enough = {"members": members, "epochs": epochs}
    return (
        Contestant(f"ours, {members} of 2 members, {epochs} epochs", "ours", peer=False, settings=enough),
        Contestant("ours, all epochs", "ours", peer=False),
        Contestant("RecTools, SASRec", "rectools"),
    )


class Curve(list[tuple[float, float]]):
    """Seconds since it was made, and score, of every epoch."""

    def __init__(self, out: str) -> None:
        super().__init__()
        self.started, self.path = time.perf_counter(), Path(out) / "curve.jsonl"
        self.path.parent.mkdir(parents=True)

    def add(self, score: float) -> None:
        self.append((time.perf_counter() - self.started, score))
        with self.path.open("a") as lines:
            lines.write(json.dumps(self[-1]) + "\n")


def ours(
    events: str,
    items: str | None,
    config: str,
    max_history: int,
    epochs: int | None,
    out: str,
    members: int | None = None,
) -> Iterator[Answer | None]:
    """max_history: stands in the config."""
    yield None
    curve = Curve(out)

    from features.build import build
    from recsys.config import load_config
    from recsys.retriever import Retriever
    from serving.batch_scoring import score
    from training import validation
    from training.checkpoints import checkpoint
    from training.description import TrainingDescription
    from training.loop import train
    from training.publish import seal

    validation.MAX_QUERIES = sys.maxsize  # every user, as RecTools does
    folder = Path(out)
    settings = {"data.events": events, "data.items": items, "training.epochs": epochs, "model.num_members": members}
    settings = {key: value for key, value in settings.items() if value is not None}
    loaded = load_config(Path(config), tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))
    dataset = build(loaded, folder / "dataset")
    train(loaded, dataset, folder / "run", on_epoch=lambda result: curve.add(result.score))
    trained = checkpoint.load(folder / "run" / "model.safetensors")
    seal(TrainingDescription.read(folder / "run"), trained, folder / "bundle")
    dataset.queries("test").write_parquet(folder / "queries.parquet")
    retriever = Retriever.load(str(folder / "bundle"))
    score(retriever, folder / "recs", queries=str(folder / "queries.parquet"), k=K)
    yield None
    yield {"figures": {"curve": curve, "test NDCG@10": ndcg(events, f"{out}/recs/*.parquet"), "epochs": len(curve)}}


def rectools(
    events: str, items: str | None, config: str, max_history: int, epochs: int | None, out: str
) -> Iterator[Answer | None]:
    """items: their list column ``attributes`` becomes a categorical feature. config: ours only."""
    yield None
    curve = Curve(out)

    import pandas as pd
    import torch
    from pytorch_lightning import Trainer, seed_everything
    from pytorch_lightning.callbacks import EarlyStopping
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    seed_everything(0)
    log = pd.read_parquet(events).rename(columns={"position": "datetime"}).assign(weight=1.0)
    log["datetime"] = pd.to_datetime(log["datetime"], unit="s")
    log = log[~is_last(log)]
    features: dict[str, Any] = {}
    if items is not None:
        long = pd.read_parquet(items, columns=["item_id", "attributes"]).explode("attributes").dropna()
        long = long[long["item_id"].isin(log["item_id"])].rename(columns={"item_id": "id", "attributes": "value"})
        features = {"item_features_df": long.assign(feature="attribute"), "cat_item_features": ["attribute"]}
    dataset = Dataset.construct(log, **features)
    weights = Path(out) / "best.pt"
    best = best_weights(log, weights, lambda score: curve.add(score))  # a trainer is copied, deep but for functions

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs or EPOCHS, max_time={"minutes": MINUTES}, accelerator="cpu",
            num_sanity_val_steps=0, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[best, EarlyStopping(monitor="ndcg", mode="max", patience=PATIENCE)],
        )  # fmt: skip

    model = SASRecModel(
        n_blocks=BLOCKS, n_heads=HEADS, n_factors=DIM, session_max_len=max_history, batch_size=USERS, loss="softmax",
        get_val_mask_func=is_last, get_trainer_func=trainer,
    )  # fmt: skip
    model.fit(dataset)
    model.torch_model.load_state_dict(torch.load(weights))
    users = dataset.user_id_map.external_ids
    model.recommend(users=users, dataset=dataset, k=K, filter_viewed=True).to_parquet(f"{out}/recs.parquet")
    yield None
    yield {"figures": {"curve": curve, "test NDCG@10": ndcg(events, f"{out}/recs.parquet"), "epochs": len(curve)}}


def best_weights(log: Any, path: Path, say: Callable[[float], None]) -> Any:
    """A callback that ranks every user's validation item, tells each epoch's NDCG@10, and keeps the best weights."""
    import torch
    from pytorch_lightning import Callback, LightningModule, Trainer
    from scipy.sparse import csr_matrix

    num_users = log["user_id"].nunique()
    train = log[~is_last(log)]

    class BestWeights(Callback):  # type: ignore[misc]  # lightning is not installed here
        def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
            prepared = module.data_preparator
            validated = prepared.val_interactions.sort_values("datetime", kind="stable")["user_id"].unique()
            row_of = dict(zip(validated, range(len(validated)), strict=True))  # in the order of the batches
            rows = train["user_id"].map(prepared.train_dataset.user_id_map.to_internal).map(row_of)
            items = train["item_id"].map(prepared.item_id_map.to_internal)
            known = rows.notna() & items.notna()  # what only long histories held in their beginning is unknown to it
            at = rows[known].astype(int), items[known].astype(int)
            self.seen = csr_matrix((np.ones(known.sum(), bool), at), (len(validated), prepared.item_id_map.size))
            self.best = -1.0

        def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
            self.row, self.total = 0, 0.0

        def on_validation_batch_end(
            self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: Any
        ) -> None:
            logits = outputs["logits"].reshape(len(batch["y"]), -1).clone()
            seen = self.seen[self.row : self.row + len(logits)].nonzero()
            self.row += len(logits)
            logits[seen] = -torch.inf
            logits[:, 0] = -torch.inf  # padding
            rank = (logits > logits.gather(1, batch["y"])).sum(1)
            self.total += float((1 / torch.log2(rank + 2.0))[rank < CUT].sum())

        def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
            score = self.total / num_users  # a user whose item no training event has counts as a miss
            module.log("ndcg", score)
            if score > self.best:
                self.best = score
                torch.save(module.torch_model.state_dict(), path)
            say(score)

    return BestWeights()


def is_last(frame: Any) -> Any:
    """Of a pandas frame, whether an event is its user's last."""
    return frame.groupby("user_id")["datetime"].rank(method="first", ascending=False) <= 1


def ndcg(events: str, recs: str) -> float:
    """NDCG@10 of the last event of every user of the log, from lists on disk."""
    import polars as pl

    last = pl.read_parquet(events).sort("position").group_by("user_id").last().select("user_id", "item_id")
    hits = pl.read_parquet(recs).join(last, on=["user_id", "item_id"]).filter(pl.col("rank") <= CUT)
    return sum(1 / math.log2(rank + 1) for rank in hits["rank"]) / last.height


if __name__ == "__main__":
    enter({"ours": ours, "rectools": rectools})
