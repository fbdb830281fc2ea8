"""One query: a history of 100 items to its top 100, in process.

Beside it, an eager tower and a flat FAISS index as everyone writes them.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.speed.race import Answer, Contestant, enter

K, LENGTH, DIM, QUERIES, WARM = 100, 100, 64, 500, 20
CONTESTANTS = (
    Contestant("ours", "ours", peer=False),
    Contestant("ours, one thread", "ours", peer=False, variables={"OMP_NUM_THREADS": "1"}),
    Contestant("ours, a known user encoded ahead", "ahead", peer=False),
    Contestant("eager tower + FAISS flat", "eager", peer=False),
    Contestant("eager tower + FAISS flat, one thread", "eager", peer=False, variables={"OMP_NUM_THREADS": "1"}),
)


def ours(num_items: int, num_members: int = 1) -> Iterator[Answer | None]:
    from recsys.retriever import Retriever

    bundle, histories = world(num_items, num_members)
    retriever = Retriever(bundle, "bench")
    yield from timed(lambda history: retriever.recommend([history], k=K).item_ids[0].to_list(), histories)


def ahead(num_items: int, num_members: int = 1) -> Iterator[Answer | None]:
    """The same histories as users of a log whose vectors were computed while loading, asked for by id."""
    import polars as pl

    from recsys.retriever import Retriever

    bundle, histories = world(num_items, num_members)
    events = pl.DataFrame({
        "user_id": np.repeat(np.arange(QUERIES), LENGTH), "item_id": [one for history in histories for one in history],
        "time": np.tile(np.arange(LENGTH), QUERIES),
    })  # fmt: skip
    retriever = Retriever(bundle, "bench").with_events(events, encode_ahead=True)
    user_of = {tuple(history): user for user, history in enumerate(histories)}
    yield from timed(
        lambda history: retriever.recommend(user_ids=[user_of[tuple(history)]], k=K).item_ids[0].to_list(), histories
    )


def eager(num_items: int, num_members: int = 1) -> Iterator[Answer | None]:
    import faiss
    import torch

    from recsys.model import FeatureRows

    bundle, histories = world(num_items, num_members)
    ids = bundle.encoder.item_ids.to_list()
    position_of = {one: place for place, one in enumerate(ids)}
    items, model, nothing = torch.from_numpy(bundle.item_vectors[1:]), bundle.model, FeatureRows(None, None)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items.numpy())

    def answer(history: list[str]) -> list[str]:
        rows = [position_of[one] for one in history]
        with torch.no_grad():
            user = model.encode_users(items[rows].unsqueeze(0), torch.tensor([len(rows)]), nothing)
        found, seen = index.search(user.numpy(), K + len(rows))[1][0].tolist(), set(rows)
        return [ids[row] for row in found if row not in seen][:K]

    yield from timed(answer, histories)


def world(num_items: int, num_members: int) -> tuple:  # type: ignore[type-arg]
    """A bundle of random weights with string ids, and histories."""
    import polars as pl
    import torch

    from recsys.bundle import Bundle, Provenance
    from recsys.data import Encoder
    from recsys.model import ModelSpec, TwoTower
    from recsys.search import ItemIndex

    torch.manual_seed(0)
    model = TwoTower(ModelSpec(
        num_rows=num_items + 1, item_transforms=(), user_transforms=(), embedding_dim=DIM, num_members=num_members,
        history_encoder="transformer", own_vectors=False, similarity="dot", num_layers=2, num_heads=2, max_history=200,
        dropout=0.0, id_dropout=0.0, user_dropout=0.0, temperature=1.0, learn_temperature=False,
    )).eval()  # fmt: skip
    ids = pl.Series("item_id", [f"i{item}" for item in range(num_items)])
    columns: dict[str, str | None] = {"user_id": "user_id", "item_id": "item_id", "time": "time"}
    vectors = (model.item_tower.ids.embeddings["item"].weight.detach() / num_members**0.5).numpy()
    vectors[0] = 0.0
    bundle = Bundle(
        model=model, encoder=Encoder(ids, num_items, (), (), columns, "Int64"), items=ids.to_frame(),
        item_features=pl.DataFrame(), users=pl.DataFrame({"user_id": pl.Series([], dtype=pl.Int64)}),
        item_counts=np.arange(num_items + 1, dtype=np.int64).clip(max=1), item_vectors=vectors,
        index=ItemIndex.build(vectors, kind="exact"),
        provenance=Provenance(recsys="", training={}, epoch=0, features={}, split={}, index={}),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    histories = [ids.gather(rng.choice(num_items, LENGTH, replace=False)).to_list() for _ in range(QUERIES)]
    return bundle, histories


def timed(ask: Callable[[list[str]], list[str]], histories: list[list[str]]) -> Iterator[Answer | None]:
    """The clock of the race runs over all queries; each has one of its own."""
    for history in histories[:WARM]:
        ask(history)
    seconds, answers = [], []
    yield None
    for history in histories:
        started = time.perf_counter()
        answers.append(ask(history))
        seconds.append(time.perf_counter() - started)
    yield None
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    shown = sum(int(one[1:]) for found in answers for one in found)
    yield {"items": float(shown), "figures": {"p50 ms": float(p50), "p99 ms": float(p99)}}


if __name__ == "__main__":
    enter({"ours": ours, "ahead": ahead, "eager": eager})
