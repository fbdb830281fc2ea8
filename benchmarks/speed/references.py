"""What stands beside ours in `make bench-quick`, where there are no peers: each stage in plain NumPy or PyTorch.

Nothing here is meant to be fast or slow; it must only stay as it is, so that ratios to it tell what became of ours.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.speed import evaluation, features, query, scoring, training
from benchmarks.speed.race import Answer, enter


def feature_job(log: str, out: str) -> Iterator[Answer | None]:
    """Of a log with integer ids: codes, one sort by user and time, and slices."""
    import pyarrow.parquet as pq

    Path(out).mkdir()
    yield None
    table = pq.read_table(log)
    user_ids, users = np.unique(table["user_id"].to_numpy(), return_inverse=True)
    item_ids, items = np.unique(table["item_id"].to_numpy(), return_inverse=True)
    order = np.lexsort((table["timestamp"].to_numpy(), users))
    users, items = users[order], items[order]
    ends = np.cumsum(np.bincount(users))
    place = np.arange(len(users)) - np.repeat(ends - np.bincount(users), np.bincount(users))
    train = np.arange(len(users)) < ends[users] - 2
    found = {"users": users[train], "items": items[train], "validation": items[ends - 2], "test": items[ends - 1]}
    for name, values in ({"user_ids": user_ids, "item_ids": item_ids} | found).items():
        np.save(f"{out}/{name}.npy", values)
    yield None
    targets = ((user_ids, item_ids[found[part]]) for part in ("validation", "test"))
    yield features.answer(user_ids[found["users"]], item_ids[found["items"]], place[train], *targets)


def batches(events: str) -> Iterator[Answer | None]:
    """Rows padded on the left, 128 users at a time."""
    histories = training_histories(events)
    yield None
    done = sum(int((targets > 0).sum()) for _, targets in padded(histories))
    yield None
    yield {"tokens": float(done)}


def training_step(events: str, num_tokens: int) -> Iterator[Answer | None]:
    """PyTorch's own transformer over padded rows, a softmax over the positive and shared negatives, AdamW."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    histories = training_histories(events)
    num_rows = 1 + max(int(history.max()) for history in histories)
    table, places = nn.Embedding(num_rows, training.DIM), nn.Embedding(training.LENGTH, training.DIM)
    layer = nn.TransformerEncoderLayer(
        training.DIM, training.HEADS, 4 * training.DIM, dropout=0.2, batch_first=True, norm_first=True
    )
    tower = nn.TransformerEncoder(layer, training.BLOCKS, enable_nested_tensor=False)
    optimizer = torch.optim.AdamW(nn.ModuleList([table, places, tower]).parameters(), lr=1e-3)
    causal = nn.Transformer.generate_square_subsequent_mask(training.LENGTH)
    done = 0
    yield None
    while done < num_tokens:
        for inputs, targets in padded(histories):
            users = tower(table(torch.from_numpy(inputs)) + places.weight, mask=causal, is_causal=True)
            real = torch.from_numpy(targets) > 0
            positives, negatives = torch.from_numpy(targets)[real], torch.randint(1, num_rows, (1024,))
            logits = torch.cat([(users[real] * table(positives)).sum(1, True), users[real] @ table(negatives).T], 1)
            loss = nn.functional.cross_entropy(logits, torch.zeros_like(positives))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += int(real.sum())
            if done >= num_tokens:
                break
    yield None
    yield {"figures": {"tokens": done}}


def training_histories(events: str) -> list[np.ndarray]:
    """Item rows from 1, oldest first, of every user with two training events or more; the last 201 of them."""
    import polars as pl

    log = pl.read_parquet(events).sort("user_id", "position").with_columns(item=pl.col("item_id").rank("dense"))
    rows = log.group_by("user_id", maintain_order=True).agg(pl.col("item").cast(pl.Int64).head(pl.len() - 2))["item"]
    return [row.to_numpy()[-training.LENGTH - 1 :] for row in rows if len(row) >= 2]


def padded(histories: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets [B, LENGTH] in a random order of users, 0 for padding."""
    order = np.random.default_rng(0).permutation(len(histories))
    for start in range(0, len(order), training.USERS):
        inputs, targets = np.zeros((2, len(order[start : start + training.USERS]), training.LENGTH), np.int64)
        for row, user in enumerate(order[start : start + training.USERS]):
            inputs[row, 1 - len(histories[user]) :] = histories[user][:-1]
            targets[row, 1 - len(histories[user]) :] = histories[user][1:]
        yield inputs, targets


def metrics(**size: int) -> Iterator[Answer | None]:
    """Recall, NDCG and MRR by looking every pair of user and item up."""
    ranked, users, items = evaluation.world(**size)
    yield None
    stride, counts = max(ranked.max(), items.max()) + 1, np.bincount(users)
    hits = np.isin(np.arange(len(ranked))[:, None] * stride + ranked, users * stride + items)
    discount = 1 / np.log2(np.arange(2, evaluation.K + 2))
    found = {}
    for k in evaluation.CUTS:
        first = np.where(hits[:, :k].any(1), 1 / (1 + hits[:, :k].argmax(1)), 0.0)
        ideal = np.cumsum(discount)[np.minimum(counts, k) - 1]
        found[f"recall@{k}"] = float((hits[:, :k].sum(1) / counts).mean())
        found[f"ndcg@{k}"] = float((hits[:, :k] @ discount[:k] / ideal).mean())
        found[f"mrr@{k}"] = float(first.mean())
    yield None
    yield found


if __name__ == "__main__":
    enter({
        "our_feature_job": features.ours, "feature_job": feature_job, "our_batches": training.our_batches,
        "batches": batches, "our_training_step": training.ours, "training_step": training_step,
        "our_metrics": evaluation.ours, "metrics": metrics, "our_scoring": scoring.ours, "scoring": scoring.numpy_,
        "our_query": query.ours, "query": query.eager,
    })  # fmt: skip
